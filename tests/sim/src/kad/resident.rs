//! What lives at a place of the world: an honest Kademlia machine, or a liar, behind bytes.
//!
//! Invariants:
//! * WIRE-3: a message that is not understood is answered as `specs/wire.md` says;
//! * what is watched is copied, never changed.

use cloakroom_kademlia::{Event, Held, Kademlia, Moment, Peer, Transmit};
use cloakroom_wire::{
    Answer, Body, Contact, Message, NodeId, OwnedBody, OwnedMessage, OwnedRequest, RequestId,
};

use super::liar::Liar;
use crate::engine::{Machine, Time};

/// A machine of either kind.
#[derive(Debug)]
pub enum Resident {
    /// The real one.
    Honest(Box<Honest>),
    /// A liar.
    Liar(Box<Liar>),
}

/// The real machine, and what is watched of it.
#[derive(Debug)]
pub struct Honest {
    /// The machine.
    pub kademlia: Kademlia,
    watch: Option<Watch>,
    /// Messages that were not understood, or could not be encoded: none, or a bug.
    pub garbled: u32,
    refusals: Vec<Transmit>,
}

/// A lookup that is watched: its requests and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    target: NodeId,
    /// In the order in which they were sent.
    pub steps: Vec<Ask>,
}

/// A request of a watched lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    request: RequestId,
    /// Whom it asked.
    pub to: NodeId,
    /// When.
    pub sent: Time,
    /// When it was sent once more, if it was.
    pub again: Option<Time>,
    /// When the answer came, if it did.
    pub answered: Option<Time>,
    /// Whom the answer named.
    pub named: Vec<NodeId>,
}

/// What a crash leaves: the contacts of the routing table, and what must be kept of the records. The
/// disk has everything that was ever acknowledged: no write is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Of the table.
    pub contacts: Vec<Contact>,
    /// Replicas, and numbers that must not fall.
    pub records: Vec<Held>,
}

/// The engine's time, as the machine has it.
pub const fn moment(time: Time) -> Moment {
    Moment(time.0)
}

impl Resident {
    /// The real machine.
    pub fn honest(kademlia: Kademlia) -> Self {
        let honest = Honest { kademlia, watch: None, garbled: 0, refusals: Vec::new() };
        Self::Honest(Box::new(honest))
    }

    /// The real machine, if it is one.
    pub fn kademlia(&self) -> Option<&Kademlia> {
        match self {
            Self::Honest(honest) => Some(&honest.kademlia),
            Self::Liar(_) => None,
        }
    }

    /// The real machine, to ask something of it.
    pub fn kademlia_mut(&mut self) -> Option<&mut Kademlia> {
        match self {
            Self::Honest(honest) => Some(&mut honest.kademlia),
            Self::Liar(_) => None,
        }
    }

    /// Begins to watch lookups for a target.
    pub fn watch(&mut self, target: NodeId) {
        if let Self::Honest(honest) = self {
            honest.watch = Some(Watch { target, steps: Vec::new() });
        }
    }

    /// What was watched for this target; it is watched no longer.
    pub fn watched(&mut self, target: NodeId) -> Option<Watch> {
        match self {
            Self::Honest(honest) => honest.watch.take_if(|watch| watch.target == target),
            Self::Liar(_) => None,
        }
    }

    /// How many messages made no sense.
    pub fn garbled(&self) -> u32 {
        match self {
            Self::Honest(honest) => honest.garbled,
            Self::Liar(_) => 0,
        }
    }
}

impl Honest {
    fn hear(&mut self, now: Time, from: Peer, bytes: &[u8]) {
        // Looked at where it stands: a message is large to move.
        match &Message::receive(bytes) {
            Ok(message) => {
                if let (Some(watch), Body::Answer(answer)) = (&mut self.watch, &message.body) {
                    watch.hear(now, message.request_id, answer);
                }
                self.kademlia.handle_message(moment(now), from, message);
            }
            Err(error) => {
                self.garbled += 1;
                let refusal = error.answer(bytes);
                self.refusals.extend(refusal.map(|message| Transmit { to: from, message }));
            }
        }
    }

    fn say(&mut self, now: Time, bytes: &mut Vec<u8>) -> Option<Peer> {
        loop {
            let refusal = self.refusals.pop();
            let sent = if refusal.is_some() { refusal } else { self.kademlia.poll_transmit() };
            let Transmit { to, message } = sent.as_ref()?;
            if let Some(watch) = &mut self.watch {
                watch.say(now, *to, message);
            }
            if message.borrow().encode(bytes).is_ok() {
                return Some(*to);
            }
            self.garbled += 1;
            bytes.clear();
        }
    }
}

