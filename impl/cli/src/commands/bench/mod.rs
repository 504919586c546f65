//! `bench`: how fast servers hand out ids, or change keys.
//!
//! Invariants:
//! * what it makes, it removes, as far as the servers let it; what is left behind is said;
//! * it ends: each phase has a limit in time, and Ctrl-C ends a phase early;
//! * one thread: what clients share needs no locks, and the machine's other threads are the servers'.
//!
//! What it does not do: judge what it has measured.

mod latencies;
mod load;
mod report;
mod rounds;

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use cloakroom_client::{Client, ClientError, Options};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, interval, sleep_until};

use self::load::{Bench, Caller, Tallies};
use self::report::{Report, Row, Run, per};
use self::rounds::Rounds;
use super::Done;
use super::place::options;
use crate::args::{BenchArgs, Format, WorkloadArg};
use crate::error::Error;
use crate::output::{print, print_json, say};

/// Callers that fill the pool and empty it.
const MOVERS: usize = 64;
/// The pool is filled for no longer.
const FILL_LIMIT: Duration = Duration::from_mins(10);
/// Nor emptied.
const EMPTY_LIMIT: Duration = Duration::from_mins(5);
const TICK: Duration = Duration::from_millis(200);
const IDS: [&str; 2] = ["allocate", "free"];
const KEYS: [&str; 3] = ["put", "replace", "remove"];

pub(super) fn bench(args: &BenchArgs) -> Result<Done, Error> {
    let system = |cause| Error::System { what: "threads", cause };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = LocalSet::new().block_on(&runtime.map_err(system)?, measure(args))?;
    if let Some(pool) = &report.left_behind {
        say(format_args!("error: pool {pool} was not emptied and deleted"));
    }
    if let Some(error) = &report.an_error {
        say(format_args!("one of the errors: {error}"));
    }
    match args.server.output.output {
        Format::Json => print_json(&report)?,
        Format::Table => print(report.table().as_bytes())?,
    }
    let mut rows = report.runs.iter().flat_map(|run| &run.calls);
    let done = report.left_behind.is_none() && rows.any(|row| row.done() > 0);
    Ok(if done { Done::Yes } else { Done::Refused })
}

async fn measure(args: &BenchArgs) -> Result<Report, Error> {
    let system = |cause| Error::System { what: "signals", cause };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let bench = Rc::new(Bench {
        client: Client::new(&options(&args.server.endpoint, &args.server.choice))?,
        // Of its own, whoever else measures.
        name: format!("bench-{:016x}", RandomState::new().hash_one(0)),
        over: Cell::new(false),
        ended: Cell::new(0),
        made: Cell::new(0),
    });
    let mut report = Report { size: args.size, ..Report::default() };
    let mut rest = Rest::default();
    if args.workload == WorkloadArg::Ids {
        let (fanout, block, policy) = args.tree.on_servers();
        bench.client.create_pool_shaped(&bench.name, args.size, fanout, block, policy).await?;
        report.interrupted = fill(args, &bench, &mut rest, &mut interrupt).await;
    }
    for &clients in &args.clients {
        if report.interrupted {
            break;
        }
        let (run, interrupted) = run(args, &bench, clients, &mut rest, &mut interrupt).await;
        report.runs.push(run);
        report.interrupted = interrupted;
    }
    report.an_error = rest.an_error.take();
    if args.workload == WorkloadArg::Ids && !clean_up(&bench, rest, &mut interrupt).await {
        report.left_behind = Some(bench.name.clone());
    }
    Ok(report)
}

/// What callers leave to those after them.
#[derive(Debug, Default)]
struct Rest {
    held: Vec<(u64, String)>,
    doubted: Vec<String>,
    an_error: Option<String>,
}

impl Rest {
    fn take(&mut self, callers: Vec<Caller>) -> Tallies {
        let mut all = Tallies::default();
        for caller in callers {
            self.held.extend(caller.held);
            self.doubted.extend(caller.doubted);
            self.an_error = self.an_error.take().or(caller.an_error);
            for (all, own) in all.iter_mut().zip(&caller.tallies) {
                all.join(own);
            }
        }
        all
    }
}

/// Fills the pool as far as was asked; whether it was interrupted.
async fn fill(
    args: &BenchArgs,
    bench: &Rc<Bench>,
    rest: &mut Rest,
    interrupt: &mut Signal,
) -> bool {
    let wanted = of_percent(args.size, args.occupancy);
    let mut tasks = JoinSet::new();
    for number in 0..MOVERS as u64 {
        let movers = MOVERS as u64;
        let share = wanted / movers + u64::from(number < wanted % movers);
        tasks.spawn_local(Caller::new(bench, args.seed).fill(share));
    }
    let phase = Phase { limit: FILL_LIMIT, calls: Some(wanted), verb: "filling" };
    let (callers, interrupted) = phase.wait(bench, tasks, interrupt).await;
    let _ = rest.take(callers);
    interrupted
}

