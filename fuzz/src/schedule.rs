//! The pool's target: bytes become a schedule of callers; the judge is the one of the pool's own
//! property tests (`impl/pool/tests/schedules/world/mod.rs`), which asks `cloakroom-specs` at each step.

use cloakroom_pool::{Policy, PoolId, Shape, Tree};

use crate::choices::Choices;
use crate::map::Fault;
use crate::world::{Judged, Op, World};

/// A caller takes at most so many steps in one event: enough for most calls.
const MOST_STEPS: usize = 30;

/// POOL-1 to POOL-7 hold in whatever schedule the bytes describe.
///
/// # Panics
/// When one does not, with the story of the schedule.
pub fn pool(bytes: &[u8]) {
    if let Err(objection) = play(bytes, false).1 {
        let story = play(bytes, true).0.story.unwrap_or_default().join("\n  ");
        panic!("{objection}\n  {story}");
    }
}

fn play(bytes: &[u8], story: bool) -> (World, Judged) {
    let mut choices = Choices::new(bytes);
    let [fanout, block, size] = choices.array();
    let shape = Shape::new(2 + u16::from(fanout % 3), 1 + u16::from(block % 3)).expect("a shape");
    let tree = Tree::new(PoolId(1), 1 + u64::from(size % 9), shape).expect("a size");
    let mut world = World::new(tree, 2 + choices.below(3), story);
    let lost = choices.number();
    let recovery_dies_after = choices.flag().then(|| choices.below(40));
    while !choices.is_done() {
        if let Err(objection) = event(&mut choices, &mut world) {
            return (world, Err(objection));
        }
    }
    let judged = world.end(lost, recovery_dies_after);
    (world, judged)
}

fn event(choices: &mut Choices<'_>, world: &mut World) -> Judged {
    let (what, who) = (choices.below(32), choices.below(4));
    match what {
        0..10 => world.begin(who, op(choices)),
        10..24 => {
            for _ in 0..=choices.below(MOST_STEPS) {
                world.step(who, &mut None)?;
            }
        }
        24..26 => world.alone(who)?,
        26..29 => {
            let faults = [Fault::Never, Fault::Applied, Fault::Later, Fault::Unavailable];
            let mut fault = Some(faults[choices.below(4)]);
            for _ in 0..MOST_STEPS {
                if fault.is_none() || !world.step(who, &mut fault)? {
                    break;
                }
            }
        }
        29 => world.crash(who),
        30 => world.land(choices.below(8), false)?,
        _ => (world.host.takes_note, world.host.answers) = (choices.flag(), choices.flag()),
    }
    Ok(())
}

fn op(choices: &mut Choices<'_>) -> Op {
    let (what, at) = (choices.below(22), choices.byte());
    let which = usize::from(at % 8);
    match what {
        0..6 => Op::Allocate {
            policy: if at & 1 == 0 { Policy::LowestFirst } else { Policy::Spread },
            reuse: at & 2 == 0,
        },
        6..12 => Op::Free(which),
        12 => Op::FreeAgain(which),
        13 => Op::FreeByStranger(which),
        14 => Op::FreeOnceMore(which),
        15 | 16 => Op::FreeBeside(which),
        17..20 => Op::Recover,
        20 => Op::Repair,
        _ => Op::List,
    }
}