impl Watch {
    fn say(&mut self, now: Time, to: Peer, message: &OwnedMessage) {
        let OwnedBody::Request { request, .. } = &message.body else { return };
        let target = match request {
            OwnedRequest::FindNode { target } => *target,
            OwnedRequest::FindValue { key } => key.point(),
            OwnedRequest::Ping | OwnedRequest::Store { .. } => return,
        };
        if target == self.target {
            let request = message.request_id;
            if let Some(step) = self.steps.iter_mut().find(|step| step.request == request) {
                step.again = Some(now);
                return;
            }
            self.steps.push(Ask {
                request,
                to: to.id,
                sent: now,
                again: None,
                answered: None,
                named: Vec::new(),
            });
        }
    }

    fn hear(&mut self, now: Time, request: RequestId, answer: &Answer<'_>) {
        let (Answer::Nodes { contacts } | Answer::Found { contacts, .. }) = answer else { return };
        if let Some(step) = self.steps.iter_mut().find(|step| step.request == request) {
            step.answered = Some(now);
            step.named = contacts.iter().map(|contact| contact.id).collect();
        }
    }
}

impl Machine for Resident {
    type Address = Peer;
    type Event = Event;
    type Disk = Disk;

    fn handle_message(&mut self, now: Time, from: Peer, bytes: &[u8]) {
        match self {
            Self::Honest(honest) => honest.hear(now, from, bytes),
            Self::Liar(liar) => {
                if let Ok(message) = Message::decode(bytes) {
                    liar.handle_message(from, &message);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(kademlia) = self.kademlia_mut() {
            kademlia.handle_timeout(moment(now));
        }
    }

    fn poll_transmit(&mut self, now: Time, bytes: &mut Vec<u8>) -> Option<Peer> {
        match self {
            Self::Honest(honest) => honest.say(now, bytes),
            Self::Liar(liar) => {
                let (to, message) = liar.poll_transmit()?;
                message.borrow().encode(bytes).ok().map(|()| to)
            }
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.kademlia_mut().and_then(Kademlia::poll_event)
    }

    fn poll_timeout(&self) -> Time {
        self.kademlia().map_or(Time::NEVER, |kademlia| Time(kademlia.poll_timeout().0))
    }

    fn crash(self) -> Disk {
        let buckets = self.kademlia().map_or(&[][..], |kademlia| kademlia.table().buckets());
        let entries = buckets.iter().flat_map(cloakroom_kademlia::Bucket::entries);
        let kept = self.kademlia().into_iter().flat_map(|kademlia| kademlia.records().kept());
        Disk {
            contacts: entries.map(|entry| entry.contact).collect(),
            records: kept.cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use cloakroom_kademlia::{Judge, Parameters};
    use cloakroom_wire::{Address, NodeKey, OwnedAnswer};

    use super::*;

    #[test]
    fn what_is_not_understood_is_answered_only_if_it_asks_and_with_the_code_of_its_fault() {
        let contact = |number: u8| Contact {
            id: NodeId([number; 32]),
            address: Address::v4([10, 0, 0, number], 7400),
            key: NodeKey([number; 32]),
        };
        let judge = Judge { contact: |_| true, record: |_| true };
        let kademlia = Kademlia::new(Moment(0), contact(1), Parameters::default(), judge, 1);
        let mut resident = Resident::honest(kademlia);
        let from = Peer { id: contact(2).id, address: contact(2).address };
        let mut answered = |version: u8, kind: u8, rest: &[u8]| {
            let bytes = [&[version, kind, 0, 0, 0, 0, 0, 0, 0, 9], rest].concat();
            resident.handle_message(Time(0), from, &bytes);
            let mut sent = Vec::new();
            let to = resident.poll_transmit(Time(0), &mut sent)?;
            let message = Message::decode(&sent).expect("what was sent").to_owned();
            let OwnedBody::Answer(OwnedAnswer::Error { code, .. }) = message.body else {
                panic!("expected an error, got {message:?}")
            };
            Some((to.id, message.request_id, code.0))
        };
        let refused = |code: u16| Some((from.id, RequestId(9), code));
        assert_eq!(answered(2, 0x01, &[]), refused(1), "another version");
        assert_eq!(answered(1, 0x10, &[]), refused(2), "another kind");
        assert_eq!(answered(1, 0x01, &[3, 0, 0, 0]), refused(3), "a field that must be understood");
        assert_eq!(answered(1, 0x02, &[]), refused(4), "no target");
        for kind in [0x41, 0x90, 0xc0] {
            assert_eq!(answered(1, kind, &[]), None, "asks nothing");
        }
        assert_eq!(resident.garbled(), 7);
    }
}
