//! Clients: what they call, and what they remember of it for the judge.
//!
//! A plain client gets, puts if absent, swaps and removes; a pool client runs the pool's real machines.
//! Both make map operations in several attempts ([`Attempts`]), as the register map does.
//!
//! Invariants:
//! * a client has one call under way; each value that it writes is written once;
//! * what did not happen is in no history, what may have happened is there without an answer.
//!
//! What it does not do: choose coordinators, wait: that is the world's.

use std::collections::BTreeMap;

use cloakroom_lincheck::pool as pool_judge;
use cloakroom_lincheck::register::{Answer, Call as JudgeCall};
use cloakroom_pool::Machine as _;
use cloakroom_pool::{
    Allocate, AllocateFailure, Free, FreeOutcome, Id, MapError, Next, Policy, Request, Response,
    Tag, Tree, Value as PoolValue,
};
use cloakroom_register::{Attempts, Call, Expected, Held, Key, OperationId, Outcome, Value};

use super::audit::plain_value;
use crate::random::Random;

/// An operation on a register, for the judge.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Who called.
    pub(crate) process: u64,
    /// On which key.
    pub(crate) key: Key,
    /// What.
    pub(crate) call: JudgeCall<u64>,
    /// When: events, counted.
    pub(crate) begin: u64,
    /// The answer, and when.
    pub(crate) outcome: Option<(Answer<u64>, u64)>,
    /// Whether it counts: one that did not happen does not.
    pub(crate) counts: bool,
}

/// A call on the pool, for the judge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolEntry {
    /// Who called.
    pub(crate) process: u64,
    /// What.
    pub(crate) call: PoolCall,
    /// When.
    pub(crate) begin: u64,
    /// The answer, and when.
    pub(crate) outcome: Option<(pool_judge::Answer, u64)>,
    /// Whether it counts.
    pub(crate) counts: bool,
}

/// What a pool client calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PoolCall {
    /// Takes an id under this tag.
    Allocate(u64),
    /// Gives this id back that this tag holds.
    Free(u64, u64),
}

/// All that was called.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// On registers.
    pub(crate) entries: Vec<Entry>,
    /// On the pool.
    pub(crate) pool: Vec<PoolEntry>,
    events: u64,
}

impl Book {
    fn tick(&mut self) -> u64 {
        self.events += 1;
        self.events
    }
}

enum Machine {
    Allocate(Allocate, u64),
    Free(Free, u64, Id),
}

/// The part of a pool client.
struct Holder {
    tree: Tree,
    machine: Option<(Machine, usize)>,
    /// An answer of the map was unknown during the call.
    doubt: bool,
    held: Vec<(Id, u64)>,
    tags: u64,
    /// A free that was cut short: again and again until one returns.
    again: Option<(Id, u64)>,
}

/// One client.
pub(crate) struct Client {
    /// Which.
    pub(crate) number: u32,
    random: Random,
    operations: u64,
    attempts: Option<(Attempts, usize)>,
    seen: BTreeMap<Key, Held>,
    holder: Option<Holder>,
}

/// What a client wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Another attempt.
    Attempt,
    /// A pause.
    Pause,
}

impl Client {
    /// A plain one.
    pub(crate) fn plain(seed: u64, number: u32) -> Self {
        let random = Random::stream(seed, "client", number.into());
        Self { number, random, operations: 0, attempts: None, seen: BTreeMap::new(), holder: None }
    }

    /// One that uses a pool.
    pub(crate) fn of_pool(seed: u64, number: u32, tree: Tree) -> Self {
        let (machine, held, again) = (None, Vec::new(), None);
        let holder = Holder { tree, machine, doubt: false, held, tags: 0, again };
        Self { holder: Some(holder), ..Self::plain(seed, number) }
    }

