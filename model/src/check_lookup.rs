//! `check_lookup`: one real lookup in a small network of real tables, in any order of its messages.
//!
//! Ids of three bits; node 0 looks for a target and begins with few contacts. Each node answers
//! from a table of its own that has met everybody. What is in flight is answered in any order, or
//! is slow, is lost, or its node crashes, as often as the bounds say; one node may lie.
//!
//! Judges every request (KAD-4: nobody is asked twice), every state (KAD-4: it waits for something
//! or has ended; KAD-5: bounds), and every end (KAD-4: of all that was told nobody closer than the
//! result is left unasked; and, where the bounds promise it, the closest reachable node is found).
//! A cycle would be a lookup that does not end.

use cloakroom_kademlia::{Lookup, Moment, Parameters, Step, Table};
use cloakroom_specs::kademlia::{Objection, Search, What, closest};
use cloakroom_wire::{Address, Contact, NodeId, NodeKey};

use crate::check_table::{id, number};
use crate::search::{Event, Explore, object};

/// The bounds of one check.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Contacts in a bucket and in an answer.
    pub k: u8,
    /// Requests in flight.
    pub alpha: u8,
    /// Disjoint paths.
    pub paths: u8,
    /// Requests in all.
    pub most_asked: u16,
    /// Candidates not asked.
    pub most_waiting: u16,
    /// The nodes of the network beside node 0.
    pub nodes: &'static [u8],
    /// With whom it begins.
    pub seeds: &'static [u8],
    /// What is looked for.
    pub target: u8,
    /// How many messages may be lost.
    pub losses: u8,
    /// How many nodes may crash.
    pub crashes: u8,
    /// How many requests may be slow.
    pub slow: u8,
    /// Who lies, and how.
    pub liar: Option<(u8, Lie)>,
    /// Whether the closest honest node that nothing happened to must have answered, whatever happened
    /// to others: then it can be asked for a record.
    pub finds: bool,
}

/// How a node lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It tells of nodes that are nearest of all, and do not exist.
    Nearer,
    /// It tells of nodes that are nearest of all, exist, and tell only of each other.
    Colluders,
    /// It tells of the nodes that there are, at addresses where they are not.
    Elsewhere,
}

/// The model.
#[derive(Clone, Debug)]
pub struct CheckLookup {
    bounds: Bounds,
    parameters: Parameters,
    /// What each of the eight ids answers.
    answers: Vec<Vec<Contact>>,
}

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    lookup: Lookup,
    in_flight: Vec<Flight>,
    search: Search,
    /// One bit for each node that crashed.
    crashed: u8,
    /// One bit for each node of which a message was lost.
    hurt: u8,
    losses: u8,
    crashes: u8,
    slow: u8,
    objection: Option<Objection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flight {
    to: Contact,
    slow: bool,
}

/// One transition; numbers are places among what is in flight, or nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A request is answered.
    Answer(u8),
    /// A request or its answer is lost, or nobody is there: it fails.
    Fail(u8),
    /// A request takes long.
    Slow(u8),
    /// A node crashes.
    Crash(u8),
}

fn contact(number: u8, elsewhere: bool) -> Contact {
    let address = Address::v4([10, 0, number, u8::from(elsewhere) + 1], 1);
    Contact { id: id(number), address, key: NodeKey([0; 32]) }
}

fn plain(contact: &Contact) -> (u64, u64) {
    let elsewhere = contact.address.ip() != self::contact(node(contact), false).address.ip();
    (number(contact.id), elsewhere.into())
}

fn node(contact: &Contact) -> u8 {
    contact.id.0[0] >> 5
}

/// The nearest ids that are no nodes of the network.
fn others(bounds: &Bounds) -> Vec<Contact> {
    let mut others: Vec<u8> = (1..8).filter(|id| !bounds.nodes.contains(id)).collect();
    others.sort_unstable_by_key(|id| id ^ bounds.target);
    others.iter().take(bounds.k.into()).map(|&id| contact(id, false)).collect()
}

