//! Who does what next: the events of a trace as a queue for many workers.
//!
//! A workload's way: *idle*, *starting* (a worker allocates for it), then *held*, or *waiting* when
//! the pool was full, and *over* after its end or when it was refused.
//!
//! Invariants:
//! * events are taken in their order; an end is taken only when its start has returned;
//! * a start that met a full pool waits and is tried again when room may have come: after each free
//!   that returned, each pair that a recovery freed, and whatever came while it was being tried;
//! * while somebody waits and callers have died allocating since the last recovery began, a recovery
//!   is run, beside the other workers;
//! * a workload is refused only at its end, or the trace's, when no call is under way, nobody who
//!   died allocating is unrecovered, and no room has come since its last try began. Then the pool
//!   was full of workloads that are still to end: at a size of at least the trace's peak nobody is
//!   refused, whatever dies.
//!
//! Termination. A job ends: it is a few calls, each of which is lock-free and dies with a
//! probability below one. There are finitely many jobs: each event is taken once; a start is tried
//! again once for each free that returned (finitely many, one to an event), each pair freed by a
//! recovery (one to a death), and each try that room came during (then it has seen that room, and
//! the next try sees more); each recovery has a death of its own. And nobody waits for ever:
//! [`Turn::Wait`] is answered only while a job is under way, and its end wakes everybody.

use std::collections::BTreeMap;
use std::mem;

use cloakroom_pool::{Id, Tag};

use super::trace::Event;

/// The caller that acts for a workload, with what it has written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) workload: usize,
    /// The tag of its present attempt.
    pub(crate) tag: Tag,
    /// How many calls it has made.
    pub(crate) calls: u64,
}

/// Something for a worker to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Allocate. `room` is what [`Plan::full`] wants to hear again.
    Start { caller: Caller, room: u64 },
    /// Free.
    End { caller: Caller, id: Id },
    /// Strike the tag out: there was no room for this workload.
    GiveUp { caller: Caller },
    /// Recover.
    Recover,
}

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Do(Job),
    /// Ask again when a job has ended.
    Wait,
    /// There is nothing left to do.
    Leave,
}

#[derive(Clone, Debug)]
enum State {
    Idle(Tag),
    Starting,
    Waiting,
    Held(Caller, Id),
    Over,
}

/// A start that met a full pool.
#[derive(Clone, Debug)]
struct Waiting {
    caller: Caller,
    /// What [`Plan::room`] was when its last try began.
    seen: u64,
}

/// The plan of one replay. Each [`Turn::Do`] is answered by exactly one of [`Plan::held`],
/// [`Plan::full`], [`Plan::freed`], [`Plan::gave_up`] and [`Plan::recovered`].
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    events: Vec<Event>,
    next: usize,
    states: Vec<State>,
    /// By workload, hence in the file's order.
    waiting: BTreeMap<usize, Waiting>,
    /// How often room may have come.
    room: u64,
    /// How many of the waiting may be tried again.
    tries: u64,
    /// Callers that died allocating since the last recovery began.
    dead: u64,
    recovering: bool,
    /// Jobs under way.
    busy: usize,
    stopped: bool,
}

impl Plan {
    /// A plan for these events; `tags` has each workload's first tag.
    pub(crate) fn new(events: Vec<Event>, tags: impl IntoIterator<Item = Tag>) -> Self {
        Self {
            events,
            next: 0,
            states: tags.into_iter().map(State::Idle).collect(),
            waiting: BTreeMap::new(),
            room: 0,
            tries: 0,
            dead: 0,
            recovering: false,
            busy: 0,
            stopped: false,
        }
    }

