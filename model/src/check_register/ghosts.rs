//! What only the judge knows: proposals and their votes, what was told, what was answered.

use cloakroom_register::{Ballot, Body, Held, Message, Outcome, Reply, State};
use cloakroom_specs::register::{self as spec, Expected, Line, Objection};

use super::packet::Packet;
use super::told;
use crate::search::Event;

/// The members of a view here.
const MEMBERS: usize = 3;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ghosts {
    /// By ballot, ascending.
    proposals: Vec<Proposal>,
    /// By seat: the highest promise and the highest vote that it has told.
    told: [(Ballot, Ballot); MEMBERS],
    /// By coordinator: the ballot that it has prepared last, and the highest accepted ballot that the
    /// promises showed which it counted.
    prepared: Vec<Option<(Ballot, Option<Ballot>)>>,
    /// The highest tombstone that was dropped anywhere.
    dropped: Option<Ballot>,
    /// Operations that have definitely failed, ascending.
    failed: Vec<u64>,
    /// What was answered.
    pub(crate) line: Line,
}

/// A state under a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proposal {
    ballot: Ballot,
    state: spec::State,
    /// The proposal that it was made from, or repeats.
    from: Option<Ballot>,
    next: Option<Ballot>,
    /// Who has voted for it, a bit for each seat.
    votes: u8,
    /// Chosen in the view before; or a tombstone that was dropped, when all members had exactly it: whatever
    /// is made from nothing is made from that.
    settled: bool,
}

impl Proposal {
    fn is_chosen(&self) -> bool {
        self.settled || self.votes.count_ones() as usize >= spec::majority(MEMBERS)
    }
}

/// A state as the plain integers of the specification.
pub(crate) fn plain(state: &State) -> spec::State {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |plain, &byte| plain << 8 | u64::from(byte));
    spec::State {
        version: state.version.0,
        content: state.content.as_ref().map(|value| number(&value.0)),
        operation: number(&state.operation.0),
    }
}

/// A ballot in the order of ballots.
pub(crate) fn order(ballot: Ballot) -> u128 {
    let Ballot { epoch, round, seat, boot } = ballot;
    u128::from(epoch.0) << 96
        | u128::from(round) << 64
        | u128::from(seat.0) << 32
        | u128::from(boot.0)
}

impl Ghosts {
    pub(crate) fn new(coordinators: usize) -> Self {
        Self {
            proposals: Vec::new(),
            told: [(Ballot::ZERO, Ballot::ZERO); MEMBERS],
            prepared: vec![None; coordinators],
            dropped: None,
            failed: Vec::new(),
            line: Line::default(),
        }
    }

    /// A proposal of the view before. The second was made from the first, if that was chosen.
    pub(crate) fn earlier(&mut self, ballot: Ballot, state: spec::State, settled: bool) {
        let from = self.proposals.iter().find(|first| first.settled).map(|p| p.ballot);
        let proposal = Proposal { ballot, state, from, next: None, votes: 0, settled };
        self.proposals.push(proposal);
        if settled {
            // It may have been answered to anybody.
            self.line.write(0, state.version).expect("it is the first");
        }
    }

    fn find(&self, ballot: Ballot) -> Option<&Proposal> {
        let at = self.proposals.binary_search_by_key(&ballot, |proposal| proposal.ballot);
        at.ok().map(|at| &self.proposals[at])
    }

    /// A coordinator proposes a state.
    pub(crate) fn propose(
        &mut self,
        seat: u8,
        ballot: Ballot,
        state: spec::State,
        next: Option<Ballot>,
    ) {
        let Err(at) = self.proposals.binary_search_by_key(&ballot, |proposal| proposal.ballot)
        else {
            // The same to another member. If it is another state, the votes will show.
            return;
        };
        let from = match self.prepared[usize::from(seat)] {
            Some((prepared, from)) if prepared == ballot => from,
            // A promise that came with an accept: nothing but that accept was found.
            _ => {
                let before = self.proposals.iter().find(|before| before.next == Some(ballot));
                before.map(|before| before.ballot)
            }
        };
        // To find nothing is to find a tombstone that was dropped.
        let from = from.or(self.dropped);
        let (votes, settled) = (0, false);
        let proposal = Proposal { ballot, state, from, next, votes, settled };
        self.proposals.insert(at, proposal);
    }

    /// A member answers.
    pub(crate) fn tell(
        &mut self,
        seat: usize,
        reply: &Reply,
        packet: &Packet,
    ) -> Result<(), Objection> {
        let (promise, vote) = told(reply);
        let (promised, voted) = &mut self.told[seat];
        *promised = (*promised).max(promise.unwrap_or(Ballot::ZERO));
        *voted = (*voted).max(vote.unwrap_or(Ballot::ZERO));
        let Some(ballot) = vote else { return Ok(()) };
        // REG-3
        spec::may_vote(true, false, packet.message.epoch.0, ballot.epoch.0)?;
        let Ok(at) = self.proposals.binary_search_by_key(&ballot, |proposal| proposal.ballot)
        else {
            return Ok(());
        };
        let proposal = &mut self.proposals[at];
        proposal.votes |= 1 << seat;
        match packet.accepts() {
            Some(state) => spec::one_state(order(ballot), proposal.state, plain(state)),
            None => Ok(()),
        }
    }

