//! What became of the operations that clients have named: a request that comes again is not carried out
//! again.
//!
//! Invariants:
//! * REST-1: of requests with one operation id one is carried out at a time, and the answer of one that
//!   has definitely ended is given to all that come later, as long as it is remembered: for
//!   [`KEPT_FOR`], and fewer than [`MOST`] newer ones;
//! * REST-1: a request that comes again after an unknown outcome is told what it was bound to;
//! * REST-1: a request that says that it comes again, and is not remembered, is not carried out;
//! * an id that comes with another request is refused;
//! * of a request that its client has not named, only an unknown outcome is kept: the answer says its id;
//! * an operation goes on when its client has gone.
//!
//! What it does not do: survive the process, or know what other nodes were asked. The API says what a
//! client must do then.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_register::{OperationId, Version};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an answer is remembered.
pub(crate) const KEPT_FOR: Duration = Duration::from_mins(10);
/// How many are remembered.
pub(crate) const MOST: usize = 16_384;

/// What an operation has come to.
#[derive(Clone, Debug)]
pub(crate) enum Ended<T> {
    /// Definitely.
    With(T),
    /// It may happen again: another request tries again.
    Undone(T),
    /// The outcome is unknown: another request tries again, knowing this.
    Doubted(T, Doubt),
}

/// What a later attempt must know of an unknown one: the version that an operation on a key is bound to;
/// `None` if there is none, or it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt(pub(crate) Option<Version>);

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its id came with another one before.
    Reused,
    /// It says that it comes again, and is not remembered.
    Forgotten,
}

/// Which request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Of all that decides what it does.
    pub(crate) request: [u8; 32],
    /// It says that it was sent before, and must not be carried out unless it is remembered.
    pub(crate) again: bool,
}

#[derive(Debug)]
pub(crate) struct Memory<T>(Arc<Mutex<Kept<T>>>);

#[derive(Debug)]
struct Kept<T> {
    entries: HashMap<OperationId, Entry<T>>,
    /// By their places, the oldest first: one for each entry.
    order: BTreeMap<u64, OperationId>,
    /// Places given so far.
    given: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// Of the whole request.
    request: [u8; 32],
    since: Instant,
    place: u64,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Running(watch::Receiver<Option<Ended<T>>>),
    Answered(T),
    Doubted(Doubt),
}

/// What a request finds.
enum Found<T> {
    Answer(T),
    Wait(watch::Receiver<Option<Ended<T>>>),
    Begin(watch::Sender<Option<Ended<T>>>, Option<Doubt>),
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        let (entries, order) = (HashMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Kept { entries, order, given: 0 })))
    }
}

