//! `traces/demo.csv` and its recipe. Run this test with `CLOAKROOM_BLESS=1` to write the file anew.
//!
//! 400 workloads in the form of a cluster's trace. One is created every 0 to 19 seconds. Every
//! 16th is never scheduled and so has no `scheduled_time`. The others are scheduled 0 to 4
//! seconds later and run for 20 to 519 seconds; every 67th is still running when the trace ends
//! and has no `deletion_time`. The numbers come from Knuth's MMIX generator, seed 1, of which the
//! upper 32 bits are used.

use std::fmt::Write;

use crate::binary::demo_trace;

struct Mmix(u64);

impl Mmix {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) % bound
    }
}

fn recipe() -> String {
    let mut random = Mmix(1);
    let mut csv = "name,cpu_milli,creation_time,deletion_time,scheduled_time\n".to_owned();
    let mut now = 0;
    for number in 0..400_u64 {
        now += random.below(20);
        let cpu = 500 * (1 + random.below(16));
        let scheduled = now + random.below(5);
        let deleted = scheduled + 20 + random.below(500);
        let (scheduled, deleted) = match number {
            _ if number % 16 == 5 => (String::new(), (now + 600).to_string()),
            _ if number % 67 == 50 => (scheduled.to_string(), String::new()),
            _ => (scheduled.to_string(), deleted.to_string()),
        };
        writeln!(csv, "job-{number:03},{cpu},{now},{deleted},{scheduled}").unwrap();
    }
    csv
}

#[test]
fn the_demo_trace_is_what_its_recipe_makes() {
    if std::env::var_os("CLOAKROOM_BLESS").is_some() {
        std::fs::write(demo_trace(), recipe()).unwrap();
    }
    let shipped = std::fs::read_to_string(demo_trace()).unwrap();
    assert!(shipped == recipe(), "traces/demo.csv differs from its recipe");
}
