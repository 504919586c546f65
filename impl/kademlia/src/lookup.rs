//! An iterative lookup: ask the closest that are known, learn of closer ones, until the `k` closest
//! seen have answered or failed.
//!
//! # Life
//! 1. [`Lookup::new`] takes the closest of our own table as seeds and deals them out to the paths.
//! 2. [`Lookup::step`] says whom to ask next, as long as fewer than `alpha` requests are in flight.
//! 3. [`Lookup::answered`], [`Lookup::slow`] and [`Lookup::failed`] tell it what became of a request.
//! 4. When [`Lookup::step`] says so it is done: [`Lookup::closest`] are the result.
//!
//! # Disjoint paths
//! A candidate is known to the paths on which it was told; a path asks only whom it knows, and nobody
//! is asked twice. A lying node so leads astray the paths that meet it, and no other (Baumgart and Mies,
//! S/Kademlia, 2007). What a path knows is kept as one bit for each path, so that several cost
//! little more than one.
//!
//! # Invariants
//! * KAD-4: it ends, after at most `most_asked` requests; and then, unless that bound was met, each
//!   of the `k` closest that a path knows has answered or failed;
//! * KAD-5: memory is bounded whatever is answered: at most `most_waiting` candidates not asked and
//!   `most_asked` asked, and of an answer only its first `k` contacts are read;
//! * when there are too many, whoever told the most is cut back: one lying answer cannot crowd out
//!   what others told;
//! * an id may be told with several addresses: a lie about an honest node's address costs a timeout,
//!   it does not hide the node.
//!
//! Candidates are sixteen bytes each, apart from their contacts: what is searched and moved at every
//! answer lies close together. Most contacts of an answer are known: they are found by the first and the
//! last byte of their ids, and searched for only when another stands there.
//!
//! What it does not do: judge keys, ids and addresses, or match answers with requests; that is the
//! machine's. No limit on subnets: two nodes that count different subnets would disagree on who is
//! closest, and so on who holds a record.

mod memory;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use cloakroom_wire::{Address, Contact, NodeId};

use crate::head::{head_distance, same};
use crate::lanes::Lanes;
use crate::parameters::{MOST_PATHS, Parameters};

/// One lookup.
#[derive(Clone, Debug)]
pub struct Lookup {
    target: NodeId,
    own: NodeId,
    bounds: Bounds,
    /// Sorted by distance; those of one id in the order in which they were told.
    candidates: Vec<Candidate>,
    /// Theirs, in any order.
    contacts: Vec<Contact>,
    /// Beside each contact: one bit for each path that knows it.
    known: Vec<u8>,
    /// By the first byte of an id and its last, of which either may be the same in all: where its
    /// contact stands, if nobody came between.
    places: Box<[u8; 256]>,
    /// Some id was told with several addresses.
    ambiguous: bool,
    waiting: u16,
    /// For each path: requests in flight that are not slow.
    in_flight: [u8; MOST_PATHS as usize],
    counts: Counts,
    /// Whose turn it is.
    turn: u8,
    /// Somebody was asked and nobody has answered or failed since: it cannot have ended.
    open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Bounds {
    k: u8,
    alpha: u8,
    paths: u8,
    most_asked: u16,
    most_waiting: u16,
}

/// What a lookup wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This one is to be asked.
    Ask(Contact),
    /// Nothing until something is heard.
    Wait,
    /// It has ended.
    Done,
}

/// What a lookup has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Requests sent.
    pub asked: u16,
    /// Answers.
    pub answered: u16,
    /// Requests that stayed unanswered.
    pub failed: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Candidate {
    /// The first bytes of the distance.
    near: u64,
    /// Where its contact stands.
    place: u16,
    /// The number of the answer that told it; zero for seeds.
    teller: u16,
    state: State,
    /// The path on which it was told first, and then the one on which it is asked.
    path: u8,
    /// Hops from us.
    depth: u8,
}

/// Of what does not tell where contacts stand: two lookups that do the same are the same.
impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        self.numbers() == other.numbers() && self.ordered().eq(other.ordered())
    }
}

impl Eq for Lookup {}

impl Hash for Lookup {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.numbers().hash(hasher);
        self.candidates.len().hash(hasher);
        self.ordered().for_each(|candidate| candidate.hash(hasher));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Waiting,
    Asked,
    Slow,
    Answered,
    Failed,
}

