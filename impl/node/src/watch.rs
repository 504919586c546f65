//! Who is silent for how long, and the views that follow from it.
//!
//! Invariants:
//! * what stands here decides only which views are *proposed*. That a proposal is harmless is the
//!   registers' affair, and that one is decided needs a majority of the view;
//! * NODE-2: a node that hears nobody takes nobody for gone: it is cut off itself, and proposes nothing;
//! * NODE-2: nor does one propose that has begun so lately that it cannot tell who is silent: it might
//!   seat the dead;
//! * a node that says that it has another disk is not there in the life that the list has, also before
//!   the list says so. What it said of a life that the list has replaced since counts for as long as it may be silent:
//!   with a new disk it has no seat, and who has none tells nobody in a large cluster;
//! * one member proposes at a time, as long as the others are not much slower: each further seat waits
//!   as long again;
//! * NODE-7: a slot whose members all live moves only if its closest candidates are others than its
//!   members, and then one member at a time. So a change of the list moves only the slots whose closest
//!   candidates it changes;
//! * NODE-7: who has not lately read the list moves nothing where all live: with an old list it would
//!   undo for ever what others do, and where that is the list's own slot, keep itself from reading;
//! * WIRE-2: what peers can make it remember is bounded by the list, the views, and who spoke lately.
//!
//! What it does not do: judge who is faulty. Silence for a stated time is all it knows; loss of single
//! answers does not make silence, since everybody is asked many times within it. Nor see what others see:
//! two members may take different nodes for silent, and move a slot to and fro until they agree.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cloakroom_kademlia::Moment;
use cloakroom_register::{Incarnation, Life, Member, Replica, View};
use cloakroom_wire::NodeId;

use crate::genesis::Genesis;
use crate::placement::{Candidate, place};
use crate::roster::{Place, Roster, Standing};

/// How long a node waits before it takes another for gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    /// Between two questions to the same node.
    pub ask_ms: u64,
    /// Who is silent for so long is gone: some multiple of `ask_ms`.
    pub silent_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { ask_ms: 1000, silent_ms: 10_000 }
    }
}

/// So many members at most are all asked whether they live, and tell each other in which life.
pub(crate) const MOST_WATCHED: usize = 64;

/// Nobody gets a seat for being closer who has not been heard for so many times the patience with
/// the silent: who comes and goes is not to move slots each time.
const SETTLED: u64 = 3;

/// When each of the others was last heard.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    patience: Patience,
    began: Moment,
    heard: BTreeMap<NodeId, Heard>,
    /// In which life of its disk a node was last heard, if it has said so.
    lives: BTreeMap<NodeId, Told>,
    /// When a node was given up that did not answer a call.
    given_up: BTreeMap<NodeId, Moment>,
    pub(crate) next: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    last: Moment,
    /// Since then without a silence that is too long.
    since: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    life: Incarnation,
    at: Moment,
    /// It has been silent for too long since: it may have another disk now.
    is_old: bool,
}

/// The members of a view, as they are seen from here.
struct Seen {
    /// Are heard, and have their place in the list, if that is not an old one.
    stay: Vec<Member>,
    /// Are heard.
    heard: usize,
    /// Of those that are silent, how often over at least.
    silent: Option<u64>,
    /// As many members as there were.
    is_whole: bool,
}

impl Watch {
    pub(crate) fn new(now: Moment, patience: Patience) -> Self {
        let (heard, lives, given_up) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { patience, began: now, heard, lives, given_up, next: now }
    }

    /// A node has sent something.
    pub(crate) fn heard(&mut self, now: Moment, node: NodeId) {
        let silent_ms = self.patience.silent_ms;
        let heard = self.heard.entry(node).or_insert(Heard { last: now, since: now });
        if now.since_ms(heard.last) >= silent_ms {
            heard.since = now;
            if let Some(told) = self.lives.get_mut(&node) {
                told.is_old = true;
            }
        }
        heard.last = now;
    }

