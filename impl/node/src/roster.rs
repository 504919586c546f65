//! Who belongs to a cluster: its list of members, and how it changes.
//!
//! The list is the value of one register ([`roster_key`]), so that it has one chain of versions. Before
//! the first change there is none, and the genesis's founders are the members.
//!
//! Invariants:
//! * NODE-6: a node has one place at most, in one life of its disk. A life that was removed or replaced is
//!   banned: it never has a place again;
//! * WIRE-1: a list has one encoding, and what decodes encodes to the same bytes;
//! * somebody is always left who takes seats.
//!
//! What it does not do: know who lives, move seats, or forget: bans stay, and a list that has no
//! room for more refuses newcomers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use cloakroom_register::{Incarnation, Key, Member, Version};
use cloakroom_wire::fixed::put_short;
use cloakroom_wire::{
    Address, Contact, DecodeError, Fault, Fixed, Got, MAX_SHORT_BYTES, MAX_VALUE_BYTES, NodeId,
    NodeKey,
};
use thiserror::Error;

use crate::genesis::{Genesis, Zone};
use crate::placement::Candidate;

/// Of the encoding. Another one is a newer node's.
const FORMAT: u8 = 1;

/// The register of the list: no client may write it.
pub fn roster_key() -> Key {
    Key::from(&b"\0cloakroom/members"[..])
}

/// A list of members.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Roster {
    places: BTreeMap<NodeId, Place>,
    banned: BTreeSet<Member>,
}

/// A member's place in the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Who, in which life of its disk.
    pub member: Member,
    /// Where it is reached.
    pub contact: Contact,
    /// What it fails together with.
    pub zone: Zone,
    /// How it stands.
    pub standing: Standing,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Takes seats.
    Active,
    /// Takes no new seats, and gives up those that it has.
    Draining,
}

/// A change of the list. Made twice it changes nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A node comes, on a new disk or from another address.
    Join {
        /// Who, in which life of its disk.
        member: Member,
        /// Where it is reached.
        contact: Contact,
        /// What it fails together with.
        zone: Zone,
    },
    /// A node is to give up its seats.
    Drain(NodeId),
    /// A node is to take seats again, if it drains. A disk that was removed stays banned.
    Activate(NodeId),
    /// A node is gone for ever, in this life of its disk.
    Remove(NodeId),
}

/// Why a change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeFault {
    /// The node's: this life of its disk was removed or replaced.
    #[error("{0} is banned: it was removed, or another disk has taken its place")]
    Banned(Member),
    /// The caller's: it has no place in the list.
    #[error("expected a member, got {0}")]
    NoMember(NodeId),
    /// The caller's: nobody would be left who takes seats.
    #[error("{0} is the last one that takes seats")]
    Last(NodeId),
    /// The list has no room for more, or a zone's name is too long.
    #[error("expected a list of at most {MAX_VALUE_BYTES} bytes, got {0}")]
    Full(usize),
    /// Of a newer node: this one cannot read the list, and does not write it.
    #[error("the list is of a newer node")]
    Newer,
    /// Nobody who could make it has answered in time: it was not made, and will not be.
    #[error("nobody who can make it has answered")]
    Unreachable,
    /// It may have been made, and may still be.
    #[error("it is not known whether it was made")]
    Unknown,
}

impl Roster {
    /// The founders, on their first disks.
    pub fn of(genesis: &Genesis) -> Self {
        let place = |founder: &crate::genesis::Founder| {
            let member = Member { node: founder.contact.id, incarnation: Incarnation(0) };
            let (contact, zone) = (founder.contact, founder.zone.clone());
            (member.node, Place { member, contact, zone, standing: Standing::Active })
        };
        let places = genesis.founders().iter().map(place).collect();
        Self { places, banned: BTreeSet::new() }
    }

