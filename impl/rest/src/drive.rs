//! Runs the pool's step machines over the registers: each request is one operation on a key.
//!
//! Invariants:
//! * the machines are the pool's, unchanged: what is checked is what runs here;
//! * POOL-1: an unknown outcome is told to the machine as unknown, never as a failure.
//!
//! What it does not do: decide anything. A machine that is given up half-way leaves what a caller that
//! dies there leaves.

use cloakroom_pool::{Cas, Machine, MapError, Next, Place, Request, Response, Tag, Tree, Value};

use crate::registers::Registers;

/// A machine's output, and the last error that the registers gave.
pub(crate) type Ended<T> = (T, Option<MapError>);

/// Runs a machine that asks the map alone.
pub(crate) async fn run<K: Machine>(
    registers: &Registers,
    tree: &Tree,
    machine: K,
) -> Ended<K::Output> {
    run_asking(registers, tree, machine, |tag| panic!("machine: asked whether {tag:?} is live"))
        .await
}

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
