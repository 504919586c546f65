//! One self-contained page that shows a run.
//!
//! Invariants:
//! * nothing from outside: style, script and data stand in the page, and a test looks for links;
//! * the data cannot end the element that it stands in: `<` is escaped.
//!
//! What it does not do: show every node of a large network. The ring has at most [`MOST_NODES`],
//! evenly chosen by number; everything else on the page counts all of them.

use std::collections::BTreeMap;

use cloakroom_wire::NodeId;
use serde::Serialize;

use crate::engine::{Node, Time};
use crate::kad::resident::Ask;
use crate::random::{to_f64, to_u64};
use crate::run::Outcome;
use crate::run::figures::Figures;
use crate::run::tally::Story;
use crate::stats::{Column, Samples};

/// The most nodes on the ring.
pub const MOST_NODES: usize = 4000;
/// Points of the curve of loads.
const LOAD_POINTS: usize = 400;
/// Columns of the latency's histogram.
const LATENCY_COLUMNS: usize = 40;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

#[derive(Serialize)]
struct Data<'a> {
    figures: &'a Figures,
    setting: Setting,
    regions: &'a [&'static str],
    /// Place on the ring, region, messages, kind, and then pairs of when it came and went.
    nodes: Vec<Vec<i64>>,
    stories: Vec<Told>,
    moments: Vec<Instant>,
    hops: Vec<(u32, u32)>,
    read_hops: Vec<(u32, u32)>,
    latency_width: f64,
    latency: Vec<(f64, u32)>,
    read_latency: Vec<(f64, u32)>,
    load: Vec<u64>,
}

#[derive(Serialize)]
struct Setting {
    churn: f64,
    loss: f64,
    paths: u8,
    malicious: f64,
    behaviour: crate::kad::liar::Behaviour,
}

#[derive(Serialize)]
struct Told {
    /// Place and region.
    caller: (u16, u8),
    target: u16,
    read: bool,
    good: bool,
    hops: u8,
    /// Seconds.
    began: f64,
    /// Milliseconds.
    took: f64,
    steps: Vec<Step>,
}

/// Place, sent and answered (or -1) in milliseconds, shared bits, who told (or -1), region, lies, hops,
/// sent once more (or -1).
type Step = (u16, f64, f64, u16, i32, u8, u8, u8, f64);

#[derive(Serialize)]
struct Instant {
    at: f64,
    up: u64,
    came: u64,
    went: u64,
    ended: u64,
    good: u64,
    p50: f64,
    p95: f64,
    sent: f64,
}

/// The page.
///
/// # Panics
/// Never: figures and text have a form in JSON.
pub fn page(outcome: &mut Outcome, figures: &Figures) -> String {
    let data = data(outcome, figures);
    let json = serde_json::to_string(&data).expect("records of numbers and strings");
    PAGE.replace("/*STYLE*/", STYLE)
        .replace("/*SCRIPT*/", SCRIPT)
        .replace("/*DATA*/", &json.replace('<', "\\u003c"))
}

fn data<'a>(outcome: &'a mut Outcome, figures: &'a Figures) -> Data<'a> {
    let scenario = &outcome.scenario;
    let setting = Setting {
        churn: scenario.churn.per_hour,
        loss: scenario.network.loss,
        paths: scenario.paths,
        malicious: scenario.hostile.share,
        behaviour: scenario.hostile.behaviour,
    };
    // Nearly all lookups and reads are below this.
    let (lookups, reads) = (&mut outcome.lookups, &mut outcome.reads);
    let most_us = lookups.took_us.percentile(99).max(reads.took_us.percentile(99)).max(1000);
    let columns = u32::try_from(LATENCY_COLUMNS).expect("a few");
    let width_us = round_up(most_us / columns);
    let latency = |samples: &Samples| {
        let columns = samples.histogram(width_us, LATENCY_COLUMNS);
        columns.iter().map(|column| (f64::from(column.from) / 1000.0, column.count)).collect()
    };
    let (latency, read_latency) =
        (latency(&outcome.lookups.took_us), latency(&outcome.reads.took_us));
    let (nodes, stories) = (nodes(outcome), stories(outcome));
    let mut load: Vec<u64> = outcome.load.iter().map(|&(_, messages)| messages).collect();
    load.sort_unstable();
    Data {
        setting,
        nodes,
        stories,
        moments: moments(outcome),
        hops: hops(&outcome.lookups.hops),
        read_hops: hops(&outcome.reads.hops),
        latency_width: f64::from(width_us) / 1000.0,
        latency,
        read_latency,
        load: thinned(&load, LOAD_POINTS),
        regions: &outcome.regions,
        figures,
    }
}

