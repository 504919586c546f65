//! States of a handover that differ only in who sits where, told to be one state.
//!
//! The members of a view are alike: every rule counts them and none asks which they are, except that
//! a ballot names its coordinator, and here accepts come from outside. So with no node in two views a
//! permutation of the seats of each view takes runs to runs, and it is enough to visit one state of
//! those that permutations make equal. [`canonical`] writes a state down so that exactly those have
//! the same words: of all orders of the members of each view, the one with the least words.
//!
//! * Nothing is left out: a member's words are the hash of its whole memory and disk, with its own
//!   name and its relations to other seats taken out, and then these relations by themselves. (But who
//!   has told a member that has retired since: it never looks at that again.)
//! * A search that tells states apart by these words sees real states all the way, so traces are
//!   real runs.
//!
//! That it merges what it may and no more is tested: the numbers of seatings of all states add up to
//! the number of states that a search without symmetry tells apart.

use std::hash::{Hash, Hasher};

use cloakroom_register::{Body, Durable, Life, Message, Pulled, Replica};

use crate::search::Folded;
use crate::seated::Seated;

/// What is known of the member in a seat, whoever sits there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// All but names and relations.
    alone: u64,
    /// A bit for each accept of its view that it has voted for.
    votes: u16,
    /// By seats of the view before: whose snapshot it has, in memory and on disk.
    pulled: [u8; 2],
    /// The same by seats of its own view.
    copied: [u8; 2],
    /// By seats of the next view: who has told it that it is active.
    told: u8,
}

impl Part {
    /// What no permutation changes.
    fn invariant(&self) -> (u64, u16, [u32; 5]) {
        let [pulled, copied] = [self.pulled, self.copied].map(|masks| masks.map(u8::count_ones));
        let counts = [pulled[0], pulled[1], copied[0], copied[1], self.told.count_ones()];
        (self.alone, self.votes, counts)
    }
}

/// An order of the three seats of a view.
type Order = [usize; 3];

const ORDERS: [Order; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The words of a state, by epoch and seat, with a bit for each seat that voted for each accept of
/// an epoch; and in how many different ways the same state can be seated.
pub(super) fn canonical(members: &[[Option<Seated>; 3]], votes: &[Vec<u8>]) -> (Vec<u64>, usize) {
    let parts = parts(members, votes);
    let sorted =
        |parts: &[Part; 3], order: &Order| order.map(|seat| parts[seat].invariant()).is_sorted();
    let orders: Vec<Vec<Order>> = parts
        .iter()
        .map(|parts| ORDERS.into_iter().filter(|order| sorted(parts, order)).collect())
        .collect();
    // All choices of one order for each view, as numbers in a mixed base.
    let choices = orders.iter().map(Vec::len).product();
    let mut least: Option<Vec<u64>> = None;
    let mut stable = 0;
    for mut choice in 0..choices {
        let chosen: Vec<&Order> = orders
            .iter()
            .map(|orders| {
                let order = &orders[choice % orders.len()];
                choice /= orders.len();
                order
            })
            .collect();
        let words = words(&parts, &chosen);
        match &least {
            Some(found) if *found < words => {}
            Some(found) if *found == words => stable += 1,
            _ => (least, stable) = (Some(words), 1),
        }
    }
    // Each seating is made by as many permutations as leave it as it is.
    let all = ORDERS.len().pow(u32::try_from(members.len()).expect("few"));
    (least.unwrap_or_default(), all / stable)
}

/// The words of a state as it is seated.
#[cfg(test)]
pub(super) fn seated(members: &[[Option<Seated>; 3]], votes: &[Vec<u8>]) -> Vec<u64> {
    words(&parts(members, votes), &vec![&ORDERS[0]; members.len()])
}

fn parts(members: &[[Option<Seated>; 3]], votes: &[Vec<u8>]) -> Vec<[Part; 3]> {
    let parts = members.iter().zip(votes);
    let parts = parts
        .map(|(members, votes)| [0, 1, 2].map(|seat| part(members[seat].as_ref(), seat, votes)));
    parts.collect()
}

fn words(parts: &[[Part; 3]], chosen: &[&Order]) -> Vec<u64> {
    const SAME: Order = [0, 1, 2];
    let mut words = Vec::with_capacity(6 * parts.len());
    for (epoch, (parts, own)) in parts.iter().zip(chosen).enumerate() {
        let before = epoch.checked_sub(1).map_or(&SAME, |before| chosen[before]);
        let next = chosen.get(epoch + 1).copied().unwrap_or(&SAME);
        for &seat in *own {
            let part = &parts[seat];
            let masks = [
                seen(part.pulled[0], before),
                seen(part.pulled[1], before),
                seen(part.copied[0], own),
                seen(part.copied[1], own),
                seen(part.told, next),
            ];
            let masks = masks.iter().fold(0, |word, &mask| word << 8 | u64::from(mask));
            words.extend([part.alone, masks << 16 | u64::from(part.votes)]);
        }
    }
    words
}

/// A set of seats in another order.
fn seen(mask: u8, order: &Order) -> u8 {
    (0..).zip(order).map(|(at, seat)| (mask >> seat & 1) << at).sum()
}

fn part(seated: Option<&Seated>, seat: usize, votes: &[u8]) -> Part {
    let cast = (0..).zip(votes).map(|(at, cast)| u16::from(cast >> seat & 1) << at).sum();
    let Some(seated) = seated else { return Part { votes: cast, ..Part::default() } };
    let (memory, pulled, copied) = nameless(seated.replica.durable());
    let disk = seated.disk.as_ref().map(|disk| nameless(disk));
    let (pulled, copied) = match &disk {
        Some((_, before, peers)) => ([pulled, *before], [copied, *peers]),
        None => ([pulled; 2], [copied; 2]),
    };
    let mut hasher = Folded::default();
    (memory, disk.map(|(disk, ..)| disk)).hash(&mut hasher);
    Part { alone: hasher.finish(), votes: cast, pulled, copied, told: told(&seated.replica) }
}

/// A member's durable state without its name and its relations, and these.
fn nameless(durable: &Durable) -> (Durable, u8, u8) {
    let mut durable = durable.clone();
    durable.me = durable.view.members()[0];
    let (mut of_pulled, mut of_copied) = (0, 0);
    if let Life::Learner { pulled, copied, .. } = &mut durable.life {
        of_pulled = whole(&std::mem::take(pulled));
        of_copied = whole(&std::mem::take(copied));
    }
    (durable, of_pulled, of_copied)
}

/// Whose snapshots are there: with one key nobody's is there in part.
fn whole(pulled: &[Pulled]) -> u8 {
    let bit = |pulled: &Pulled| match pulled {
        Pulled::All => 1,
        Pulled::UpTo(None) => 0,
        Pulled::UpTo(Some(_)) => unreachable!("one key is one page"),
    };
    (0..).zip(pulled).map(|(at, pulled)| bit(pulled) << at).sum()
}

/// Who has told a sealed member that it is active. Its memory does not show that; but to be told by
/// the same member once more changes nothing.
fn told(replica: &Replica) -> u8 {
    let Life::Sealed { next } = &replica.durable().life else { return 0 };
    let (slot, epoch) = (replica.view().slot(), replica.view().epoch());
    let message = Message { slot, epoch, body: Body::IsActive };
    let again = |node| {
        let mut after = replica.clone();
        let _ = after.handle(node, &message);
        after == *replica
    };
    (0..).zip(next.members()).map(|(at, member)| u8::from(again(member.node)) << at).sum()
}
