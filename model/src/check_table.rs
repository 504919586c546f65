//! `check_table`: the real routing table under any sequence of answers, requests, silences and deaths.
//!
//! Ids of three bits, few places in a bucket, few contacts of one subnet. Each id has a home and, where
//! the bounds say so, can move to one other subnet that all share. Time stands still: order alone
//! says who was seen when, and everybody counts as idle, so that the least recently seen is always
//! to be pinged.
//!
//! Judges every state: KAD-1 and KAD-3, and that the closest are found for every target. Judges every
//! transition: KAD-2. Sequences of any length: the table goes round for ever, so there is no
//! longest run.

use cloakroom_kademlia::{Entry, Moment, Parameters, Placed, SubnetLimits, Table};
use cloakroom_specs::kademlia::{
    self as spec, Limits, Objection, Seat, Seats, What, entries_are_kept, table_is_sound,
};
use cloakroom_wire::{Address, Contact, NodeId, NodeKey};

use crate::search::{Event, Explore};

/// The bounds of one check.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Places in a bucket.
    pub k: u8,
    /// Who may wait for one.
    pub replacements: u8,
    /// Buckets.
    pub buckets: u16,
    /// For each of the ids 1 to 7 its home subnet; zero for ids that do not come.
    pub homes: [u8; 7],
    /// Contacts of one subnet in a bucket, and in the table.
    pub subnet: (u8, u8),
    /// Whether contacts move to another subnet.
    pub moves: bool,
    /// Whether contacts may leave a request unanswered and still live.
    pub silences: bool,
}

/// The model.
#[derive(Clone, Debug)]
pub struct CheckTable {
    bounds: Bounds,
    limits: Limits,
}

/// A state: the table, and what was wrong with the step to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    table: Table,
    objection: Option<Objection>,
}

/// One transition. Ids are 1 to 7; `bool`: from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It answers a request of ours.
    Answers(u8, bool),
    /// It sends us a request.
    Asks(u8, bool),
    /// It leaves a request unanswered.
    Silent(u8),
    /// It is taken for dead.
    Dies(u8),
}

/// The subnet to which everybody moves.
const ELSEWHERE: u8 = 99;

/// An id of three bits at the front.
pub(crate) fn id(number: u8) -> NodeId {
    let mut bytes = [0; 32];
    bytes[0] = number << 5;
    NodeId(bytes)
}

/// The three bits.
pub(crate) fn number(id: NodeId) -> u64 {
    (id.0[0] >> 5).into()
}

fn seat(entry: &Entry) -> Seat {
    let subnet = match entry.contact.address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[2].into(),
        std::net::IpAddr::V6(_) => unreachable!("none here"),
    };
    Seat { id: number(entry.contact.id), subnet }
}

fn seats(table: &Table) -> Vec<Seats> {
    let bucket = |bucket: &cloakroom_kademlia::Bucket| Seats {
        entries: bucket.entries().map(seat).collect(),
        waiting: bucket.replacements().iter().map(seat).collect(),
    };
    table.buckets().iter().map(bucket).collect()
}

impl CheckTable {
    /// The model within these bounds.
    pub fn new(bounds: Bounds) -> Self {
        let subnet = (bounds.subnet.0.into(), bounds.subnet.1.into());
        let (k, waiting) = (bounds.k.into(), bounds.replacements.into());
        Self { bounds, limits: Limits { bits: 3, k, waiting, subnet } }
    }

    fn contact(&self, number: u8, elsewhere: bool) -> Contact {
        let home = self.bounds.homes[usize::from(number) - 1];
        let subnet = if elsewhere { ELSEWHERE } else { home };
        let address = Address::v4([10, 0, subnet, number], 1);
        Contact { id: id(number), address, key: NodeKey([0; 32]) }
    }

