//! Views that are proposed for no reason: of whatever nodes, whoever lives, two at once.
//!
//! Invariants:
//! * no member of them has lost its disk already.
//!
//! What it does not do: see to it that views are as they ought to be. Nodes do, and undo what comes of this.

use cloakroom_node::Input;
use cloakroom_register::{Member, Slot, View};

use super::{Chaos, Nodes};
use crate::cluster::resident::number_of;
use crate::engine::Node;

impl Chaos {
    pub(super) fn propose_something(&mut self, world: &mut Nodes) {
        let slot = Slot(u16::try_from(self.random.below(self.plan.slots.into())).unwrap_or(0));
        let keep = self.random.below(3) > 0;
        self.propose(world, slot, keep);
        if self.random.below(3) == 0 {
            self.propose(world, slot, false);
        }
    }

    /// Somebody takes somebody for dead, rightly or not.
    fn propose(&mut self, world: &mut Nodes, slot: Slot, keep: bool) {
        let living = self.ran.auditor.living(slot);
        if living.is_empty() {
            return;
        }
        // Whoever proposes does so in the newest view that it knows itself.
        let view = living[self.random.index(living.len())];
        let seat = self.random.index(view.members().len());
        let node = Node(number_of(view.members()[seat].node));
        let known = world.machine(node).and_then(|it| it.node.registers().newest(slot));
        let Some(view) = known.cloned() else { return };
        let members = if keep { self.replace(&view) } else { self.draw_members() };
        let Some(epoch) = view.epoch().next().filter(|_| members.len() == self.plan.members) else {
            return;
        };
        let Ok(candidate) = View::new(slot, epoch, &members) else { return };
        self.ran.counts.proposals += 1;
        self.ran.say(world.now(), || format!("n{} proposes {candidate}", node.0));
        world.command(node, u64::from(epoch.0), |resident, now| {
            resident.step(now, Input::Propose(candidate));
        });
    }

    /// Nodes that have not left, on the disks that they have.
    fn draw_members(&mut self) -> Vec<Member> {
        let mut nodes: Vec<usize> =
            (0..self.disks.len()).filter(|node| !self.left.contains(node)).collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(self.plan.members);
        nodes.iter().map(|&node| self.disks[node].me()).collect()
    }

    /// Those that are well stay, the others are replaced.
    fn replace(&mut self, view: &View) -> Vec<Member> {
        let mut members = self.draw_members();
        let stays = |member: &&Member| !self.ran.auditor.is_lost(**member);
        let mut kept: Vec<Member> = view.members().iter().filter(stays).copied().collect();
        members.retain(|member| kept.iter().all(|other| other.node != member.node));
        let room = self.plan.members.saturating_sub(kept.len());
        kept.extend(members.into_iter().take(room));
        kept
    }
}
