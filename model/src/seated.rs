//! A real replica with what its disk has: a crash takes it back to that.

use cloakroom_register::{Durable, Replica, Write};

use crate::hashed::Hashed;

/// A replica and its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seated {
    /// In memory.
    pub(crate) replica: Hashed<Replica>,
    /// On disk, when that is not what the replica has in memory.
    pub(crate) disk: Option<Hashed<Durable>>,
}

impl Seated {
    /// With all of it on disk.
    pub(crate) fn new(replica: Replica) -> Self {
        Self { replica: Hashed::new(replica), disk: None }
    }

    /// What its disk has.
    pub(crate) fn disk(&self) -> &Durable {
        self.disk.as_deref().unwrap_or(self.replica.durable())
    }

    /// A step in memory, and what of it was persisted.
    pub(crate) fn change(&mut self, replica: Replica, persist: &[Write]) {
        let mut disk = self.disk().clone();
        for write in persist {
            disk.apply(write);
        }
        self.disk = (disk != *replica.durable()).then(|| Hashed::new(disk));
        self.replica = Hashed::new(replica);
    }

    /// A crash and a start.
    pub(crate) fn crash(&mut self) {
        let replica = Replica::restore(self.disk().clone()).expect("a member");
        *self = Self::new(replica);
    }
}
