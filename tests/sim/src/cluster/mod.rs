//! Whole nodes in the simulator: [`Node`](cloakroom_node::Node) as the server drives it, over real bytes,
//! from one seed each.
//!
//! | file | what |
//! |---|---|
//! | `resident.rs` | a node as a machine of the engine |
//! | `sync.rs` | its disk, which takes its time |
//! | `chaos.rs` | who calls; the operator |
//! | `chaos/faults.rs` | who crashes, is cut off, loses its disk, comes and goes |
//! | `chaos/views.rs` | who proposes views without a reason |
//! | `records.rs` | records of the DHT, published and read meanwhile |
//! | `healing.rs` | what must be well again after that |
//!
//! Callers, plan, auditor and the judge of histories are those of `registers/`. Two commands run this: `sim registers`
//! by its own plan, `sim cluster` by one in which nobody proposes views but nodes, and there are always some that could
//! take the seats of others.
//!
//! Invariants: SIM-1, as everywhere here. A seed that fails fails again.
//!
//! What it does not do: clients over the network; they hand calls to a node, whichever it is, and hear from
//! it, or lose it by its crash. Lost majorities, members that lie.

mod chaos;
mod healing;
mod records;
mod resident;
mod sync;

use cloakroom_node::Patience;

use crate::registers::command::{Failed, Figures, RegistersArgs, Scenario, carry_out_of};
use crate::registers::{Outcome, Plan, judged};
use chaos::Chaos;

/// What a seed means.
pub fn plan(seed: u64) -> Plan {
    let plan = Plan::of(seed);
    Plan {
        // Nodes that could be members, and one or two of them gone.
        nodes: u32::try_from(plan.members).unwrap_or(5) + 2 + plan.nodes % 4,
        // A power of two.
        slots: plan.slots.min(16),
        // Silence takes its time.
        chaos_ms: plan.chaos_ms * 2,
        lose_ms: plan.lose_ms * 3,
        // Nobody proposes views here but nodes.
        view_ms: 0,
        patience: Patience { ask_ms: 500, silent_ms: 4_000 },
        ..plan
    }
}

/// Runs one seed.
pub fn run(seed: u64, log: bool) -> Outcome {
    run_plan(plan(seed), log)
}

/// Runs a plan.
pub(crate) fn run_plan(plan: Plan, log: bool) -> Outcome {
    let (seed, nodes, ids) = (plan.seed, plan.nodes, plan.ids);
    let (mut chaos, mut world) = Chaos::begin(plan, log);
    chaos.run(&mut world);
    judged(seed, nodes, ids, chaos.ran, &world)
}

/// Runs many. The figures are there also when some failed.
pub fn carry_out(args: &RegistersArgs) -> (Figures, Option<Failed>) {
    carry_out_of(args, Scenario { name: "cluster", run, plan })
}