    /// How many votes there are.
    pub(crate) fn votes(&self) -> u32 {
        self.proposals.iter().map(|proposal| proposal.votes.count_ones()).sum()
    }

    /// A coordinator has counted an answer.
    pub(crate) fn hear(&mut self, seat: u8, message: &Message) {
        let Body::Reply(replies) = &message.body else { return };
        for reply in replies {
            if let Reply::Promised { ballot, found, .. } = reply {
                let prepared = &mut self.prepared[usize::from(seat)];
                let before = prepared.filter(|(before, _)| before == ballot);
                *prepared = Some((*ballot, before.and_then(|(_, from)| from).max(found.ballot())));
            }
        }
    }

    /// A member has dropped a tombstone.
    pub(crate) fn dropped(&mut self, tombstone: Ballot) {
        self.dropped = self.dropped.max(Some(tombstone));
        if let Ok(at) = self.proposals.binary_search_by_key(&tombstone, |proposal| proposal.ballot)
        {
            self.proposals[at].settled |= !self.proposals[at].is_chosen();
        }
    }

    /// A coordinator is gone.
    pub(crate) fn forget(&mut self, seat: u8) {
        self.prepared[usize::from(seat)] = None;
    }

    /// The states that led to a ballot, oldest first.
    fn chain(&self, ballot: Ballot) -> Vec<spec::State> {
        let mut chain: Vec<spec::State> = Vec::new();
        let mut at = self.find(ballot);
        while let Some(proposal) = at {
            // To repeat a state is to make none.
            if chain.last() != Some(&proposal.state) {
                chain.push(proposal.state);
            }
            at = proposal.from.and_then(|from| self.find(from));
        }
        chain.reverse();
        chain
    }

    fn chosen(&self) -> impl DoubleEndedIterator<Item = &Proposal> {
        self.proposals.iter().filter(|proposal| proposal.is_chosen())
    }

    /// The longest chain.
    fn longest(&self) -> Vec<spec::State> {
        self.chosen().next_back().map_or_else(Vec::new, |highest| self.chain(highest.ballot))
    }

    /// An operation has ended.
    pub(crate) fn ended(
        &mut self,
        number: u64,
        least: u64,
        expected: Expected,
        outcome: &Outcome,
    ) -> (Result<(), Objection>, Event) {
        let chain = self.longest();
        let held = |held: &Held| {
            let value = held.value.0.iter().fold(0, |plain, &byte| plain << 8 | u64::from(byte));
            (held.version.0, value)
        };
        match outcome {
            Outcome::Got(got) => {
                (self.line.read(&chain, least, got.as_ref().map(held)), Event::Got)
            }
            Outcome::Set(version) => {
                let happened = spec::happened(&chain, number, version.0);
                (happened.and_then(|()| self.line.write(least, version.0)), Event::Set)
            }
            Outcome::Mismatch(got) => {
                let got = got.as_ref().map(held);
                let judged = self.fail(number);
                let judged = judged.and_then(|()| spec::differs(expected, got));
                (judged.and_then(|()| self.line.read(&chain, least, got)), Event::Missed)
            }
            Outcome::Unavailable => (self.fail(number), Event::Unavailable),
            Outcome::Unknown(_) => (Ok(()), Event::Unknown),
        }
    }

    fn fail(&mut self, number: u64) -> Result<(), Objection> {
        if let Err(at) = self.failed.binary_search(&number) {
            self.failed.insert(at, number);
        }
        self.chosen()
            .try_for_each(|chosen| spec::never_happened(&self.chain(chosen.ballot), number))
    }

    /// REG-6: what a member has told, it has.
    pub(crate) fn remembers(
        &self,
        seat: usize,
        promise: Ballot,
        accepted: Option<Ballot>,
    ) -> Result<(), Objection> {
        let (promised, voted) = self.told[seat];
        spec::not_forgotten(order(promised), order(promise))?;
        spec::not_forgotten(order(voted), accepted.map_or(0, order))
    }

    /// REG-7, REG-8 and REG-10 of what is chosen.
    pub(crate) fn judge(
        &self,
        expected: impl Fn(u64) -> Option<(Expected, Option<u64>)>,
    ) -> Result<(), Objection> {
        let mut lower: Option<Vec<spec::State>> = None;
        for chosen in self.chosen() {
            let chain = self.chain(chosen.ballot);
            spec::is_chain(&chain, &expected)?;
            if let Some(lower) = &lower {
                spec::one_chain(lower, &chain)?;
            }
            self.failed.iter().try_for_each(|&failed| spec::never_happened(&chain, failed))?;
            lower = Some(chain);
        }
        Ok(())
    }
}
