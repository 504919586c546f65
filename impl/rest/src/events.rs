//! What has happened in the cluster, as this node has seen it: the last of it, for whoever looks later.
//!
//! Invariants:
//! * REST-3: the newest [`MOST`] are kept, and nothing else;
//! * no tag, id, key or pool's name is in it: whoever sees it sees who takes part, and how it does;
//! * what looks the same in two looks is no event, and what came and went between them is none either.
//!
//! What it does not do: outlive its process; the log may.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloakroom_kademlia::Moment;
use cloakroom_node::{Genesis, Node, Standing};
use cloakroom_server::Server;
use cloakroom_wire::NodeId;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use crate::hex;

/// So many are kept.
pub(crate) const MOST: usize = 256;
/// Between two looks at the node.
const LOOK: Duration = Duration::from_secs(1);
/// Slots that get a new view one after the other, with no longer than this between them, are one event.
const SAME_MOVE_MS: u64 = 10_000;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// This node has started.
    Started,
    /// This node was told to end.
    Leaving,
    /// This node's disk has failed.
    DiskFailed,
    /// This node shows a new certificate.
    Certificate,
    /// A node has become a member.
    Joined,
    /// A member gives up its seats.
    Draining,
    /// A member takes seats again.
    Active,
    /// A member begins anew with another disk.
    NewDisk,
    /// A node is a member no more.
    Removed,
    /// A member was not heard for too long.
    Silent,
    /// It is heard again.
    Heard,
    /// Slots have new views.
    Views,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Event {
    /// When this node has seen it, in milliseconds after 1970.
    at_ms: u64,
    /// What has happened.
    kind: Kind,
    /// Which node, in hexadecimal; nothing if it is about slots.
    node: Option<String>,
    /// Of how many slots.
    slots: Option<u64>,
    /// The same in words.
    text: String,
}

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    members: BTreeMap<NodeId, Member>,
    epochs: BTreeMap<u16, u32>,
    /// When the certificate expires that the node shows.
    expires: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    is_draining: bool,
    incarnation: u64,
    is_silent: bool,
}

/// A difference: what, of which node, of how many slots.
type Difference = (Kind, Option<NodeId>, Option<u64>);

/// The last of what has happened.
#[derive(Debug)]
pub(crate) struct Events {
    own: NodeId,
    kept: Mutex<VecDeque<Event>>,
}

impl Events {
    /// Of this node, which has just started.
    pub(crate) fn new(own: NodeId) -> Self {
        let events = Self { own, kept: Mutex::default() };
        events.note(Kind::Started);
        events
    }

    /// At most so many, the newest first.
    pub(crate) fn last(&self, most: usize) -> Vec<Event> {
        self.lock().iter().rev().take(most).cloned().collect()
    }

    /// Something has happened to this node.
    pub(crate) fn note(&self, kind: Kind) {
        self.add(now_ms(), (kind, Some(self.own), None));
    }

    fn add(&self, at_ms: u64, (kind, node, slots): Difference) {
        let mut kept = self.lock();
        let mut slots = slots;
        let same = |last: &&Event| {
            kind == Kind::Views
                && last.kind == kind
                && at_ms.saturating_sub(last.at_ms) <= SAME_MOVE_MS
        };
        if let Some(before) = kept.back().filter(same) {
            slots = slots.zip(before.slots).map(|(more, before)| before + more);
            kept.pop_back();
        }
        let text = told(kind, node.map(|node| self.name(node)), slots);
        let node = node.map(|node| hex(&node.0));
        kept.push_back(Event { at_ms, kind, node, slots, text });
        // REST-3: clients can make members drain as often as they like.
        if kept.len() > MOST {
            kept.pop_front();
        }
    }

    fn name(&self, node: NodeId) -> String {
        if node == self.own { "this node".to_owned() } else { format!("n{}", hex(&node.0[..4])) }
    }

    /// Looks at the node every second, until it has stopped.
    pub(crate) async fn watch(&self, server: &Server, genesis: &Genesis) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Facts> = None;
        loop {
            looks.tick().await;
            let slots: Vec<_> = genesis.slots().collect();
            let look = move |now: Moment, node: &Node| {
                let registers = node.registers();
                let epoch = |slot| registers.newest(slot).map_or(0, |view| view.epoch().0);
                let epochs = slots.into_iter().map(|slot| (slot.0, epoch(slot))).collect();
                Facts { members: members(now, node), epochs, expires: None }
            };
            let Ok(mut now) = server.look(look).await else {
                self.note(Kind::DiskFailed);
                return;
            };
            now.expires = server.proof().map(|proof| proof.expires);
            for difference in before.iter().flat_map(|before| now.since(before, self.own)) {
                self.add(now_ms(), difference);
            }
            before = Some(now);
        }
    }

    /// Nothing that holds it can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn members(now: Moment, node: &Node) -> BTreeMap<NodeId, Member> {
    let places = node.roster().0.places();
    let member = |place: &cloakroom_node::Place| Member {
        is_draining: place.standing == Standing::Draining,
        incarnation: place.member.incarnation.0,
        is_silent: node.is_silent(now, place.member.node),
    };
    places.map(|place| (place.member.node, member(place))).collect()
}