    /// What the worker that asks does next.
    pub(crate) fn turn(&mut self) -> Turn {
        if self.stopped {
            return Turn::Leave;
        }
        if !self.waiting.is_empty() && self.dead > 0 && !self.recovering {
            self.dead = 0;
            self.recovering = true;
            return self.hand_out(Job::Recover);
        }
        if let Some((&workload, _)) = self.waiting.first_key_value().filter(|_| self.tries > 0) {
            self.tries -= 1;
            return self.try_again(workload);
        }
        match self.events.get(self.next) {
            Some(&Event::Start(workload)) => {
                self.next += 1;
                self.start(workload)
            }
            Some(&Event::End(workload)) => self.end(workload),
            None => self.finish(),
        }
    }

    fn start(&mut self, workload: usize) -> Turn {
        let state = mem::replace(&mut self.states[workload], State::Starting);
        let State::Idle(tag) = state else {
            panic!("plan: expected {workload} to start from idle, got {state:?}")
        };
        let caller = Caller { workload, tag, calls: 0 };
        self.hand_out(Job::Start { caller, room: self.room })
    }

    fn end(&mut self, workload: usize) -> Turn {
        let state = mem::replace(&mut self.states[workload], State::Over);
        match state {
            State::Held(caller, id) => {
                self.next += 1;
                self.hand_out(Job::End { caller, id })
            }
            State::Waiting if self.busy == 0 => {
                let turn = self.decide(workload);
                if matches!(turn, Turn::Do(Job::GiveUp { .. })) {
                    self.next += 1;
                }
                turn
            }
            State::Starting | State::Waiting => {
                self.states[workload] = state;
                self.wait()
            }
            State::Idle(_) | State::Over => {
                panic!("plan: expected {workload} to end once, after its start, got {state:?}")
            }
        }
    }

    /// After the last event: whoever waits still has no end.
    fn finish(&mut self) -> Turn {
        match self.waiting.first_key_value() {
            _ if self.busy > 0 => self.wait(),
            Some((&workload, _)) => self.decide(workload),
            None => Turn::Leave,
        }
    }

    /// Nothing is under way and nothing is left to recover: one last try if room has come since the
    /// last one began, or else it is refused.
    fn decide(&mut self, workload: usize) -> Turn {
        if self.waiting[&workload].seen < self.room {
            return self.try_again(workload);
        }
        let waiting = self.waiting.remove(&workload).expect("looked up just now");
        self.states[workload] = State::Over;
        self.hand_out(Job::GiveUp { caller: waiting.caller })
    }

    fn try_again(&mut self, workload: usize) -> Turn {
        let waiting = self.waiting.remove(&workload).expect("a workload that waits");
        self.states[workload] = State::Starting;
        self.hand_out(Job::Start { caller: waiting.caller, room: self.room })
    }

    fn hand_out(&mut self, job: Job) -> Turn {
        self.busy += 1;
        Turn::Do(job)
    }

    fn wait(&self) -> Turn {
        assert!(self.busy > 0, "plan: somebody waits, and nobody is at work to wake it");
        Turn::Wait
    }

    /// A start returned with an id.
    pub(crate) fn held(&mut self, caller: Caller, id: Id) {
        self.busy -= 1;
        let workload = caller.workload;
        self.states[workload] = State::Held(caller, id);
    }

    /// A start met a full pool; `room` is what its job said.
    pub(crate) fn full(&mut self, caller: Caller, room: u64) {
        self.busy -= 1;
        let workload = caller.workload;
        self.states[workload] = State::Waiting;
        self.waiting.insert(workload, Waiting { caller, seen: room });
        if room < self.room {
            self.tries += 1;
        }
    }

    /// A free returned.
    pub(crate) fn freed(&mut self) {
        self.busy -= 1;
        self.room_came(1);
    }

    /// A workload that was refused has struck its tag out.
    pub(crate) fn gave_up(&mut self) {
        self.busy -= 1;
    }

    /// A recovery returned, and freed so many pairs.
    pub(crate) fn recovered(&mut self, pairs: u64) {
        self.busy -= 1;
        self.recovering = false;
        self.room_came(pairs);
    }

    /// A caller died allocating, and has struck its old tag out.
    pub(crate) fn died_allocating(&mut self) {
        self.dead += 1;
    }