    /// A node says in which life of its disk it is.
    pub(crate) fn lives(&mut self, now: Moment, node: NodeId, incarnation: Incarnation) {
        self.lives.insert(node, Told { life: incarnation, at: now, is_old: false });
    }

    /// Whether a node is heard again, and has not said yet in which life of its disk. It soon will.
    fn is_in_doubt(&self, now: Moment, node: NodeId) -> bool {
        !self.is_gone(now, node) && self.lives.get(&node).is_some_and(|told| told.is_old)
    }

    /// Whether a node is heard, and not in another life of its disk.
    fn is_up(&self, now: Moment, roster: &Roster, member: Member) -> bool {
        let is_over = |told: &Told| {
            let said = Member { incarnation: told.life, ..member };
            let is_banned = || roster.banned().any(|banned| banned == said);
            now.since_ms(told.at) >= self.patience.silent_ms && is_banned()
        };
        let told = self.lives.get(&member.node).filter(|told| !is_over(told));
        !self.is_gone(now, member.node) && told.is_none_or(|told| told.life == member.incarnation)
    }

    /// When it was last heard.
    pub(crate) fn heard_at(&self, node: NodeId) -> Option<Moment> {
        self.heard.get(&node).map(|heard| heard.last)
    }

    /// It is time to look around again. WIRE-2: of those who do not matter nothing is remembered that is
    /// older than a silence.
    pub(crate) fn look(&mut self, now: Moment, matters: impl Fn(NodeId) -> bool) {
        self.next = now.plus_ms(self.patience.ask_ms);
        let silent_ms = self.patience.silent_ms;
        self.heard.retain(|node, heard| now.since_ms(heard.last) < silent_ms || matters(*node));
        let heard = &self.heard;
        self.lives.retain(|node, _| heard.contains_key(node) || matters(*node));
        let is_over = |node: &NodeId, at: Moment| {
            heard.get(node).is_some_and(|heard: &Heard| heard.last > at)
        };
        self.given_up.retain(|node, at| !is_over(node, *at) && matters(*node));
    }

    /// How often over a node has been silent for as long as it may.
    fn patience_lost(&self, now: Moment, node: NodeId) -> u64 {
        let last = self.heard.get(&node).map_or(self.began, |heard| heard.last);
        now.since_ms(last) / self.patience.silent_ms.max(1)
    }

    /// Whether a node has been silent for too long.
    pub(crate) fn is_gone(&self, now: Moment, node: NodeId) -> bool {
        self.patience_lost(now, node) > 0
    }

    /// A node has not answered a call.
    pub(crate) fn give_up(&mut self, now: Moment, node: NodeId) {
        self.given_up.insert(node, now);
    }

    /// Whether calls go to others first: a node has been silent for too long, or since a call was given up there.
    pub(crate) fn is_asked_last(&self, now: Moment, node: NodeId) -> bool {
        let is_since = |at: &Moment| self.heard_at(node).is_none_or(|heard| heard <= *at);
        self.is_gone(now, node) || self.given_up.get(&node).is_some_and(is_since)
    }

    /// Whether a node has been heard for long enough to be given seats that others have.
    fn is_settled(&self, now: Moment, node: NodeId) -> bool {
        let since = self.heard.get(&node).map(|heard| heard.since);
        let long = SETTLED * self.patience.silent_ms;
        !self.is_gone(now, node) && since.is_some_and(|since| now.since_ms(since) >= long)
    }

