//! After the faults: the network is perfect, everybody is up, members that are gone are replaced. Then
//! progress is demanded.
//!
//! Invariants:
//! * nothing is demanded that the rules do not promise: a write may stay unknown if another came
//!   between its attempts, and is then called once more.
//!
//! What it does not do: repair by hand. Whoever is late is told by nodes.

use std::collections::BTreeMap;

use cloakroom_register::{Accepted, Call, Expected, Key, Member, Slot, Value};

use super::super::plan::HEALING_MS;
use super::super::ran::Fault;
use super::{Chaos, Deed, Registers};
use crate::engine::Network;

impl Chaos {
    /// The network is perfect, everybody is up, members that are gone are replaced; then all must be
    /// well.
    pub(super) fn heal(&mut self, world: &mut Registers) {
        self.healing = true;
        let regions = world.network_mut().regions.clone();
        *world.network_mut() = Network::perfect(regions);
        self.ran.say(world.now(), || "healing".to_owned());
        for node in 0..self.disks.len() {
            self.restart(world, node, self.starts[node]);
        }
        self.deeds.at(world, world.now().plus_us(1000), Deed::Mend);
        let limit = world.now().plus_us(HEALING_MS * 1000);
        let (mut asked, mut rounds) = (None, 0);
        while self.ran.fault.is_none() {
            let until = world.now().plus_us(500_000);
            world.run(self, until);
            let settled = (0..self.plan.slots).all(|slot| self.ran.auditor.is_settled(Slot(slot)));
            let idle = self.clients.iter().all(|client| client.attempts().is_none());
            match asked {
                None if settled && idle => {
                    asked = Some(self.ran.book.entries.len());
                    self.ask_all(world);
                }
                // A write may be left unknown by right, if another came between its attempts.
                Some(first) if settled && idle && !self.is_answered(first) && rounds < 5 => {
                    asked = None;
                    rounds += 1;
                }
                Some(first) if settled && idle && self.tombstones() == 0 => {
                    if !self.is_answered(first) {
                        let what = "without faults a call has not been answered".to_owned();
                        self.ran.fault = Some(Fault::NoProgress(what));
                    }
                    return;
                }
                _ => {}
            }
            if world.now() > limit && self.ran.fault.is_none() {
                let what = self.unwell(settled, idle);
                self.ran.fault = Some(Fault::NoProgress(what));
            }
        }
    }

    fn is_answered(&self, first: usize) -> bool {
        self.ran.book.entries[first..].iter().all(|entry| entry.outcome.is_some())
    }

    fn unwell(&self, settled: bool, idle: bool) -> String {
        let seconds = HEALING_MS / 1000;
        if !settled {
            let slots = (0..self.plan.slots).map(Slot);
            let restless: Vec<String> = slots
                .filter(|slot| !self.ran.auditor.is_settled(*slot))
                .filter_map(|slot| self.ran.auditor.newest(slot).map(ToString::to_string))
                .collect();
            format!("after {seconds} s without faults not all members are active: {restless:?}")
        } else if !idle {
            format!("after {seconds} s without faults calls have not ended")
        } else {
            format!("after {seconds} s without faults there are {} tombstones", self.tombstones())
        }
    }

    /// Every client calls once more, on the keys in turn: each must be answered.
    fn ask_all(&mut self, world: &mut Registers) {
        for client in 0..self.clients.len() {
            let key = self.keys[client % self.keys.len()].clone();
            // One write to a key: several could leave each other unknown, by right.
            let call = if client % 2 == 0 || client >= self.keys.len() {
                Call::Get
            } else {
                let new = Some(Value::from(&[client.to_le_bytes()[0]][..]));
                Call::CompareAndSet { expected: Expected::Absent, new }
            };
            if client < self.plan.clients as usize {
                self.clients[client].touch(&mut self.ran.book, &key, call);
                self.attempt(world, client);
            }
        }
    }

    /// Keys that are removed, by the highest ballot among the members of their newest view, and still
    /// have their tombstone; none counts without collection.
    fn tombstones(&self) -> usize {
        if self.plan.waits.collect_ms == 0 {
            return 0;
        }
        let views = (0..self.plan.slots).filter_map(|slot| self.ran.auditor.newest(Slot(slot)));
        let removed = views.map(|view| {
            let mut highest: BTreeMap<&Key, &Accepted> = BTreeMap::new();
            let replicas =
                self.disks.iter().filter_map(|disk| disk.replica(view.slot(), view.epoch()));
            for (key, record) in replicas.flat_map(|replica| &replica.records) {
                let Some(accepted) = &record.accepted else { continue };
                let high = highest.entry(key).or_insert(accepted);
                if high.ballot < accepted.ballot {
                    *high = accepted;
                }
            }
            highest.values().filter(|accepted| accepted.is_tombstone()).count()
        });
        removed.sum()
    }

    /// Replaces members that are gone, until none is.
    pub(super) fn mend(&mut self, world: &mut Registers) {
        for slot in (0..self.plan.slots).map(Slot) {
            let Some(view) = self.ran.auditor.newest(slot) else { continue };
            let gone = |member: &Member| self.ran.auditor.is_lost(*member);
            if view.members().iter().any(gone) {
                self.propose(world, slot, true);
            }
        }
        self.deeds.at(world, world.now().plus_us(2_000_000), Deed::Mend);
    }
}
