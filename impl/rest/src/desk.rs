//! Calls of one pool that come while others are under way: they gather, and are carried out together.
//!
//! # Life of a call
//! 1. It joins those that wait at its pool's desk. If nobody works there, a task begins to.
//! 2. The task takes all that wait and serves them in one [`Turn`]: each block and each node is written
//!    once for all. Those that come meanwhile join it when its blocks are written, so that theirs are written
//!    beside the nodes of those before, as long as nobody is in its way and there are not too many.
//! 3. Another task for those that came together looks up whether the pool is still the one it is taken for,
//!    and then answers each as soon as the turn tells its end. When only writes in doubt are left, a third
//!    one finds out what became of them.
//! 4. It goes on with those that have come meanwhile and those that the turn has left, and ends when there
//!    are none.
//!
//! Invariants:
//! * a turn serves calls that have come before it, as the pool's machine says;
//! * the pool of an answer was defined under the name at some moment during the call;
//! * the rounds of an answer are those that its call waited for, one after the other: see [`Clock`];
//! * a request that is not answered holds up those who came with its call for a share of their time, and
//!   nobody else;
//! * what a desk remembers is bounded, and nothing rests on it but speed.
//!
//! What it does not do: keep other nodes from working on the same pool. They are in each other's way, and
//! safe; clients that send a pool's calls to one node are served faster.

mod clock;
mod serving;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_node::Rounds;
use cloakroom_pool::{FreeOutcome, Id, MapError, Memory, Request, Response, Tree, Want};
use cloakroom_server::Server;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use self::clock::{Clock, Reading};
use self::serving::{Host, Serving};
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
/// Counts of calls that have been answered wait so long for the next call, to be written beside its block: who calls again
/// as soon as he is answered would wait for them.
const LINGER: Duration = Duration::from_millis(2);
/// After its time a call waits so long for the word that it was not begun.
const GRACE: Duration = Duration::from_millis(500);

/// What a call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// An id is held.
    Taken(Id),
    /// An id is free.
    Freed(FreeOutcome),
}

/// A call that was carried out, and how many rounds it waited for, one after the other.
pub(crate) type Answered = (Done, Rounds);

/// Where the pools stand: a node's registers, and in tests a map that takes its time by a clock that stands still.
pub(crate) trait Ground: Clone + Send + Sync + 'static {
    /// The response to a request, why it is none of those that were hoped for, and after how many rounds.
    fn answer(
        &self,
        tree: Tree,
        request: Request,
        until: Instant,
    ) -> impl Future<Output = (Response, Option<MapError>, Rounds)> + Send;

    /// What the pool of this name is, and after how many rounds that was known.
    fn look_up(
        &self,
        name: &str,
        until: Instant,
    ) -> impl Future<Output = (Result<Option<Definition>, MapError>, Rounds)> + Send;
}

impl Ground for Arc<Server> {
    async fn answer(
        &self,
        tree: Tree,
        request: Request,
        until: Instant,
    ) -> (Response, Option<MapError>, Rounds) {
        let registers = Registers::new(Arc::clone(self), until);
        let (response, cause) = drive::answer(&registers, &tree, request).await;
        (response, cause, registers.rounds())
    }

    async fn look_up(
        &self,
        name: &str,
        until: Instant,
    ) -> (Result<Option<Definition>, MapError>, Rounds) {
        let registers = Registers::new(Arc::clone(self), until);
        let found = directory::look_up(&registers, name).await;
        (found, registers.rounds())
    }
}

/// All desks of a node.
#[derive(Debug, Default)]
pub(crate) struct Desks(Mutex<HashMap<Arc<str>, Arc<Desk>>>);

#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    /// Somebody has come.
    came: Notify,
    clock: Clock,
}

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
    /// When it came.
    came: Reading,
    reply: oneshot::Sender<Result<Answered, Problem>>,
}

/// What is known of a pool.
#[derive(Clone, Debug)]
struct Known {
    pool: Definition,
    memory: Arc<Mutex<Memory>>,
    /// Somebody has found that it is so no longer.
    is_gone: Arc<AtomicBool>,
}

