//! The replicas of one slot, by view and node; messages are carried by hand.

use std::collections::BTreeMap;

use cloakroom_register::{
    Accepted, Ballot, Body, Boot, Durable, Effects, Epoch, Incarnation, Key, Member, Message,
    NodeId, OperationId, Replica, Seat, Slot, State, Value, Version, View,
};

pub(crate) const SLOT: Slot = Slot(7);
pub(crate) const BOOT: Boot = Boot(1);

pub(crate) struct SlotOfNodes {
    replicas: BTreeMap<(u32, u8), Replica>,
    views: Vec<View>,
}

pub(crate) fn node(node: u8) -> NodeId {
    NodeId([node + 1; 32])
}

pub(crate) fn member(number: u8) -> Member {
    Member { node: node(number), incarnation: Incarnation(0) }
}

pub(crate) fn view(epoch: u32, nodes: [u8; 3]) -> View {
    View::new(SLOT, Epoch(epoch), &nodes.map(member)).unwrap()
}

pub(crate) fn key(number: u16) -> Key {
    Key::from(&number.to_be_bytes()[..])
}

pub(crate) fn ballot(epoch: u32, round: u32, seat: u8) -> Ballot {
    Ballot { epoch: Epoch(epoch), round, seat: Seat(seat), boot: BOOT }
}

pub(crate) fn accepted(ballot: Ballot, version: u64) -> Accepted {
    let content = Some(Value::from(&b"a"[..]));
    let operation = OperationId(u128::from(version).to_be_bytes());
    Accepted { ballot, state: State { version: Version(version), content, operation } }
}

pub(crate) fn tombstone(ballot: Ballot, version: u64) -> Accepted {
    let mut accepted = accepted(ballot, version);
    accepted.state.content = None;
    accepted
}

/// Within an epoch.
pub(crate) fn message(epoch: u32, body: Body) -> Message {
    Message { slot: SLOT, epoch: Epoch(epoch), body }
}

impl SlotOfNodes {
    pub(crate) fn genesis(nodes: [u8; 3]) -> Self {
        let view = view(0, nodes);
        let replica =
            |&number: &u8| ((0, number), Replica::genesis(member(number), view.clone()).unwrap());
        Self { replicas: nodes.iter().map(replica).collect(), views: vec![view] }
    }

    /// The next view is decided; its members are learners.
    pub(crate) fn next(&mut self, nodes: [u8; 3]) {
        let epoch = u32::try_from(self.views.len()).unwrap();
        let next = view(epoch, nodes);
        let previous = self.views.last().unwrap();
        for number in nodes {
            let learner = Replica::learner(member(number), next.clone(), previous.clone());
            self.replicas.insert((epoch, number), learner.unwrap());
        }
        self.views.push(next);
    }

    pub(crate) fn replica(&self, epoch: u32, node: u8) -> &Replica {
        &self.replicas[&(epoch, node)]
    }

    /// A replica hears a message from a node.
    pub(crate) fn tell(&mut self, epoch: u32, to: u8, from: u8, message: &Message) -> Effects {
        self.tell_from(epoch, to, node(from), message)
    }

    pub(crate) fn tell_from(
        &mut self,
        epoch: u32,
        to: u8,
        from: NodeId,
        message: &Message,
    ) -> Effects {
        let replica = self.replicas.get_mut(&(epoch, to)).unwrap();
        let mut disk = replica.durable().clone();
        let effects = replica.handle(from, message);
        effects.persist.iter().for_each(|write| disk.apply(write));
        assert_eq!(disk, *replica.durable(), "what is in memory is persisted");
        effects
    }

    /// A learner pulls a page from one member of the view before.
    pub(crate) fn pull(&mut self, epoch: u32, learner: u8, of: u32, source: u8) {
        self.page(epoch, learner, of, source);
    }

    /// A learner copies a page from one member of its own view.
    pub(crate) fn copy(&mut self, epoch: u32, learner: u8, source: u8) {
        self.page(epoch, learner, epoch, source);
    }

    fn page(&mut self, epoch: u32, learner: u8, of: u32, source: u8) {
        let asks = self.replica(epoch, learner).pull();
        let is_meant =
            |to: NodeId, message: &Message| to == node(source) && message.epoch == Epoch(of);
        let ask = asks.into_iter().find(|ask| is_meant(ask.to, &ask.message));
        let Some(ask) = ask else { return };
        for answer in self.tell(of, source, learner, &ask.message).send {
            assert_eq!(answer.to, node(learner));
            let _ = self.tell(epoch, learner, source, &answer.message);
        }
    }

    /// A sealed member asks all members of the next view.
    pub(crate) fn ask_active(&mut self, epoch: u32, sealed: u8) {
        for ask in self.replica(epoch, sealed).ask_active() {
            let to = (0..=9).find(|&to| node(to) == ask.to).unwrap();
            for answer in self.tell(epoch + 1, to, sealed, &ask.message).send {
                let _ = self.tell(epoch, sealed, to, &answer.message);
            }
        }
    }

    /// A replica crashes and comes back with what was durable.
    pub(crate) fn restart(&mut self, epoch: u32, node: u8) {
        self.change(epoch, node, |_| {});
    }

    /// The same, with another disk.
    pub(crate) fn change(&mut self, epoch: u32, node: u8, change: impl FnOnce(&mut Durable)) {
        let mut durable = self.replica(epoch, node).durable().clone();
        change(&mut durable);
        self.replicas.insert((epoch, node), Replica::restore(durable).unwrap());
    }
}
