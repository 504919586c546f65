//! Runs the pool's step machines over the registers: each request is one operation on a key.
//!
//! Invariants:
//! * the machines are the pool's, unchanged: what is checked is what runs here;
//! * POOL-1: an unknown outcome is told to the machine as unknown, never as a failure.
//!
//! What it does not do: decide anything. A machine that is given up half-way leaves what a caller that
//! dies there leaves.

use std::collections::VecDeque;

use cloakroom_pool::{Cas, Machine, MapError, Next, Place, Request, Response, Tag, Tree, Value};
use tokio::task::JoinSet;

use crate::registers::Registers;

/// A machine's output, and the last error that the registers gave.
pub(crate) type Ended<T> = (T, Option<MapError>);

/// Runs a machine to its end.
pub(crate) async fn run_asking<K: Machine>(
    registers: &Registers,
    tree: &Tree,
    mut machine: K,
    is_live: impl Fn(&Tag) -> bool,
) -> Ended<K::Output> {
    let mut cause = None;
    loop {
        let (response, error) = match machine.request() {
            Request::IsLive(tag) => (Response::Live(is_live(&tag)), None),
            request => answer(registers, tree, request).await,
        };
        cause = error.or(cause);
        if let Next::Done(output) = machine.step(response) {
            return (output, cause);
        }
    }
}

/// How many siblings a walk reads at a time.
const AHEAD: usize = 32;

/// As [`run_asking`], for a machine that only reads, children from the first to the last. Those that come next are
/// read beside the one that it asks for: each within the call, which is all that a walk wants of its reads.
pub(crate) async fn walk<K: Machine>(
    registers: &Registers,
    tree: &Tree,
    mut machine: K,
) -> Ended<K::Output> {
    let mut ahead = VecDeque::new();
    loop {
        let Request::Get(place) = machine.request() else { unreachable!("a walk only reads") };
        if ahead.front().is_none_or(|(read, _)| *read != place) {
            ahead = read_from(registers, tree, place).await;
        }
        let (response, cause) = match ahead.pop_front() {
            Some((_, Ok(value))) => (Response::Value(value), None),
            Some((_, Err(error))) => (Response::Unavailable, Some(error)),
            None => unreachable!("the place itself was read"),
        };
        if let Next::Done(output) = machine.step(response) {
            return (output, cause);
        }
    }
}

type Read = (Place, Result<Option<Value>, MapError>);

/// A place, and some siblings behind it.
async fn read_from(registers: &Registers, tree: &Tree, place: Place) -> VecDeque<Read> {
    let places = std::iter::successors(Some(place), |place| tree.sibling(*place)).take(AHEAD);
    let broken = || Err(MapError::Unavailable { cause: "the read has broken off".into() });
    let mut all: VecDeque<Read> = places.map(|place| (place, broken())).collect();
    // Given up with the call.
    let mut reads = JoinSet::new();
    for (number, (place, _)) in all.iter().enumerate() {
        let (registers, tree, place) = (registers.clone(), *tree, *place);
        reads.spawn(async move { (number, value(&registers, &tree, Request::Get(place)).await) });
    }
    while let Some(read) = reads.join_next().await {
        if let Ok((number, value)) = read {
            all[number].1 = value;
        }
    }
    all
}

/// The response to a request, and why it is none of those that were hoped for.
pub(crate) async fn answer(
    registers: &Registers,
    tree: &Tree,
    request: Request,
) -> (Response, Option<MapError>) {
    match ask(registers, tree, request).await {
        Ok(response) => (response, None),
        // POOL-1: what may have happened is not said to have failed.
        Err(error @ MapError::Unknown { .. }) => (Response::Unknown, Some(error)),
        Err(error) => (Response::Unavailable, Some(error)),
    }
}

async fn ask(registers: &Registers, tree: &Tree, request: Request) -> Result<Response, MapError> {
    match request {
        Request::Get(place) | Request::Recall(place) => {
            let held = registers.get(&tree.key(place)).await?;
            Ok(Response::Value(decode(held.as_ref().map(|held| &held.value.0[..]), tree, place)?))
        }
        Request::CompareAndSet { place, expected, new } => {
            let expected = expected.map(|value| value.encode(tree, place));
            let new = new.encode(tree, place);
            let key = tree.key(place);
            match registers.compare_and_set(&key, expected.as_deref(), Some(&new)).await? {
                Cas::Set => Ok(Response::Set),
                Cas::Mismatch(held) => {
                    Ok(Response::Mismatch(decode(held.as_deref(), tree, place)?))
                }
            }
        }
        Request::IsLive(tag) => panic!("host: asked the map whether {tag:?} is live"),
    }
}

fn decode(bytes: Option<&[u8]>, tree: &Tree, place: Place) -> Result<Option<Value>, MapError> {
    let value = bytes.map(|bytes| Value::decode(bytes, tree, place)).transpose();
    value.map_err(|problem| {
        let (pool, key) = (tree.pool(), tree.key(place));
        MapError::Corrupt { pool, place, key, problem }
    })
}

/// What a place holds, of one request that asks for it.
pub(crate) async fn value(
    registers: &Registers,
    tree: &Tree,
    request: Request,
) -> Result<Option<Value>, MapError> {
    match ask(registers, tree, request).await? {
        Response::Value(value) => Ok(value),
        other => unreachable!("a get was answered with {other:?}"),
    }
}
