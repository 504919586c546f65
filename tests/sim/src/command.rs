//! Carries the command line out: runs an experiment, shows how far it is, prints its figures.
//!
//! Invariants:
//! * figures go to stdout, everything else to stderr;
//! * the page is written whole or not at all, behind the figures: these are there whatever becomes of it. Where it
//!   cannot be written, nothing is run.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use thiserror::Error;

use crate::args::{Experiment, Format, OutputArgs, RunArgs, SimArgs};
use crate::run::figures::Figures;
use crate::run::{Outcome, simulate};
use crate::scenario::{Scenario, ScenarioError};
use crate::whole_file::WholeFile;
use crate::{hostile, html};

/// Why there are no figures.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The user's: a scenario that cannot be run.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The system's: a file cannot be written.
    #[error("{}: {cause}", path.display())]
    Page {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Ours: a seed of the registers has failed.
    #[error(transparent)]
    Registers(crate::registers::command::Failed),
    /// The system's: stdout.
    #[error("stdout: {0}")]
    Output(io::Error),
}

impl Error {
    /// 2 for what the user can mend in the input, 1 for the rest.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Scenario(_) => 2,
            Self::Page { .. } | Self::Registers(_) | Self::Output(_) => 1,
        }
    }
}

/// Carries it out.
///
/// # Errors
/// See [`enum@Error`].
pub fn carry_out(args: &SimArgs) -> Result<(), Error> {
    match &args.experiment {
        None => run(&args.run),
        Some(Experiment::Hostile(args)) => run_hostile(args),
        Some(Experiment::Records(args)) => {
            let figures = crate::records::run(args, &mut Bar::new("records").shown())?;
            print(&figures, &figures.table(), args.output)
        }
        Some(Experiment::Registers(args)) => {
            let (figures, failed) = crate::registers::command::carry_out(args);
            print(&figures, &figures.table(), args.output)?;
            failed.map_or(Ok(()), |failed| Err(Error::Registers(failed)))
        }
        Some(Experiment::Cluster(args)) => {
            let (figures, failed) = crate::cluster::carry_out(args);
            print(&figures, &figures.table(), args.output)?;
            failed.map_or(Ok(()), |failed| Err(Error::Registers(failed)))
        }
        Some(Experiment::Balance(args)) => {
            let figures = crate::balance::run(args);
            print(&figures, &figures.table(), args.output)
        }
    }
}

fn run(args: &RunArgs) -> Result<(), Error> {
    let scenario = args.scenario(Scenario::default())?;
    let page = args.html.as_ref().map(|path| {
        let fault = |cause| Error::Page { path: path.clone(), cause };
        WholeFile::at(path).map_err(fault)
    });
    let page = page.transpose()?;
    let (mut outcome, figures) = timed(&scenario, "simulating");
    print(&figures, &figures.table(), args.output)?;
    page.map_or(Ok(()), |page| write_page(&page, &html::page(&mut outcome, &figures)))
}

fn timed(scenario: &Scenario, name: &str) -> (Outcome, Figures) {
    let begun = Instant::now();
    let mut outcome = simulate(scenario, &mut Bar::new(name).shown());
    let figures = Figures::of(&mut outcome, begun.elapsed().as_secs_f64());
    (outcome, figures)
}

fn run_hostile(args: &RunArgs) -> Result<(), Error> {
    let scenario = args.scenario(hostile::base())?;
    let compared = hostile::compare(&scenario, |scenario, name| timed(scenario, name).1)?;
    if args.html.is_some() {
        let _ = writeln!(
            io::stderr(),
            "sim hostile writes no page; `sim --malicious 20% --html FILE` does"
        );
    }
    print(&compared, &compared.table(), args.output)
}

fn write_page(file: &WholeFile, page: &str) -> Result<(), Error> {
    let fault = |cause| Error::Page { path: file.path().to_owned(), cause };
    file.write(page).map_err(fault)?;
    let _ = writeln!(io::stderr(), "wrote {}", file.path().display());
    Ok(())
}

fn print(figures: &impl Serialize, table: &str, output: OutputArgs) -> Result<(), Error> {
    let text = match output.output {
        Format::Table => table.to_owned(),
        Format::Json => {
            let mut json = serde_json::to_string(figures).expect("records of numbers and strings");
            json.push('\n');
            json
        }
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has gone away is no failure.
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(cause)),
        _ => Ok(()),
    }
}

/// How far it is, on stderr; nothing if that is no terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(name: &str) -> Self {
        let bar = ProgressBar::new(1000);
        let style = "{msg:12} [{bar:32}] {percent} %  {prefix}  {elapsed} gone, {eta} to go";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    fn shown(self) -> impl FnMut(f64, u64, f64) {
        move |done, ended, good| {
            self.0.set_position(crate::random::to_u64(done * 1000.0));
            if ended > 0 {
                self.0.set_prefix(format!("{ended} ended, {:.2} % well", good * 100.0));
            }
            if done >= 1.0 {
                self.0.finish_and_clear();
            }
        }
    }
}
