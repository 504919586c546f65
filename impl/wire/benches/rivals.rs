//! What a FIND_NODE answer with 20 contacts costs, beside postcard and minicbor: `cargo bench -p
//! cloakroom-wire`.
//!
//! * one process, one answer: 15 contacts with IPv4, 5 with IPv6;
//! * *kept*: decode into owned contacts, then encode those, into a vector that is used again;
//! * *passed on*: decode without copying, look at each contact's id, then encode what was decoded;
//! * the rivals' types are as lean as theirs can be: ids and keys are byte strings, and for postcard
//!   *kept* once more arrays, which it writes without lengths.
//!
//! Ours checks more: version, order, lengths, limits. What this does not do: compare sizes, or other
//! messages.

use std::hint::black_box;

use cloakroom_wire::{
    Address, Answer, Body, Contact, Message, NodeId, NodeKey, OwnedAnswer, OwnedBody, OwnedMessage,
    RequestId,
};
use criterion::{Criterion, criterion_group, criterion_main};

/// The rivals' words, and how they come out of ours.
mod rival {
    use std::net::IpAddr;

    use minicbor::{Decode, Encode};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Serialize, Deserialize, Encode, Decode)]
    pub(crate) enum Address {
        #[n(0)]
        V4(#[cbor(n(0), with = "minicbor::bytes")] [u8; 4], #[n(1)] u16),
        #[n(1)]
        V6(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16], #[n(1)] u16),
    }

    #[derive(Serialize, Deserialize, Encode, Decode)]
    pub(crate) struct Contact {
        #[cbor(n(0), with = "minicbor::bytes")]
        #[serde(with = "serde_bytes")]
        pub(crate) id: [u8; 32],
        #[cbor(n(1), with = "minicbor::bytes")]
        #[serde(with = "serde_bytes")]
        pub(crate) key: [u8; 32],
        #[n(2)]
        pub(crate) address: Address,
    }

    #[derive(Serialize, Deserialize)]
    pub(crate) struct ArrayContact {
        pub(crate) id: [u8; 32],
        pub(crate) key: [u8; 32],
        pub(crate) address: Address,
    }

    #[derive(Serialize, Deserialize, Encode, Decode)]
    pub(crate) struct BorrowedContact<'a> {
        #[cbor(n(0), with = "minicbor::bytes")]
        pub(crate) id: &'a [u8],
        #[cbor(n(1), with = "minicbor::bytes")]
        pub(crate) key: &'a [u8],
        #[n(2)]
        pub(crate) address: Address,
    }

    /// Version, kind, request, contacts.
    #[derive(Serialize, Deserialize, Encode, Decode)]
    pub(crate) struct Answer<C> {
        #[n(0)]
        pub(crate) version: u8,
        #[n(1)]
        pub(crate) kind: u8,
        #[n(2)]
        pub(crate) request_id: u64,
        #[n(3)]
        pub(crate) contacts: Vec<C>,
    }

    impl From<&cloakroom_wire::Contact> for Contact {
        fn from(contact: &cloakroom_wire::Contact) -> Self {
            let port = contact.address.port();
            let address = match contact.address.ip() {
                IpAddr::V4(ip) => Address::V4(ip.octets(), port),
                IpAddr::V6(ip) => Address::V6(ip.octets(), port),
            };
            Self { id: contact.id.0, key: contact.key.0, address }
        }
    }

    impl From<&cloakroom_wire::Contact> for ArrayContact {
        fn from(contact: &cloakroom_wire::Contact) -> Self {
            let Contact { id, key, address } = contact.into();
            Self { id, key, address }
        }
    }

    impl<C> Answer<C> {
        pub(crate) fn of(contacts: impl Iterator<Item = C>) -> Self {
            let request_id = 0x0123_4567_89ab_cdef;
            Self { version: 1, kind: 0x82, request_id, contacts: contacts.collect() }
        }
    }
}

use rival::{ArrayContact, BorrowedContact};

fn contacts() -> Vec<Contact> {
    (0..20_u8)
        .map(|number| {
            let port = 4000 + u16::from(number);
            let address = if number % 4 == 3 {
                Address::v6([0x20 | number; 16], port)
            } else {
                Address::v4([10, 0, number, 1], port)
            };
            let point = |salt: usize| {
                core::array::from_fn(|at| {
                    ((at + salt) * 97).to_le_bytes()[0] ^ number.wrapping_mul(31)
                })
            };
            Contact { id: NodeId(point(1)), address, key: NodeKey(point(2)) }
        })
        .collect()
}