/// How often an id may be told with another address: in all, and on one path.
const ADDRESSES: (usize, usize) = (3, 2);

/// What the paths have in sight.
struct Front {
    /// For each path: the closest candidate to ask, if any.
    next: [Option<usize>; MOST_PATHS as usize],
    /// How many paths are not at their end.
    open: u8,
}

impl Lookup {
    /// A lookup for a target, beginning with these contacts.
    pub fn new(
        target: NodeId,
        own: NodeId,
        parameters: &Parameters,
        seeds: impl IntoIterator<Item = Contact>,
    ) -> Self {
        let bounds = Bounds {
            k: parameters.k,
            alpha: parameters.alpha,
            paths: parameters.paths.clamp(1, MOST_PATHS),
            most_asked: parameters.most_asked,
            most_waiting: parameters.most_waiting,
        };
        let mut lookup = Self {
            target,
            own,
            bounds,
            candidates: Vec::with_capacity(usize::from(bounds.k) * 3),
            contacts: Vec::with_capacity(usize::from(bounds.k) * 3),
            known: Vec::with_capacity(usize::from(bounds.k) * 3),
            places: Box::new([0; 256]),
            ambiguous: false,
            waiting: 0,
            in_flight: [0; MOST_PATHS as usize],
            counts: Counts::default(),
            turn: 0,
            open: false,
        };
        for seed in seeds {
            lookup.learn(seed, 0, 1, 0);
        }
        // Dealt out by distance, so that each path begins about as close as the others.
        for (candidate, path) in lookup.candidates.iter_mut().zip((0..bounds.paths).cycle()) {
            candidate.path = path;
            lookup.known[usize::from(candidate.place)] = 1 << path;
        }
        lookup
    }

    /// Everything but the candidates.
    fn numbers(&self) -> impl PartialEq + Hash {
        let Self { target, own, bounds, waiting, in_flight, counts, turn, .. } = self;
        (*target, *own, *bounds, *waiting, *in_flight, *counts, *turn)
    }

    /// The candidates with their contacts instead of where these stand.
    fn ordered(&self) -> impl Iterator<Item = (Candidate, u8, &Contact)> {
        self.candidates.iter().map(move |candidate| {
            let known = self.known[usize::from(candidate.place)];
            (Candidate { place: 0, ..*candidate }, known, self.contact(candidate))
        })
    }

    fn contact(&self, candidate: &Candidate) -> &Contact {
        &self.contacts[usize::from(candidate.place)]
    }

    /// Takes a candidate out that is not asked any more.
    fn forget(&mut self, at: usize) {
        let place = self.candidates.remove(at).place;
        self.contacts.swap_remove(place.into());
        self.known.swap_remove(place.into());
        // The last contact has moved into the gap.
        let moved = self.contacts.len();
        if let Some(of_moved) =
            self.candidates.iter_mut().find(|other| usize::from(other.place) == moved)
        {
            of_moved.place = place;
        }
        self.waiting -= 1;
    }

    /// What is looked for.
    pub fn target(&self) -> NodeId {
        self.target
    }

    /// What to do now. To be called until it is no [`Step::Ask`].
    pub fn step(&mut self) -> Step {
        let in_flight: u8 = self.in_flight.iter().sum();
        let waits = in_flight >= self.bounds.alpha || self.counts.asked >= self.bounds.most_asked;
        if self.open && waits {
            return Step::Wait;
        }
        let front = self.front();
        if self.is_done_with(&front) {
            return Step::Done;
        }
        if waits {
            return Step::Wait;
        }
        // Paths at their end leave their share to the others.
        let share = self.bounds.alpha.div_ceil(front.open.max(1));
        for _ in 0..self.bounds.paths {
            let path = self.turn;
            self.turn = (self.turn + 1) % self.bounds.paths;
            let Some(at) = front.next[usize::from(path)] else { continue };
            if self.in_flight[usize::from(path)] < share {
                return Step::Ask(self.ask(at, path));
            }
        }
        Step::Wait
    }

    fn ask(&mut self, at: usize, path: u8) -> Contact {
        self.in_flight[usize::from(path)] += 1;
        self.counts.asked += 1;
        self.waiting -= 1;
        let candidate = &mut self.candidates[at];
        candidate.state = State::Asked;
        candidate.path = path;
        self.open = true;
        self.contacts[usize::from(candidate.place)]
    }