impl CheckLookup {
    /// The model within these bounds.
    pub fn new(bounds: Bounds) -> Self {
        let parameters = Parameters {
            k: bounds.k,
            alpha: bounds.alpha,
            paths: bounds.paths,
            most_asked: bounds.most_asked,
            most_waiting: bounds.most_waiting,
            replication: 1,
            subnets: None,
            ..Parameters::default()
        };
        let target = id(bounds.target);
        let answers = (0..8).map(|number| Self::answer(&bounds, &parameters, number, target));
        Self { bounds, parameters, answers: answers.collect() }
    }

    /// What a node answers: the closest in its table, or a lie.
    fn answer(
        bounds: &Bounds,
        parameters: &Parameters,
        number: u8,
        target: NodeId,
    ) -> Vec<Contact> {
        let mut table = Table::new(id(number), parameters);
        for &other in bounds.nodes {
            table.answered(Moment::default(), contact(other, false), None);
        }
        let mut told = Vec::new();
        table.closest(target, bounds.k.into(), &mut told);
        match bounds.liar {
            Some((liar, Lie::Nearer)) if liar == number => others(bounds),
            Some((liar, Lie::Colluders)) if liar == number || !bounds.nodes.contains(&number) => {
                others(bounds)
            }
            Some((liar, Lie::Elsewhere)) if liar == number => {
                told.iter().map(|told| contact(node(told), true)).collect()
            }
            _ => told,
        }
    }

    /// Whether a request gets to a living node.
    fn arrives(&self, state: &State, to: &Contact) -> bool {
        let colludes = matches!(self.bounds.liar, Some((_, Lie::Colluders)));
        let there = self.bounds.nodes.contains(&node(to)) || colludes;
        there && plain(to).1 == 0 && state.crashed & (1 << node(to)) == 0
    }

    fn ask(&self, state: &mut State) {
        while let Step::Ask(to) = state.lookup.step() {
            let (id, address) = plain(&to);
            object(&mut state.objection, state.search.asked(id, address));
            state.in_flight.push(Flight { to, slow: false });
        }
        // Order says nothing here: one state for all.
        state.in_flight.sort_unstable_by_key(|flight| (flight.to.id, flight.to.address));
        self.judge(state);
    }

    fn judge(&self, state: &mut State) {
        let quick = state.in_flight.iter().filter(|flight| !flight.slow).count();
        let (waiting, asked) = state.lookup.kept();
        let bounds = [
            (quick, usize::from(self.bounds.alpha)),
            (waiting, self.bounds.most_waiting.into()),
            (asked, self.bounds.most_asked.into()),
            (state.search.requests(), self.bounds.most_asked.into()),
        ];
        for (got, most) in bounds {
            if got > most {
                let what = What::Unbounded(got);
                object(&mut state.objection, Err(Objection { property: 5, what }));
            }
        }
        if !state.lookup.is_done() {
            if state.in_flight.is_empty() {
                object(&mut state.objection, Err(Objection { property: 4, what: What::Stuck }));
            }
            return;
        }
        let judged = self.judge_end(state);
        object(&mut state.objection, judged);
    }

    fn judge_end(&self, state: &State) -> Result<(), Objection> {
        let (target, k) = (self.bounds.target.into(), usize::from(self.bounds.k));
        let result: Vec<u64> = state.lookup.closest().map(|contact| number(contact.id)).collect();
        // Where a bound was met it may end sooner.
        let asked_all = state.search.requests() < usize::from(self.bounds.most_asked);
        if !asked_all || usize::from(self.bounds.most_waiting) < 8 {
            return Ok(());
        }
        state.search.ended(target, k, &result)?;
        let liar = self.bounds.liar.map(|(liar, _)| liar);
        let honest = self.bounds.nodes.iter().filter(|&&number| Some(number) != liar);
        let unhurt = honest.filter(|&&number| (state.crashed | state.hurt) >> number & 1 == 0);
        let unhurt: Vec<u64> = unhurt.map(|&number| number.into()).collect();
        let expected = if unhurt.len() == self.bounds.nodes.len() {
            let expected = closest(target, k, &unhurt);
            expected.into_iter().find(|id| !result.contains(id))
        } else {
            let expected = closest(target, usize::from(self.bounds.finds), &unhurt);
            expected.into_iter().find(|&id| !state.search.has_answered(id))
        };
        match expected {
            Some(id) => Err(Objection { property: 4, what: What::Missed(id) }),
            None => Ok(()),
        }
    }

