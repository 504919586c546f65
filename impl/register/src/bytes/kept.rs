//! What survives, as entries of an ordered map of bytes: what a [`Save`] changes there, and how a
//! [`Disk`] is read back.
//!
//! | key | value |
//! |---|---|
//! | `m` | the node (32), the incarnation (8) |
//! | `b` | the boot counter (4) |
//! | `v`, slot (2), epoch (4) | the view |
//! | `p`, slot, epoch | the view before, of a replica that has learned |
//! | `l`, slot, epoch | the life |
//! | `f`, slot, epoch | the floor |
//! | `d`, slot, epoch | the part in the decree of the next view |
//! | `r`, slot, epoch, a key | the record |
//!
//! Numbers are big-endian, the rest as in messages.
//!
//! Invariants:
//! * what the saves of a host have changed is read back as the disk that they have changed, for any
//!   first part of them that is made in whole saves, in order;
//! * bytes that no host has written are an error that says where, never a panic, and never a disk that
//!   has forgotten something: REG-6.
//!
//! What it does not do: files, checksums.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use cloakroom_wire::{DecodeError, EncodeError, Fault, Fixed, Got, NodeId};

use super::{read, write};
use crate::durable::{Durable, Life, Pulled, Vote, Write};
use crate::host::{Disk, Save};
use crate::id::{Boot, Epoch, Incarnation, Key, Member, Slot, Version};
use crate::record::{Floor, Record};
use crate::view::View;

/// A change of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This key has this value.
    Put(Vec<u8>, Vec<u8>),
    /// This key has none.
    Remove(Vec<u8>),
    /// No key that begins so has one.
    RemoveAll(Vec<u8>),
}

type Written = Result<(), EncodeError>;
type Read<T> = Result<T, DecodeError>;

/// Whose disk it is: the first change of a new one.
pub fn owner(me: Member) -> Change {
    let mut value = me.node.0.to_vec();
    value.extend_from_slice(&me.incarnation.0.to_be_bytes());
    Change::Put(vec![b'm'], value)
}

/// What a save changes; all of it together, or nothing.
///
/// # Errors
/// [`EncodeError`] for what no peer would have taken either: a key or a value that is too long.
pub fn changes(save: &Save) -> Result<Vec<Change>, EncodeError> {
    let mut changes = Vec::new();
    match save {
        Save::Boot(boot) => changes.push(Change::Put(vec![b'b'], boot.0.to_be_bytes().into())),
        Save::Replica(durable) => replica(durable, &mut changes)?,
        Save::Write(slot, epoch, write) => changed(*slot, *epoch, write, &mut changes)?,
    }
    Ok(changes)
}

fn place(letter: u8, slot: Slot, epoch: Epoch) -> Vec<u8> {
    let mut key = vec![letter];
    key.extend_from_slice(&slot.0.to_be_bytes());
    key.extend_from_slice(&epoch.0.to_be_bytes());
    key
}

fn of_key(slot: Slot, epoch: Epoch, key: &Key) -> Vec<u8> {
    let mut place = place(b'r', slot, epoch);
    place.extend_from_slice(&key.0);
    place
}

fn put(
    changes: &mut Vec<Change>,
    key: Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Written,
) -> Written {
    let mut value = Vec::new();
    write(&mut value)?;
    changes.push(Change::Put(key, value));
    Ok(())
}

fn replica(durable: &Durable, changes: &mut Vec<Change>) -> Written {
    let Durable { me: _, view, life, floor, records, vote } = durable;
    let (slot, epoch) = (view.slot(), view.epoch());
    put(changes, place(b'v', slot, epoch), |to| write::view(to, slot, view))?;
    if let Life::Learner { previous, .. } = life {
        put(changes, place(b'p', slot, epoch), |to| write::view(to, slot, previous))?;
    }
    put(changes, place(b'l', slot, epoch), |to| write_life(to, slot, life))?;
    put(changes, place(b'f', slot, epoch), |to| write_floor(to, *floor))?;
    put(changes, place(b'd', slot, epoch), |to| write_vote(to, slot, vote))?;
    records.iter().try_for_each(|(key, record)| {
        put(changes, of_key(slot, epoch, key), |to| write_record(to, record))
    })
}

fn changed(slot: Slot, epoch: Epoch, write: &Write, changes: &mut Vec<Change>) -> Written {
    let place = |letter| place(letter, slot, epoch);
    match write {
        Write::Record(key, record) => {
            put(changes, of_key(slot, epoch, key), |to| write_record(to, record))
        }
        Write::Floor(floor) => put(changes, place(b'f'), |to| write_floor(to, *floor)),
        Write::Drop(key) => {
            changes.push(Change::Remove(of_key(slot, epoch, key)));
            Ok(())
        }
        Write::Life(life) => put(changes, place(b'l'), |to| write_life(to, slot, life)),
        Write::Vote(vote) => put(changes, place(b'd'), |to| write_vote(to, slot, vote)),
        Write::Retire(next) => {
            changes.push(Change::RemoveAll(place(b'r')));
            let life = Life::Retired { next: next.clone() };
            put(changes, place(b'l'), |to| write_life(to, slot, &life))
        }
    }
}

