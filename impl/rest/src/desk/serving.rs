//! A turn under way at a desk: its requests, those who join it, and whom it tells their ends.
//!
//! Invariants:
//! * a request that is not answered holds up those who came with its call for a share of their time;
//! * who could not join has to wait for nobody who comes later.
//!
//! What it does not do: answer callers. It tells whoever does.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom_node::Rounds;
use cloakroom_pool::{
    self as pool, AllocateFailure, Batch, Interrupted, MapError, Memory, Request, Response, Tree,
    Turn,
};
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

use super::clock::Reading;
use super::{Desk, Done, Ended, Ground, MOST_TOGETHER, Waiting, answer, last, lock};
use crate::directory::Definition;
use crate::problem::{Kind, Problem};

/// Calls of one turn: who could not join it has to wait for its end.
const MOST_IN_TURN: usize = 1024;
/// Which part of the time that is left the requests of one round may take, if they hold others up.
const SHARE: u32 = 4;
/// But never less than a slow disk needs.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// Whose calls a turn serves.
#[derive(Clone)]
pub(super) struct Host<G> {
    pub(super) desk: Arc<Desk>,
    pub(super) ground: G,
    pub(super) name: Arc<str>,
    pub(super) pool: Definition,
    pub(super) is_gone: Arc<AtomicBool>,
}

/// Where the end of a call is told to whom answers it.
type Ends = mpsc::UnboundedSender<(Waiting, Ended, Reading)>;

/// A turn under way, and those who wait for its ends.
pub(super) struct Serving<G> {
    host: Host<G>,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) turn: Turn,
    /// By their numbers; `None`: it has been told.
    waiting: Vec<Option<(Waiting, Ends)>>,
    /// Somebody could not join, and is not to wait for those who could.
    is_closed: bool,
    /// The batches under way.
    asked: Vec<Asked>,
    /// Their requests, and which they are.
    pub(super) under_way: JoinSet<Carried>,
    numbers: HashMap<task::Id, (Batch, usize)>,
    /// The last error of the registers.
    cause: Option<MapError>,
}

/// A batch under way, and the answers that there are.
struct Asked {
    batch: Batch,
    begun: Reading,
    requests: Vec<Request>,
    responses: Vec<Option<Response>>,
}

impl<G: Ground> Serving<G> {
    pub(super) fn new(host: Host<G>, memory: Arc<Mutex<Memory>>, waiting: Vec<Waiting>) -> Self {
        let Definition { tree, policy, .. } = host.pool;
        let waiting: Vec<Waiting> = waiting.into_iter().filter_map(|it| it.of(tree)).collect();
        let wants = waiting.iter().map(|waiting| waiting.want.clone()).collect();
        let mut serving = Self {
            host,
            memory,
            turn: Turn::new(tree, policy, wants),
            waiting: Vec::new(),
            is_closed: false,
            asked: Vec::new(),
            under_way: JoinSet::new(),
            numbers: HashMap::new(),
            cause: None,
        };
        serving.came(waiting);
        serving
    }

    /// They came together, and are answered by one task.
    fn came(&mut self, waiting: Vec<Waiting>) {
        let Some(until) = last(&waiting) else { return };
        // It ends when the last of them has been told.
        let (ends, ended) = mpsc::unbounded_channel();
        tokio::spawn(answer(self.host.clone(), until, ended));
        self.waiting.extend(waiting.into_iter().map(|waiting| Some((waiting, ends.clone()))));
    }

    pub(super) fn can_join(&self) -> bool {
        !self.is_closed && self.waiting.len() < MOST_IN_TURN && self.turn.is_open()
    }

    /// Whether nothing is under way, and what is left to be written is for nobody who waits.
    pub(super) fn owes_nobody(&self) -> bool {
        self.asked.is_empty() && self.can_join() && self.waiting.iter().all(Option::is_none)
    }

