//! Nodes that lie.
//!
//! They know each other and everything about the network at once, and answer at once: stronger than
//! a real adversary. They speak the protocol, since whoever sends no sense is found out.
//!
//! What it does not do: adapt to whom it meets, forge keys or checksums, or flood.

use std::rc::Rc;

use cloakroom_kademlia::Peer;
use cloakroom_wire::{
    Answer, Body, Contact, Message, NodeId, OwnedAnswer, OwnedBody, OwnedContent, OwnedFields,
    OwnedMessage, OwnedRecord, Request, RequestId, StoreStatus,
};
use serde::{Deserialize, Serialize};

use super::census::Census;
use crate::random::Random;

/// How they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Sybil: name only each other as closest, hold nothing, say that they stored what they did not
    #[default]
    Sybil,
    /// The same, with ids ground so that they surround a few record keys
    Eclipse,
    /// Poison: name nodes that do not exist, or real ones at false addresses, and show forged records
    Poison,
    /// Answer nothing at all
    Silent,
}

/// What all liars of a run know.
#[derive(Debug, Default)]
pub struct Conspiracy {
    /// By number of node.
    pub members: Vec<Contact>,
    /// The same by id; a node's number is its index in `members`.
    pub census: Census,
    /// Honest nodes, to be named with false addresses.
    pub honest: Vec<Contact>,
}

/// One of them.
#[derive(Debug)]
pub struct Liar {
    own: Contact,
    behaviour: Behaviour,
    conspiracy: Rc<Conspiracy>,
    random: Random,
    answers: Vec<(Peer, OwnedMessage)>,
}

/// As many as an honest answer has.
const CONTACTS: usize = 20;

impl Liar {
    /// One more.
    pub fn new(
        own: Contact,
        behaviour: Behaviour,
        conspiracy: Rc<Conspiracy>,
        random: Random,
    ) -> Self {
        Self { own, behaviour, conspiracy, random, answers: Vec::new() }
    }

    /// Its contact.
    pub const fn own(&self) -> &Contact {
        &self.own
    }

    /// Takes a message.
    pub fn handle_message(&mut self, from: Peer, message: &Message<'_>) {
        if self.behaviour == Behaviour::Silent {
            return;
        }
        let Body::Request { request, .. } = &message.body else { return };
        let answer = match request {
            Request::Ping => OwnedAnswer::Pong,
            Request::FindNode { target } => OwnedAnswer::Nodes { contacts: self.name(*target) },
            Request::FindValue { key } => OwnedAnswer::Found {
                records: match self.behaviour {
                    Behaviour::Poison => vec![forged(*key, self.own.id)],
                    _ => Vec::new(),
                },
                contacts: self.name(key.point()),
            },
            Request::Store { record, .. } => {
                OwnedAnswer::Stored { status: StoreStatus::STORED, held: Some(record.sequence) }
            }
        };
        debug_assert!(!matches!(answer.borrow(), Answer::Error { .. }));
        self.answers.push((from, answer_to(message.request_id, answer)));
    }

    /// What it answers next.
    pub fn poll_transmit(&mut self) -> Option<(Peer, OwnedMessage)> {
        self.answers.pop()
    }

    /// Whom it names as closest.
    fn name(&mut self, target: NodeId) -> Vec<Contact> {
        let own = self.own.id;
        if self.behaviour != Behaviour::Poison {
            let members = &self.conspiracy.members;
            let others = |node: crate::engine::Node| members[node.index()].id != own;
            let closest = self.conspiracy.census.closest(target, CONTACTS, others);
            return closest.into_iter().map(|node| members[node.index()]).collect();
        }
        let mut named = Vec::with_capacity(CONTACTS);
        for _ in 0..CONTACTS / 2 {
            // Closer to the target than anybody, and nobody's.
            let mut invented = self.own;
            invented.key.0 = self.random.bytes();
            invented.id = target;
            invented.id.0[16..].copy_from_slice(&self.random.bytes()[16..]);
            named.push(invented);
            let honest = &self.conspiracy.honest;
            if let Some(real) = honest.get(self.random.index(honest.len())) {
                named.push(Contact { address: self.own.address, ..*real });
            }
        }
        named
    }
}

fn forged(key: cloakroom_wire::RecordKey, origin: NodeId) -> OwnedRecord {
    OwnedRecord {
        key,
        origin,
        sequence: u64::MAX,
        expires_in_ms: 60_000,
        content: OwnedContent::Value(vec![0; 64].into()),
        later: OwnedFields::default(),
    }
}

const fn answer_to(request_id: RequestId, answer: OwnedAnswer) -> OwnedMessage {
    OwnedMessage { request_id, body: OwnedBody::Answer(answer) }
}