    /// The view that ought to follow that of an active replica of ours, if another ought to and it is
    /// our turn to propose it. `is_fresh`: the list was read lately.
    pub(crate) fn successor(
        &self,
        now: Moment,
        genesis: &Genesis,
        replica: &Replica,
        roster: &Roster,
        is_fresh: bool,
    ) -> Option<View> {
        let view = replica.view();
        let me = replica.durable().me;
        if replica.durable().life != Life::Active {
            return None;
        }
        // NODE-2: and with the list that it began with, if there has been a newer one for long.
        if now.since_ms(self.began) < self.patience.silent_ms {
            return None;
        }
        // NODE-2: no seat by what was true before a silence. In a large cluster not everybody tells.
        let in_doubt = |place: &Place| self.is_in_doubt(now, place.member.node);
        if roster.places().count() <= MOST_WATCHED && roster.places().any(in_doubt) {
            return None;
        }
        let seen = self.look_at(now, view, me, roster, is_fresh);
        // NODE-2: a node that is cut off is not to speak.
        if seen.heard <= view.members().len() / 2 {
            return None;
        }
        // As often over as there are members before us that may propose it themselves. Who has no place in
        // the list any more speaks only when nobody else is left.
        let turn = match seen.stay.iter().position(|member| *member == me) {
            Some(turn) => turn,
            None if seen.stay.is_empty() => view.seat_of(me)?.0.into(),
            None => return None,
        };
        let lives = |candidate: &Candidate| {
            candidate.member == me || self.is_up(now, roster, candidate.member)
        };
        let candidates: Vec<Candidate> = roster.candidates().filter(lives).collect();
        let point = genesis.point_of(view.slot());
        let members = if seen.is_whole && view.members().len() >= genesis.replicas() {
            if !is_fresh {
                return None;
            }
            // Who drains asks for it itself, too: it may be the only one that has not heard of a later view.
            if turn > 0 && roster.standing(me) != Some(Standing::Draining) {
                return None;
            }
            self.moved(now, view, me, roster, &place(point, genesis.replicas(), &[], &candidates))?
        } else {
            // Whose silence it is waits for its turn; who was removed, or is not there yet, is nobody's.
            if seen.silent.map_or(turn > 0, |silent| silent <= turn as u64) {
                return None;
            }
            place(point, genesis.replicas(), &seen.stay, &candidates)
        };
        // A view that only lost members would be easier to lose altogether.
        if members.len() < view.members().len() || members == view.members() {
            return None;
        }
        View::new(view.slot(), view.epoch().next()?, &members).ok()
    }

    fn look_at(
        &self,
        now: Moment,
        view: &View,
        me: Member,
        roster: &Roster,
        is_fresh: bool,
    ) -> Seen {
        let is_heard = |member: &Member| *member == me || self.is_up(now, roster, *member);
        let members = view.members().iter().copied();
        // NODE-7: an old list may not have whoever came since.
        let has_place = |member: &Member| roster.standing(*member).is_some() || !is_fresh;
        let stays = |member: &Member| is_heard(member) && has_place(member);
        let stay: Vec<Member> = members.clone().filter(stays).collect();
        let heard = members.clone().filter(is_heard).count();
        // Who says that it has another disk need not be waited for.
        let silent = members.filter(|member| *member != me && self.is_gone(now, member.node));
        let silent = silent.map(|member| self.patience_lost(now, member.node)).min();
        let is_whole = stay.len() == view.members().len();
        Seen { stay, heard, silent, is_whole }
    }