    /// All places, by node.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.values()
    }

    /// The place of a node.
    pub fn place(&self, node: NodeId) -> Option<&Place> {
        self.places.get(&node)
    }

    /// How a member stands: exactly this life of its disk.
    pub fn standing(&self, member: Member) -> Option<Standing> {
        let place = self.places.get(&member.node).filter(|place| place.member == member);
        place.map(|place| place.standing)
    }

    /// Lives of disks that never have a place again.
    pub fn banned(&self) -> impl Iterator<Item = Member> {
        self.banned.iter().copied()
    }

    /// Those who can take seats.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let active = self.places.values().filter(|place| place.standing == Standing::Active);
        active.map(|place| Candidate { member: place.member, zone: place.zone.clone() })
    }

    /// The list after a change; `None` if it is made already.
    ///
    /// # Errors
    /// [`ChangeFault`]: the change is against the rules.
    pub fn after(&self, change: &Change) -> Result<Option<Self>, ChangeFault> {
        let mut after = self.clone();
        match change {
            Change::Join { member, contact, zone } => {
                // NODE-6
                if self.banned.contains(member) {
                    return Err(ChangeFault::Banned(*member));
                }
                let before = after.places.remove(&member.node);
                let same = before.as_ref().filter(|place| place.member == *member);
                // Who drains and moves goes on draining.
                let standing = same.map_or(Standing::Active, |place| place.standing);
                after
                    .banned
                    .extend(before.map(|place| place.member).filter(|replaced| replaced != member));
                let (contact, zone) = (*contact, zone.clone());
                let place = Place { member: *member, contact, zone, standing };
                after.places.insert(member.node, place);
            }
            Change::Drain(node) => {
                let place = after.places.get_mut(node).ok_or(ChangeFault::NoMember(*node))?;
                place.standing = Standing::Draining;
            }
            Change::Activate(node) => {
                // NODE-6: who has no place is given none.
                let place = after.places.get_mut(node).ok_or(ChangeFault::NoMember(*node))?;
                place.standing = Standing::Active;
            }
            Change::Remove(node) => match after.places.remove(node) {
                Some(place) => {
                    after.banned.insert(place.member);
                }
                None if self.banned.iter().any(|member| member.node == *node) => {}
                None => return Err(ChangeFault::NoMember(*node)),
            },
        }
        if after == *self {
            return Ok(None);
        }
        if let Change::Drain(node) | Change::Remove(node) = change
            && after.candidates().next().is_none()
        {
            return Err(ChangeFault::Last(*node));
        }
        after.encode().map(|_| Some(after))
    }

    /// As the register has it.
    ///
    /// # Errors
    /// [`ChangeFault::Full`]
    pub fn encode(&self) -> Result<Vec<u8>, ChangeFault> {
        let mut to = Vec::new();
        to.push(FORMAT);
        let count = u16::try_from(self.places.len()).map_err(|_| ChangeFault::Full(usize::MAX))?;
        to.extend_from_slice(&count.to_be_bytes());
        for place in self.places.values() {
            to.extend_from_slice(&place.member.node.0);
            to.extend_from_slice(&place.member.incarnation.0.to_be_bytes());
            to.push(u8::from(place.standing == Standing::Draining));
            to.extend_from_slice(&place.contact.key.0);
            match place.contact.address.ip() {
                IpAddr::V4(ip) => {
                    to.push(4);
                    to.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    to.push(6);
                    to.extend_from_slice(&ip.octets());
                }
            }
            to.extend_from_slice(&place.contact.address.port().to_be_bytes());
            let zone = place.zone.0.as_bytes();
            put_short(&mut to, zone).map_err(|_| ChangeFault::Full(zone.len()))?;
        }
        for member in &self.banned {
            to.extend_from_slice(&member.node.0);
            to.extend_from_slice(&member.incarnation.0.to_be_bytes());
        }
        if to.len() > MAX_VALUE_BYTES { Err(ChangeFault::Full(to.len())) } else { Ok(to) }
    }

    /// From what the register has; `None` when a newer node has written it.
    ///
    /// # Errors
    /// [`DecodeError`]: no list.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let from = &mut Fixed::new(bytes);
        if from.u8()? != FORMAT {
            return Ok(None);
        }
        let mut places: BTreeMap<NodeId, Place> = BTreeMap::new();
        for _ in 0..from.u16()? {
            let at = from.offset();
            let place = read_place(from)?;
            if places.last_key_value().is_some_and(|(last, _)| *last >= place.member.node) {
                let expected = "nodes in ascending order";
                let got = Got::Word("one that is not above the one before");
                return Err(Fault::Sense { expected, got }.at(at));
            }
            places.insert(place.member.node, place);
        }
        let mut banned = BTreeSet::new();
        while !from.is_done() {
            let at = from.offset();
            let member = read_member(from)?;
            let has_place = places.get(&member.node).is_some_and(|place| place.member == member);
            if has_place || banned.last().is_some_and(|last| *last >= member) {
                let expected = "members in ascending order, and without a place";
                let got =
                    Got::Word(if has_place { "one with a place" } else { "one out of order" });
                return Err(Fault::Sense { expected, got }.at(at));
            }
            banned.insert(member);
        }
        Ok(Some(Self { places, banned }))
    }
}

