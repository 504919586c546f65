//! The auditor: looks at all disks, and judges every change of them by the predicates of
//! `specs/src/register.rs`; and every answer by what is chosen.
//!
//! Invariants:
//! * it goes by what is durable and by what left a node, never by what a node believes;
//! * a state is *chosen* as soon as a majority of its view has it durably under one ballot of that
//!   view. Chosen states are kept for ever.
//!
//! What it does not do: see states that led to a chosen one without being chosen: the chain that it
//! knows has gaps, and REG-7 is judged on what it knows. What such states do to answers is for the
//! judge of histories, who knows nothing of any of this.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cloakroom_register::{
    Accepted, Ballot, Call, Disk, Epoch, Expected, Held, Key, Life, Member, Outcome, Record, Save,
    Seats, Slot, State, Value, View, Write,
};
use cloakroom_specs::register::{self as spec, Objection, What};

/// A ballot in the order of ballots.
fn order(ballot: Ballot) -> u128 {
    let Ballot { epoch, round, seat, boot } = ballot;
    u128::from(epoch.0) << 96
        | u128::from(round) << 64
        | u128::from(seat.0) << 32
        | u128::from(boot.0)
}

/// A value as a number: by its bytes, of which 2^-64 of all pairs share one.
pub(crate) fn plain_value(value: &Value) -> u64 {
    if let Ok(bytes) = <[u8; 8]>::try_from(&*value.0) {
        return u64::from_be_bytes(bytes);
    }
    value.0.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// An operation as a number.
pub(crate) fn plain_operation(operation: cloakroom_register::OperationId) -> u64 {
    let (halves, _) = operation.0.as_chunks::<8>();
    u64::from_be_bytes(halves[0]).rotate_left(32) ^ u64::from_be_bytes(halves[1])
}

fn plain(state: &State) -> spec::State {
    spec::State {
        version: state.version.0,
        content: state.content.as_ref().map(plain_value),
        operation: plain_operation(state.operation),
    }
}

/// One view, and how far its members have come. A disk that is lost does not undo it.
#[derive(Clone, Debug)]
struct Epochs {
    view: View,
    active: Seats,
    sealed: Seats,
}

/// One key.
#[derive(Clone, Debug, Default)]
struct Ledger {
    /// What was accepted under a ballot, and by which seats of its view.
    votes: BTreeMap<Ballot, (spec::State, Seats)>,
    chosen: BTreeMap<Ballot, spec::State>,
    /// The same without repetition, for answers.
    answers: BTreeMap<u64, spec::State>,
    /// In which version an operation was chosen.
    operations: BTreeMap<u64, u64>,
    failed: BTreeSet<u64>,
}

/// Sees everything that becomes durable.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    views: BTreeMap<(Slot, Epoch), Epochs>,
    newest: BTreeMap<Slot, Epoch>,
    keys: BTreeMap<(Slot, Key), Ledger>,
    /// Members whose disks are gone.
    lost: HashSet<Member>,
    members: usize,
    /// States judged.
    pub(crate) states: u64,
    /// States chosen.
    pub(crate) choices: u64,
    /// Tombstones dropped, at one member.
    pub(crate) drops: u64,
    /// Snapshots dropped.
    pub(crate) retired: u64,
}

type Judged = Result<(), Objection>;

impl Auditor {
    /// Of a cluster whose views have so many members.
    pub(crate) fn new(members: usize) -> Self {
        Self { members, ..Self::default() }
    }

    /// The newest view of a slot that was decided.
    pub(crate) fn newest(&self, slot: Slot) -> Option<&View> {
        let epoch = self.newest.get(&slot)?;
        self.views.get(&(slot, *epoch)).map(|epochs| &epochs.view)
    }

    /// Views from the last one on that a majority of members with their disks has entered.
    pub(crate) fn living(&self, slot: Slot) -> Vec<&View> {
        let mut views: Vec<&View> = Vec::new();
        for (_, epochs) in self.views.range((slot, Epoch(0))..=(slot, Epoch(u32::MAX))).rev() {
            views.push(&epochs.view);
            let mut active = Seats::default();
            for (seat, member) in epochs.view.seats() {
                if epochs.active.has(seat) && !self.lost.contains(&member) {
                    active.add(seat);
                }
            }
            if epochs.view.is_majority(active) {
                break;
            }
        }
        views
    }