    /// Those who wait at the desk join, if they can.
    pub(super) fn let_join(&mut self) {
        if !self.can_join() {
            return;
        }
        let room = (MOST_IN_TURN - self.waiting.len()).min(MOST_TOGETHER);
        let tree = self.host.pool.tree;
        let waiting = self.host.desk.take(room).into_iter();
        let waiting: Vec<Waiting> = waiting.filter_map(|it| it.of(tree)).collect();
        let wants = waiting.iter().map(|waiting| waiting.want.clone()).collect();
        let joined = self.turn.join(wants, &|place| match lock(&self.memory)
            .answer(&Request::Recall(place))
        {
            Some(Response::Recalled(value)) => Some(Some(value)),
            _ => None,
        });
        let mut joined = joined.into_iter();
        let (joined, left): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|_| joined.next() == Some(true));
        self.is_closed = !left.is_empty();
        self.host.desk.give_back(left);
        self.came(joined);
    }

    /// Begins what can begin; whether anything is under way.
    pub(super) fn ask(&mut self) -> bool {
        while let Some(batch) = self.turn.begin() {
            let (requests, begun) = (self.turn.requests(batch), self.host.desk.clock.read());
            let open = self.waiting.iter().flatten().map(|(waiting, _)| waiting.until);
            let open: Vec<Instant> = open.collect();
            let until = round_until(&open, self.turn.is_settling(), Instant::now());
            // Nobody waits for it.
            let Some(until) = until else { return false };
            let responses: Vec<Option<Response>> = {
                let mut memory = lock(&self.memory);
                requests.iter().map(|request| memory.answer(request)).collect()
            };
            for (number, request) in requests.iter().enumerate() {
                if responses[number].is_none() {
                    let (ground, request) = (self.host.ground.clone(), request.clone());
                    let tree = self.host.pool.tree;
                    let task = self
                        .under_way
                        .spawn(async move { ground.answer(tree, request, until).await });
                    self.numbers.insert(task.id(), (batch, number));
                }
            }
            self.asked.push(Asked { batch, begun, requests, responses });
            self.go_on();
        }
        !self.under_way.is_empty()
    }

    /// A request has been carried out, or has broken off.
    pub(super) fn take(&mut self, ended: Option<Result<(task::Id, Carried), JoinError>>) {
        let (id, answered) = match ended {
            None => return,
            Some(Ok((id, answered))) => (id, Some(answered)),
            Some(Err(broken)) => (broken.id(), None),
        };
        let Some((batch, number)) = self.numbers.remove(&id) else { return };
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.batch == batch) else { return };
        let request = &asked.requests[number];
        let broken = || (broken_off(request), None, None);
        let (response, error, rounds) = answered.unwrap_or_else(broken);
        self.host.desk.clock.moved(asked.begun, rounds);
        lock(&self.memory).note(request, &response);
        asked.responses[number] = Some(response);
        self.cause = error.or(self.cause.take());
        self.go_on();
    }

    /// Batches that are carried out go to the turn.
    fn go_on(&mut self) {
        let is_done = |asked: &mut Asked| asked.responses.iter().all(Option::is_some);
        let done: Vec<Asked> = self.asked.extract_if(.., is_done).collect();
        for Asked { batch, responses, .. } in done {
            self.turn.answer(batch, responses.into_iter().flatten().collect());
            self.tell();
        }
    }

    /// Tells those whose end the turn tells now.
    pub(super) fn tell(&mut self) {
        let (tree, now) = (self.host.pool.tree, self.host.desk.clock.read());
        for (number, done) in self.turn.ended() {
            let Some((waiting, ends)) = self.waiting[number].take() else { continue };
            // Whoever answers waits for all of them.
            let _ = ends.send((waiting, tell(&tree, done, self.cause.as_ref()), now));
        }
    }
}

/// What came of a request, why it is none of what was hoped for, and after how many rounds.
type Carried = (Response, Option<MapError>, Rounds);

fn broken_off(request: &Request) -> Response {
    match request {
        // POOL-1: it may have been done.
        Request::CompareAndSet { .. } => Response::Unknown,
        _ => Response::Unavailable,
    }
}

/// Until when the requests of a round are tried, by the times of the calls that have not ended. `is_apart`:
/// all of them wait for these requests.
fn round_until(open: &[Instant], is_apart: bool, now: Instant) -> Option<Instant> {
    let (Some(&first), Some(&last)) = (open.iter().min(), open.iter().max()) else {
        // Counts are brought up also for those who have gone.
        return (!is_apart).then(|| now + LEAST_SHARE);
    };
    if is_apart || open.len() == 1 {
        return Some(last);
    }
    let share = (first.saturating_duration_since(now) / SHARE).max(LEAST_SHARE);
    Some(last.min(now + share))
}

/// What a caller is told. `cause`: the last error of the registers.
fn tell(tree: &Tree, done: pool::Done, cause: Option<&MapError>) -> Ended {
    let known = || cause.map_or("it has broken off".to_string(), ToString::to_string);
    let ended = match done {
        pool::Done::Later => return None,
        pool::Done::Allocated(outcome) => {
            outcome.map(Done::Taken).map_err(|failure| match failure {
                AllocateFailure::Full => {
                    Problem::new(Kind::POOL_FULL, format!("all {} ids are held", tree.size()))
                }
                AllocateFailure::Unreachable => Problem::new(Kind::UNAVAILABLE, known()),
                AllocateFailure::Unknown(id) => {
                    let detail = format!("the tag may hold id {id}, now or later: {}", known());
                    Problem::unknown(detail, None)
                }
            })
        }
        pool::Done::Freed(outcome) => outcome.map(Done::Freed).map_err(|Interrupted| {
            Problem::unknown(format!("not finished, send it again: {}", known()), None)
        }),
    };
    Some(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_up_those_who_do_not_wait_for_it_for_a_share_of_their_time() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(round_until(&[], true, now), None);
        assert_eq!(round_until(&[], false, now), Some(at(1_000)));
        assert_eq!(round_until(&[at(8_000)], false, now), Some(at(8_000)));
        assert_eq!(round_until(&[at(8_000), at(60_000)], false, now), Some(at(2_000)));
        // Who has hardly any time does not take that of the others.
        assert_eq!(round_until(&[at(1), at(60_000)], false, now), Some(at(1_000)));
        assert_eq!(round_until(&[at(1), at(500)], false, now), Some(at(500)));
        assert_eq!(round_until(&[at(8_000), at(60_000)], true, now), Some(at(60_000)));
    }
}
