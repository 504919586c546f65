//! What goes wrong: crashes, lost disks, cuts, wrong and right suspicions, joins and leaves.
//!
//! Invariants:
//! * a crash keeps some first part of what was on its way to the disk;
//! * SIM-2: no view that may still count, proposed ones and first ones that no disk knows yet included,
//!   loses the disks of a majority.
//!
//! What it does not do: decide when.

use cloakroom_register::{Disk, Epoch, Incarnation, Member, OperationId, Slot, View};

use super::super::resident::{id_of, number_of};
use super::{Chaos, Deed, Registers};
use crate::engine::Node;

impl Chaos {
    /// Stops a node at once. Some first part of what was on its way reaches the disk.
    pub(super) fn crash(&mut self, world: &mut Registers, node: usize) {
        let number = u32::try_from(node).unwrap_or(0);
        let Some(pending) = world.crash(Node(number)) else { return };
        let reached = self.random.index(pending.len() + 1);
        let now = world.now();
        self.ran.say(now, || format!("n{node} crashes with {reached} of {} saves", pending.len()));
        self.save(now, node, &pending[..reached]);
        self.ran.counts.crashes += 1;
        let gone: Vec<OperationId> = self
            .under
            .iter()
            .filter(|(_, under)| under.node.index() == node)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(under) = self.under.remove(&id) {
                self.ran.counts.vanished += 1;
                let want = self.clients[under.client].ended(&mut self.ran.book, None);
                self.go_on(world, under.client, want);
            }
        }
    }

    fn up(&self, world: &Registers) -> Vec<usize> {
        (0..self.disks.len())
            .filter(|&node| world.is_up(Node(u32::try_from(node).unwrap_or(0))))
            .collect()
    }

    pub(super) fn crash_somebody(&mut self, world: &mut Registers) {
        let up = self.up(world);
        if up.is_empty() {
            return;
        }
        let node = up[self.random.index(up.len())];
        self.crash(world, node);
        let down = self.random.below(4000);
        let starts = self.starts[node];
        self.deeds.at(world, world.now().plus_us(down * 1000), Deed::Restart(node, starts));
    }

    pub(super) fn restart(&mut self, world: &mut Registers, node: usize, starts: u64) {
        let down = !world.is_up(Node(u32::try_from(node).unwrap_or(0)));
        if down && self.starts[node] == starts && !self.left.contains(&node) {
            self.start(world, node);
        }
    }

    /// Somebody takes somebody for dead, rightly or not.
    pub(super) fn propose(&mut self, world: &mut Registers, slot: Slot, keep: bool) {
        let living = self.ran.auditor.living(slot);
        let Some(base) = living.last().map(|view| view.epoch()) else { return };
        // Whoever proposes does so in the newest view that it knows itself.
        let view = living[self.random.index(living.len())];
        let seat = self.random.index(view.members().len());
        let node = Node(number_of(view.members()[seat].node));
        let known = world.machine(node).and_then(|resident| resident.host.newest(slot));
        let Some(view) = known.cloned() else { return };
        let Some(epoch) = view.epoch().next() else { return };
        let members = if keep { self.replace(&view) } else { self.draw_members() };
        if members.len() < self.plan.members {
            return;
        }
        let Ok(candidate) = View::new(slot, epoch, &members) else { return };
        self.ran.counts.proposals += 1;
        self.ran.say(world.now(), || format!("n{} proposes {candidate}", node.0));
        self.candidates.retain(|other| other.slot() != slot || other.epoch() > base);
        self.candidates.push(candidate.clone());
        world.command(node, u64::from(epoch.0), |resident, now| {
            resident.act(now, |host, now| host.propose(now, &candidate));
        });
    }

    /// Those that are well stay, the others are replaced.
    fn replace(&mut self, view: &View) -> Vec<Member> {
        let mut members = self.draw_members();
        let stays = |member: &&Member| {
            let number = number_of(member.node) as usize;
            !self.ran.auditor.is_lost(**member) && !self.left.contains(&number)
        };
        let mut kept: Vec<Member> = view.members().iter().filter(stays).copied().collect();
        members.retain(|member| kept.iter().all(|other| other.node != member.node));
        let room = self.plan.members.saturating_sub(kept.len());
        kept.extend(members.into_iter().take(room));
        kept
    }

    pub(super) fn propose_something(&mut self, world: &mut Registers) {
        let slot = Slot(u16::try_from(self.random.below(self.plan.slots.into())).unwrap_or(0));
        let keep = self.random.below(3) > 0;
        self.propose(world, slot, keep);
        if self.random.below(3) == 0 {
            self.propose(world, slot, false);
        }
    }

    /// Whether every view that may still count keeps a majority without this disk.
    fn may_lose(&self, node: usize) -> bool {
        let me = self.disks[node].me();
        let survives = |view: &View| {
            let gone = |member: &&Member| **member == me || self.ran.auditor.is_lost(**member);
            view.members().iter().filter(gone).count() <= (view.members().len() - 1) / 2
        };
        (0..self.plan.slots).all(|slot| {
            let living = self.ran.auditor.living(Slot(slot));
            let base = living.last().map_or(Epoch(0), |view| view.epoch());
            let proposed = self.candidates.iter();
            let proposed = proposed.filter(|view| view.slot() == Slot(slot) && view.epoch() > base);
            living.into_iter().chain(proposed).all(survives)
        })
    }

    pub(super) fn lose(&mut self, world: &mut Registers) {
        let node = self.random.index(self.disks.len());
        if self.left.contains(&node) || !self.may_lose(node) {
            return;
        }
        self.crash(world, node);
        self.ran.say(world.now(), || format!("n{node} loses its disk"));
        self.ran.auditor.lose(self.disks[node].me());
        self.incarnations += 1;
        let number = u32::try_from(node).unwrap_or(0);
        let me = Member { node: id_of(number), incarnation: Incarnation(self.incarnations) };
        self.disks[node] = Disk::new(me);
        self.ran.counts.lost += 1;
        let down = self.random.below(2000);
        let starts = self.starts[node];
        self.deeds.at(world, world.now().plus_us(down * 1000), Deed::Restart(node, starts));
    }

    pub(super) fn shift(&mut self, world: &mut Registers) {
        self.ran.counts.moves += 1;
        let stays = self.disks.len() - self.left.len();
        if self.random.below(2) == 0 && stays < self.plan.nodes as usize + 5 {
            self.join(world);
            return;
        }
        let node = self.random.index(self.disks.len());
        if stays > self.plan.members && !self.left.contains(&node) && self.may_lose(node) {
            self.crash(world, node);
            self.ran.say(world.now(), || format!("n{node} leaves"));
            self.ran.auditor.lose(self.disks[node].me());
            self.left.insert(node);
        }
    }
}