    /// Whether every member of the newest view that has its disk is active in it.
    pub(crate) fn is_settled(&self, slot: Slot) -> bool {
        let newest = self.newest.get(&slot).and_then(|epoch| self.views.get(&(slot, *epoch)));
        newest.is_some_and(|epochs| {
            let settled = |(seat, member)| epochs.active.has(seat) && !self.lost.contains(&member);
            epochs.view.seats().all(settled)
        })
    }

    /// A member's disk is gone for ever.
    pub(crate) fn lose(&mut self, member: Member) {
        self.lost.insert(member);
    }

    /// Whether it is.
    pub(crate) fn is_lost(&self, member: Member) -> bool {
        self.lost.contains(&member)
    }

    /// Something becomes durable on one of the disks, which are by node.
    ///
    /// # Errors
    /// The predicate that does not hold.
    pub(crate) fn save(&mut self, disks: &mut [Disk], node: usize, save: &Save) -> Judged {
        self.states += 1;
        let me = disks[node].me();
        match save {
            Save::Boot(_) => disks[node].apply(save),
            Save::Replica(durable) => {
                disks[node].apply(save);
                self.decided(&durable.view)?;
                self.lives(disks, &durable.view, me, &durable.life)?;
            }
            Save::Write(slot, epoch, write) => {
                let place = (*slot, *epoch);
                let replica = disks[node].replica(*slot, *epoch).expect("saved before");
                let view = replica.view.clone();
                let life = replica.life.clone();
                match write {
                    Write::Record(key, record) => {
                        // A learner has promised nothing: a floor that it has merged is of another.
                        let before = match replica.life {
                            Life::Learner { .. } => replica.records.get(key).cloned(),
                            _ => Some(replica.record(key)),
                        };
                        let nothing = Record { promise: Ballot::ZERO, accepted: None };
                        let before = before.unwrap_or(nothing);
                        disks[node].apply(save);
                        self.record(disks, &view, me, (&life, key), &before, record)?;
                    }
                    Write::Drop(key) => {
                        let before = replica.record(key).accepted;
                        disks[node].apply(save);
                        self.dropped(disks, &view, key, before.as_ref())?;
                    }
                    Write::Floor(floor) => {
                        let before = order(replica.floor.ballot);
                        disks[node].apply(save);
                        spec::not_forgotten(before, order(floor.ballot))?;
                    }
                    Write::Life(next) => {
                        disks[node].apply(save);
                        self.lives(disks, &view, me, next)?;
                    }
                    Write::Vote(vote) => {
                        let before = order(replica.vote.promise);
                        disks[node].apply(save);
                        spec::not_forgotten(before, order(vote.promise))?;
                        spec::may_vote(life == Life::Active, false, epoch.0, view.epoch().0)?;
                    }
                    Write::Retire(next) => {
                        disks[node].apply(save);
                        self.retired += 1;
                        self.decided(next)?;
                        let after = self.views.get(&(*slot, next.epoch()));
                        let active = after.map_or(0, |after| after.active.len());
                        spec::may_retire(active, next.members().len())?;
                    }
                }
                debug_assert_eq!(place.0, view.slot());
            }
        }
        Ok(())
    }

    /// REG-1, REG-13: a view was decided.
    fn decided(&mut self, view: &View) -> Judged {
        let place = (view.slot(), view.epoch());
        if let Some(other) = self.views.get(&place) {
            return spec::one_successor(view.epoch().0, view.members(), other.view.members());
        }
        let plain = |member: &Member| {
            let [name, ..] = member.node.0.as_chunks::<8>().0 else { return (0, 0) };
            (u64::from_be_bytes(*name), member.incarnation.0)
        };
        let members: Vec<(u64, u64)> = view.members().iter().map(plain).collect();
        spec::is_view(&members, self.members)?;
        let (active, sealed) = (Seats::default(), Seats::default());
        self.views.insert(place, Epochs { view: view.clone(), active, sealed });
        let newest = self.newest.entry(view.slot()).or_insert(view.epoch());
        *newest = view.epoch().max(*newest);
        Ok(())
    }