    /// KAD-4: the `k` closest that each path knows and that have not failed.
    fn front(&self) -> Front {
        let mut next = [None; MOST_PATHS as usize];
        let (mut seen, mut open, mut met) = (Lanes::NONE, Lanes::NONE, Lanes::NONE);
        let mut wanting = Lanes::of(u8::MAX >> (MOST_PATHS - self.bounds.paths));
        let mut last: Option<&Candidate> = None;
        for (at, candidate) in self.candidates.iter().enumerate() {
            // Of an id with several addresses, one at a time.
            if candidate.state == State::Failed
                || last.is_some_and(|last| self.are_same(last, candidate))
            {
                continue;
            }
            last = Some(candidate);
            let paths = Lanes::of(self.known[usize::from(candidate.place)]).and(wanting);
            if candidate.state != State::Answered {
                open = open.or(paths);
            }
            if candidate.state == State::Waiting {
                for path in paths.without(met).each() {
                    next[path] = Some(at);
                }
                met = met.or(paths);
            }
            seen = seen.plus(paths);
            wanting = wanting.without(seen.that_are(self.bounds.k));
            if wanting == Lanes::NONE {
                break;
            }
        }
        Front { next, open: open.count() }
    }

    /// Whether two candidates are one id.
    fn are_same(&self, one: &Candidate, other: &Candidate) -> bool {
        one.near == other.near && same(self.contact(one).id, self.contact(other).id)
    }

    /// Whom we asked there has answered, and told these contacts. How many hops it is away; `None`
    /// if it was not asked, or had failed.
    pub fn answered(
        &mut self,
        id: NodeId,
        address: Address,
        contacts: impl IntoIterator<Item = Contact>,
    ) -> Option<u8> {
        let at = self.settle(id, address, State::Answered)?;
        self.counts.answered += 1;
        let Candidate { path, depth, .. } = self.candidates[at];
        // It is there: no other address is asked.
        let (from, to) = self.of_id(id);
        for other in (from..to).rev() {
            if self.candidates[other].state == State::Waiting {
                self.forget(other);
            }
        }
        let teller = self.counts.answered;
        // KAD-5: an honest answer has no more.
        for contact in contacts.into_iter().take(self.bounds.k.into()) {
            self.learn(contact, path, depth.saturating_add(1), teller);
        }
        Some(depth)
    }

    /// Whom we asked there has not answered for a while: another may be asked in its place.
    pub fn slow(&mut self, id: NodeId, address: Address) {
        self.settle(id, address, State::Slow);
    }

    /// Whom we asked there will not answer.
    pub fn failed(&mut self, id: NodeId, address: Address) {
        if self.settle(id, address, State::Failed).is_some() {
            self.counts.failed += 1;
        }
    }

    /// A request has come to this; where its candidate stands.
    fn settle(&mut self, id: NodeId, address: Address, to: State) -> Option<usize> {
        let (first, end) = self.of_id(id);
        let pending = |other: &Candidate| {
            matches!(other.state, State::Asked | State::Slow)
                && self.contact(other).address == address
        };
        let at = first + self.candidates[first..end].iter().position(pending)?;
        let candidate = &mut self.candidates[at];
        if candidate.state == State::Asked {
            self.in_flight[usize::from(candidate.path)] -= 1;
        }
        candidate.state = to;
        self.open &= to == State::Slow;
        Some(at)
    }

    /// From where to where the candidates of an id stand, or would.
    fn of_id(&self, id: NodeId) -> (usize, usize) {
        let near = head_distance(id, self.target);
        let from = self.candidates.partition_point(|other| other.near < near);
        let is_near = |at: usize| self.candidates.get(at).is_some_and(|other| other.near == near);
        if !is_near(from) {
            return (from, from);
        }
        if !is_near(from + 1) && same(self.contact(&self.candidates[from]).id, id) {
            return (from, from + 1);
        }
        self.of_id_among(id, near, from)
    }

    /// The same among candidates with equal heads: an id with several addresses, or ids that were made.
    #[cold]
    fn of_id_among(&self, id: NodeId, near: u64, from: usize) -> (usize, usize) {
        let target = self.target;
        let to = self.candidates.partition_point(|other| other.near <= near);
        let id_at = |at: &usize| self.contact(&self.candidates[*at]).id;
        let nearer = |at: &usize| id_at(at).distance(target) < id.distance(target);
        let from = from + (from..to).take_while(nearer).count();
        (from, from + (from..to).take_while(|at| same(id_at(at), id)).count())
    }

