//! Calls of one pool that come while others are under way: they gather, and are carried out together.
//!
//! # Life of a call
//! 1. It joins those that wait at its pool's desk. If nobody works there, a task begins to.
//! 2. The task takes all that wait and serves them in one [`Turn`]: each block and each node is written
//!    once for all. Beside it, it looks up whether the pool is still the one it takes it for.
//! 3. It answers each call as soon as the turn tells its end. When only writes in doubt are left, another task
//!    finds out what became of them.
//! 4. It goes on with those that have come meanwhile and those that the turn has left, and ends when there
//!    are none.
//!
//! Invariants:
//! * a turn serves calls that have come before it, as the pool's machine says;
//! * the pool of an answer was defined under the name at some moment during the call;
//! * a request that is not answered holds up those who came with its call for a share of their time, and
//!   nobody else;
//! * what a desk remembers is bounded, and nothing rests on it but speed.
//!
//! What it does not do: keep other nodes from working on the same pool. They are in each other's way, and
//! safe; clients that send a pool's calls to one node are served faster.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_pool::{
    self as pool, AllocateFailure, FreeOutcome, Id, Interrupted, MapError, Memory, Request,
    Response, Tree, Turn, Want,
};
use cloakroom_server::Server;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::directory::{self, Definition};
use crate::drive;
use crate::problem::{Kind, Problem};
use crate::registers::Registers;

/// Calls that are carried out together.
const MOST_TOGETHER: usize = 256;
/// Desks at which nobody works are forgotten when there are more.
const MOST_DESKS: usize = 64;
/// Blocks and nodes that a desk remembers.
const MOST_REMEMBERED: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
/// After its time a call waits so long for the word that it was not begun.
const GRACE: Duration = Duration::from_millis(500);
/// Which part of the time that is left the requests of one round may take, if they hold others up.
const SHARE: u32 = 4;
/// But never less than a slow disk needs.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// What a call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// An id is held.
    Taken(Id),
    /// An id is free.
    Freed(FreeOutcome),
}

/// All desks of a node.
#[derive(Debug, Default)]
pub(crate) struct Desks(Mutex<HashMap<Arc<str>, Arc<Desk>>>);

#[derive(Debug, Default)]
struct Desk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    is_worked_at: bool,
    known: Option<Known>,
}

#[derive(Debug)]
struct Waiting {
    want: Want,
    until: Instant,
    reply: oneshot::Sender<Result<Done, Problem>>,
}

/// What is known of a pool.
#[derive(Clone, Debug)]
struct Known {
    pool: Definition,
    memory: Memory,
}

impl Desks {
    /// Carries out a call on the pool of this name.
    pub(crate) async fn call(
        &self,
        server: &Arc<Server>,
        name: &str,
        want: Want,
        until: Instant,
    ) -> Result<Done, Problem> {
        let (reply, answered) = oneshot::channel();
        let (desk, begins) = self.join(name, Waiting { want, until, reply });
        if begins {
            begin(desk, Arc::clone(server), Arc::from(name));
        }
        match timeout_at(until + GRACE, answered).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Err(Problem::broken("the pool's desk has broken off")),
            Err(_) => Err(Problem::unknown("it is under way, and may still be done", None)),
        }
    }

    /// Whether somebody has to begin to work there.
    fn join(&self, name: &str, waiting: Waiting) -> (Arc<Desk>, bool) {
        let mut desks = lock(&self.0);
        if desks.len() >= MOST_DESKS && !desks.contains_key(name) {
            desks.retain(|_, desk| lock(&desk.0).is_worked_at);
        }
        let desk = Arc::clone(desks.entry(name.into()).or_default());
        let begins = desk.join([waiting]);
        (desk, begins)
    }
}

impl Desk {
    /// Whether somebody has to begin to work here.
    fn join(&self, waiting: impl IntoIterator<Item = Waiting>) -> bool {
        let mut state = lock(&self.0);
        state.waiting.extend(waiting);
        !state.waiting.is_empty() && !std::mem::replace(&mut state.is_worked_at, true)
    }
}

/// Leaves a desk to others also when its work has broken off; `None`: it was left already.
struct Leaving(Option<Arc<Desk>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(desk) = &self.0 {
            let mut state = lock(&desk.0);
            state.is_worked_at = false;
            // Whoever waits learns that it has broken off.
            state.waiting.clear();
        }
    }
}

fn begin(desk: Arc<Desk>, server: Arc<Server>, name: Arc<str>) {
    tokio::spawn(work(desk, server, name));
}