    /// KAD-4 begins here: what is told to others is the closest of all that are known.
    fn finds_the_closest(table: &Table) -> Result<(), Objection> {
        let ids: Vec<u64> = table
            .entries()
            .filter(|entry| entry.unanswered == 0)
            .map(|entry| number(entry.contact.id))
            .collect();
        for target in 0..8 {
            for count in 1..=2 {
                let mut found = Vec::new();
                table.closest(id(target), count, &mut found);
                let mut found: Vec<u64> = found.iter().map(|contact| number(contact.id)).collect();
                found.sort_unstable_by_key(|id| id ^ u64::from(target));
                let expected = spec::closest(target.into(), count, &ids);
                if found != expected {
                    let missed = expected.first().copied().unwrap_or_default();
                    return Err(Objection { property: 4, what: What::Missed(missed) });
                }
            }
        }
        Ok(())
    }
}

impl Explore for CheckTable {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] =
        &[("KAD-1", 1), ("KAD-2", 2), ("KAD-3", 3), ("KAD-4", 4)];
    const CYCLE: Option<&'static str> = None;

    fn start(&self) -> State {
        let subnets =
            Some(SubnetLimits { bucket: self.bounds.subnet.0, table: self.bounds.subnet.1 });
        let parameters = Parameters {
            k: self.bounds.k,
            replacements: self.bounds.replacements,
            most_buckets: self.bounds.buckets,
            subnets,
            fresh_ms: 0,
            ..Parameters::default()
        };
        State { table: Table::new(id(0), &parameters), objection: None }
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        if state.objection.is_some() {
            return;
        }
        for number in (1..8).filter(|&number| self.bounds.homes[usize::from(number) - 1] != 0) {
            let places = if self.bounds.moves { &[false, true][..] } else { &[false] };
            actions.extend(places.iter().map(|&elsewhere| Action::Answers(number, elsewhere)));
            actions.extend(places.iter().map(|&elsewhere| Action::Asks(number, elsewhere)));
            if let Some(entry) = state.table.entry(id(number)) {
                actions.push(Action::Dies(number));
                if self.bounds.silences && entry.unanswered == 0 {
                    actions.push(Action::Silent(number));
                }
            }
        }
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut table = before.table.clone();
        let now = Moment::default();
        let (mut answered, mut dead) = (None, None);
        let event = match action {
            Action::Answers(number, elsewhere) => {
                answered = Some(number.into());
                match table.answered(now, self.contact(number, elsewhere), None) {
                    Placed::Added => Some(Event::Added),
                    Placed::Waits(_) => Some(Event::Waits),
                    Placed::Crowded => Some(Event::Crowded),
                    Placed::Known | Placed::Own => None,
                }
            }
            Action::Asks(number, elsewhere) => {
                let greet = table.heard(now, &self.contact(number, elsewhere));
                greet.then_some(Event::Greeted)
            }
            Action::Silent(number) => {
                table.missed(id(number), false);
                None
            }
            Action::Dies(number) => {
                dead = Some(number.into());
                let removed = table.remove(id(number));
                let promoted = removed.is_some_and(|removed| removed.successor.is_some());
                Some(if promoted { Event::Promoted } else { Event::Died })
            }
        };
        let (old, new) = (seats(&before.table), seats(&table));
        let judged = table_is_sound(0, self.limits, &new)
            .and_then(|()| entries_are_kept(&old, &new, answered, dead))
            .and_then(|()| Self::finds_the_closest(&table));
        Some((State { table, objection: judged.err() }, event))
    }

    fn tell(&self, _: &State, action: Action) -> String {
        let place = |elsewhere: bool| if elsewhere { " from elsewhere" } else { "" };
        match action {
            Action::Answers(number, moved) => format!("{number} answers{}", place(moved)),
            Action::Asks(number, moved) => format!("{number} sends a request{}", place(moved)),
            Action::Silent(number) => format!("{number} does not answer"),
            Action::Dies(number) => format!("{number} is taken for dead"),
        }
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }
}
