//! Who comes and goes in the main experiment.
//!
//! Invariants:
//! * whoever goes for good is replaced by a stranger at the same moment, so that as many are up as
//!   at the beginning, but for those that will come back;
//! * a question whose caller goes is an orphan: nobody is left to be answered.

use super::Run;
use super::wake::Wake;
use crate::engine::{Node, World};
use crate::kad::resident::{Disk, Resident, moment};
use crate::random::{Chance, to_u64};

impl Run<'_> {
    pub(super) fn mean_session_us(&self) -> Option<f64> {
        let per_hour = self.scenario.churn.per_hour;
        (per_hour > 0.0).then(|| 3600e6 / per_hour)
    }

    pub(super) fn come(&mut self, node: Node, world: &mut World<Resident>) {
        self.now.came += 1;
        let disk = self.disks.remove(&node);
        self.people.come(node, disk, world);
        // The first session of a run has been planned.
        if self.people.all[node.index()].stays.len() > 1 {
            self.plan_leave(node, world);
        }
    }

    pub(super) fn plan_leave(&mut self, node: Node, world: &mut World<Resident>) {
        if let Some(mean) = self.mean_session_us() {
            let length = self.scenario.churn.sessions.length(mean, &mut self.churn);
            world.wake(world.now().plus_us(to_u64(length)), Wake::Go(node).token());
        }
    }

    /// A session ends: with notice, or by a crash.
    pub(super) fn go(&mut self, node: Node, world: &mut World<Resident>) {
        if !world.is_up(node) {
            return;
        }
        let churn = &self.scenario.churn;
        if self.churn.happens(Chance::of(churn.graceful)) {
            self.people.hide(node);
            world.command(node, 2, |resident, now| {
                resident.ask(now, |kademlia| kademlia.leave(moment(now)));
            });
            return;
        }
        let returns = self.churn.happens(Chance::of(churn.returns));
        let disk_loss = self.churn.happens(Chance::of(churn.disk_loss));
        let disk = self.stop(node, world);
        if returns {
            if let Some(disk) = disk.filter(|_| !disk_loss) {
                self.disks.insert(node, disk);
            }
            let mean = churn.down_min * 60e6;
            let down = to_u64(self.churn.exponential(mean));
            world.wake(world.now().plus_us(down), Wake::Come(node).token());
        } else {
            self.replace(world);
        }
    }

    pub(super) fn stop(&mut self, node: Node, world: &mut World<Resident>) -> Option<Disk> {
        self.now.went += 1;
        let orphans: Vec<_> =
            self.open.range((node, 0)..=(node, u64::MAX)).map(|(&name, _)| name).collect();
        for name in orphans {
            let Some(question) = self.open.remove(&name) else { continue };
            if question.measured {
                self.tally(question.what).orphaned += 1;
            }
        }
        self.people.go(node, world)
    }

    /// Somebody else comes in the place of one who went for good.
    pub(super) fn replace(&mut self, world: &mut World<Resident>) {
        let node = self.people.stranger(self.scenario, world);
        self.now.came += 1;
        self.people.come(node, None, world);
        self.plan_leave(node, world);
    }
}
