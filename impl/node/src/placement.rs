//! Which members a slot ought to have: the closest, of different zones as far as there are enough.
//!
//! Invariants:
//! * NODE-1: the same candidates give the same members, in whatever order they come;
//! * who is a member already stays one: a slot moves only as far as it must;
//! * a zone has a second member only when every zone with a candidate has one already.
//!
//! What it does not do: know who lives. Whoever calls it leaves the others out.

use alloc::vec::Vec;

use cloakroom_register::Member;
use cloakroom_wire::NodeId;

use crate::genesis::Zone;

/// Somebody who could be a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Who, in which life of its disk.
    pub member: Member,
    /// What it fails together with.
    pub zone: Zone,
}

/// At most `replicas` members for a slot at `point`: those who `stay`, in their order, then the
/// closest others.
pub fn place(
    point: NodeId,
    replicas: usize,
    stay: &[Member],
    candidates: &[Candidate],
) -> Vec<Member> {
    let mut members: Vec<Member> = stay.iter().copied().take(replicas).collect();
    let mut others: Vec<&Candidate> = candidates.iter().collect();
    others.sort_by_key(|candidate| {
        (candidate.member.node.distance(point), candidate.member.incarnation)
    });
    // Of two lives of a disk, the later one.
    others.reverse();
    others.dedup_by_key(|candidate| candidate.member.node);
    others.reverse();
    others.retain(|candidate| members.iter().all(|member| member.node != candidate.member.node));
    let zone_of = |member: &Member| {
        candidates.iter().find(|other| other.member == *member).map(|other| &other.zone)
    };
    while members.len() < replicas && !others.is_empty() {
        let crowd = |candidate: &Candidate| {
            members.iter().filter(|&member| zone_of(member) == Some(&candidate.zone)).count()
        };
        // The first of the least crowded: they stand by distance.
        let least = others.iter().enumerate().min_by_key(|(_, candidate)| crowd(candidate));
        let Some((at, _)) = least else { break };
        members.push(others.remove(at).member);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom_register::Incarnation;

    fn member(node: u8, incarnation: u64) -> Member {
        Member { node: NodeId([node; 32]), incarnation: Incarnation(incarnation) }
    }

    fn candidate(node: u8, zone: &str) -> Candidate {
        Candidate { member: member(node, 0), zone: Zone(zone.into()) }
    }

    const POINT: NodeId = NodeId([0; 32]);

    #[test]
    fn the_closest_are_placed_when_every_one_is_in_a_zone_of_its_own() {
        let candidates =
            [candidate(8, "d"), candidate(1, "a"), candidate(4, "c"), candidate(2, "b")];
        let placed = place(POINT, 3, &[], &candidates);
        assert_eq!(placed, [member(1, 0), member(2, 0), member(4, 0)]);
    }

    #[test]
    fn a_zone_gets_a_second_member_only_when_each_has_one() {
        let candidates = [
            candidate(1, "a"),
            candidate(2, "a"),
            candidate(3, "a"),
            candidate(8, "b"),
            candidate(9, "b"),
        ];
        assert_eq!(place(POINT, 2, &[], &candidates), [member(1, 0), member(8, 0)]);
        assert_eq!(place(POINT, 3, &[], &candidates), [member(1, 0), member(8, 0), member(2, 0)]);
        let all = place(POINT, 9, &[], &candidates);
        assert_eq!(all.len(), 5, "no more than there are");
    }

    #[test]
    fn who_stays_keeps_its_seat_and_fills_its_zone() {
        let candidates = [candidate(1, "a"), candidate(2, "b"), candidate(9, "a")];
        let placed = place(POINT, 2, &[member(9, 0)], &candidates);
        assert_eq!(placed, [member(9, 0), member(2, 0)]);
    }

    #[test]
    fn of_two_lives_of_a_disk_the_later_one_is_placed() {
        let mut candidates = [candidate(1, "a"), candidate(1, "a"), candidate(2, "b")];
        candidates[1].member.incarnation = Incarnation(3);
        assert_eq!(place(POINT, 2, &[], &candidates), [member(1, 3), member(2, 0)]);
        candidates.reverse();
        assert_eq!(place(POINT, 2, &[], &candidates), [member(1, 3), member(2, 0)]);
    }
}
