//! What others ask of us.
//!
//! Invariants:
//! * a request is answered in full from what is here: nothing is asked of a third party for it;
//! * a STORE as replica is taken only if fewer than `k` contacts that we know are closer to the key.
//!
//! What it does not do: limit how often a peer may ask; connections are the server's.

use alloc::string::String;
use alloc::vec::Vec;

use cloakroom_wire::{
    Contact, ErrorCode, MAX_MESSAGE_BYTES, MAX_RECORDS, NodeId, OwnedAnswer, OwnedBody,
    OwnedMessage, OwnedRecord, Record, RecordKey, Request, RequestId, StorePurpose, StoreStatus,
};

use super::{Kademlia, Peer, Transmit, Why};
use crate::head::same;
use crate::subnet::is_reachable;

/// Bytes of an answer that are not its records' contents: header, contacts, and the fixed part of
/// [`MAX_RECORDS`] records.
const BESIDE_CONTENTS: usize = 64 * 96 + MAX_RECORDS * 192 + 64;

impl Kademlia {
    pub(super) fn serve(&mut self, from: Peer, id: RequestId, request: &Request<'_>) {
        let answer = match request {
            Request::Ping => OwnedAnswer::Pong,
            Request::FindNode { target } => {
                OwnedAnswer::Nodes { contacts: self.closest_for(from.id, *target) }
            }
            Request::FindValue { key } => OwnedAnswer::Found {
                records: self.records_of(*key),
                contacts: self.closest_for(from.id, key.point()),
            },
            Request::Store { purpose, record } => self.store(from, *purpose, record),
        };
        let message = OwnedMessage { request_id: id, body: OwnedBody::Answer(answer) };
        self.transmits.push_back(Transmit { to: from, message });
    }

    /// The closest that we know, without the one who asks.
    fn closest_for(&self, asking: NodeId, target: NodeId) -> Vec<Contact> {
        let k = usize::from(self.parameters.k);
        let mut contacts = Vec::with_capacity(k);
        self.table.closest(target, k, &mut contacts);
        contacts.retain(|contact| !same(contact.id, asking));
        contacts
    }

    /// Records of a key, as many as a message takes.
    fn records_of(&self, key: RecordKey) -> Vec<OwnedRecord> {
        let mut room = MAX_MESSAGE_BYTES - BESIDE_CONTENTS;
        let shown = self.records.shown(self.now, key).take(MAX_RECORDS);
        let fits = shown.filter(|held| {
            let bytes = usize::try_from(held.content_bytes()).unwrap_or(usize::MAX);
            let fits = bytes <= room;
            room -= if fits { bytes } else { 0 };
            fits
        });
        fits.map(|held| held.to_send(self.now)).collect()
    }

    fn store(&mut self, from: Peer, purpose: StorePurpose, record: &Record<'_>) -> OwnedAnswer {
        if purpose != StorePurpose::REPLICA && purpose != StorePurpose::CACHE {
            let detail = String::from("unknown purpose");
            return OwnedAnswer::Error { code: ErrorCode::MALFORMED, detail };
        }
        if self.upkeep.is_leaving() {
            return OwnedAnswer::Error { code: ErrorCode::BUSY, detail: String::from("leaving") };
        }
        let far = purpose == StorePurpose::REPLICA && !self.is_among_closest(record.key);
        if far || !(self.judge.record)(record) {
            let held = self.records.held(&(record.key, record.origin));
            let held = held.map(crate::records::Held::sequence);
            return OwnedAnswer::Stored { status: StoreStatus::REFUSED, held };
        }
        let offered = self.records.offer(self.now, from.id, purpose, record);
        OwnedAnswer::Stored { status: offered.status, held: offered.held }
    }

    /// Whether fewer than `k` contacts that we know are closer to a key than we are.
    fn is_among_closest(&self, key: RecordKey) -> bool {
        let k = usize::from(self.parameters.k);
        let own = self.own.id.distance(key.point());
        let mut closest = Vec::with_capacity(k);
        self.table.closest(key.point(), k, &mut closest);
        let closer = closest.iter().filter(|other| other.id.distance(key.point()) < own);
        closer.count() < k
    }

    /// Somebody has sent a request, and says where it takes requests itself. KAD-2: it gets a place
    /// only when it has answered there.
    pub(super) fn meet(&mut self, from: Peer, contact: Option<&Contact>) {
        // Nobody makes us ping another host, or in another's name.
        let own = |contact: &&Contact| {
            contact.id == from.id
                && contact.address.ip() == from.address.ip()
                && is_reachable(contact.address)
        };
        let Some(contact) = contact.filter(own) else { return };
        if !self.table.heard(self.now, contact) || !(self.judge.contact)(contact) {
            return;
        }
        let greetings = self.requests.count(|why| *why == Why::Greeting);
        if greetings < usize::from(self.parameters.most_greetings) {
            self.ping(*contact, Why::Greeting);
        }
    }
}