    /// NODE-7: one member of a whole view is replaced: one that drains; else the one that is not among
    /// the closest, once all of these have settled.
    fn moved(
        &self,
        now: Moment,
        view: &View,
        me: Member,
        roster: &Roster,
        target: &[Member],
    ) -> Option<Vec<Member>> {
        let drains = |member: &&Member| roster.standing(**member) == Some(Standing::Draining);
        let is_settled = |member: &Member| *member == me || self.is_settled(now, member.node);
        let leaver = match view.members().iter().find(drains) {
            Some(drains) => drains,
            None if !target.iter().all(is_settled) => return None,
            None => view.members().iter().rfind(|member| !target.contains(member))?,
        };
        let joins = target.iter().find(|member| view.seat_at(member.node).is_none())?;
        let replaced = |member: &Member| if member == leaver { *joins } else { *member };
        Some(view.members().iter().map(replaced).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genesis::{Founder, Zone};
    use crate::roster::Change;
    use cloakroom_wire::{Address, Contact, NodeKey};

    const PATIENCE: Patience = Patience { ask_ms: 1_000, silent_ms: 10_000 };

    fn genesis() -> Genesis {
        let founder = |id: u8| Founder {
            contact: Contact {
                id: NodeId([id; 32]),
                address: Address::v4([10, 0, 0, id], 1),
                key: NodeKey([id; 32]),
            },
            zone: Zone(alloc::format!("zone {id}").into()),
        };
        Genesis::new(&[1, 2, 3, 4, 5].map(founder), 1, 3).unwrap()
    }

    /// What the member at the first seat proposes when these were last heard at these times.
    fn proposed(heard: &[(u8, u64)], now_ms: u64) -> Option<View> {
        let genesis = genesis();
        let view = genesis.slots().map(|slot| genesis.view(slot)).next().unwrap();
        let me = view.members()[0];
        let mut watch = Watch::new(Moment(0), PATIENCE);
        for (id, at_ms) in heard {
            watch.heard(Moment(at_ms * 1000), NodeId([*id; 32]));
        }
        let replica = Replica::genesis(me, view).unwrap();
        watch.successor(Moment(now_ms * 1000), &genesis, &replica, &Roster::of(&genesis), true)
    }

    #[test]
    fn who_has_just_begun_gives_no_seat_to_somebody_it_has_not_heard() {
        // The member at the third seat is known to be gone before the node could tell of the others.
        let genesis = genesis();
        let view = genesis.slots().map(|slot| genesis.view(slot)).next().unwrap();
        let [me, there, _] = view.members() else { panic!("three members") };
        let mut watch = Watch::new(Moment(0), PATIENCE);
        watch.heard(Moment(9_000_000), there.node);
        let lost = view.members()[2];
        watch.lives(Moment(9_000_000), lost.node, Incarnation(7));
        let replica = Replica::genesis(*me, view.clone()).unwrap();
        let roster = Roster::of(&genesis);
        let proposed = |watch: &Watch, now_ms: u64| {
            watch.successor(Moment(now_ms * 1000), &genesis, &replica, &roster, true)
        };
        assert_eq!(proposed(&watch, 9_500), None);
        assert_eq!(proposed(&watch, 11_000), None, "nobody else was heard");
        let outside = roster.candidates().find(|other| view.seat_at(other.member.node).is_none());
        let outside = outside.unwrap().member.node;
        watch.heard(Moment(10_900_000), outside);
        let next = proposed(&watch, 11_000).expect("one is replaced");
        assert!(next.seat_at(outside).is_some() && next.seat_at(lost.node).is_none());
    }

    #[test]
    fn who_is_heard_after_a_silence_gets_no_seat_before_it_has_said_in_which_life() {
        let genesis = genesis();
        let view = genesis.slots().map(|slot| genesis.view(slot)).next().unwrap();
        let (me, drains) = (view.members()[0], view.members()[2]);
        let outside: Vec<NodeId> = (1..=5)
            .map(|id| NodeId([id; 32]))
            .filter(|node| view.seat_at(*node).is_none())
            .collect();
        let mut watch = Watch::new(Moment(0), PATIENCE);
        for node in view.members().iter().map(|member| member.node).chain(outside.clone()) {
            watch.heard(Moment(1_000_000), node);
            watch.lives(Moment(1_000_000), node, Incarnation(0));
        }
        for node in view.members().iter().map(|member| member.node).chain(outside.clone()) {
            watch.heard(Moment(19_000_000), node);
        }
        let replica = Replica::genesis(me, view).unwrap();
        let roster = Roster::of(&genesis).after(&Change::Drain(drains.node)).unwrap().unwrap();
        let now = Moment(20_000_000);
        let proposed = |watch: &Watch| watch.successor(now, &genesis, &replica, &roster, true);
        assert_eq!(proposed(&watch), None, "any of them may have another disk");
        for member in replica.view().members() {
            watch.lives(now, member.node, Incarnation(0));
        }
        watch.lives(now, outside[0], Incarnation(7));
        assert_eq!(proposed(&watch), None, "one has not said it yet");
        watch.lives(now, outside[1], Incarnation(0));
        let next = proposed(&watch).expect("the one that drains is replaced");
        assert!(next.seat_at(outside[1]).is_some() && next.seat_at(drains.node).is_none());
    }

    #[test]
    fn who_tells_nobody_of_its_new_disk_gets_seats_when_the_list_has_it() {
        let genesis = genesis();
        let view = genesis.slots().map(|slot| genesis.view(slot)).next().unwrap();
        let (me, drains) = (view.members()[0], view.members()[2]);
        let outside = (1..=5).map(|id| NodeId([id; 32])).filter(|id| view.seat_at(*id).is_none());
        let mut roster = Roster::of(&genesis).after(&Change::Drain(drains.node)).unwrap().unwrap();
        for node in outside.clone() {
            let Place { contact, zone, .. } = roster.place(node).unwrap().clone();
            let member = Member { node, incarnation: Incarnation(7) };
            roster = roster.after(&Change::Join { member, contact, zone }).unwrap().unwrap();
        }
        let replica = Replica::genesis(me, view.clone()).unwrap();
        let proposed = |said_at_ms: u64, life: u64| {
            let mut watch = Watch::new(Moment(0), PATIENCE);
            for at_ms in [5_000, 12_000, 19_000] {
                (1..=5).for_each(|id| watch.heard(Moment(at_ms * 1000), NodeId([id; 32])));
            }
            for node in outside.clone() {
                watch.lives(Moment(said_at_ms * 1000), node, Incarnation(life));
            }
            watch.successor(Moment(20_000_000), &genesis, &replica, &roster, true)
        };
        assert_eq!(proposed(12_000, 0), None, "they are on the disks that were replaced");
        assert_eq!(proposed(5_000, 9), None, "they are on newer disks than the list has");
        let next = proposed(5_000, 0).expect("they are on the disks that the list has");
        assert_eq!(next.seat_at(drains.node), None);
    }

    #[test]
    fn who_has_not_lately_read_the_list_moves_nothing_where_all_live() {
        let genesis = genesis();
        let view = genesis.slots().map(|slot| genesis.view(slot)).next().unwrap();
        let (me, drains) = (view.members()[0], view.members()[2]);
        let mut watch = Watch::new(Moment(0), PATIENCE);
        for id in 1..=5 {
            watch.heard(Moment(19_000_000), NodeId([id; 32]));
        }
        let replica = Replica::genesis(me, view).unwrap();
        let roster = Roster::of(&genesis).after(&Change::Drain(drains.node)).unwrap().unwrap();
        let now = Moment(20_000_000);
        let proposed = |is_fresh| watch.successor(now, &genesis, &replica, &roster, is_fresh);
        assert_eq!(proposed(false), None);
        assert_eq!(proposed(true).expect("it drains").seat_at(drains.node), None);
        // Nor does it replace whom its list does not have.
        let roster = Roster::of(&genesis).after(&Change::Remove(drains.node)).unwrap().unwrap();
        let proposed = |is_fresh| watch.successor(now, &genesis, &replica, &roster, is_fresh);
        assert_eq!(proposed(false), None);
        assert_eq!(proposed(true).expect("it is removed").seat_at(drains.node), None);
    }

    #[test]
    fn who_hears_no_majority_of_a_view_proposes_nothing_whoever_else_is_there() {
        let others = [(4, 19_000), (5, 19_000)];
        let silent = [&others[..], &[(2, 5_000), (3, 5_000)]].concat();
        assert_eq!(proposed(&silent, 20_000), None, "NODE-2: it may be cut off from them");
        let one = [&others[..], &[(2, 19_000), (3, 5_000)]].concat();
        let next = proposed(&one, 20_000).expect("one is replaced");
        assert_eq!(next.seat_at(NodeId([3; 32])), None);
        assert_eq!(next.members().len(), 3);
        let nobody = [(2, 19_000), (3, 19_000), (4, 19_000), (5, 19_000)];
        assert_eq!(proposed(&nobody, 20_000), None, "NODE-7: all are there, and the closest");
    }
}