fn ours(contacts: Vec<Contact>) -> Vec<u8> {
    let body = OwnedBody::Answer(OwnedAnswer::Nodes { contacts });
    let mut bytes = Vec::new();
    let message = OwnedMessage { request_id: RequestId(0x0123_4567_89ab_cdef), body };
    message.borrow().encode(&mut bytes).expect("20 contacts");
    bytes
}

/// Into a slice, and how long it is: faster than postcard's way of appending to a vector.
fn postcard<T: serde::Serialize>(value: &T, buffer: &mut [u8]) -> usize {
    postcard::to_slice(value, buffer).expect("there is room").len()
}

fn postcard_bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("there is room")
}

fn minicbor<T: minicbor::Encode<()>>(value: &T, buffer: &mut Vec<u8>) {
    buffer.clear();
    minicbor::encode(value, buffer).expect("a vector takes all");
}

fn kept(criterion: &mut Criterion) {
    let contacts = contacts();
    let mut group = criterion.benchmark_group("kept");
    let bytes = ours(contacts.clone());
    let mut buffer = Vec::new();
    group.bench_function("cloakroom", |bencher| {
        bencher.iter(|| {
            let message = Message::decode(black_box(&bytes)).expect("ours").to_owned();
            buffer.clear();
            black_box(&message).borrow().encode(&mut buffer).expect("ours");
            assert_eq!(buffer.len(), bytes.len());
        });
    });
    let bytes = postcard_bytes(&rival::Answer::of(contacts.iter().map(rival::Contact::from)));
    let mut slice = [0; 4096];
    group.bench_function("postcard", |bencher| {
        bencher.iter(|| {
            let answer: rival::Answer<rival::Contact> =
                postcard::from_bytes(black_box(&bytes)).expect("postcard's");
            let length = postcard(black_box(&answer), &mut slice);
            assert_eq!(length, bytes.len());
        });
    });
    let bytes = postcard_bytes(&rival::Answer::of(contacts.iter().map(ArrayContact::from)));
    group.bench_function("postcard, arrays", |bencher| {
        bencher.iter(|| {
            let answer: rival::Answer<ArrayContact> =
                postcard::from_bytes(black_box(&bytes)).expect("postcard's");
            let length = postcard(black_box(&answer), &mut slice);
            assert_eq!(length, bytes.len());
        });
    });
    let mut bytes = Vec::new();
    minicbor(&rival::Answer::of(contacts.iter().map(rival::Contact::from)), &mut bytes);
    group.bench_function("minicbor", |bencher| {
        bencher.iter(|| {
            let answer: rival::Answer<rival::Contact> =
                minicbor::decode(black_box(&bytes)).expect("minicbor's");
            minicbor(black_box(&answer), &mut buffer);
            assert_eq!(buffer.len(), bytes.len());
        });
    });
}

fn passed_on(criterion: &mut Criterion) {
    let contacts = contacts();
    let mut group = criterion.benchmark_group("passed on");
    let bytes = ours(contacts.clone());
    let mut buffer = Vec::new();
    group.bench_function("cloakroom", |bencher| {
        bencher.iter(|| {
            let message = Message::decode(black_box(&bytes)).expect("ours");
            let Body::Answer(Answer::Nodes { contacts }) = message.body else { panic!("ours") };
            for contact in contacts {
                black_box(contact.id.0[0]);
            }
            buffer.clear();
            black_box(&message).encode(&mut buffer).expect("ours");
            assert_eq!(buffer.len(), bytes.len());
        });
    });
    let bytes = postcard_bytes(&rival::Answer::of(contacts.iter().map(rival::Contact::from)));
    let mut slice = [0; 4096];
    group.bench_function("postcard", |bencher| {
        bencher.iter(|| {
            let answer: rival::Answer<BorrowedContact> =
                postcard::from_bytes(black_box(&bytes)).expect("postcard's");
            for contact in &answer.contacts {
                black_box(contact.id[0]);
            }
            let length = postcard(black_box(&answer), &mut slice);
            assert_eq!(length, bytes.len());
        });
    });
    let mut bytes = Vec::new();
    minicbor(&rival::Answer::of(contacts.iter().map(rival::Contact::from)), &mut bytes);
    group.bench_function("minicbor", |bencher| {
        bencher.iter(|| {
            let answer: rival::Answer<BorrowedContact> =
                minicbor::decode(black_box(&bytes)).expect("minicbor's");
            for contact in &answer.contacts {
                black_box(contact.id[0]);
            }
            minicbor(black_box(&answer), &mut buffer);
            assert_eq!(buffer.len(), bytes.len());
        });
    });
}

criterion_group!(benches, kept, passed_on);
criterion_main!(benches);