    fn lives(&mut self, disks: &[Disk], view: &View, me: Member, life: &Life) -> Judged {
        let (slot, epoch) = (view.slot(), view.epoch());
        let Some(seat) = view.seat_of(me) else {
            return Err(Objection { property: 13, what: What::NoView { nodes: 0, expected: 1 } });
        };
        match life {
            Life::Learner { .. } => {}
            Life::Active => {
                if let Some(before) = epoch.0.checked_sub(1)
                    && let Some(previous) = self.views.get(&(slot, Epoch(before)))
                {
                    let members = previous.view.members().len();
                    spec::sealed_before_active(previous.sealed.len(), members)?;
                }
                if let Some(epochs) = self.views.get_mut(&(slot, epoch)) {
                    epochs.active.add(seat);
                }
                self.begins(disks, view, me)?;
            }
            Life::Sealed { next } => {
                self.decided(next)?;
                if let Some(epochs) = self.views.get_mut(&(slot, epoch)) {
                    epochs.sealed.add(seat);
                }
            }
            Life::Retired { next } => self.decided(next)?,
        }
        Ok(())
    }

    /// REG-4: a member has become active.
    fn begins(&self, disks: &[Disk], view: &View, me: Member) -> Judged {
        let slot = view.slot();
        for ((of, key), ledger) in self.keys.range((slot, Key::from(&[][..]))..) {
            if *of != slot {
                break;
            }
            let earlier = |(ballot, _): &(&Ballot, &spec::State)| ballot.epoch < view.epoch();
            if let Some((chosen, _)) = ledger.chosen.iter().rev().find(earlier) {
                spec::not_behind(holds(disks, view, me, key), order(*chosen))?;
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        disks: &[Disk],
        view: &View,
        me: Member,
        (life, key): (&Life, &Key),
        before: &Record,
        record: &Record,
    ) -> Judged {
        // REG-6
        spec::not_forgotten(order(before.promise), order(record.promise))?;
        let held = before.accepted.as_ref().map_or(0, |accepted| order(accepted.ballot));
        let holds = record.accepted.as_ref().map_or(0, |accepted| order(accepted.ballot));
        spec::not_forgotten(held, holds)?;
        // REG-3: a learner copies, and does not promise.
        let copies = record.accepted.as_ref().is_some_and(|it| it.ballot == record.promise);
        let active = *life == Life::Active || matches!(life, Life::Learner { .. }) && copies;
        let sealed = matches!(life, Life::Sealed { .. } | Life::Retired { .. });
        spec::may_vote(active, sealed, view.epoch().0, view.epoch().0)?;
        let Some(accepted) = record.accepted.as_ref().filter(|_| holds != held) else {
            return Ok(());
        };
        self.vote(disks, view, me, key, accepted)
    }

    fn vote(
        &mut self,
        disks: &[Disk],
        view: &View,
        me: Member,
        key: &Key,
        accepted: &Accepted,
    ) -> Judged {
        let place = (view.slot(), key.clone());
        let state = plain(&accepted.state);
        let ledger = self.keys.entry(place).or_default();
        let votes = ledger.votes.entry(accepted.ballot).or_insert((state, Seats::default()));
        spec::one_state(order(accepted.ballot), votes.0, state)?;
        // A copy of an older epoch is no vote; one of this epoch, from a peer, is one.
        let Some(seat) = view.seat_of(me).filter(|_| accepted.ballot.epoch == view.epoch()) else {
            return Ok(());
        };
        votes.1.add(seat);
        if !view.is_majority(votes.1) || ledger.chosen.contains_key(&accepted.ballot) {
            return Ok(());
        }
        self.choices += 1;
        let below = ledger.chosen.range(..accepted.ballot).next_back().map(|(_, state)| *state);
        let above = ledger.chosen.range(accepted.ballot..).next().map(|(_, state)| *state);
        if let Some(below) = below {
            spec::follows(below, state)?;
        }
        if let Some(above) = above {
            spec::follows(state, above)?;
        }
        ledger.chosen.insert(accepted.ballot, state);
        let version = *ledger.operations.entry(state.operation).or_insert(state.version);
        if version != state.version {
            let operation = state.operation;
            return Err(Objection { property: 7, what: What::Twice { operation } });
        }
        ledger.answers.insert(state.version, state);
        if ledger.failed.contains(&state.operation) {
            spec::never_happened(&[state], state.operation)?;
        }
        // REG-4, from behind: a later view must have it already.
        let after = (view.slot(), Epoch(view.epoch().0.saturating_add(1)));
        for (_, epochs) in self.views.range(after..=(view.slot(), Epoch(u32::MAX))) {
            for (seat, member) in epochs.view.seats() {
                if epochs.active.has(seat) && !self.lost.contains(&member) {
                    spec::not_behind(
                        holds(disks, &epochs.view, member, key),
                        order(accepted.ballot),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// REG-11
    fn dropped(
        &mut self,
        disks: &[Disk],
        view: &View,
        key: &Key,
        before: Option<&Accepted>,
    ) -> Judged {
        self.drops += 1;
        let Some(tombstone) = before.filter(|accepted| accepted.is_tombstone()) else {
            let what = What::Dropped { tombstone: 0, holds: 0, floor: 0 };
            return Err(Objection { property: 11, what });
        };
        let members = view.members().iter().filter(|member| !self.lost.contains(member));
        let has = members.filter_map(|member| {
            let disk = disks.iter().find(|disk| disk.me() == *member)?;
            let replica = disk.replica(view.slot(), view.epoch())?;
            // One that is retired has gone on.
            if matches!(replica.life, Life::Retired { .. }) {
                return None;
            }
            let holds = replica.records.get(key).and_then(|record| record.accepted.as_ref());
            Some((holds.map_or(0, |it| order(it.ballot)), order(replica.floor.ballot)))
        });
        spec::may_drop(order(tombstone.ballot), has)
    }

    /// REG-8, REG-9: an operation has ended.
    ///
    /// # Errors
    /// Its answer is not what is chosen.
    pub(crate) fn ended(
        &mut self,
        slot: Slot,
        key: &Key,
        operation: u64,
        call: &Call,
        outcome: &Outcome,
    ) -> Judged {
        let ledger = self.keys.entry((slot, key.clone())).or_default();
        let answered = |held: &Held| (held.version.0, plain_value(&held.value));
        let there = |held: &Held| {
            let (version, value) = answered(held);
            let state = ledger.answers.get(&version);
            let what = What::NotLinearizable { least: 0, answered: version };
            if state.is_some_and(|state| state.content == Some(value)) {
                Ok(())
            } else {
                Err(Objection { property: 9, what })
            }
        };
        let made = ledger
            .operations
            .get(&operation)
            .and_then(|version| ledger.answers.get(version))
            .copied();
        match outcome {
            Outcome::Set(version) => {
                let state = ledger.answers.get(&version.0).copied();
                spec::happened(state.as_slice(), operation, version.0)
            }
            Outcome::Got(held) => held.as_ref().map_or(Ok(()), there),
            Outcome::Mismatch(held) => {
                held.as_ref().map_or(Ok(()), there)?;
                let expected = match call {
                    Call::CompareAndSet { expected: Expected::Value(value), .. } => {
                        spec::Expected::Value(plain_value(value))
                    }
                    Call::CompareAndSet { expected: Expected::Version(version), .. } => {
                        spec::Expected::Version(version.0)
                    }
                    _ => spec::Expected::Absent,
                };
                spec::differs(expected, held.as_ref().map(answered))?;
                spec::never_happened(made.as_slice(), operation)?;
                ledger.failed.insert(operation);
                Ok(())
            }
            // It may be tried again under the same id.
            Outcome::Unavailable => spec::never_happened(made.as_slice(), operation),
            Outcome::Unknown(_) => Ok(()),
        }
    }
}

/// What a member has of a key in a view: its ballot, or else its floor; the highest of all if its
/// snapshot is gone by right.
fn holds(disks: &[Disk], view: &View, member: Member, key: &Key) -> u128 {
    let disk = disks.iter().find(|disk| disk.me() == member);
    let Some(replica) = disk.and_then(|disk| disk.replica(view.slot(), view.epoch())) else {
        return 0;
    };
    if matches!(replica.life, Life::Retired { .. }) {
        return u128::MAX;
    }
    let accepted = replica.records.get(key).and_then(|record| record.accepted.as_ref());
    order(accepted.map_or(replica.floor.ballot, |accepted| accepted.ballot))
}

/// REG-6: a promise left a node.
///
/// # Errors
/// It is not durable there.
pub(crate) fn told(disk: &Disk, slot: Slot, epoch: Epoch, key: &Key, told: Ballot) -> Judged {
    let replica = disk.replica(slot, epoch);
    // A retired replica has forgotten by right.
    let replica = replica.filter(|replica| !matches!(replica.life, Life::Retired { .. }));
    let left = replica.map_or(u128::MAX, |replica| order(replica.record(key).promise));
    spec::not_forgotten(order(told), left)
}