    /// The map operation that is under way.
    pub(crate) fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref().map(|(attempts, _)| attempts)
    }

    fn operation_id(&mut self) -> OperationId {
        self.operations += 1;
        let number = u64::from(self.number) << 40 | self.operations;
        OperationId(u128::from(number).to_be_bytes())
    }

    /// Begins its next call, on one of these keys unless it uses a pool.
    pub(crate) fn begin(&mut self, book: &mut Book, keys: &[Key]) {
        if self.holder.is_some() {
            self.begin_pool(book);
            return;
        }
        let key = keys[self.random.index(keys.len())].clone();
        let id = self.operation_id();
        let value = Some(Value::from(&id.0[8..]));
        let seen = self.seen.get(&key).cloned();
        let expects = |held: Option<&Held>| {
            held.map_or(Expected::Absent, |held| Expected::Value(held.value.clone()))
        };
        let call = match self.random.below(100) {
            0..30 => Call::Get,
            30..55 => Call::CompareAndSet { expected: Expected::Absent, new: value },
            55..75 => Call::CompareAndSet { expected: expects(seen.as_ref()), new: value },
            75..85 => {
                let expected =
                    seen.map_or(Expected::Absent, |held| Expected::Version(held.version));
                Call::CompareAndSet { expected, new: value }
            }
            _ => Call::CompareAndSet { expected: expects(seen.as_ref()), new: None },
        };
        self.call(book, id, key, call);
    }

    /// Calls this once, with patience.
    pub(crate) fn touch(&mut self, book: &mut Book, key: &Key, call: Call) {
        let id = self.operation_id();
        self.call(book, id, key.clone(), call.clone());
        // Nobody has told it yet where to ask.
        if let Some((attempts, _)) = &mut self.attempts {
            *attempts = Attempts::new(id, key.clone(), call, 20);
        }
    }

    fn call(&mut self, book: &mut Book, id: OperationId, key: Key, call: Call) {
        let judged = match &call {
            Call::Get => JudgeCall::Read,
            Call::CompareAndSet { expected, new } => JudgeCall::CompareAndSet {
                expected: match expected {
                    Expected::Absent => None,
                    Expected::Value(value) => Some(plain_value(value)),
                    // Each value is written once, so that its version and itself are one.
                    Expected::Version(_) => {
                        self.seen.get(&key).map(|held| plain_value(&held.value))
                    }
                },
                new: new.as_ref().map(plain_value),
            },
        };
        let process = u64::from(self.number);
        let begin = book.tick();
        let entry =
            Entry { process, key: key.clone(), call: judged, begin, outcome: None, counts: true };
        book.entries.push(entry);
        let tries = 1 + u32::try_from(self.random.below(3)).unwrap_or(0);
        self.attempts = Some((Attempts::new(id, key, call, tries), book.entries.len() - 1));
    }

    /// An attempt has ended; or nobody will say how, for `None`.
    pub(crate) fn ended(&mut self, book: &mut Book, outcome: Option<Outcome>) -> Want {
        let Some((mut attempts, at)) = self.attempts.take() else { return Want::Pause };
        let ended = match outcome {
            Some(outcome) => match attempts.ended(outcome) {
                None => {
                    self.attempts = Some((attempts, at));
                    return Want::Attempt;
                }
                Some(ended) => ended,
            },
            None => Err(attempts.clone().lost()),
        };
        let end = book.tick();
        let plain = |held: &Option<Held>| held.as_ref().map(|held| plain_value(&held.value));
        match &ended {
            Ok(Outcome::Got(held)) => {
                book.entries[at].outcome = Some((Answer::Value(plain(held)), end));
            }
            Ok(Outcome::Mismatch(held)) => {
                book.entries[at].outcome = Some((Answer::Found(plain(held)), end));
            }
            Ok(_) => book.entries[at].outcome = Some((Answer::Done, end)),
            // A read without an answer says nothing.
            Err(MapError::Unavailable { .. }) => book.entries[at].counts = false,
            Err(_) => {}
        }
        let key = attempts.operation().key.clone();
        match &ended {
            Ok(Outcome::Got(held) | Outcome::Mismatch(held)) => {
                match held {
                    Some(held) => self.seen.insert(key, held.clone()),
                    None => self.seen.remove(&key),
                };
            }
            Ok(Outcome::Set(version)) => {
                if let Call::CompareAndSet { new: Some(value), .. } = &attempts.operation().call {
                    let held = Held { version: *version, value: value.clone() };
                    self.seen.insert(key, held);
                } else {
                    self.seen.remove(&key);
                }
            }
            _ => {}
        }
        if self.holder.is_some() { self.step_pool(book, ended) } else { Want::Pause }
    }

    fn begin_pool(&mut self, book: &mut Book) {
        let (flip, index) = (self.random.below(100), self.random.next());
        let (begin, process) = (book.tick(), u64::from(self.number));
        let Some(holder) = &mut self.holder else { return };
        let some = (!holder.held.is_empty() && flip < 50).then(|| {
            let length = holder.held.len() as u64;
            holder.held.swap_remove(usize::try_from(index % length).unwrap_or(0))
        });
        let (machine, call) = if let Some((id, tag)) = holder.again.take().or(some) {
            let free = Free::new(holder.tree, id, tag_of(tag)).expect("an id of the pool");
            (Machine::Free(free, tag, id), PoolCall::Free(id.0, tag))
        } else {
            holder.tags += 1;
            let tag = process << 32 | holder.tags;
            let policy = if flip % 2 == 0 { Policy::LowestFirst } else { Policy::Spread };
            let allocate = Allocate::new(holder.tree, policy, tag_of(tag));
            (Machine::Allocate(allocate, tag), PoolCall::Allocate(tag))
        };
        holder.doubt = false;
        book.pool.push(PoolEntry { process, call, begin, outcome: None, counts: true });
        holder.machine = Some((machine, book.pool.len() - 1));
        self.ask_pool(book);
    }

    /// The machine's next request becomes a map operation.
    fn ask_pool(&mut self, book: &mut Book) {
        let Some(holder) = &self.holder else { return };
        let tree = holder.tree;
        let request = match &holder.machine {
            Some((Machine::Allocate(machine, _), _)) => machine.request(),
            Some((Machine::Free(machine, _, _), _)) => machine.request(),
            None => return,
        };
        let (place, call) = match &request {
            Request::Get(place) | Request::Recall(place) => (*place, Call::Get),
            Request::CompareAndSet { place, expected, new } => {
                let bytes = |value: &PoolValue| Value::from(&value.encode(&tree, *place)[..]);
                let expected = expected
                    .as_ref()
                    .map_or(Expected::Absent, |value| Expected::Value(bytes(value)));
                (*place, Call::CompareAndSet { expected, new: Some(bytes(new)) })
            }
            Request::IsLive(_) => panic!("only a recovery asks"),
        };
        let id = self.operation_id();
        self.call(book, id, Key::from(&tree.key(place)[..]), call);
    }

    /// A map operation of the pool's machine has ended.
    fn step_pool(&mut self, book: &mut Book, ended: Result<Outcome, MapError>) -> Want {
        let Some(holder) = &mut self.holder else { return Want::Pause };
        let Some((machine, at)) = &mut holder.machine else { return Want::Pause };
        let tree = holder.tree;
        let request = match machine {
            Machine::Allocate(machine, _) => machine.request(),
            Machine::Free(machine, _, _) => machine.request(),
        };
        let (Request::Get(place) | Request::Recall(place) | Request::CompareAndSet { place, .. }) =
            request
        else {
            panic!("only a recovery asks")
        };
        let decode = |held: Option<Held>| {
            held.map(|held| PoolValue::decode(&held.value.0, &tree, place).expect("the pool's own"))
        };
        let response = match ended {
            Ok(Outcome::Got(held)) => Response::Value(decode(held)),
            Ok(Outcome::Mismatch(held)) => Response::Mismatch(decode(held)),
            Ok(_) => Response::Set,
            Err(MapError::Unavailable { .. }) => Response::Unavailable,
            Err(_) => {
                holder.doubt = true;
                Response::Unknown
            }
        };
        let (at, doubt) = (*at, holder.doubt);
        match machine {
            Machine::Allocate(machine, tag) => {
                let tag = *tag;
                let Next::Done(ended) = machine.step(response) else {
                    self.ask_pool(book);
                    return Want::Attempt;
                };
                let end = book.tick();
                holder.machine = None;
                match ended {
                    Ok(id) => {
                        let answer = pool_judge::Answer::Id(usize::try_from(id.0).unwrap_or(0));
                        book.pool[at].outcome = Some((answer, end));
                        holder.held.push((id, tag));
                    }
                    Err(AllocateFailure::Full) => {
                        book.pool[at].outcome = Some((pool_judge::Answer::Full, end));
                    }
                    Err(AllocateFailure::Unreachable) => book.pool[at].counts = false,
                    // It may hold the id, now or later: its tag is struck out.
                    Err(AllocateFailure::Unknown(_)) => {}
                }
            }
            Machine::Free(machine, tag, id) => {
                let (tag, id) = (*tag, *id);
                let Next::Done(ended) = machine.step(response) else {
                    self.ask_pool(book);
                    return Want::Attempt;
                };
                let end = book.tick();
                holder.machine = None;
                match ended {
                    Ok(FreeOutcome::Freed) if doubt => {
                        let answer = pool_judge::Answer::FreedOrAlreadyFree;
                        book.pool[at].outcome = Some((answer, end));
                    }
                    Ok(FreeOutcome::Freed) => {
                        book.pool[at].outcome = Some((pool_judge::Answer::Freed, end));
                    }
                    Ok(FreeOutcome::AlreadyFree) => {
                        book.pool[at].outcome = Some((pool_judge::Answer::AlreadyFree, end));
                    }
                    Ok(FreeOutcome::NotOwner) => {
                        book.pool[at].outcome = Some((pool_judge::Answer::NotOwner, end));
                    }
                    Err(_) => holder.again = Some((id, tag)),
                }
            }
        }
        Want::Pause
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// A pause of this mean.
    pub(crate) fn pause_us(&mut self, mean_ms: u64) -> u64 {
        crate::random::to_u64(self.random.exponential(crate::random::to_f64(mean_ms * 1000)))
    }
}

fn tag_of(tag: u64) -> Tag {
    Tag::new(tag.to_be_bytes()).expect("8 bytes")
}
