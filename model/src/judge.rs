//! What is judged of a pool's calls, whoever drives them: `check_pool` one by one, `check_desk` together.
//!
//! What it does not do: know who has which call under way; that is each model's.

use cloakroom_pool::FreeOutcome;
use cloakroom_specs::pool::{self as spec, Objection, What};

use crate::search::{Event, object};
use crate::world::{Ground, World};

/// What a free could have seen or done.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a ghost bit")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Its slot was emptied, by a write of its own.
    pub cleared: bool,
    /// It has lost the answer to a write.
    pub doubt: bool,
    /// Its tag stood in the slot.
    pub held: bool,
    /// The slot was free.
    pub empty: bool,
    /// Another tag stood there.
    pub other: bool,
}

impl Seen {
    /// Takes note of what its slot has at this moment.
    pub fn note(&mut self, slot: Option<u64>, tag: u64) {
        match slot {
            None => self.empty = true,
            Some(holder) if holder == tag => self.held = true,
            Some(_) => self.other = true,
        }
    }

    /// Whether a free that could have seen and done this may answer so: POOL-2.
    ///
    /// # Errors
    /// What it ought to have answered.
    pub fn judge(self, outcome: FreeOutcome) -> (Result<(), Objection>, Event) {
        let (right, got, event) = match outcome {
            // After a lost answer it may have been somebody else's free of the same pair.
            FreeOutcome::Freed => {
                (self.cleared || self.doubt && self.held, spec::Freed::Freed, Event::Freed)
            }
            FreeOutcome::AlreadyFree => {
                (self.empty && !self.cleared, spec::Freed::AlreadyFree, Event::AlreadyFree)
            }
            FreeOutcome::NotOwner => (self.other, spec::Freed::NotOwner, Event::NotOwner),
        };
        if right {
            return (Ok(()), event);
        }
        let expected = match self {
            Seen { cleared: true, .. } => spec::Freed::Freed,
            Seen { empty: true, .. } => spec::Freed::AlreadyFree,
            _ => spec::Freed::NotOwner,
        };
        (Err(Objection { property: 2, what: What::Free { expected, got } }), event)
    }
}

/// POOL-3: whether `Full` may be answered at this moment. `freeing`: of each id, whose clear emptied its slot.
///
/// # Errors
/// An id that is free.
pub fn full_now(ground: &Ground, world: &World, freeing: &[Option<u8>]) -> Result<(), Objection> {
    let slots = ground.plain_slots(world);
    spec::full(slots.iter().zip(freeing).map(|(slot, f)| slot.is_some() || f.is_some()))
}

/// A definite failure of an allocate: the tag holds nothing, and nothing of its caller's on its way can give it
/// an id. An id held behind the caller's back is one that the caller can never free: POOL-7.
pub fn never_happened(
    ground: &Ground,
    world: &World,
    caller: u8,
    tag: u64,
    objection: &mut Option<Objection>,
) {
    let landing = world.late.iter().filter(|late| {
        let may_land = ground.read(world, late.place) == late.expected;
        late.caller == caller && late.place.is_block() && may_land
    });
    let landed = landing.map(|late| {
        let mut world = world.clone();
        ground.compare_and_set(&mut world, late.place, late.expected.as_ref(), &late.new);
        ground.plain_slots(&world)
    });
    for slots in std::iter::once(ground.plain_slots(world)).chain(landed) {
        object(objection, spec::nothing_leaked(&slots, |held| held != tag));
    }
}

/// When nothing is under way or on its way. `is_whole`: nobody has died, or lost the map.
pub fn at_rest(ground: &Ground, world: &World, is_whole: bool, objection: &mut Option<Objection>) {
    let held: Vec<bool> = ground.plain_slots(world).iter().map(Option::is_some).collect();
    let counts = ground.counts(world, &held);
    // POOL-6: whoever died, once the frees were called again no capacity is missing.
    object(objection, spec::no_capacity_lost(counts.iter().copied()));
    // POOL-4
    if is_whole {
        object(objection, spec::counts_exact(counts));
    }
}