    fn act(&self, state: &mut State, action: Action) -> Option<Event> {
        match action {
            Action::Answer(at) => {
                let to = state.in_flight.remove(at.into()).to;
                let told = &self.answers[usize::from(node(&to))];
                // Node 0 does not count itself.
                for told in told.iter().filter(|told| node(told) != 0) {
                    state.search.told(plain(told).0, plain(told).1);
                }
                state.search.answered(number(to.id));
                state.lookup.answered(to.id, to.address, told.iter().copied());
                self.ask(state);
                state.lookup.is_done().then_some(Event::Ended)
            }
            Action::Fail(at) => {
                let to = state.in_flight.remove(at.into()).to;
                if self.arrives(state, &to) {
                    state.losses -= 1;
                    state.hurt |= 1 << node(&to);
                }
                state.search.failed(plain(&to).0, plain(&to).1);
                state.lookup.failed(to.id, to.address);
                self.ask(state);
                Some(Event::Lost)
            }
            Action::Slow(at) => {
                let flight = &mut state.in_flight[usize::from(at)];
                flight.slow = true;
                state.slow -= 1;
                state.lookup.slow(flight.to.id, flight.to.address);
                self.ask(state);
                Some(Event::Slow)
            }
            Action::Crash(number) => {
                state.crashes -= 1;
                state.crashed |= 1 << number;
                Some(Event::Died)
            }
        }
    }
}

impl Explore for CheckLookup {
    type State = State;
    type Action = Action;
    type Objection = Objection;
    const PROPERTIES: &'static [(&'static str, u8)] = &[("KAD-4", 4), ("KAD-5", 5)];
    const CYCLE: Option<&'static str> = Some("KAD-4: a lookup that does not end");

    fn start(&self) -> State {
        let seeds = self.bounds.seeds.iter().map(|&seed| contact(seed, false));
        let mut state = State {
            lookup: Lookup::new(id(self.bounds.target), id(0), &self.parameters, seeds.clone()),
            in_flight: Vec::new(),
            search: Search::default(),
            crashed: 0,
            hurt: 0,
            losses: self.bounds.losses,
            crashes: self.bounds.crashes,
            slow: self.bounds.slow,
            objection: None,
        };
        for seed in seeds {
            state.search.told(plain(&seed).0, plain(&seed).1);
        }
        self.ask(&mut state);
        state
    }

    fn offers(&self, state: &State, actions: &mut Vec<Action>) {
        if state.objection.is_some() || state.lookup.is_done() {
            return;
        }
        for (at, flight) in (0..).zip(&state.in_flight) {
            let arrives = self.arrives(state, &flight.to);
            if arrives {
                actions.push(Action::Answer(at));
            }
            if !arrives || state.losses > 0 {
                actions.push(Action::Fail(at));
            }
            if !flight.slow && state.slow > 0 {
                actions.push(Action::Slow(at));
            }
        }
        if state.crashes > 0 {
            let living = self.bounds.nodes.iter().filter(|&&n| state.crashed >> n & 1 == 0);
            actions.extend(living.map(|&number| Action::Crash(number)));
        }
    }

    fn follow(&self, before: &State, action: Action) -> Option<(State, Option<Event>)> {
        let mut state = before.clone();
        let event = self.act(&mut state, action);
        Some((state, event))
    }

    fn tell(&self, state: &State, action: Action) -> String {
        let to = |at: u8| number(state.in_flight[usize::from(at)].to.id);
        match action {
            Action::Answer(at) => format!("{} answers", to(at)),
            Action::Fail(at) => format!("the request to {} fails", to(at)),
            Action::Slow(at) => format!("{} takes long", to(at)),
            Action::Crash(number) => format!("{number} crashes"),
        }
    }

    fn objection(&self, state: &State) -> Option<Objection> {
        state.objection
    }
}