impl Desks {
    /// Carries out a call on the pool of this name.
    pub(crate) async fn call(
        &self,
        ground: &impl Ground,
        name: &str,
        want: Want,
        until: Instant,
    ) -> Result<Answered, Problem> {
        let (reply, answered) = oneshot::channel();
        let came = Reading::default();
        let (desk, begins) = self.join(name, Waiting { want, until, came, reply });
        if begins {
            begin(desk, ground.clone(), Arc::from(name));
        }
        match timeout_at(until + GRACE, answered).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Err(Problem::broken("the pool's desk has broken off")),
            Err(_) => Err(Problem::unknown("it is under way, and may still be done", None)),
        }
    }

    /// Whether somebody has to begin to work there.
    fn join(&self, name: &str, mut waiting: Waiting) -> (Arc<Desk>, bool) {
        let mut desks = lock(&self.0);
        if desks.len() >= MOST_DESKS && !desks.contains_key(name) {
            desks.retain(|_, desk| lock(&desk.state).is_worked_at);
        }
        let desk = Arc::clone(desks.entry(name.into()).or_default());
        waiting.came = desk.clock.read();
        let begins = desk.join([waiting]);
        (desk, begins)
    }
}

impl Desk {
    /// Whether somebody has to begin to work here.
    fn join(&self, waiting: impl IntoIterator<Item = Waiting>) -> bool {
        let mut state = lock(&self.state);
        state.waiting.extend(waiting);
        self.came.notify_one();
        !state.waiting.is_empty() && !std::mem::replace(&mut state.is_worked_at, true)
    }

    /// At most so many of those who wait, whose time is not over.
    fn take(&self, most: usize) -> Vec<Waiting> {
        let taken: Vec<Waiting> = {
            let mut state = lock(&self.state);
            let most = state.waiting.len().min(most);
            state.waiting.drain(..most).collect()
        };
        in_time(taken)
    }

    async fn somebody_waits(&self) {
        // It may be told of somebody who has been served.
        while lock(&self.state).waiting.is_empty() {
            self.came.notified().await;
        }
    }

    /// They have not been served, and wait as before.
    fn give_back(&self, waiting: Vec<Waiting>) {
        lock(&self.state).waiting.splice(..0, waiting);
    }
}

/// Those whose time is not over; the others are told.
fn in_time(waiting: Vec<Waiting>) -> Vec<Waiting> {
    let now = Instant::now();
    let (waiting, late): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|waiting| waiting.until > now);
    for late in late {
        let detail = "its time was over before it was begun";
        late.answer(Err(Problem::new(Kind::UNAVAILABLE, detail)));
    }
    waiting
}

/// Leaves a desk to others also when its work has broken off; `None`: it was left already.
struct Leaving(Option<Arc<Desk>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(desk) = &self.0 {
            let mut state = lock(&desk.state);
            state.is_worked_at = false;
            // Whoever waits learns that it has broken off.
            state.waiting.clear();
        }
    }
}

fn begin(desk: Arc<Desk>, ground: impl Ground, name: Arc<str>) {
    tokio::spawn(work(desk, ground, name));
}

async fn work(desk: Arc<Desk>, ground: impl Ground, name: Arc<str>) {
    let mut leaving = Leaving(Some(Arc::clone(&desk)));
    let mut known = lock(&desk.state).known.take();
    loop {
        let turn = {
            let mut state = lock(&desk.state);
            if state.waiting.is_empty() {
                state.known = known;
                state.is_worked_at = false;
                // Under the lock: whoever joins next begins anew.
                leaving.0 = None;
                return;
            }
            let together = state.waiting.len().min(MOST_TOGETHER);
            state.waiting.drain(..together).collect()
        };
        serve(&desk, &ground, &name, &mut known, in_time(turn)).await;
    }
}