/// The next number of milliseconds that is easy to read, in microseconds.
fn round_up(us: u32) -> u32 {
    let steps = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000];
    let found = steps.into_iter().map(|ms: u32| ms * 1000).find(|&step| step >= us);
    found.unwrap_or(us)
}

fn hops(samples: &Samples) -> Vec<(u32, u32)> {
    let columns = samples.histogram(1, samples.max() as usize + 1);
    let some = columns.iter().filter(|column: &&Column| column.count > 0);
    some.map(|column| (column.from, column.count)).collect()
}

/// So many of a list, from its first to its last.
fn thinned(all: &[u64], most: usize) -> Vec<u64> {
    if all.len() <= most {
        return all.to_vec();
    }
    (0..most).map(|at| all[at * (all.len() - 1) / (most - 1)]).collect()
}

/// The first 16 bits of an id: its place on the ring.
const fn place(id: NodeId) -> u16 {
    u16::from_be_bytes([id.0[0], id.0[1]])
}

/// Seconds into the measured part; negative before.
fn seconds(at: Time, begin: Time) -> f64 {
    (to_f64(at.0) - to_f64(begin.0)) / 1e6
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn nodes(outcome: &Outcome) -> Vec<Vec<i64>> {
    let begin = outcome.measured.0;
    let loads: BTreeMap<Node, u64> = outcome.load.iter().copied().collect();
    let all = &outcome.people.all;
    let every = all.len().div_ceil(MOST_NODES);
    let second = |at: Time| {
        let since = i64::try_from(to_u64(seconds(at, begin).max(0.0))).unwrap_or(i64::MAX);
        if at == Time::NEVER { -1 } else { since }
    };
    let node = |(person, number): (&crate::run::people::Person, u32)| {
        let kind = if person.liar { 1 } else { i64::from(!person.reachable) * 2 };
        let load = loads.get(&Node(number)).copied().unwrap_or(0);
        let mut row = vec![
            place(person.contact.id).into(),
            outcome.region_of[number as usize].into(),
            i64::try_from(load).unwrap_or(i64::MAX),
            kind,
        ];
        // A stay that was over before is of no interest.
        for &(from, to) in person.stays.iter().filter(|&&(_, to)| to > begin) {
            // It was there from the beginning: before the first moment that is shown.
            row.push(if from <= begin { -1_000_000 } else { second(from) });
            row.push(second(to));
        }
        row
    };
    all.iter().zip(0..).step_by(every).map(node).filter(|row| row.len() > 4).collect()
}

fn stories(outcome: &Outcome) -> Vec<Told> {
    let all = &outcome.people.all;
    let by_id: BTreeMap<NodeId, usize> =
        all.iter().enumerate().map(|(at, person)| (person.contact.id, at)).collect();
    let tell = |story: &Story| {
        let ms = |at: Time| rounded(to_f64(at.since_us(story.began)) / 1000.0);
        let mut steps: Vec<Step> = Vec::new();
        for (number, ask) in story.watch.steps.iter().enumerate() {
            let at = by_id.get(&ask.to);
            let teller = teller(&story.watch.steps, number);
            let hops = teller.map_or(1, |at: usize| steps[at].7.saturating_add(1));
            steps.push((
                place(ask.to),
                ms(ask.sent),
                ask.answered.map_or(-1.0, ms),
                ask.to.distance(story.target).shared_bits(),
                teller.map_or(-1, |at| i32::try_from(at).unwrap_or(-1)),
                at.map_or(0, |&at| outcome.region_of[at]),
                at.map_or(1, |&at| u8::from(all[at].liar)),
                hops,
                ask.again.map_or(-1.0, ms),
            ));
        }
        Told {
            caller: (
                place(all[story.caller.index()].contact.id),
                outcome.region_of[story.caller.index()],
            ),
            target: place(story.target),
            read: story.read,
            good: story.good,
            hops: story.hops,
            began: rounded(seconds(story.began, outcome.measured.0)),
            took: rounded(to_f64(story.took_us) / 1000.0),
            steps,
        }
    };
    let mut told: Vec<Told> = outcome.stories.iter().map(tell).collect();
    told.retain(|story| !story.steps.is_empty());
    // What begins a visit is one that shows something.
    told.sort_by(|one, other| one.began.total_cmp(&other.began));
    told
}

/// Whose answer, the first of all that came before, named whom this request went to.
fn teller(steps: &[Ask], number: usize) -> Option<usize> {
    let ask = &steps[number];
    let told = |(_, step): &(usize, &Ask)| {
        step.answered.is_some_and(|at| at <= ask.sent) && step.named.contains(&ask.to)
    };
    let tellers = steps.iter().enumerate().filter(told);
    tellers.min_by_key(|(_, step)| step.answered).map(|(at, _)| at)
}

fn moments(outcome: &mut Outcome) -> Vec<Instant> {
    let begin = outcome.measured.0;
    let mut last = begin;
    let instants = outcome.moments.iter_mut().map(|moment| {
        let span = (to_f64(moment.at.since_us(last)) / 1e6).max(1e-6);
        last = moment.at;
        Instant {
            at: rounded(seconds(moment.at, begin)),
            up: moment.up,
            came: moment.came,
            went: moment.went,
            ended: moment.ended,
            good: moment.good,
            p50: f64::from(moment.took_us.percentile(50)) / 1000.0,
            p95: f64::from(moment.took_us.percentile(95)) / 1000.0,
            sent: rounded(to_f64(moment.sent) / span),
        }
    });
    instants.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::simulate;
    use crate::scenario::Scenario;

    #[test]
    fn the_page_is_whole_and_needs_nothing_from_outside() {
        let mut scenario =
            Scenario { nodes: 60, lookups: 200, minutes: 5.0, ..Scenario::default() };
        scenario.churn.per_hour = 1.0;
        scenario.records.count = 20;
        scenario.records.reads = 100;
        let mut outcome = simulate(&scenario, &mut |_, _, _| {});
        let figures = Figures::of(&mut outcome, 0.0);
        let page = page(&mut outcome, &figures);
        for left in ["/*STYLE*/", "/*SCRIPT*/", "/*DATA*/"] {
            assert!(!page.contains(left), "{left}");
        }
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            // The name of a namespace is no address.
            let text = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(outside), "{outside}");
        }
        let data = data(&mut outcome, &figures);
        assert!(data.nodes.len() >= 60 && data.moments.len() > 100);
        assert!(data.stories.iter().filter(|story| !story.read).count() > 8);
        assert!(data.stories.iter().filter(|story| story.read).count() > 4);
        let steps = data.stories.iter().flat_map(|story| &story.steps);
        assert!(steps.clone().any(|step| step.4 >= 0), "somebody told of somebody");
        assert!(steps.clone().all(|step| step.2 < 0.0 || step.2 >= step.1));
        let gone = |row: &&Vec<i64>| row[4..].iter().skip(1).step_by(2).any(|&to| to >= 0);
        assert!(data.nodes.iter().any(|row| gone(&row)), "churn shows on the ring");
    }
}