fn write_floor(to: &mut Vec<u8>, floor: Floor) -> Written {
    write::ballot(to, floor.ballot)?;
    to.extend_from_slice(&floor.version.0.to_be_bytes());
    Ok(())
}

fn write_vote(to: &mut Vec<u8>, slot: Slot, vote: &Vote) -> Written {
    write::ballot(to, vote.promise)?;
    write::option(to, vote.accepted.as_ref(), |to, (ballot, view)| {
        write::ballot(to, *ballot)?;
        write::view(to, slot, view)
    })
}

fn write_record(to: &mut Vec<u8>, record: &Record) -> Written {
    write::ballot(to, record.promise)?;
    write::option(to, record.accepted.as_ref(), write::accepted)
}

fn write_life(to: &mut Vec<u8>, slot: Slot, life: &Life) -> Written {
    match life {
        Life::Learner { previous, pulled, copied } => {
            to.push(0);
            write::view(to, slot, previous)?;
            // As many as the views have members.
            pulled.iter().chain(copied).try_for_each(|pulled| match pulled {
                Pulled::All => write::choose(to, 2, |_| Ok(())),
                Pulled::UpTo(key) => write::option(to, key.as_ref(), write::key),
            })
        }
        Life::Active => {
            to.push(1);
            Ok(())
        }
        Life::Sealed { next } => write::choose(to, 2, |to| write::view(to, slot, next)),
        Life::Retired { next } => write::choose(to, 3, |to| write::view(to, slot, next)),
    }
}

/// The disk that these entries are, in whatever order; `None` if there is none of them.
///
/// # Errors
/// [`DecodeError`], with its offset in the key or the value that is wrong, after the key itself: whoever
/// wrote into the file is at fault, or the file is damaged. Nothing is guessed.
pub fn disk<'a>(
    entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Option<Disk>, (Vec<u8>, DecodeError)> {
    let mut kept = Kept::default();
    for (key, value) in entries {
        kept.take(key, value).map_err(|error| (key.to_vec(), error))?;
    }
    kept.disk().map_err(|(letter, error)| (vec![letter], error))
}

type Place = (Slot, Epoch);

/// What has been read.
#[derive(Default)]
struct Kept {
    me: Option<Member>,
    boot: Option<Boot>,
    views: BTreeMap<Place, View>,
    previous: BTreeMap<Place, View>,
    /// Read when the views are known.
    lives: BTreeMap<Place, Vec<u8>>,
    floors: BTreeMap<Place, Floor>,
    votes: BTreeMap<Place, Vote>,
    records: BTreeMap<Place, BTreeMap<Key, Record>>,
}

impl Kept {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Read<()> {
        let from = &mut Fixed::new(key);
        let letter = from.u8()?;
        let value = &mut Fixed::new(value);
        match letter {
            b'm' => self.me = Some(read_member(value)?),
            b'b' => self.boot = Some(Boot(value.u32()?)),
            _ => {
                let place = (Slot(from.u16()?), Epoch(from.u32()?));
                self.take_of_replica(letter, place, from, value)?;
            }
        }
        from.end()?;
        value.end()
    }

    fn take_of_replica(
        &mut self,
        letter: u8,
        place: Place,
        from: &mut Fixed<'_>,
        value: &mut Fixed<'_>,
    ) -> Read<()> {
        let (slot, epoch) = place;
        match letter {
            b'v' => {
                let view = read::view(value, slot)?;
                if view.epoch() != epoch {
                    let got = Got::Number(view.epoch().0.into());
                    return Err(Fault::Sense { expected: "the view of this epoch", got }.at(0));
                }
                self.views.insert(place, view);
            }
            b'p' => drop(self.previous.insert(place, read::view(value, slot)?)),
            b'l' => drop(self.lives.insert(place, value.rest().to_vec())),
            b'f' => drop(self.floors.insert(place, read_floor(value)?)),
            b'd' => drop(self.votes.insert(place, read_vote(value, slot)?)),
            b'r' => {
                let key = Key::from(from.rest());
                self.records.entry(place).or_default().insert(key, read_record(value)?);
            }
            _ => {
                let got = Got::Number(letter.into());
                return Err(Fault::Sense { expected: "one of m, b, v, p, l, f, d, r", got }.at(0));
            }
        }
        Ok(())
    }