    /// A contact was told on a path.
    fn learn(&mut self, contact: Contact, path: u8, depth: u8, teller: u16) {
        if same(contact.id, self.own) || self.is_known(&contact, path) {
            return;
        }
        let (from, to) = self.of_id(contact.id);
        let (mut known_there, mut on_path) = (false, 0);
        for other in &self.candidates[from..to] {
            let place = usize::from(other.place);
            self.known[place] |= 1 << path;
            // Where somebody has answered there is no need of another address.
            known_there |=
                other.state == State::Answered || self.contacts[place].address == contact.address;
            on_path += usize::from(other.path == path);
        }
        if known_there || to - from >= ADDRESSES.0 || on_path >= ADDRESSES.1 {
            return;
        }
        self.ambiguous |= to > from;
        let first = self.candidates.get(from).filter(|_| to > from);
        let known = first.map_or(0, |other| self.known[usize::from(other.place)]) | 1 << path;
        let (state, near) = (State::Waiting, head_distance(contact.id, self.target));
        // KAD-5: far fewer than 2^16 are kept.
        let place = u16::try_from(self.contacts.len()).unwrap_or(u16::MAX);
        let candidate = Candidate { near, place, teller, state, path, depth };
        // Whoever stands beyond is searched for.
        *self.place_mut(contact.id) = u8::try_from(place).unwrap_or(0);
        self.contacts.push(contact);
        self.known.push(known);
        self.candidates.insert(to, candidate);
        self.waiting += 1;
        if self.waiting > self.bounds.most_waiting {
            self.forget_one();
        }
    }

    /// What most contacts of an answer are: known already, with this address. The path knows it too now.
    fn is_known(&mut self, contact: &Contact, path: u8) -> bool {
        let place = usize::from(*self.place_mut(contact.id));
        // With several addresses it is told of all of them.
        let known = !self.ambiguous
            && self.contacts.get(place).is_some_and(|known| {
                same(known.id, contact.id) && known.address == contact.address
            });
        if known {
            self.known[place] |= 1 << path;
        }
        known
    }

    fn place_mut(&mut self, id: NodeId) -> &mut u8 {
        let [first, .., last] = id.0;
        &mut self.places[usize::from(first ^ last)]
    }

    /// KAD-5: of whoever told the most that waits, the farthest is forgotten.
    fn forget_one(&mut self) {
        let mut told = [0_u16; 256];
        let waits = |candidate: &&Candidate| candidate.state == State::Waiting;
        for candidate in self.candidates.iter().filter(waits) {
            told[usize::from(candidate.teller % 256)] += 1;
        }
        let most = told.iter().max().copied().unwrap_or(0);
        let forgotten = self.candidates.iter().rposition(|candidate| {
            candidate.state == State::Waiting && told[usize::from(candidate.teller % 256)] == most
        });
        if let Some(at) = forgotten {
            self.forget(at);
        }
    }

    /// KAD-4: whether it has ended: nobody is to be asked or waited for.
    pub fn is_done(&self) -> bool {
        self.is_done_with(&self.front())
    }

    fn is_done_with(&self, front: &Front) -> bool {
        if front.open == 0 {
            return true;
        }
        // Slow requests too may still be answered, and they will fail at the latest.
        let pending = |c: &Candidate| matches!(c.state, State::Asked | State::Slow);
        self.counts.asked >= self.bounds.most_asked && !self.candidates.iter().any(pending)
    }

    /// The `k` closest that have answered, the closest first.
    pub fn closest(&self) -> impl Iterator<Item = &Contact> {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        answered.map(|candidate| self.contact(candidate)).take(self.bounds.k.into())
    }

    /// Hops to the closest that has answered: zero if nobody has.
    pub fn hops(&self) -> u8 {
        let answered = self.candidates.iter().find(|c| c.state == State::Answered);
        answered.map_or(0, |candidate| candidate.depth)
    }

    /// What it has cost.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Candidates kept: waiting, and asked.
    pub fn kept(&self) -> (usize, usize) {
        let waiting = usize::from(self.waiting);
        (waiting, self.candidates.len() - waiting)
    }
}