impl<T> Clone for Memory<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Send + Sync + 'static> Memory<T> {
    /// The answer to a request: of an earlier one with this id, or of `work`, which is told what an
    /// earlier one has left in doubt. `None`: the work has broken off, which is as unknown.
    pub(crate) async fn once<F>(
        &self,
        id: OperationId,
        request: Named,
        work: impl FnOnce(Option<Doubt>) -> F,
    ) -> Result<Option<T>, Refused>
    where
        F: Future<Output = Ended<T>> + Send + 'static,
    {
        let mut ended = match self.find(id, request)? {
            Found::Answer(answer) => return Ok(Some(answer)),
            Found::Wait(ended) => ended,
            Found::Begin(sender, doubt) => {
                let ended = sender.subscribe();
                let (memory, work) = (self.clone(), work(doubt));
                // A task of its own: it goes on when the client has gone.
                tokio::spawn(async move {
                    let outcome = work.await;
                    memory.keep(id, &outcome);
                    // Nobody may be left who waits.
                    let _ = sender.send(Some(outcome));
                });
                ended
            }
        };
        let outcome = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        Ok(outcome.map(Ended::answer))
    }

    /// The answer to a request that its client has not named. `None`: the work has broken off, which is as
    /// unknown.
    pub(crate) async fn unnamed(
        &self,
        id: OperationId,
        request: [u8; 32],
        work: impl Future<Output = Ended<T>> + Send + 'static,
    ) -> Option<T> {
        // A task of its own: it goes on when the client has gone.
        let outcome = tokio::spawn(work).await.ok();
        // REST-1: nobody can send it again who was not told its id, and only who is in doubt has to.
        let doubt = match &outcome {
            Some(Ended::With(_) | Ended::Undone(_)) => None,
            Some(Ended::Doubted(_, doubt)) => Some(*doubt),
            None => Some(Doubt(None)),
        };
        if let Some(doubt) = doubt {
            self.lock().put(id, request, Instant::now(), State::Doubted(doubt));
        }
        outcome.map(Ended::answer)
    }

    fn find(&self, id: OperationId, named: Named) -> Result<Found<T>, Refused> {
        let Named { request, again } = named;
        let now = Instant::now();
        let mut kept = self.lock();
        kept.forget(now);
        let mut doubt = None;
        if let Some(entry) = kept.entries.get(&id) {
            if entry.request != request {
                return Err(Refused::Reused);
            }
            match &entry.state {
                State::Answered(answer) => return Ok(Found::Answer(answer.clone())),
                // REST-1: whoever comes while it runs waits for the same end.
                State::Running(ended) if ended.has_changed().is_ok() => {
                    return Ok(Found::Wait(ended.clone()));
                }
                // It has broken off.
                State::Running(_) => doubt = Some(Doubt(None)),
                State::Doubted(known) => doubt = Some(*known),
            }
        }
        // REST-1: it may have been carried out before this node's memory begins, or elsewhere.
        if again && !kept.entries.contains_key(&id) {
            return Err(Refused::Forgotten);
        }
        let (sender, ended) = watch::channel(None);
        kept.put(id, request, now, State::Running(ended));
        Ok(Found::Begin(sender, doubt))
    }

    fn keep(&self, id: OperationId, outcome: &Ended<T>) {
        let mut kept = self.lock();
        match outcome {
            Ended::Undone(_) => kept.remove(id),
            Ended::With(answer) => {
                if let Some(entry) = kept.entries.get_mut(&id) {
                    entry.state = State::Answered(answer.clone());
                }
            }
            Ended::Doubted(_, doubt) => {
                if let Some(entry) = kept.entries.get_mut(&id) {
                    entry.state = State::Doubted(*doubt);
                }
            }
        }
    }

    /// No code that holds the lock can leave what it guards half changed.
    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ended<T> {
    fn answer(self) -> T {
        match self {
            Self::With(answer) | Self::Undone(answer) | Self::Doubted(answer, _) => answer,
        }
    }
}

impl<T> Kept<T> {
    /// As the newest, in the stead of what was there of this id.
    fn put(&mut self, id: OperationId, request: [u8; 32], since: Instant, state: State<T>) {
        self.remove(id);
        self.forget(since);
        let place = self.given;
        self.given += 1;
        self.order.insert(place, id);
        self.entries.insert(id, Entry { request, since, place, state });
    }

