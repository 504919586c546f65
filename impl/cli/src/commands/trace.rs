//! `replay`: sets up a store and a bar, replays, prints the summary and the objections.
//!
//! Invariant: a replay never touches a data file. The durable store is a file of its own in the
//! directory for temporary files; where the system allows it, it has no name from the moment it is
//! open, so that nothing is left behind however the process ends.

use cloakroom_pool::{MapError, PoolId, Tree};
use cloakroom_shards::Shards;
use cloakroom_stores::Durable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Done, policy, policy_name, read, shown};
use crate::args::{Format, ReplayArgs, StoreArg};
use crate::error::Error;
use crate::output::{print, print_json, say};
use crate::replay::{Chance, Columns, Outcome, Replay, Setting, SharedMap, Trace};

pub(super) fn replay(args: &ReplayArgs) -> Result<Done, Error> {
    let shape = args.shape.tree.local()?;
    let tree = Tree::new(PoolId(1), args.shape.size, shape)?;
    let columns =
        Columns { tag: &args.tag_column, start: &args.start_column, end: &args.end_column };
    let file = shown(&args.file);
    let trace = Trace::parse(&file, &read(&args.file)?, columns)?;
    let outcome = match args.store {
        StoreArg::Memory => on_map(&Shards::new().map_err(MapError::from)?, tree, args, &trace)?,
        StoreArg::Durable => on_file(tree, args, &trace)?,
    };
    for objection in outcome.objections() {
        say(format_args!("error: {objection}"));
    }
    let done = done(outcome.objections());
    let report = outcome.report(setting(args, &tree, &trace, file));
    match args.output.output {
        Format::Json => print_json(&report)?,
        Format::Table => print(report.table().as_bytes())?,
    }
    Ok(done)
}

/// A promise that was broken is a check that failed.
fn done(objections: &[String]) -> Done {
    if objections.is_empty() { Done::Yes } else { Done::Refused }
}

fn on_file(tree: Tree, args: &ReplayArgs, trace: &Trace) -> Result<Outcome, Error> {
    let system = |cause| Error::System { what: "the replay's temporary file", cause };
    let dir = tempfile::Builder::new().prefix("cloakroom-replay-").tempdir().map_err(system)?;
    let path = dir.path().join("replay.redb");
    let map = Durable::open(&path)?;
    // Where an open file cannot be removed, it goes at the end.
    let named = std::fs::remove_file(&path).is_err().then_some(dir);
    let outcome = on_map(&map, tree, args, trace);
    drop(map);
    drop(named);
    outcome
}

fn on_map(
    map: SharedMap<'_>,
    tree: Tree,
    args: &ReplayArgs,
    trace: &Trace,
) -> Result<Outcome, Error> {
    let bar = bar(trace.events().len());
    let replay = Replay {
        map,
        tree,
        policy: policy(args.shape.tree.policy),
        workers: args.workers,
        chance: Chance { seed: args.seed, rate: args.crash_rate },
        progress: &|events| bar.set_position(events as u64),
    };
    let outcome = replay.run(trace);
    bar.finish_and_clear();
    Ok(outcome?)
}

/// A bar on stderr, if that is a terminal.
fn bar(events: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} events, {eta} left")
        .expect("a template that a test draws");
    ProgressBar::with_draw_target(Some(events as u64), ProgressDrawTarget::stderr())
        .with_style(style)
}

fn setting(args: &ReplayArgs, tree: &Tree, trace: &Trace, file: String) -> Setting {
    Setting {
        trace: file,
        size: tree.size(),
        fanout: tree.shape().fanout(),
        block: tree.shape().block(),
        policy: policy_name(policy(args.shape.tree.policy)),
        store: match args.store {
            StoreArg::Memory => "memory",
            StoreArg::Durable => "durable",
        },
        workers: args.workers,
        crash_rate: args.crash_rate.as_f64(),
        seed: args.seed,
        rows: trace.rows,
        skipped: trace.without_start,
        skipped_why: (trace.without_start > 0)
            .then(|| format!("never started: no {}", args.start_column)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objection_fails_the_command() {
        assert_eq!(done(&[]), Done::Yes);
        assert_eq!(done(&["POOL-1".to_owned()]), Done::Refused);
    }

    #[test]
    fn the_bar_has_a_sound_template() {
        bar(3).finish_and_clear();
    }
}
