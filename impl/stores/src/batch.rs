//! The queue of group commit: concurrent operations wait together, one caller commits for all.
//!
//! There is no thread of its own. A caller's life in the queue:
//! 1. it puts its operation at the end of the queue;
//! 2. if nobody leads, it leads; otherwise it sleeps until it is answered or made leader;
//! 3. a leader takes everything that waits (its own operation is among it), commits it as one
//!    batch, and hands leadership to the first caller who came meanwhile;
//! 4. then it answers each of its batch and returns with its own answer.
//!
//! A leader serves one batch, so nobody works for others longer than one commit. A follower has
//! its own place to sleep: an answer wakes the one it is for and nobody else.
//!
//! Invariants:
//! * at most one leader at any time, and one whenever the queue is not empty;
//! * operations are committed in the order in which they were queued;
//! * an answer leaves only after the commit function has returned (upholds the durability that
//!   POOL-1 to POOL-7 assume of their map);
//! * each queued operation is answered exactly once, also when a commit fails or a leader panics;
//! * once broken, the queue takes no further operation.
//!
//! What it does not do: know what a commit is. It calls a function.

use std::sync::Arc;

use cloakroom_pool::{Cas, MapError};
use parking_lot::{Condvar, Mutex};

/// A compare-and-set on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) key: Vec<u8>,
    pub(crate) expected: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
}

/// What a caller is told.
pub(crate) type Answer = Result<Cas, MapError>;

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// One to each operation of the batch, in its order.
    pub(crate) answers: Vec<Answer>,
    /// Set if nobody may go on with this store, and why.
    pub(crate) broken: Option<String>,
}

/// The queue. See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    led: bool,
    broken: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    operation: Operation,
    seat: Arc<Seat>,
}

/// Where one caller sleeps.
#[derive(Debug, Default)]
struct Seat {
    call: Mutex<Option<Call>>,
    called: Condvar,
}

/// What wakes a caller.
#[derive(Debug)]
enum Call {
    Lead,
    Answer(Answer),
}

impl Queue {
    /// Commits `operation` in a batch with whatever else waits, by `commit` if this caller becomes
    /// the leader, and returns its answer.
    ///
    /// # Errors
    /// [`MapError::Unavailable`] if the queue is broken; otherwise what the commit function says.
    pub(crate) fn submit(
        &self,
        operation: Operation,
        commit: impl FnOnce(&[Operation]) -> Verdict,
    ) -> Answer {
        let seat = Arc::new(Seat::default());
        let led = {
            let mut state = self.state.lock();
            if let Some(cause) = &state.broken {
                return Err(MapError::Unavailable { cause: cause.clone() });
            }
            state.waiting.push(Waiting { operation, seat: Arc::clone(&seat) });
            std::mem::replace(&mut state.led, true)
        };
        if led && let Call::Answer(answer) = seat.sleep() {
            return answer;
        }
        self.lead(commit);
        match seat.sleep() {
            Call::Answer(answer) => answer,
            Call::Lead => panic!("batch: a caller was made leader twice for one operation"),
        }
    }

    /// Nobody may go on with this store.
    pub(crate) fn break_off(&self, cause: String) {
        self.state.lock().broken.get_or_insert(cause);
    }

    /// Why the queue is broken, if it is.
    pub(crate) fn broken(&self) -> Option<String> {
        self.state.lock().broken.clone()
    }

    /// How many operations wait for the next batch.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Serves one batch: everything that waits now.
    fn lead(&self, commit: impl FnOnce(&[Operation]) -> Verdict) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        let (operations, seats): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.operation, waiting.seat)).unzip();
        let mut term = Term { queue: self, seats };
        let Verdict { answers, broken } = commit(&operations);
        assert_eq!(answers.len(), term.seats.len(), "batch: one answer to each operation");
        // Leadership goes on before the answers, so that the next batch is under way while this
        // leader wakes its followers.
        self.hand_on(broken);
        for (seat, answer) in std::mem::take(&mut term.seats).into_iter().zip(answers) {
            seat.wake(Call::Answer(answer));
        }
    }

    /// Ends a leader's term: the first who waits leads next. If the store is broken, nobody does,
    /// and all who wait are sent away; their operations were never begun.
    fn hand_on(&self, broken: Option<String>) {
        let mut state = self.state.lock();
        let Some(cause) = broken else {
            let next = state.waiting.first().map(|waiting| Arc::clone(&waiting.seat));
            state.led = next.is_some();
            drop(state);
            if let Some(seat) = next {
                seat.wake(Call::Lead);
            }
            return;
        };
        state.led = false;
        state.broken = Some(cause.clone());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting {
            let cause = cause.clone();
            waiting.seat.wake(Call::Answer(Err(MapError::Unavailable { cause })));
        }
    }
}

/// A leader's term of office. Ended by a panic, it breaks the queue and leaves nobody asleep.
struct Term<'a> {
    queue: &'a Queue,
    /// Whom the leader still owes an answer. Empty at a proper end.
    seats: Vec<Arc<Seat>>,
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        if self.seats.is_empty() {
            return;
        }
        let cause = "the caller that committed for this batch panicked".to_owned();
        self.queue.hand_on(Some(cause.clone()));
        for seat in std::mem::take(&mut self.seats) {
            // Nobody knows how far the commit had come.
            seat.wake(Call::Answer(Err(MapError::Unknown { cause: cause.clone() })));
        }
    }
}

impl Seat {
    fn sleep(&self) -> Call {
        let mut call = self.call.lock();
        loop {
            match call.take() {
                Some(call) => return call,
                None => self.called.wait(&mut call),
            }
        }
    }

    fn wake(&self, with: Call) {
        *self.call.lock() = Some(with);
        self.called.notify_one();
    }
}