async fn work(desk: Arc<Desk>, server: Arc<Server>, name: Arc<str>) {
    let mut leaving = Leaving(Some(Arc::clone(&desk)));
    let mut known = lock(&desk.0).known.take();
    let mut again = Vec::new();
    loop {
        let turn = {
            let mut state = lock(&desk.0);
            let waiting = state.waiting.len().min(MOST_TOGETHER.saturating_sub(again.len()));
            again.extend(state.waiting.drain(..waiting));
            if again.is_empty() {
                state.known = known;
                state.is_worked_at = false;
                // Under the lock: whoever joins next begins anew.
                leaving.0 = None;
                return;
            }
            std::mem::take(&mut again)
        };
        again = serve(&desk, &server, &name, &mut known, turn).await;
    }
}

/// Serves some calls; returns those that are to be served again.
async fn serve(
    desk: &Arc<Desk>,
    server: &Arc<Server>,
    name: &Arc<str>,
    known: &mut Option<Known>,
    turn: Vec<Waiting>,
) -> Vec<Waiting> {
    let now = Instant::now();
    let (turn, late): (Vec<_>, Vec<_>) = turn.into_iter().partition(|waiting| waiting.until > now);
    for late in late {
        let detail = "its time was over before it was begun";
        late.answer(Err(Problem::new(Kind::UNAVAILABLE, detail)));
    }
    let Some(until) = turn.iter().map(|waiting| waiting.until).max() else { return Vec::new() };
    let registers = Registers::new(Arc::clone(server), until);
    if known.is_none() {
        match directory::look_up(&registers, name).await {
            Ok(Some(pool)) => *known = Some(Known { pool, memory: Memory::new(MOST_REMEMBERED) }),
            Ok(None) => {
                answer_all(turn, &no_such_pool(name));
                return Vec::new();
            }
            Err(error) => {
                answer_all(turn, &Problem::from(error));
                return Vec::new();
            }
        }
    }
    let Some(Known { pool, memory }) = known else { return turn };
    let turn: Vec<Waiting> = turn.into_iter().filter_map(|it| it.of(pool.tree)).collect();
    let mut serving = Serving::new(pool, server, turn);
    let (ends, mut ended) = mpsc::unbounded_channel();
    let rounds = async {
        // Dropped at the last of them.
        let ends = ends;
        while !serving.turn.is_settling() && serving.round(memory).await {
            serving.told().for_each(|end| _ = ends.send(end));
        }
        serving.told().for_each(|end| _ = ends.send(end));
    };
    let mut again = Vec::new();
    let telling = async {
        // What was done was done to what the pool was.
        let changed = match directory::look_up(&registers, name).await {
            Ok(Some(still)) if still == *pool => None,
            Ok(_) => Some("the pool was deleted meanwhile".to_string()),
            Err(error) => Some(error.to_string()),
        };
        while let Some((waiting, ended)) = ended.recv().await {
            again.extend(waiting.end(ended, changed.as_deref()));
        }
        changed
    };
    let ((), changed) = tokio::join!(rounds, telling);
    if serving.turn.is_settling() {
        let (desk, name) = (Arc::clone(desk), Arc::clone(name));
        tokio::spawn(settle(desk, name, serving, changed.clone()));
    }
    if changed.is_some() {
        *known = None;
    }
    again
}

/// Finds out what became of writes in doubt, while the desk serves others, as another node could.
async fn settle(desk: Arc<Desk>, name: Arc<str>, mut serving: Serving, changed: Option<String>) {
    let mut again = Vec::new();
    // What it reads it reads anew.
    let mut memory = Memory::new(NonZeroUsize::MIN);
    while serving.round(&mut memory).await {
        for (waiting, ended) in serving.told() {
            again.extend(waiting.end(ended, changed.as_deref()));
        }
    }
    for (waiting, ended) in serving.told() {
        again.extend(waiting.end(ended, changed.as_deref()));
    }
    if desk.join(again) {
        begin(desk, serving.server, name);
    }
}

fn no_such_pool(name: &str) -> Problem {
    Problem::new(Kind::NO_SUCH_POOL, format!("got {name:?}"))
}

impl Waiting {
    fn answer(self, ended: Result<Done, Problem>) {
        // Whoever has asked may have gone.
        let _ = self.reply.send(ended);
    }

    /// Answers it, or gives it back to be served again. `changed`: why its pool is no longer what it was.
    fn end(self, ended: Ended, changed: Option<&str>) -> Option<Self> {
        match (ended, changed) {
            (None, _) => return Some(self),
            (Some(Ok(_)), Some(why)) => self.answer(Err(Problem::unknown(why, None))),
            (Some(ended), _) => self.answer(ended),
        }
        None
    }

    /// The same, if the pool has such an id.
    fn of(self, tree: Tree) -> Option<Self> {
        match &self.want {
            Want::Free(id, _) if tree.slot(*id).is_none() => {
                let detail = format!("id: expected 0 to {}, got {id}", tree.size() - 1);
                self.answer(Err(Problem::new(Kind::NO_SUCH_ID, detail)));
                None
            }
            _ => Some(self),
        }
    }
}

