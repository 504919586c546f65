//! Who is who: keys, ids, addresses, and records that can be told from forged ones.
//!
//! Invariants:
//! * an id is a fixed function of its key, so that the machines' check of contacts has something to
//!   refuse; it is a fast one without any security, because nobody here attacks it;
//! * a record's first eight bytes are a checksum of the rest and of its key, origin and number, where a
//!   signature would be. Liars here do not forge it: they show records that fail the check, old ones,
//!   or none;
//! * every honest node has a subnet (/24) of its own; liars share as many as the scenario gives them.

use cloakroom_kademlia::Judge;
use cloakroom_wire::{
    Address, Contact, Content, NodeId, NodeKey, OwnedContent, OwnedFields, OwnedRecord, Record,
    RecordKey,
};

use crate::random::Random;

/// The id of a key.
pub fn id_of(key: NodeKey) -> NodeId {
    let (words, _) = key.0.as_chunks();
    let take = |seed, word: &[u8; 8]| Random::new(seed ^ u64::from_be_bytes(*word)).next();
    let seed = words.iter().fold(0, take);
    NodeId(Random::new(seed).bytes())
}

/// Keeps contacts whose id is that of their key, and records whose checksum is right.
pub fn judge() -> Judge {
    Judge {
        contact: |contact| id_of(contact.key) == contact.id,
        record: |record| match record.content {
            Content::Value(value) => value.first_chunk() == Some(&checksum(record)),
            Content::Tombstone => true,
        },
    }
}

/// Takes any contact for true: where a scenario grinds ids, which takes work that is not done here.
pub fn lenient_judge() -> Judge {
    Judge { contact: |_| true, ..judge() }
}

fn checksum(record: &Record<'_>) -> [u8; 8] {
    let mut state = Random::new(record.sequence);
    let mut take = |bytes: &[u8]| {
        for chunk in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            state = Random::new(state.next() ^ u64::from_be_bytes(padded));
        }
    };
    take(&record.key.0);
    take(&record.origin.0);
    if let Content::Value(value) = record.content {
        take(value.get(8..).unwrap_or_default());
    }
    state.next().to_be_bytes()
}

/// A record with a right checksum.
pub fn record(key: RecordKey, origin: NodeId, sequence: u64, bytes: usize) -> OwnedRecord {
    let mut record = OwnedRecord {
        key,
        origin,
        sequence,
        expires_in_ms: 24 * 60 * 60_000,
        content: OwnedContent::Value(vec![0x5c; bytes.max(8)].into()),
        later: OwnedFields::default(),
    };
    let sum = checksum(&record.borrow());
    if let OwnedContent::Value(value) = &mut record.content {
        value[..8].copy_from_slice(&sum);
    }
    record
}

/// An honest node's contact, by number.
///
/// # Panics
/// Beyond 14 million.
pub fn honest(number: u32, random: &mut Random) -> Contact {
    let [_, b, c, d] = number.to_be_bytes();
    let a = u8::try_from(number >> 24).expect("a shift by 24");
    assert!(a == 0 && b < 220, "too many nodes");
    contact(Address::v4([b + 1, c, d, 1], 4433), random)
}

/// A liar's contact, by number; all of them share some subnets.
pub fn liar(number: u32, subnets: u32, random: &mut Random) -> Contact {
    let [_, _, c, d] = (number % subnets.max(1)).to_be_bytes();
    let [_, _, high, low] = (number / subnets.max(1)).to_be_bytes();
    contact(Address::v4([222, c, d, low], 4433 + u16::from(high)), random)
}

fn contact(address: Address, random: &mut Random) -> Contact {
    let key = NodeKey(random.bytes());
    Contact { id: id_of(key), address, key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_record_is_genuine_until_something_in_it_changes() {
        let judge = judge();
        let record = record(RecordKey([1; 32]), NodeId([2; 32]), 3, 40);
        assert!((judge.record)(&record.borrow()));
        let mut forged = record.clone();
        forged.sequence = 4;
        assert!(!(judge.record)(&forged.borrow()));
        let mut forged = record.clone();
        forged.origin.0[31] ^= 1;
        assert!(!(judge.record)(&forged.borrow()));
        let mut forged = record;
        if let OwnedContent::Value(value) = &mut forged.content {
            value[39] ^= 1;
        }
        assert!(!(judge.record)(&forged.borrow()));
    }

    #[test]
    fn contacts_are_distinct_and_pass_the_check() {
        let mut random = Random::new(1);
        let mut seen = BTreeSet::new();
        for number in 0..3000 {
            for contact in [honest(number, &mut random), liar(number, 7, &mut random)] {
                assert!((judge().contact)(&contact));
                assert!(seen.insert(contact.address), "{contact}");
            }
        }
        assert_eq!(seen.len(), 6000);
        let mut moved = honest(0, &mut random);
        moved.key.0[0] ^= 1;
        assert!(!(judge().contact)(&moved));
    }
}
