//! Runs a trace file on the machines, and tells it in words.
//!
//! Invariants:
//! * what a line says is compared with what the machines do, outcome included;
//! * the way to the fault keeps the bounds of its search; what follows may need further calls;
//! * the fault must be seen where the trace says so, and the verdict must be the one of the last
//!   state.

use cloakroom_pool::Interval;
use thiserror::Error;

use super::event::{Event, What};
use super::machine::{Answer, Call, Operation, Outcome, Value, root};
use super::trace::{Part, TraceError, read};
use super::world::World;

/// Why a trace could not be replayed: the file is at fault, or is of other machines.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It is no trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The machines do something else there.
    #[error("trace, line {line}: expected {expected} (as the machines do), got {got}")]
    Differs {
        /// The line, from 1.
        line: usize,
        /// What the machines do.
        expected: String,
        /// What the trace says.
        got: String,
    },
    /// The fault is not to be seen where the trace says so.
    #[error("trace, line {line}: expected that {expected}, got a state that does not show it")]
    NotShown {
        /// The line after which it should be seen.
        line: usize,
        /// What should be seen.
        expected: String,
    },
}

/// Runs a trace step by step, and tells it: one line a step, a heading before a cycle and before
/// what comes after the fault, and last the verdict, what is now wrong and why. O(length).
///
/// # Errors
/// [`ReplayError`] at the first line that is not true.
pub fn replay(text: &str) -> Result<Vec<String>, ReplayError> {
    let (trace, lines) = read(text)?;
    let (fault, setting) = (&trace.fault, &trace.fault.setting);
    let mut told = vec![format!("{} ({}; {})", fault.title, fault.name, fault.bounds)];
    let mut world = World::new(setting);
    let mut shown = None;
    let mut after = Vec::new();
    let mut part = Part::Stem;
    for (number, (step, &line)) in (1..).zip(trace.steps.iter().zip(&lines)) {
        if step.part != part {
            part = step.part;
            told.extend(part.mark().map(str::to_owned));
            shown.get_or_insert_with(|| (line, world.clone()));
        }
        let differs = |expected| {
            let got = format!("`{}`", step.event);
            ReplayError::Differs { line, expected, got }
        };
        let action = step.event.action();
        let is_bounded = part != Part::Stem || world.may(setting, action);
        let event = world
            .apply(setting, action)
            .ok_or_else(|| differs(world.what_can(setting, action.caller)))?;
        if !is_bounded {
            return Err(differs(format!("no more than {}", fault.bounds)));
        }
        if event != step.event {
            return Err(differs(format!("`{event}`")));
        }
        told.push(format!("{number:>3}. {}", words(&event, &world)));
        if part != Part::Stem {
            after.push(event);
        }
    }
    let end = lines.last().copied().unwrap_or_default();
    let (line, shown) = shown.unwrap_or_else(|| (end, world.clone()));
    if !fault.kind.is_shown(setting, &shown) {
        return Err(ReplayError::NotShown { line, expected: fault.shows.to_owned() });
    }
    let verdict = fault.kind.verdict(&world);
    if !fault.kind.is_suffered(&shown, &world, &after) {
        return Err(ReplayError::NotShown { line: end, expected: verdict });
    }
    if verdict != trace.verdict {
        let (expected, got) = (format!("`{verdict}`"), format!("`{}`", trace.verdict));
        return Err(ReplayError::Differs { line: end, expected, got });
    }
    told.push(format!("Finally: {verdict}. {} This breaks {}.", fault.why, fault.property));
    Ok(told)
}

/// An event in words; the world is the one after it.
fn words(event: &Event, world: &World) -> String {
    let caller = event.caller;
    match event.what {
        What::Starts(Call::Allocate(tag)) => {
            format!("{caller} calls allocate, for the tag {tag}.")
        }
        What::Starts(Call::Free(id, tag)) => {
            format!("{caller} calls free, for the id {id} and the tag {tag}.")
        }
        What::Does(operation, outcome) => does(caller, operation, outcome, world),
        What::TakesEffect(Operation::PutIfAbsent(at, tag), Outcome::Done) => format!(
            "Only now {caller}'s put of unknown outcome takes effect: {} is held under {tag}.",
            place(at, world)
        ),
        What::TakesEffect(operation, outcome) => {
            format!("Only now {caller}'s {operation} arrives: {outcome}.")
        }
        What::Returns(Answer::Id(id)) => format!("{caller}'s allocate returns the id {id}."),
        What::Returns(Answer::Full) => format!(
            "{caller}'s allocate returns Full; {} of {} ids are held.",
            world.held_below(whole(world)),
            world.leaves().len()
        ),
        What::Returns(Answer::Freed) => format!("{caller}'s free returns."),
        What::Dies => format!("{caller} dies inside its call."),
    }
}

fn does(
    caller: impl std::fmt::Display,
    operation: Operation,
    outcome: Outcome,
    world: &World,
) -> String {
    let result = match outcome {
        Outcome::Failed => "refused",
        Outcome::Unknown => "no answer, so it has happened, or will later, or never will",
        Outcome::Done | Outcome::Value(_) => "done",
    };
    match (operation, outcome) {
        (Operation::Get(at), Outcome::Value(Value::Leaf(None))) => {
            format!("{caller} reads {}: free.", place(at, world))
        }
        (Operation::Get(at), Outcome::Value(Value::Leaf(Some(tag)))) => {
            format!("{caller} reads {}: held under {tag}.", place(at, world))
        }
        (Operation::Get(at), _) => {
            format!("{caller} reads {}: {outcome}{}.", place(at, world), truth(at, world))
        }
        (Operation::PutIfAbsent(at, tag), _) => {
            format!("{caller} puts {tag} into {}, if that is free: {result}.", place(at, world))
        }
        (Operation::CompareAndRemove(at, tag), _) => {
            format!("{caller} removes {tag} from {}: {result}.", place(at, world))
        }
        (Operation::CompareAndSwap(at, from, to), Outcome::Done) => {
            let invisible = if from == to { ", and nobody can see that it was" } else { "" };
            format!(
                "{caller} swaps {} from {from} to {to}: done{invisible}{}.",
                place(at, world),
                truth(at, world)
            )
        }
        (Operation::CompareAndSwap(at, from, to), _) => {
            format!("{caller} swaps {} from {from} to {to}: {result}.", place(at, world))
        }
    }
}

fn place(at: Interval, world: &World) -> String {
    if at.is_leaf() {
        format!("the leaf of id {}", at.start())
    } else if at == whole(world) {
        "the root".to_owned()
    } else {
        format!("the node {at}")
    }
}

/// What a count should be, where it is not.
fn truth(at: Interval, world: &World) -> String {
    let (counted, held) = (world.counted_at(at), world.held_below(at));
    if counted == held { String::new() } else { format!(" (in truth {held})") }
}

fn whole(world: &World) -> Interval {
    root(world.leaves().len() as u64)
}