/// What has become of a call; `None`: nothing yet, it is to be served again.
type Ended = Option<Result<Done, Problem>>;

/// A turn under way, and those who wait for its ends.
struct Serving {
    tree: Tree,
    server: Arc<Server>,
    turn: Turn,
    /// By their numbers; `None`: it has been told.
    waiting: Vec<Option<Waiting>>,
    /// The last error of the registers.
    cause: Option<MapError>,
}

impl Serving {
    fn new(pool: &Definition, server: &Arc<Server>, waiting: Vec<Waiting>) -> Self {
        let Definition { tree, policy, .. } = *pool;
        let wants = waiting.iter().map(|waiting| waiting.want.clone()).collect();
        let turn = Turn::new(tree, policy, wants);
        let (server, waiting) = (Arc::clone(server), waiting.into_iter().map(Some).collect());
        Self { tree, server, turn, waiting, cause: None }
    }

    /// Carries out the next requests, if there are any.
    async fn round(&mut self, memory: &mut Memory) -> bool {
        let requests = self.turn.requests();
        let open: Vec<Instant> = self.waiting.iter().flatten().map(|it| it.until).collect();
        let until = round_until(&open, self.turn.is_settling(), Instant::now());
        let Some(until) = until.filter(|_| !requests.is_empty()) else { return false };
        let registers = Registers::new(Arc::clone(&self.server), until);
        let (responses, error) = ask_all(memory, &self.tree, &registers, requests).await;
        self.cause = error.or(self.cause.take());
        self.turn.answer(responses);
        true
    }

    /// Those whose end the turn tells now.
    fn told(&mut self) -> impl Iterator<Item = (Waiting, Ended)> + use<> {
        let ended = self.turn.ended().into_iter();
        let ended = ended.filter_map(|(number, done)| {
            let waiting = self.waiting[number].take()?;
            Some((waiting, tell(&self.tree, done, self.cause.as_ref())))
        });
        ended.collect::<Vec<_>>().into_iter()
    }
}

/// Until when the requests of a round are tried, by the times of the calls that have not ended. `is_apart`:
/// all of them wait for these requests.
fn round_until(open: &[Instant], is_apart: bool, now: Instant) -> Option<Instant> {
    let (first, last) = (*open.iter().min()?, *open.iter().max()?);
    if is_apart || open.len() == 1 {
        return Some(last);
    }
    let share = (first.saturating_duration_since(now) / SHARE).max(LEAST_SHARE);
    Some(last.min(now + share))
}

/// Carries out requests about different places, at once; and why one of them was not.
async fn ask_all(
    memory: &mut Memory,
    tree: &Tree,
    registers: &Registers,
    requests: Vec<Request>,
) -> (Vec<Response>, Option<MapError>) {
    let tree = *tree;
    let recalled = requests.iter().map(|request| memory.answer(request));
    let mut responses: Vec<Option<Response>> = recalled.collect();
    let mut cause = None;
    let mut tasks = JoinSet::new();
    for (number, request) in requests.iter().enumerate() {
        if responses[number].is_none() {
            let (registers, request) = (registers.clone(), request.clone());
            tasks.spawn(async move { (number, drive::answer(&registers, &tree, request).await) });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok((number, (response, error))) = ended {
            memory.note(&requests[number], &response);
            responses[number] = Some(response);
            cause = error.or(cause);
        }
    }
    let broken_off = |request: &Request| match request {
        // POOL-1: it may have been done.
        Request::CompareAndSet { .. } => Response::Unknown,
        _ => Response::Unavailable,
    };
    let all = responses.into_iter().zip(&requests);
    let all = all.map(|(response, request)| response.unwrap_or_else(|| broken_off(request)));
    (all.collect(), cause)
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

fn answer_all(turn: Vec<Waiting>, problem: &Problem) {
    for waiting in turn {
        waiting.answer(Err(problem.clone()));
    }
}

/// No code that holds one of these locks can leave what it guards half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_up_those_who_do_not_wait_for_it_for_a_share_of_their_time() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(round_until(&[], false, now), None);
        assert_eq!(round_until(&[at(8_000)], false, now), Some(at(8_000)));
        assert_eq!(round_until(&[at(8_000), at(60_000)], false, now), Some(at(2_000)));
        // Who has hardly any time does not take that of the others.
        assert_eq!(round_until(&[at(1), at(60_000)], false, now), Some(at(1_000)));
        assert_eq!(round_until(&[at(1), at(500)], false, now), Some(at(500)));
        assert_eq!(round_until(&[at(8_000), at(60_000)], true, now), Some(at(60_000)));
    }
}
