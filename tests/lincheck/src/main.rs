//! The `cloakroom-lincheck` command: one line for each file.
//!
//! Invariants:
//! * verdicts to stdout, reasons and progress to stderr;
//! * exit code 2 if a file is unreadable, else 1 if one is not linearizable, else 3 if one is
//!   undecided, else 0. All files are judged, whatever comes of one.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use cloakroom_lincheck::format::{self, Trace};
use cloakroom_lincheck::report::{Report, Word, report};
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
    /// Write a timeline of each history that fails into this folder, as NAME.html.
    #[arg(long, value_name = "FOLDER")]
    timeline: Option<PathBuf>,
    /// How many configurations a search may look at before it gives up; 20 million take about a
    /// gigabyte.
    #[arg(long, default_value_t = Limit::default().configurations)]
    most: u64,
    /// Do not say on stderr why a history fails.
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ends: Vec<End> = arguments.files.iter().map(|file| judge_file(&arguments, file)).collect();
    let any = |word| ends.iter().any(|end| matches!(end, End::Judged(judged) if *judged == word));
    if ends.iter().any(|end| matches!(end, End::Unreadable)) {
        ExitCode::from(2)
    } else if any(Word::Not) {
        ExitCode::from(1)
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
        if let Some(folder) = &arguments.timeline {
            let stem = file.file_stem().filter(|_| file != Path::new("-"));
            let page = folder.join(stem.unwrap_or("stdin".as_ref())).with_extension("html");
            let html = timeline::page(&trace, fault, &name.to_string());
            let written =
                std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&page, html));
            match written {
                Ok(()) if arguments.quiet => {}
                Ok(()) => say(&format!("{name}: timeline in {}", page.display())),
                Err(cause) => {
                    say(&format!("{}: {cause}", page.display()));
                    return End::Unreadable;
                }
            }
        }
    }
    End::Judged(report.verdict)
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