impl Facts {
    /// What differs from an earlier look, at this node.
    fn since(&self, before: &Self, own: NodeId) -> Vec<Difference> {
        let mut found: Vec<Difference> = Vec::new();
        for (&node, now) in &self.members {
            let Some(then) = before.members.get(&node) else {
                found.push((Kind::Joined, Some(node), None));
                continue;
            };
            let (drains, silent) = (now.is_draining, now.is_silent);
            let differences = [
                (then.is_silent != silent).then_some(if silent {
                    Kind::Silent
                } else {
                    Kind::Heard
                }),
                (then.is_draining != drains).then_some(if drains {
                    Kind::Draining
                } else {
                    Kind::Active
                }),
                (then.incarnation != now.incarnation).then_some(Kind::NewDisk),
            ];
            found.extend(differences.into_iter().flatten().map(|kind| (kind, Some(node), None)));
        }
        let gone = before.members.keys().filter(|node| !self.members.contains_key(node));
        found.extend(gone.map(|node| (Kind::Removed, Some(*node), None)));
        let moved =
            self.epochs.iter().filter(|(slot, epoch)| before.epochs.get(slot) != Some(epoch));
        let moved = moved.count() as u64;
        if moved > 0 {
            found.push((Kind::Views, None, Some(moved)));
        }
        if self.expires != before.expires {
            found.push((Kind::Certificate, Some(own), None));
        }
        found
    }
}

fn told(kind: Kind, node: Option<String>, slots: Option<u64>) -> String {
    let (node, slots) = (node.unwrap_or_default(), slots.unwrap_or_default());
    match kind {
        Kind::Started => format!("{node} has started"),
        Kind::Leaving => format!("{node} was told to end"),
        Kind::DiskFailed => format!("the disk of {node} has failed: it votes no more"),
        Kind::Certificate => format!("{node} shows a new certificate"),
        Kind::Joined => format!("{node} has joined"),
        Kind::Draining => format!("{node} drains"),
        Kind::Active => format!("{node} is active again"),
        Kind::NewDisk => format!("{node} has a new disk"),
        Kind::Removed => format!("{node} is a member no more"),
        Kind::Silent => format!("{node} is silent"),
        Kind::Heard => format!("{node} is heard again"),
        Kind::Views if slots == 1 => "1 slot has a new view".to_owned(),
        Kind::Views => format!("{slots} slots have new views"),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 32]);

    fn facts(members: &[(u8, Member)], epochs: &[u32]) -> Facts {
        let members =
            members.iter().map(|(number, member)| (NodeId([*number; 32]), *member)).collect();
        Facts { members, epochs: (0..).zip(epochs.iter().copied()).collect(), expires: None }
    }

    fn texts(events: &Events) -> Vec<String> {
        let mut texts: Vec<String> =
            events.last(usize::MAX).into_iter().map(|it| it.text).collect();
        texts.reverse();
        texts
    }

    #[test]
    fn each_difference_between_two_looks_is_an_event_and_nothing_else_is() {
        let well = Member { is_draining: false, incarnation: 1, is_silent: false };
        let before = facts(&[(0, well), (1, well), (2, well), (3, well)], &[0, 0, 7]);
        let now = facts(
            &[
                (0, Member { is_draining: true, ..well }),
                (1, Member { is_silent: true, ..well }),
                (2, Member { incarnation: 2, ..well }),
                (4, well),
            ],
            &[0, 1, 8],
        );
        let events = Events::new(OWN);
        for (now, before) in [(&before, &before), (&now, &before), (&now, &now), (&before, &now)] {
            for difference in now.since(before, OWN) {
                events.add(0, difference);
            }
        }
        let there = ["this node drains", "n01010101 is silent", "n02020202 has a new disk"];
        let there =
            there.into_iter().chain(["n04040404 has joined", "n03030303 is a member no more"]);
        let back = ["this node is active again", "n01010101 is heard again"];
        let back = back.into_iter().chain(["n02020202 has a new disk", "n03030303 has joined"]);
        let expected: Vec<&str> = ["this node has started"]
            .into_iter()
            .chain(there)
            .chain(["2 slots have new views"])
            .chain(back)
            .chain(["n04040404 is a member no more", "2 slots have new views"])
            .collect();
        assert_eq!(texts(&events), expected);
        let renewed = Facts { expires: Some(UNIX_EPOCH), ..now.clone() };
        assert_eq!(renewed.since(&now, OWN), [(Kind::Certificate, Some(OWN), None)]);
    }

    #[test]
    fn the_newest_are_kept_and_slots_that_move_together_are_one_event() {
        let events = Events::new(OWN);
        for at_ms in [0, 1000, 2000, 2000 + SAME_MOVE_MS + 1] {
            events.add(at_ms, (Kind::Views, None, Some(2)));
        }
        assert_eq!(texts(&events)[1..], ["6 slots have new views", "2 slots have new views"]);
        for _ in 0..MOST {
            events.note(Kind::Certificate);
        }
        events.note(Kind::Leaving);
        let last = texts(&events);
        assert_eq!((last.len(), &*last[MOST - 1]), (MOST, "this node was told to end"));
        assert!(last[..MOST - 1].iter().all(|text| text == "this node shows a new certificate"));
        assert_eq!(events.last(1)[0].kind, Kind::Leaving);
    }
}