    fn disk(mut self) -> Result<Option<Disk>, (u8, DecodeError)> {
        let got = Got::Word("nothing");
        let missing = |letter: u8, expected| (letter, Fault::Sense { expected, got }.at(0));
        let Some(me) = self.me else {
            let nothing = self.boot.is_none() && self.views.is_empty() && self.records.is_empty();
            return if nothing { Ok(None) } else { Err(missing(b'm', "whose disk it is")) };
        };
        let mut disk = Disk::new(me);
        match self.boot {
            Some(boot) => disk.apply(&Save::Boot(boot)),
            // REG-5: the counter of starts is saved before the first replica.
            None if !self.views.is_empty() => {
                return Err(missing(b'b', "how often the node has started"));
            }
            None => {}
        }
        for (place, view) in core::mem::take(&mut self.views) {
            let life = self.lives.remove(&place);
            let life = life.ok_or(missing(b'l', "the life of each replica"))?;
            let from = &mut Fixed::new(&life);
            let life = read_life(from, &view).and_then(|life| from.end().map(|()| life));
            let durable = Durable {
                me,
                life: life.map_err(|error| (b'l', error))?,
                floor: self.floors.remove(&place).ok_or(missing(b'f', "each replica's floor"))?,
                vote: self.votes.remove(&place).ok_or(missing(b'd', "each replica's vote"))?,
                records: self.records.remove(&place).unwrap_or_default(),
                view,
            };
            disk.apply(&Save::Replica(durable));
            match self.previous.remove(&place) {
                Some(previous) => disk.set_previous(place, previous),
                // Only the first views have nobody to learn from.
                None if place.1 > Epoch(0) => {
                    return Err(missing(b'p', "the view before, of each that is not the first"));
                }
                None => {}
            }
        }
        // REG-6: a replica that is not whole has forgotten something.
        let orphans = !(self.previous.is_empty()
            && self.lives.is_empty()
            && self.floors.is_empty()
            && self.votes.is_empty());
        if orphans || !self.records.is_empty() {
            return Err(missing(b'v', "the view of each replica"));
        }
        Ok(Some(disk))
    }
}

fn read_member(from: &mut Fixed<'_>) -> Read<Member> {
    Ok(Member { node: NodeId(from.array()?), incarnation: Incarnation(from.u64()?) })
}

fn read_floor(from: &mut Fixed<'_>) -> Read<Floor> {
    Ok(Floor { ballot: read::ballot(from)?, version: Version(from.u64()?) })
}

fn read_vote(from: &mut Fixed<'_>, slot: Slot) -> Read<Vote> {
    let promise = read::ballot(from)?;
    let accepted = read::option(from, |from| Ok((read::ballot(from)?, read::view(from, slot)?)))?;
    Ok(Vote { promise, accepted })
}

fn read_record(from: &mut Fixed<'_>) -> Read<Record> {
    Ok(Record { promise: read::ballot(from)?, accepted: read::option(from, read::accepted)? })
}

fn read_life(from: &mut Fixed<'_>, view: &View) -> Read<Life> {
    let slot = view.slot();
    Ok(match from.choice(3)? {
        0 => {
            let previous = read::view(from, slot)?;
            let mut pulled = |view: &View| -> Read<Vec<Pulled>> {
                view.members().iter().map(|_| read_pulled(from)).collect()
            };
            let (pulled, copied) = (pulled(&previous)?, pulled(view)?);
            Life::Learner { previous, pulled, copied }
        }
        1 => Life::Active,
        2 => Life::Sealed { next: read::view(from, slot)? },
        _ => Life::Retired { next: read::view(from, slot)? },
    })
}

fn read_pulled(from: &mut Fixed<'_>) -> Read<Pulled> {
    Ok(match from.choice(2)? {
        0 => Pulled::UpTo(None),
        1 => Pulled::UpTo(Some(read::key(from)?)),
        _ => Pulled::All,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ballot::Ballot;
    use crate::id::{OperationId, Value};
    use crate::record::{Accepted, State};
    use crate::view::Seat;

    #[test]
    fn a_key_costs_at_most_100_durable_bytes_beside_key_and_value() {
        let most = |epoch| {
            let (round, seat, boot) = (u32::MAX, Seat(u8::MAX), Boot(u32::MAX));
            Ballot { epoch: Epoch(epoch), round, seat, boot }
        };
        let (key, value) = ([7; 255], vec![7; 65_536]);
        let content = Some(Value::from(&value[..]));
        let (version, operation) = (Version(u64::MAX), OperationId([u8::MAX; 16]));
        let state = State { version, content, operation };
        let accepted = Some(Accepted { ballot: most(u32::MAX - 1), state });
        let record = Record { promise: most(u32::MAX), accepted };
        let write = Write::Record(Key::from(&key[..]), record);
        let changes = changes(&Save::Write(Slot(u16::MAX), Epoch(u32::MAX), write)).unwrap();
        let [Change::Put(place, kept)] = &changes[..] else { panic!("one entry") };
        let bytes = place.len() + kept.len() - key.len() - value.len();
        assert!(bytes <= 100, "{bytes}");
        assert_eq!(bytes, 62);
    }
}