    /// How many events have been taken.
    pub(crate) fn taken(&self) -> usize {
        self.next
    }

    /// No more jobs are handed out.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    fn room_came(&mut self, ids: u64) {
        self.room += 1;
        // Nobody waits: those who are being tried now will see in `full` that room came.
        self.tries = if self.waiting.is_empty() { 0 } else { self.tries + ids };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::{End, Start};

    fn plan(events: &[Event]) -> Plan {
        let tags = (0..8).map(|number| Tag::new(format!("w{number}")).unwrap());
        Plan::new(events.to_vec(), tags)
    }

    fn start(plan: &mut Plan) -> (Caller, u64) {
        match plan.turn() {
            Turn::Do(Job::Start { caller, room }) => (caller, room),
            other => panic!("expected a start, got {other:?}"),
        }
    }

    #[test]
    fn an_end_waits_for_its_start() {
        let mut plan = plan(&[Start(0), End(0)]);
        let (caller, _) = start(&mut plan);
        assert_eq!(plan.turn(), Turn::Wait);
        plan.held(caller.clone(), Id(3));
        assert_eq!(plan.turn(), Turn::Do(Job::End { caller, id: Id(3) }));
        assert_eq!(plan.turn(), Turn::Wait);
        plan.freed();
        assert_eq!(plan.turn(), Turn::Leave);
    }

    #[test]
    fn a_start_that_met_a_full_pool_is_tried_after_a_free_and_not_before() {
        let mut plan = plan(&[Start(0), Start(1), End(0), End(1)]);
        let (first, _) = start(&mut plan);
        let (second, room) = start(&mut plan);
        plan.held(first, Id(0));
        plan.full(second.clone(), room);
        assert!(matches!(plan.turn(), Turn::Do(Job::End { id: Id(0), .. })));
        assert_eq!(plan.turn(), Turn::Wait, "its end must not refuse it while a free is under way");
        plan.freed();
        assert_eq!(start(&mut plan), (second.clone(), 1));
        plan.held(second, Id(0));
        assert!(matches!(plan.turn(), Turn::Do(Job::End { .. })));
    }

    #[test]
    fn room_that_came_during_a_try_is_tried_for() {
        let mut plan = plan(&[Start(0), Start(1), End(0)]);
        let (first, _) = start(&mut plan);
        plan.held(first, Id(0));
        let (second, room) = start(&mut plan);
        assert!(matches!(plan.turn(), Turn::Do(Job::End { .. })));
        plan.freed();
        plan.full(second.clone(), room);
        assert_eq!(start(&mut plan), (second, 1));
    }

    #[test]
    fn a_workload_is_refused_at_its_end_and_only_after_a_recovery() {
        let mut plan = plan(&[Start(0), Start(1), End(1)]);
        let (first, _) = start(&mut plan);
        plan.held(first, Id(0));
        let (second, room) = start(&mut plan);
        plan.died_allocating();
        plan.full(second.clone(), room);
        assert_eq!(plan.turn(), Turn::Do(Job::Recover));
        assert_eq!(plan.turn(), Turn::Wait);
        plan.recovered(0);
        let (again, room) = start(&mut plan);
        assert_eq!((&again, room), (&second, 1));
        plan.full(again, room);
        assert_eq!(plan.turn(), Turn::Do(Job::GiveUp { caller: second }));
        plan.gave_up();
        assert_eq!(plan.turn(), Turn::Leave);
    }

    #[test]
    fn whoever_waits_at_the_end_of_the_trace_is_refused() {
        let mut plan = plan(&[Start(0)]);
        let (caller, room) = start(&mut plan);
        plan.full(caller.clone(), room);
        assert_eq!(plan.turn(), Turn::Do(Job::GiveUp { caller }));
    }

    #[test]
    fn a_stopped_plan_hands_out_nothing() {
        let mut plan = plan(&[Start(0), Start(1)]);
        start(&mut plan);
        plan.stop();
        assert_eq!(plan.turn(), Turn::Leave);
    }
}