/// Measures with so many clients; whether it was interrupted.
async fn run(
    args: &BenchArgs,
    bench: &Rc<Bench>,
    clients: usize,
    rest: &mut Rest,
    interrupt: &mut Signal,
) -> (Run, bool) {
    let seed = |number: usize| args.seed ^ ((number as u64 + 1) << 32);
    let mut callers: Vec<Caller> =
        (0..clients).map(|number| Caller::new(bench, seed(number))).collect();
    let held_before = rest.held.len();
    for (number, held) in rest.held.drain(..).enumerate() {
        callers[number % clients].held.push(held);
    }
    let before = rounds(args).await;
    let phase =
        Phase { limit: Duration::from_secs(args.duration.into()), calls: None, verb: "measuring" };
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in callers {
        match args.workload {
            WorkloadArg::Ids => tasks.spawn_local(caller.ids()),
            WorkloadArg::Keys => tasks.spawn_local(caller.keys()),
        };
    }
    let (callers, interrupted) = phase.wait(bench, tasks, interrupt).await;
    let took = begun.elapsed();
    let rounds = before.zip(rounds(args).await).map(|(before, after)| after.since(&before));
    let kinds: &[&str] = if args.workload == WorkloadArg::Ids { &IDS } else { &KEYS };
    let tallies = rest.take(callers);
    let row = |(kind, tally): (&&'static str, _)| {
        Row::new(kind, tally, took, rounds.as_ref().and_then(|rounds| rounds.median(kind)))
    };
    let calls: Vec<Row> = kinds.iter().zip(&tallies).map(row).collect();
    let done: u64 = calls.iter().map(Row::done).sum();
    let all_rounds_per_call = rounds.and_then(|rounds| rounds.per_call(done));
    (
        Run { clients, held_before, seconds: took.as_secs_f64(), calls, all_rounds_per_call },
        interrupted,
    )
}

/// Frees all that is held, has a recovery free what is in doubt, deletes the pool; whether it is gone.
async fn clean_up(bench: &Rc<Bench>, rest: Rest, interrupt: &mut Signal) -> bool {
    let Rest { mut held, doubted, .. } = rest;
    let phase = Phase { limit: EMPTY_LIMIT, calls: Some(held.len() as u64), verb: "emptying" };
    let mut tasks = JoinSet::new();
    let share = held.len().div_ceil(MOVERS);
    while !held.is_empty() {
        let mut caller = Caller::new(bench, 0);
        caller.held = held.split_off(held.len().saturating_sub(share));
        tasks.spawn_local(caller.empty());
    }
    let _ = phase.wait(bench, tasks, interrupt).await;
    if !doubted.is_empty() && bench.client.recover(&bench.name, &doubted, false).await.is_err() {
        return false;
    }
    bench.client.delete_pool(&bench.name).await.is_ok()
}

/// A part of the whole that ends.
struct Phase {
    limit: Duration,
    /// How many calls there are to be; `None`: as many as there is time for.
    calls: Option<u64>,
    verb: &'static str,
}

impl Phase {
    /// Waits for all callers, shows how far they are, and tells them when it is over; whether that was
    /// because of Ctrl-C.
    async fn wait(
        &self,
        bench: &Bench,
        mut tasks: JoinSet<Caller>,
        interrupt: &mut Signal,
    ) -> (Vec<Caller>, bool) {
        bench.over.set(false);
        bench.ended.set(0);
        let bar = bar(self.calls.unwrap_or(self.limit.as_secs()));
        let begun = Instant::now();
        let mut ticks = interval(TICK);
        let (mut callers, mut interrupted) = (Vec::new(), false);
        loop {
            tokio::select! {
                caller = tasks.join_next() => match caller {
                    Some(Ok(caller)) => callers.push(caller),
                    // What it held is not freed, and its panic was told.
                    Some(Err(_)) => {}
                    None => {
                        bar.finish_and_clear();
                        return (callers, interrupted);
                    }
                },
                () = sleep_until(begun + self.limit), if !bench.over.get() => bench.over.set(true),
                _ = interrupt.recv() => {
                    interrupted = true;
                    bench.over.set(true);
                }
                _ = ticks.tick() => {
                    let (ended, took) = (bench.ended.get(), begun.elapsed());
                    let rate = per(ended, took.as_secs_f64());
                    bar.set_message(format!("{}: {rate:.0} calls a second", self.verb));
                    bar.set_position(self.calls.map_or(took.as_secs(), |all| ended.min(all)));
                }
            }
        }
    }
}

/// Of all servers since their starts; `None` if one has not said.
async fn rounds(args: &BenchArgs) -> Option<Rounds> {
    let mut all = Rounds::default();
    for endpoint in &args.server.endpoint {
        let options = options(std::slice::from_ref(endpoint), &args.server.choice);
        all.add(&metrics(&options).await.ok()?)?;
    }
    Some(all)
}

async fn metrics(options: &Options) -> Result<String, ClientError> {
    Client::new(options)?.metrics().await
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a size below 2^48, between none and all of it"
)]
fn of_percent(size: u64, percent: f64) -> u64 {
    ((size as f64 * percent / 100.0).round() as u64).min(size)
}

/// A bar on stderr, if that is a terminal.
fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {msg}")
        .expect("a template that a test draws");
    ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_a_sound_template_and_shares_are_whole() {
        bar(3).finish_and_clear();
        assert_eq!(of_percent(65_536, 99.9), 65_470);
        assert_eq!((of_percent(7, 0.0), of_percent(7, 100.0)), (0, 7));
    }
}
