//! What goes wrong: crashes, cuts, lost disks, nodes that come and go.
//!
//! Invariants:
//! * SIM-2: no view that may still count, as far as disks and proposals show, loses the disks of a majority:
//!   such a slot is lost by the rules, and nothing could be demanded of it;
//! * who has drained goes, disk and all, under the same rule: its own word does not cover views that were
//!   proposed before, are not decided, and name it;
//! * a crash keeps some first part of what was on its way to the disk;
//!
//! What it does not do: decide when.

use cloakroom_register::{Disk, Epoch, Incarnation, Member, OperationId, View};

use super::{Chaos, Deed, Nodes, number};
use crate::cluster::resident::contact_of;
use crate::engine::Node;

impl Chaos {
    /// Stops a node at once. Some first part of what was on its way reaches the disk.
    pub(super) fn crash(&mut self, world: &mut Nodes, node: usize) {
        let Some(pending) = world.crash(Node(number(node))) else { return };
        let reached = self.random.index(pending.len() + 1);
        let now = world.now();
        self.ran.say(now, || format!("n{node} crashes with {reached} of {} saves", pending.len()));
        self.save(now, node, &pending[..reached]);
        self.ran.counts.crashes += 1;
        self.records.crash(node);
        let under = self.under.iter().filter(|(_, under)| under.node.index() == node);
        let gone: Vec<OperationId> = under.map(|(id, _)| *id).collect();
        for id in gone {
            if let Some(under) = self.under.remove(&id) {
                self.ran.counts.vanished += 1;
                let want = self.clients[under.client].ended(&mut self.ran.book, None);
                self.go_on(world, under.client, want);
            }
        }
    }

    pub(super) fn crash_somebody(&mut self, world: &mut Nodes) {
        let Some(node) = self.somebody(world) else { return };
        self.crash(world, node);
        // Some come back before they are replaced, some after.
        let down = self.random.below(2 * self.plan.patience.silent_ms);
        let starts = self.starts[node];
        self.deeds.at(world, world.now().plus_us(down * 1000), Deed::Restart(node, starts));
    }

    pub(in crate::cluster) fn restart_all(&mut self, world: &mut Nodes) {
        for node in 0..self.disks.len() {
            self.restart(world, node, self.starts[node]);
        }
    }

    pub(super) fn restart(&mut self, world: &mut Nodes, node: usize, starts: u64) {
        let down = !world.is_up(Node(number(node)));
        if down && self.starts[node] == starts && !self.left.contains(&node) {
            self.start(world, node);
        }
    }

    /// Whether every view that may still count keeps a majority without this disk.
    pub(super) fn may_lose(&self, world: &Nodes, node: usize) -> bool {
        let me = self.disks[node].me();
        let survives = |view: &View| {
            let gone = |member: &&Member| **member == me || self.ran.auditor.is_lost(**member);
            view.members().iter().filter(gone).count() <= (view.members().len() - 1) / 2
        };
        let under_way: Vec<View> = self
            .up(world)
            .into_iter()
            .filter_map(|node| world.machine(Node(number(node))))
            .flat_map(|resident| resident.node.registers().proposed().cloned().collect::<Vec<_>>())
            .collect();
        let last =
            |slot| self.ran.auditor.living(slot).last().map_or(Epoch(0), |view| view.epoch());
        let may_count = |view: &&View| view.epoch() > last(view.slot());
        // What was proposed with the disk that went last is over when the next one goes.
        let between_us = 2 * self.plan.patience.silent_ms * 1000;
        let quiet = world.now().since_us(self.lost_at) > between_us;
        quiet
            && self
                .genesis
                .slots()
                .all(|slot| self.ran.auditor.living(slot).into_iter().all(survives))
            && self.candidates.iter().chain(&under_way).filter(may_count).all(survives)
    }

    /// A disk is gone, and another one may take its place.
    pub(super) fn lose_disk(&mut self, world: &mut Nodes, node: usize) {
        self.crash(world, node);
        self.ran.auditor.lose(self.disks[node].me());
        self.lost_at = world.now();
        self.records.lose(node);
        self.incarnations += 1;
        let incarnation = Incarnation(1 + self.random.below(1 << 40) * 2);
        let node_id = contact_of(number(node)).id;
        self.disks[node] = Disk::new(Member { node: node_id, incarnation });
    }

    pub(super) fn lose(&mut self, world: &mut Nodes) {
        let node = self.random.index(self.disks.len());
        if self.left.contains(&node) || !self.may_lose(world, node) {
            return;
        }
        self.ran.say(world.now(), || format!("n{node} loses its disk"));
        self.lose_disk(world, node);
        self.ran.counts.lost += 1;
        let starts = self.starts[node];
        let down = self.random.below(2_000);
        self.deeds.at(world, world.now().plus_us(down * 1000), Deed::Restart(node, starts));
    }

    /// Somebody comes, drains, or is removed.
    pub(super) fn shift(&mut self, world: &mut Nodes) {
        self.ran.counts.moves += 1;
        let stays = self.disks.len() - self.left.len() - self.drains.len();
        if stays <= self.plan.members || self.random.below(2) == 0 {
            if stays < self.plan.nodes as usize + 4 {
                let node = self.settle(world, Incarnation(1));
                self.ran.say(world.now(), || format!("n{node} comes"));
            }
            return;
        }
        let node = self.random.index(self.disks.len());
        if self.left.contains(&node) {
            return;
        }
        if self.drains.remove(&node) {
            self.ran.say(world.now(), || format!("n{node} is to stay"));
            return;
        }
        if self.random.below(2) == 0 {
            self.ran.say(world.now(), || format!("n{node} is to drain"));
            self.drains.insert(node);
        } else if self.may_lose(world, node) {
            self.ran.say(world.now(), || format!("n{node} is gone for ever"));
            self.lose_disk(world, node);
            self.left.insert(node);
        }
    }
}
