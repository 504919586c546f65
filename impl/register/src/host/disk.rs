//! What survives of a node's registers, in one type, and how it changes.
//!
//! Invariants:
//! * it changes by [`Save`]s alone, in the order in which a host gives them; so a crash leaves what
//!   some first part of them has made;
//! * REG-5: the boot counter rises with every start, before the first ballot of it.
//!
//! What it does not do: bytes, files.

use alloc::collections::BTreeMap;

use crate::durable::{Durable, Life, Write};
use crate::id::{Boot, Epoch, Member, Slot};
use crate::view::View;

/// All that a node's registers remember through a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    me: Member,
    boot: Boot,
    replicas: BTreeMap<(Slot, Epoch), Durable>,
    /// What came before the view of a replica that has learned, also once it is active: whoever is in
    /// the view can so tell a member that has not heard.
    previous: BTreeMap<(Slot, Epoch), View>,
}

/// One change of a [`Disk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Save {
    /// The node has started for so many times.
    Boot(Boot),
    /// A replica begins its life.
    Replica(Durable),
    /// A replica remembers.
    Write(Slot, Epoch, Write),
}

impl Disk {
    /// An empty one. `me` has an incarnation that no other disk of the node ever had.
    pub fn new(me: Member) -> Self {
        let (replicas, previous) = (BTreeMap::new(), BTreeMap::new());
        Self { me, boot: Boot(0), replicas, previous }
    }

    /// Whose it is.
    pub fn me(&self) -> Member {
        self.me
    }

    /// What it has of each replica.
    pub fn replicas(&self) -> impl Iterator<Item = &Durable> {
        self.replicas.values()
    }

    /// What it has of one replica.
    pub fn replica(&self, slot: Slot, epoch: Epoch) -> Option<&Durable> {
        self.replicas.get(&(slot, epoch))
    }

    /// The view before that of a replica, if it has learned.
    pub fn previous(&self, slot: Slot, epoch: Epoch) -> Option<&View> {
        self.previous.get(&(slot, epoch))
    }

    /// For who reads a disk.
    pub(crate) fn set_previous(&mut self, place: (Slot, Epoch), previous: View) {
        self.previous.insert(place, previous);
    }

    /// Of the start that now begins.
    ///
    /// # Panics
    /// After 2^32 - 1 starts of one disk: it must be given up, as a lost one.
    pub(crate) fn next_boot(&self) -> Boot {
        Boot(self.boot.0.checked_add(1).expect("REG-5: fewer than 2^32 starts of a disk"))
    }

    /// Makes a change.
    ///
    /// # Panics
    /// When a replica writes that is not there: the host's fault.
    pub fn apply(&mut self, save: &Save) {
        match save {
            Save::Boot(boot) => self.boot = *boot,
            Save::Replica(durable) => {
                let place = (durable.view.slot(), durable.view.epoch());
                if let Life::Learner { previous, .. } = &durable.life {
                    self.previous.insert(place, previous.clone());
                }
                self.replicas.insert(place, durable.clone());
            }
            Save::Write(slot, epoch, write) => {
                let replica = self.replicas.get_mut(&(*slot, *epoch));
                replica.expect("a replica is saved before what it writes").apply(write);
            }
        }
    }
}
