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
//! answer lies close together.
//!
//! What it does not do: judge keys, ids and addresses, or match answers with requests; that is the
//! machine's. No limit on subnets: two nodes that count different subnets would disagree on who is
//! closest, and so on who holds a record.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use cloakroom_wire::{Address, Contact, NodeId};

use crate::head::{head_distance, same};
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
    /// One bit for each path that knows it.
    known: u8,
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
    /// One bit for each path that is not at its end.
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
            candidate.known = 1 << path;
        }
        lookup
    }

    /// Everything but the candidates.
    fn numbers(&self) -> impl PartialEq + Hash {
        let Self { target, own, bounds, waiting, in_flight, counts, turn, .. } = self;
        (*target, *own, *bounds, *waiting, *in_flight, *counts, *turn)
    }

    /// The candidates with their contacts instead of where these stand.
    fn ordered(&self) -> impl Iterator<Item = (Candidate, &Contact)> {
        let apart = |candidate: &Candidate| Candidate { place: 0, ..*candidate };
        self.candidates.iter().map(move |candidate| (apart(candidate), self.contact(candidate)))
    }

    fn contact(&self, candidate: &Candidate) -> &Contact {
        &self.contacts[usize::from(candidate.place)]
    }

    /// Takes a candidate out that is not asked any more.
    fn forget(&mut self, at: usize) {
        let place = self.candidates.remove(at).place;
        self.contacts.swap_remove(place.into());
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
        let open = u8::try_from(front.open.count_ones()).unwrap_or(1).max(1);
        let share = self.bounds.alpha.div_ceil(open);
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
        let mut front = Front { next: [None; MOST_PATHS as usize], open: 0 };
        let mut seen = [0; MOST_PATHS as usize];
        let mut full = 0_u8;
        let all = u8::MAX >> (MOST_PATHS - self.bounds.paths);
        let mut last: Option<&Candidate> = None;
        for (at, candidate) in self.candidates.iter().enumerate() {
            // Of an id with several addresses, one at a time.
            if candidate.state == State::Failed
                || last.is_some_and(|last| self.are_same(last, candidate))
            {
                continue;
            }
            last = Some(candidate);
            let mut paths = candidate.known & !full;
            while paths != 0 {
                let bit = paths.trailing_zeros() as usize;
                paths &= paths - 1;
                seen[bit] += 1;
                if seen[bit] == self.bounds.k {
                    full |= 1 << bit;
                }
                if candidate.state != State::Answered {
                    front.open |= 1 << bit;
                }
                if candidate.state == State::Waiting && front.next[bit].is_none() {
                    front.next[bit] = Some(at);
                }
            }
            if full == all {
                break;
            }
        }
        front
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
        let equal = self.candidates[from..].iter().take_while(|other| other.near == near).count();
        match equal {
            0 => (from, from),
            1 if same(self.contact(&self.candidates[from]).id, id) => (from, from + 1),
            _ => self.of_id_among(id, from, from + equal),
        }
    }

    /// The same among candidates with equal heads: an id with several addresses, or ids that were made.
    #[cold]
    fn of_id_among(&self, id: NodeId, from: usize, to: usize) -> (usize, usize) {
        let target = self.target;
        let id_at = |at: &usize| self.contact(&self.candidates[*at]).id;
        let nearer = |at: &usize| id_at(at).distance(target) < id.distance(target);
        let from = from + (from..to).take_while(nearer).count();
        (from, from + (from..to).take_while(|at| same(id_at(at), id)).count())
    }

    /// A contact was told on a path.
    fn learn(&mut self, contact: Contact, path: u8, depth: u8, teller: u16) {
        if same(contact.id, self.own) {
            return;
        }
        let (from, to) = self.of_id(contact.id);
        let (mut known_there, mut on_path) = (false, 0);
        for other in &mut self.candidates[from..to] {
            other.known |= 1 << path;
            // Where somebody has answered there is no need of another address.
            known_there |= other.state == State::Answered
                || self.contacts[usize::from(other.place)].address == contact.address;
            on_path += usize::from(other.path == path);
        }
        if known_there || to - from >= ADDRESSES.0 || on_path >= ADDRESSES.1 {
            return;
        }
        let known = self.candidates.get(from).filter(|_| to > from).map_or(0, |other| other.known);
        let (state, near) = (State::Waiting, head_distance(contact.id, self.target));
        let known = known | 1 << path;
        // KAD-5: far fewer than 2^16 are kept.
        let place = u16::try_from(self.contacts.len()).unwrap_or(u16::MAX);
        let candidate = Candidate { near, place, teller, state, known, path, depth };
        self.contacts.push(contact);
        self.candidates.insert(to, candidate);
        self.waiting += 1;
        if self.waiting > self.bounds.most_waiting {
            self.forget_one();
        }
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