fn read_member(from: &mut Fixed<'_>) -> Result<Member, DecodeError> {
    Ok(Member { node: NodeId(from.array()?), incarnation: Incarnation(from.u64()?) })
}

fn read_place(from: &mut Fixed<'_>) -> Result<Place, DecodeError> {
    let member = read_member(from)?;
    let standing = if from.choice(1)? == 0 { Standing::Active } else { Standing::Draining };
    let (key, at) = (NodeKey(from.array()?), from.offset());
    let ip = match from.u8()? {
        4 => IpAddr::from(from.array::<4>()?),
        6 => IpAddr::from(from.array::<16>()?),
        got => return Err(Fault::Family { got }.at(at)),
    };
    if ip.to_canonical() != ip {
        return Err(Fault::Mapped.at(at));
    }
    let address = Address::new(ip, from.u16()?);
    let zone = from.text()?;
    let contact = Contact { id: member.node, address, key };
    Ok(Place { member, contact, zone: Zone(zone.into()), standing })
}

const _: () = assert!(MAX_SHORT_BYTES == 255);

/// What is known of the register: a list in one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) roster: Roster,
    /// Zero: the genesis's.
    pub(crate) version: Version,
}

impl Known {
    /// NODE-5: forwards only.
    pub(crate) fn adopt(&mut self, version: Version, roster: Roster) -> bool {
        let newer = version > self.version;
        if newer {
            *self = Self { roster, version };
        }
        newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genesis::Founder;

    fn contact(id: u8) -> Contact {
        let address = Address::v4([10, 0, 0, id], 7400);
        Contact { id: NodeId([id; 32]), address, key: NodeKey([id; 32]) }
    }

    fn member(id: u8, life: u64) -> Member {
        Member { node: NodeId([id; 32]), incarnation: Incarnation(life) }
    }

    fn join(id: u8, life: u64) -> Change {
        Change::Join { member: member(id, life), contact: contact(id), zone: Zone("b".into()) }
    }

    fn two() -> Roster {
        let founder = |id| Founder { contact: contact(id), zone: Zone("a".into()) };
        Roster::of(&Genesis::new(&[founder(1), founder(2)], 4, 3).unwrap())
    }

    fn made(roster: &Roster, change: &Change) -> Roster {
        let after = roster.after(change).unwrap().expect("a change");
        assert_eq!(after.after(change), Ok(None), "made twice it changes nothing more");
        assert_eq!(Roster::decode(&after.encode().unwrap()), Ok(Some(after.clone())));
        after
    }

    #[test]
    fn a_life_of_a_disk_that_was_removed_or_replaced_never_has_a_place_again() {
        let roster = made(&two(), &join(3, 5));
        let roster = made(&roster, &join(3, 4));
        assert_eq!(roster.after(&join(3, 5)), Err(ChangeFault::Banned(member(3, 5))));
        let roster = made(&roster, &Change::Remove(NodeId([3; 32])));
        for life in [4, 5] {
            assert_eq!(roster.after(&join(3, life)), Err(ChangeFault::Banned(member(3, life))));
        }
        let roster = made(&roster, &join(3, 6));
        assert_eq!(roster.standing(member(3, 6)), Some(Standing::Active));
        assert_eq!(roster.standing(member(3, 4)), None);
        assert_eq!(roster.banned().count(), 2);
    }

    #[test]
    fn who_drains_takes_no_seats_and_goes_on_draining_from_another_address() {
        let roster = made(&two(), &Change::Drain(NodeId([1; 32])));
        assert_eq!(roster.candidates().map(|it| it.member).collect::<Vec<_>>(), [member(2, 0)]);
        let moved = made(&roster, &join(1, 0));
        assert_eq!(moved.standing(member(1, 0)), Some(Standing::Draining));
        assert_eq!(moved.place(NodeId([1; 32])).unwrap().zone, Zone("b".into()));
    }

    #[test]
    fn who_drains_may_stay_and_who_was_removed_may_not_come_back_so() {
        let one = NodeId([1; 32]);
        let roster = made(&two(), &Change::Drain(one));
        assert_eq!(made(&roster, &Change::Activate(one)), two());
        assert_eq!(two().after(&Change::Activate(one)), Ok(None), "it is as it is asked to be");
        let roster = made(&roster, &Change::Remove(one));
        assert_eq!(roster.after(&Change::Activate(one)), Err(ChangeFault::NoMember(one)));
    }

    #[test]
    fn somebody_is_always_left_who_takes_seats() {
        let (one, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let roster = made(&two(), &Change::Drain(one));
        for change in [Change::Drain(other), Change::Remove(other)] {
            assert_eq!(roster.after(&change), Err(ChangeFault::Last(other)));
        }
        let stranger = NodeId([9; 32]);
        let fault = Err(ChangeFault::NoMember(stranger));
        assert_eq!(roster.after(&Change::Drain(stranger)), fault);
        assert_eq!(roster.after(&Change::Remove(stranger)), fault);
    }

    #[test]
    fn a_list_without_room_refuses_newcomers() {
        let mut roster = two();
        let long =
            Zone([b'z'; 255].map(char::from).iter().collect::<alloc::string::String>().into());
        let fault = (0..1000_u64).find_map(|life| {
            let id = NodeId(core::array::from_fn(|at| life.to_be_bytes()[at % 8] ^ 0x55));
            let member = Member { node: id, incarnation: Incarnation(0) };
            let contact = Contact { id, ..contact(1) };
            match roster.after(&Change::Join { member, contact, zone: long.clone() }) {
                Ok(after) => {
                    roster = after.expect("a change");
                    None
                }
                Err(fault) => Some(fault),
            }
        });
        assert!(matches!(fault, Some(ChangeFault::Full(bytes)) if bytes > MAX_VALUE_BYTES));
        assert!(roster.places().count() > 190, "{}", roster.places().count());
    }

    #[test]
    fn bytes_that_are_no_list_are_refused_and_a_newer_nodes_are_known_as_such() {
        let bytes = made(&two(), &join(3, 5)).encode().unwrap();
        for at in 0..bytes.len() {
            assert!(Roster::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(Roster::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert_eq!(Roster::decode(&[&[2], &bytes[1..]].concat()), Ok(None));
        let place = (bytes.len() - 3) / 3;
        let twice = [&bytes[..3 + place], &bytes[3..3 + place], &bytes[3 + 2 * place..]].concat();
        assert!(Roster::decode(&twice).is_err());
    }
}
