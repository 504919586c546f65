//! WIRE-2: what parts from outside make us allocate, counted by an allocator: for the vectors, and for
//! notices full of what is smallest on the wire.

#[path = "../../shards/tests/allocator/mod.rs"]
mod allocator;

use allocator::watched;
use cloakroom_register::{Message, unpack};
use cloakroom_wire::{MAX_MESSAGE_BYTES, MAX_PARTS, Parts};
use serde_json::Value;

/// As `specs/wire.md` states it: a message has 80 bytes, and an empty part 3 on the wire.
const MOST_TIMES: usize = 27;

/// Bytes of a part's length in a notice.
const LENGTH_BYTES: usize = 3;

fn vectors(kind: &str) -> Vec<(String, Vec<u8>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/vectors/wire.json");
    let all: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect(path)).expect("JSON");
    let text = |vector: &Value, key: &str| vector[key].as_str().expect("text").to_owned();
    let digit = |hex: &str, at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let bytes = |hex: String| (0..hex.len()).step_by(2).map(|at| digit(&hex, at)).collect();
    let all = all[kind].as_array().expect("a list").iter();
    all.map(|vector| (text(vector, "name"), bytes(text(vector, "hex")))).collect()
}

/// Lists that have just grown, of the smallest items: of keys without a byte, under the ballot 0.
fn grown() -> impl Iterator<Item = (String, Vec<u8>)> {
    let items: [(u8, &[u8]); 3] =
        [(0, &[0; 15]), (11, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), (12, &[0; 14])];
    items.into_iter().map(|(says, item)| {
        let mut part = vec![0, 7, 0, 0, 0, 3, says];
        for _ in 0..4097 {
            part.extend_from_slice(item);
        }
        (format!("a list of {says}"), part)
    })
}

#[test]
fn what_is_unpacked_takes_a_small_multiple_of_its_bytes() {
    println!("a message has {} bytes", size_of::<Message>());
    let mut greatest = (0, String::new());
    let all = vectors("parts").into_iter().chain(vectors("no_parts"));
    for (name, part) in all.chain(grown()) {
        // Once, and as often as a notice has parts and room.
        for count in [1, MAX_PARTS.min(MAX_MESSAGE_BYTES / (part.len() + LENGTH_BYTES))] {
            let parts = vec![part.clone(); count];
            let bytes = count * (part.len() + LENGTH_BYTES);
            let (unpacked, allocated) = watched(usize::MAX, || unpack(Parts::from(&parts[..])));
            assert!(allocated <= MOST_TIMES * bytes, "{name}: {allocated} of {bytes}");
            greatest = greatest.max((allocated * 100 / bytes, format!("{count} {name}")));
            if name.starts_with("a list") {
                assert!(unpacked.is_ok(), "{name}: {unpacked:?}");
                println!("{name}: {allocated} of {bytes}");
            }
            drop(unpacked);
        }
    }
    println!("at most {greatest:?} hundredths");
    assert!(greatest.0 > (MOST_TIMES - 1) * 100, "the bound is slack: {greatest:?}");
}