    fn remove(&mut self, id: OperationId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.order.remove(&entry.place);
        }
    }

    /// What is too old or too much. What runs is kept by those who wait for it.
    fn forget(&mut self, now: Instant) {
        while let Some((_, &id)) = self.order.first_key_value() {
            let is_old = |entry: &Entry<T>| now.duration_since(entry.since) >= KEPT_FOR;
            if self.order.len() < MOST && !self.entries.get(&id).is_some_and(is_old) {
                return;
            }
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;

    const ID: OperationId = OperationId([7; 16]);

    const FIRST: Named = Named { request: [1; 32], again: false };

    async fn with(memory: &Memory<u32>, answer: u32) -> Result<Option<u32>, Refused> {
        memory.once(ID, FIRST, |_| async move { Ended::With(answer) }).await
    }

    #[tokio::test]
    async fn a_request_that_comes_again_gets_the_first_answer_and_another_one_is_refused() {
        let memory = Memory::default();
        assert_eq!(with(&memory, 1).await, Ok(Some(1)));
        assert_eq!(with(&memory, 2).await, Ok(Some(1)));
        let other = memory
            .once(ID, Named { request: [2; 32], again: false }, |_| async { Ended::With(3) })
            .await;
        assert_eq!(other, Err(Refused::Reused));
    }

    #[tokio::test]
    async fn a_request_that_says_that_it_comes_again_is_carried_out_only_if_it_is_remembered() {
        let memory = Memory::default();
        let again = Named { again: true, ..FIRST };
        let work = |_| async { Ended::With(1) };
        assert_eq!(memory.once(ID, again, work).await, Err(Refused::Forgotten));
        assert_eq!(with(&memory, 2).await, Ok(Some(2)));
        assert_eq!(memory.once(ID, again, work).await, Ok(Some(2)));
    }

    #[tokio::test]
    async fn two_at_one_time_are_carried_out_once_also_when_the_first_client_has_gone() {
        let memory = Memory::default();
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let first = {
            let (memory, begun, go) = (memory.clone(), Arc::clone(&begun), Arc::clone(&go));
            tokio::spawn(async move {
                let work = |_| async move {
                    begun.notify_one();
                    go.notified().await;
                    Ended::With(1)
                };
                memory.once(ID, FIRST, work).await
            })
        };
        begun.notified().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let second = with(&memory, 2);
        go.notify_one();
        assert_eq!(second.await, Ok(Some(1)));
    }

    #[tokio::test]
    async fn what_was_left_in_doubt_is_told_to_the_next_attempt_and_what_was_not_done_is_forgotten()
    {
        let memory = Memory::default();
        let doubt = Doubt(Some(Version(5)));
        let first = memory.once(ID, FIRST, |_| async move { Ended::Doubted(1, doubt) }).await;
        assert_eq!(first, Ok(Some(1)));
        let again = memory.once(ID, FIRST, |told| async move {
            assert_eq!(told, Some(doubt));
            Ended::Undone(2)
        });
        assert_eq!(again.await, Ok(Some(2)));
        let last = memory.once(ID, FIRST, |told| async move {
            assert_eq!(told, None);
            Ended::With(3)
        });
        assert_eq!(last.await, Ok(Some(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_in_time_and_number() {
        let memory = Memory::default();
        assert_eq!(with(&memory, 1).await, Ok(Some(1)));
        tokio::time::advance(KEPT_FOR).await;
        assert_eq!(with(&memory, 2).await, Ok(Some(2)));
        for number in 0..20_000_u128 {
            let id = OperationId(number.to_be_bytes());
            memory.once(id, FIRST, |_| async { Ended::With(4) }).await.unwrap();
        }
        let kept = memory.lock();
        assert_eq!((kept.entries.len(), kept.order.len()), (MOST, MOST));
    }

    #[tokio::test]
    async fn what_nobody_can_send_again_takes_no_place() {
        let memory = Memory::default();
        assert_eq!(with(&memory, 1).await, Ok(Some(1)));
        for number in 0..20_000_u128 {
            let id = OperationId(number.to_be_bytes());
            assert_eq!(memory.unnamed(id, [3; 32], async { Ended::With(2) }).await, Some(2));
            let undone = |_| async { Ended::Undone(3) };
            assert_eq!(memory.once(id, FIRST, undone).await, Ok(Some(3)));
        }
        assert_eq!(with(&memory, 4).await, Ok(Some(1)), "it is remembered");
        let kept = memory.lock();
        assert_eq!((kept.entries.len(), kept.order.len()), (1, 1));
    }

    #[tokio::test]
    async fn an_unnamed_request_is_remembered_when_its_outcome_is_unknown() {
        let memory = Memory::default();
        let told = |expected: Doubt| {
            move |told| async move {
                assert_eq!(told, Some(expected));
                Ended::With(2)
            }
        };
        let doubt = Doubt(Some(Version(5)));
        let first = memory.unnamed(ID, FIRST.request, async move { Ended::Doubted(1, doubt) });
        assert_eq!(first.await, Some(1));
        let again = Named { again: true, ..FIRST };
        assert_eq!(memory.once(ID, again, told(doubt)).await, Ok(Some(2)));
        let other = OperationId([8; 16]);
        let broken = memory.unnamed(other, FIRST.request, async { panic!("it breaks off") });
        assert_eq!(broken.await, None);
        assert_eq!(memory.once(other, again, told(Doubt(None))).await, Ok(Some(2)));
    }
}