/// Serves some calls, and those that join them.
async fn serve(
    desk: &Arc<Desk>,
    ground: &impl Ground,
    name: &Arc<str>,
    known: &mut Option<Known>,
    turn: Vec<Waiting>,
) {
    let Some(until) = last(&turn) else { return };
    if known.as_ref().is_some_and(Known::is_gone) {
        *known = None;
    }
    if known.is_none() {
        let begun = desk.clock.read();
        let (found, rounds) = ground.look_up(name, until).await;
        desk.clock.moved(begun, rounds);
        match found {
            Ok(Some(pool)) => *known = Some(Known::new(pool)),
            Ok(None) => return answer_all(turn, &no_such_pool(name)),
            Err(error) => return answer_all(turn, &Problem::from(error)),
        }
    }
    let Some(Known { pool, memory, is_gone }) = known else { return };
    let memory = Arc::clone(memory);
    let host = Host {
        desk: Arc::clone(desk),
        ground: ground.clone(),
        name: Arc::clone(name),
        pool: pool.clone(),
        is_gone: Arc::clone(is_gone),
    };
    let mut serving = Serving::new(host, memory, turn);
    while !serving.turn.is_settling() {
        if serving.owes_nobody() {
            // Nobody may come.
            let _ = timeout(LINGER, desk.somebody_waits()).await;
            serving.let_join();
        }
        if !serving.ask() {
            break;
        }
        tokio::select! {
            ended = serving.under_way.join_next_with_id() => serving.take(ended),
            () = desk.came.notified(), if serving.can_join() => {}
        }
        serving.let_join();
    }
    serving.tell();
    if serving.turn.is_settling() {
        tokio::spawn(settle(serving));
    }
}

/// Finds out what became of writes in doubt, while the desk serves others, as another node could.
async fn settle(mut serving: Serving<impl Ground>) {
    // What it reads it reads anew.
    serving.memory = Arc::new(Mutex::new(Memory::new(NonZeroUsize::MIN)));
    while serving.ask() {
        let ended = serving.under_way.join_next_with_id().await;
        serving.take(ended);
    }
    serving.tell();
}

/// Answers some calls that came together as they end; those that are to be served again wait at the desk.
async fn answer(
    host: Host<impl Ground>,
    until: Instant,
    mut ended: mpsc::UnboundedReceiver<(Waiting, Ended, Reading)>,
) {
    let begun = host.desk.clock.read();
    let (found, rounds) = host.ground.look_up(&host.name, until).await;
    let looked = begun.after(rounds);
    // What was done was done to what the pool was.
    let changed = match found {
        Ok(Some(still)) if still == host.pool => None,
        Ok(_) => Some("the pool was deleted meanwhile".to_string()),
        Err(error) => Some(error.to_string()),
    };
    if changed.is_some() {
        // Relaxed: read by `Known::is_gone`, and nothing else goes with it. Whoever reads it late serves a turn
        // more of what is gone, whose calls have each a look of their own.
        host.is_gone.store(true, Ordering::Relaxed);
    }
    let mut again = Vec::new();
    while let Some((waiting, ended, at)) = ended.recv().await {
        let rounds = waiting.came.until(at.max(looked));
        again.extend(waiting.end(ended, rounds, changed.as_deref()));
    }
    if host.desk.join(again) {
        begin(host.desk, host.ground, host.name);
    }
}

fn no_such_pool(name: &str) -> Problem {
    Problem::new(Kind::NO_SUCH_POOL, format!("got {name:?}"))
}

impl Waiting {
    fn answer(self, ended: Result<Answered, Problem>) {
        // Whoever has asked may have gone.
        let _ = self.reply.send(ended);
    }

    /// Answers it, or gives it back to be served again. `changed`: why its pool is no longer what it was.
    fn end(self, ended: Ended, rounds: Rounds, changed: Option<&str>) -> Option<Self> {
        match (ended, changed) {
            (None, _) => return Some(self),
            (Some(Ok(_)), Some(why)) => self.answer(Err(Problem::unknown(why, None))),
            (Some(ended), _) => self.answer(ended.map(|done| (done, rounds))),
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

impl Known {
    fn new(pool: Definition) -> Self {
        let memory = Arc::new(Mutex::new(Memory::new(MOST_REMEMBERED)));
        Self { pool, memory, is_gone: Arc::default() }
    }

    fn is_gone(&self) -> bool {
        // Relaxed, as the store in `answer` is.
        self.is_gone.load(Ordering::Relaxed)
    }
}

/// Until when the last of them waits.
fn last(waiting: &[Waiting]) -> Option<Instant> {
    waiting.iter().map(|waiting| waiting.until).max()
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
