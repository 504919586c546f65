//! How many compare-and-sets per second a durable map takes, and how many syncs they cost.
//!
//! `cargo bench -p cloakroom-stores` prints one row for each number of concurrent callers. Each
//! caller is a thread that swaps values of its own keys, one call after the other: 16-byte keys,
//! 64-byte values, 16,384 keys in all. A row is the median of its rounds; the range beside it
//! tells how far they lay apart. The file lies in the build folder (or in the folder that
//! `CLOAKROOM_BENCH_DIR` names), so the figures are those of its disk.
//!
//! What it does not measure: contention on one key, reads, or a file larger than memory.

// Counts of calls are far below 2^52.
#![allow(clippy::cast_precision_loss)]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use cloakroom_pool::{AtomicMap, Cas};
use cloakroom_stores::Durable;

const KEYS: usize = 16_384;
const ROUNDS: usize = 5;

/// Callers, and calls of each in a round.
const ROWS: [(usize, usize); 4] = [(1, 2000), (8, 2000), (64, 1000), (256, 800)];

fn main() {
    // Without cargo bench's flag (`cargo test --all-targets`), only see that it runs.
    let (rounds, divisor) =
        if std::env::args().any(|arg| arg == "--bench") { (ROUNDS, 1) } else { (1, 100) };
    let folder = std::env::var_os("CLOAKROOM_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("a folder to write to");
    println!("callers  calls/s  (range of {rounds} rounds)  syncs/call");
    for (callers, calls) in ROWS {
        let map = Durable::open(folder.path().join(callers.to_string())).expect("a new file");
        let calls = (calls / divisor).max(1);
        let mut hands = deal(callers);
        // The first round gives every key its first value.
        round(&map, &mut hands, KEYS.div_ceil(callers));
        let before = map.syncs();
        let mut rates: Vec<f64> = (0..rounds)
            .map(|_| (callers * calls) as f64 / round(&map, &mut hands, calls).as_secs_f64())
            .collect();
        let syncs = (map.syncs() - before) as f64 / (rounds * callers * calls) as f64;
        rates.sort_by(f64::total_cmp);
        let (least, median, most) = (rates[0], rates[rounds / 2], rates[rounds - 1]);
        let range = format!("{least:.0} to {most:.0}");
        println!("{callers:>7}  {median:>7.0}  {range:>20}  {syncs:>10.4}");
    }
}

/// A caller's own keys, and how often each was written. The next to write stands first.
type Hand = VecDeque<(u64, u64)>;

fn deal(callers: usize) -> Vec<Hand> {
    let mut hands = vec![Hand::new(); callers];
    for key in 0..KEYS {
        hands[key % callers].push_back((key as u64, 0));
    }
    hands
}

/// Every caller swaps its own keys in turn, `calls` times. How long until the last is done.
fn round(map: &Durable, hands: &mut [Hand], calls: usize) -> Duration {
    let barrier = &Barrier::new(hands.len() + 1);
    thread::scope(|scope| {
        for hand in hands {
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..calls {
                    let (key, writes) = hand.pop_front().expect("more keys than callers");
                    let old = (writes > 0).then(|| value_of(key, writes));
                    let old = old.as_ref().map(<[u8; 64]>::as_slice);
                    let new = value_of(key, writes + 1);
                    let outcome = map.compare_and_set(&key_of(key), old, Some(&new));
                    assert_eq!(outcome, Ok(Cas::Set));
                    hand.push_back((key, writes + 1));
                }
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

/// Spread over the whole key space, as the keys of many pools are.
fn key_of(key: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&key.to_be_bytes());
    bytes
}

fn value_of(key: u64, writes: u64) -> [u8; 64] {
    let mut bytes = [7; 64];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    bytes[8..16].copy_from_slice(&writes.to_be_bytes());
    bytes
}
