//! The `cloakroom-lincheck` command: one line for each file.
//!
//! Invariants:
//! * verdicts to stdout, reasons and progress to stderr;
//! * exit code 1 if a file is not linearizable, else 2 if one is unreadable, else 3 if one is
//!   undecided, else 0. All files are judged, whatever comes of one;
//! * a history that fails has its timeline, unless one wants to be left in peace.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use cloakroom_lincheck::format::{self, Trace};
use cloakroom_lincheck::report::{Fault, Report, Word, report};
use cloakroom_lincheck::{Limit, timeline};

/// Judges whether histories of registers are linearizable.
#[derive(Parser)]
#[command(name = "cloakroom-lincheck", version)]
struct Arguments {
    /// Histories; - is stdin.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How they are written; without it, what begins with a brace is jsonl.
    #[arg(long)]
    format: Option<Format>,
    /// What to print for each file: a line of text, or of JSON.
    #[arg(long, default_value = "text")]
    output: Output,
    /// Where to write a timeline of each history that fails, as NAME.timeline.html: here, if not
    /// given, and nowhere with --quiet.
    #[arg(long, value_name = "FOLDER")]
    timeline: Option<PathBuf>,
    /// How many configurations a search may look at before it gives up; 20 million take about a
    /// gigabyte.
    #[arg(long, default_value_t = Limit::default().configurations)]
    most: u64,
    /// Do not say on stderr why a history fails, nor draw it if no folder is given.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Jepsen's log of an etcd test.
    JepsenEtcd,
    /// An event or operation in JSON in each line.
    Jsonl,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What came of a file.
enum End {
    Judged(Word),
    Unreadable,
    /// It is not linearizable, and its timeline could not be written.
    Unwritten,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ends: Vec<End> = arguments.files.iter().map(|file| judge_file(&arguments, file)).collect();
    let any = |word| ends.iter().any(|end| matches!(end, End::Judged(judged) if *judged == word));
    if any(Word::Not) || ends.iter().any(|end| matches!(end, End::Unwritten)) {
        ExitCode::from(1)
    } else if ends.iter().any(|end| matches!(end, End::Unreadable)) {
        ExitCode::from(2)
    } else if any(Word::Undecided) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

fn judge_file(arguments: &Arguments, file: &Path) -> End {
    let name = file.display();
    let trace = match read(file, arguments.format) {
        Ok(trace) => trace,
        Err(problem) => {
            say(&format!("{name}:{problem}"));
            return End::Unreadable;
        }
    };
    let mut progress = Progress::new(name.to_string());
    let limit = Limit { configurations: arguments.most };
    let report = report(&trace, limit, &mut |done, keys, configurations| {
        progress.show(done, keys, configurations);
    });
    progress.clear();
    print(arguments.output, &name.to_string(), &report);
    if let Some(fault) = &report.violation {
        if !arguments.quiet {
            say(&format!("{name}: {}", fault.explain(6)));
        }
        if let Err(problem) = draw(arguments, file, &trace, fault) {
            say(&problem);
            return End::Unwritten;
        }
    }
    End::Judged(report.verdict)
}

/// The timeline of a history that fails.
fn draw(arguments: &Arguments, file: &Path, trace: &Trace, fault: &Fault) -> Result<(), String> {
    let here = PathBuf::from(".");
    let folder = arguments.timeline.as_ref().or((!arguments.quiet).then_some(&here));
    let Some(folder) = folder else { return Ok(()) };
    let stem = file.file_stem().filter(|_| file != Path::new("-"));
    let mut page = stem.unwrap_or("stdin".as_ref()).to_owned();
    page.push(".timeline.html");
    let (page, name) = (folder.join(page), file.display());
    let html = timeline::page(trace, fault, &name.to_string());
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&page, html))
        .map_err(|cause| format!("{}: {cause}", page.display()))?;
    if !arguments.quiet {
        say(&format!("{name}: timeline in {}", page.display()));
    }
    Ok(())
}

/// The operations of a file, or what is wrong with it, with its line if there is one.
fn read(file: &Path, format: Option<Format>) -> Result<Trace, String> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let bytes = bytes.map_err(|cause| format!(" {cause}"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].split(|&byte| byte == b'\n').count();
        format!("{line}: expected UTF-8, got byte {:#04x}", error.as_bytes()[at])
    })?;
    let format = format.map(|format| match format {
        Format::JepsenEtcd => format::Format::JepsenEtcd,
        Format::Jsonl => format::Format::Jsonl,
    });
    Trace::parse(&text, format).map_err(|error| error.to_string())
}

fn print(output: Output, name: &str, report: &Report) {
    let line = match output {
        Output::Text if report.verdict == Word::Undecided => {
            format!("{name}: undecided after {} configurations\n", report.configurations)
        }
        Output::Text => format!("{name}: {}\n", report.verdict.as_str()),
        Output::Json => {
            let mut json = serde_json::to_value(report).expect("a record of numbers and strings");
            json["file"] = name.into();
            format!("{json}\n")
        }
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => say(&format!("stdout: {cause}")),
        // A reader that has gone away has read what it wanted.
        _ => {}
    }
}

/// A stderr that is gone takes no message, also not this one.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// A line on the terminal for what takes long.
struct Progress {
    name: String,
    begun: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    fn new(name: String) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { name, begun: Instant::now(), shown: None, is_terminal }
    }

    fn show(&mut self, done: usize, keys: usize, configurations: u64) {
        let pause = Duration::from_millis(200);
        let since = self.shown.unwrap_or(self.begun);
        if self.is_terminal && since.elapsed() > pause {
            let seconds = self.begun.elapsed().as_secs();
            let _ = write!(
                io::stderr(),
                "\r\x1b[K{}: {done} of {keys} keys, {configurations} configurations, {seconds} s",
                self.name
            );
            self.shown = Some(Instant::now());
        }
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
