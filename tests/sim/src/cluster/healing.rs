//! After the faults: the network is perfect, everybody is up who has not left. Then progress is demanded.
//!
//! What is demanded, within a stated time: everybody has one list (NODE-5), with everybody in it who is
//! there, and nobody who has left; each slot has the members that are closest by the list (NODE-7), and
//! all of them vote; tombstones are gone where they are collected; calls end, and new ones are answered at whatever
//! node (NODE-3); and each node finds each record that a disk has (`records.rs`).
//!
//! What it does not do: repair by hand, but for the operator's changes of the list.

use std::collections::{BTreeMap, BTreeSet};

use cloakroom_node::{Roster, place};
use cloakroom_register::{Accepted, Call, Expected, Key, Member, Value, Version};

use super::chaos::{Chaos, Nodes};
use super::resident::contact_of;
use crate::engine::{Network, Node};
use crate::registers::ran::Fault;

/// It must be well again within so long.
const HEALING_MS: u64 = 180_000;

impl Chaos {
    pub(super) fn heal(&mut self, world: &mut Nodes) {
        self.healing = true;
        let regions = world.network_mut().regions.clone();
        *world.network_mut() = Network::perfect(regions);
        self.ran.say(world.now(), || "healing".to_owned());
        self.restart_all(world);
        let limit = world.now().plus_us(HEALING_MS * 1000);
        let (mut asked, mut rounds) = (None, 0);
        while self.ran.fault.is_none() {
            let until = world.now().plus_us(500_000);
            world.run(self, until);
            let idle = self.clients.iter().all(|client| client.attempts().is_none());
            let unwell = self.unwell(world).or((!idle).then(|| "calls have not ended".to_owned()));
            match (&unwell, asked) {
                (None, None) => {
                    asked = Some(self.ran.book.entries.len());
                    self.ask_all(world);
                }
                // A write may be left unknown by right, if another came between its attempts.
                (None, Some(first)) if !self.is_answered(first) && rounds < 5 => {
                    asked = None;
                    rounds += 1;
                }
                (None, Some(first)) => {
                    if !self.is_answered(first) {
                        let what = "without faults a call has not been answered".to_owned();
                        self.ran.fault = Some(Fault::NoProgress(what));
                        return;
                    }
                    return self.find_all(world);
                }
                (Some(_), _) => {}
            }
            if let Some(what) = unwell.filter(|_| world.now() > limit && self.ran.fault.is_none()) {
                let seconds = HEALING_MS / 1000;
                let what = format!("after {seconds} s without faults: {what}");
                self.ran.fault = Some(Fault::NoProgress(what));
            }
        }
    }

    fn is_answered(&self, first: usize) -> bool {
        self.ran.book.entries[first..].iter().all(|entry| entry.outcome.is_some())
    }

    /// What is not as it ought to be.
    fn unwell(&self, world: &Nodes) -> Option<String> {
        let mut lists: Vec<(usize, &Roster, Version)> = Vec::new();
        for node in self.up(world) {
            let resident = world.machine(Node(u32::try_from(node).unwrap_or(0)))?;
            let (roster, version) = resident.node.roster();
            lists.push((node, roster, version));
        }
        let (_, roster, version) = lists.first()?;
        if let Some(slot) = self.genesis.slots().find(|slot| !self.ran.auditor.is_settled(*slot)) {
            let view = self.ran.auditor.newest(slot)?;
            return Some(format!("not all members vote: {view}"));
        }
        if let Some((node, _, other)) = lists.iter().find(|list| list.2 != *version) {
            return Some(format!("NODE-5: n{node} has list {other}, another has {version}"));
        }
        for (node, disk) in self.disks.iter().enumerate() {
            let number = u32::try_from(node).unwrap_or(0);
            let is_there = match roster.place(contact_of(number).id) {
                Some(place) => place.member == disk.me() && !self.left.contains(&node),
                None => self.left.contains(&node),
            };
            if !is_there {
                let place = roster.place(contact_of(number).id).map(|place| place.member);
                let (me, left) = (disk.me(), self.left.contains(&node));
                return Some(format!(
                    "NODE-6: n{node} is {me} and has left {left}, in the list is {place:?}"
                ));
            }
        }
        self.misplaced(roster).or_else(|| {
            let tombstones = self.tombstones();
            (tombstones > 0).then(|| format!("REG-11: there are {tombstones} tombstones"))
        })
    }

    fn misplaced(&self, roster: &Roster) -> Option<String> {
        let candidates: Vec<_> = roster.candidates().collect();
        self.genesis.slots().find_map(|slot| {
            let view = self.ran.auditor.newest(slot)?;
            let point = self.genesis.point_of(slot);
            let closest = place(point, self.genesis.replicas(), &[], &candidates);
            let closest: BTreeSet<Member> = closest.into_iter().collect();
            let members: BTreeSet<Member> = view.members().iter().copied().collect();
            (closest != members).then(|| format!("NODE-7: not the closest members: {view}"))
        })
    }

    /// Keys that are removed, by the highest ballot among the members of their newest view, and still
    /// have their tombstone; none counts without collection.
    fn tombstones(&self) -> usize {
        if self.plan.waits.collect_ms == 0 {
            return 0;
        }
        let views = self.genesis.slots().filter_map(|slot| self.ran.auditor.newest(slot));
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

    /// Every client calls once more, on the keys in turn, at whatever node: each must be answered.
    fn ask_all(&mut self, world: &mut Nodes) {
        for client in 0..self.plan.clients as usize {
            let key = self.keys[client % self.keys.len()].clone();
            // One write to a key: several could leave each other unknown, by right.
            let call = if client % 2 == 0 || client >= self.keys.len() {
                Call::Get
            } else {
                let new = Some(Value::from(&[client.to_le_bytes()[0]][..]));
                Call::CompareAndSet { expected: Expected::Absent, new }
            };
            self.clients[client].touch(&mut self.ran.book, &key, call);
            self.attempt(world, client);
        }
    }
}
