//! One lookup under any answers, honest or not, in any order.

use std::collections::BTreeSet;

use cloakroom_kademlia::Step::Ask;
use cloakroom_kademlia::{Lookup, Parameters};
use cloakroom_specs::kademlia::Search;
use cloakroom_wire::{Contact, NodeId};
use proptest::prelude::*;

use crate::{config, contact, id};

/// What becomes of the request that stands at this place among those in flight.
#[derive(Clone, Debug)]
enum Step {
    /// Answered with these ids, each at one of two addresses.
    Answered(u8, Vec<(u8, bool)>),
    /// It takes long.
    Slow(u8),
    /// It fails.
    Failed(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let told = prop::collection::vec(any::<(u8, bool)>(), 0..10);
    let step = prop_oneof![
        5 => (any::<u8>(), told).prop_map(|(which, told)| Step::Answered(which, told)),
        1 => any::<u8>().prop_map(Step::Slow),
        2 => any::<u8>().prop_map(Step::Failed),
    ];
    prop::collection::vec(step, 0..150)
}

fn at(first: u8, elsewhere: bool) -> Contact {
    contact(first, u8::from(elsewhere))
}

fn plain(contact: &Contact) -> (u64, u64) {
    (contact.id.0[0].into(), u64::from(contact.address == at(contact.id.0[0], true).address))
}

struct Run {
    lookup: Lookup,
    search: Search,
    in_flight: Vec<(Contact, bool)>,
    parameters: Parameters,
}

impl Run {
    fn ask(&mut self) -> Result<(), TestCaseError> {
        while let Ask(contact) = self.lookup.step() {
            let (id, address) = plain(&contact);
            let judged = self.search.asked(id, address);
            prop_assert!(judged.is_ok(), "{}", judged.unwrap_err());
            self.in_flight.push((contact, false));
            let quick = self.in_flight.iter().filter(|(_, slow)| !slow).count();
            prop_assert!(quick <= self.parameters.alpha.into(), "{quick} in flight");
        }
        // KAD-4: it never waits for nothing.
        prop_assert!(self.lookup.is_done() || !self.in_flight.is_empty(), "stuck");
        let (waiting, asked) = self.lookup.kept();
        prop_assert!(waiting <= self.parameters.most_waiting.into());
        prop_assert!(asked <= self.parameters.most_asked.into());
        prop_assert!(self.search.requests() <= self.parameters.most_asked.into());
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let which = match step {
            Step::Answered(which, _) | Step::Slow(which) | Step::Failed(which) => which,
        };
        if self.in_flight.is_empty() {
            return Ok(());
        }
        let which = usize::from(which) % self.in_flight.len();
        let (contact, slow) = self.in_flight[which];
        let (id, address) = (contact.id, contact.address);
        match step {
            Step::Slow(_) if !slow => {
                self.in_flight[which].1 = true;
                self.lookup.slow(id, address);
            }
            Step::Slow(_) => {}
            Step::Failed(_) => {
                self.in_flight.remove(which);
                self.search.failed(plain(&contact).0, plain(&contact).1);
                self.lookup.failed(id, address);
            }
            Step::Answered(_, told) => {
                self.in_flight.remove(which);
                let told: Vec<Contact> = told.iter().map(|&(id, other)| at(id, other)).collect();
                for contact in told.iter().take(self.parameters.k.into()) {
                    if contact.id != NodeId([0; 32]) {
                        self.search.told(plain(contact).0, plain(contact).1);
                    }
                }
                self.search.answered(plain(&contact).0);
                prop_assert!(self.lookup.answered(id, address, told.clone()).is_some());
                // Once is enough.
                prop_assert!(self.lookup.answered(id, address, told).is_none());
            }
        }
        self.ask()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_lookup_ends_with_the_closest_that_it_was_told(
        k in 1..6_u8, alpha in 1..5_u8, paths in 1..5_u8, target in any::<u8>(),
        seeds in prop::collection::btree_set(1..=255_u8, 0..8), steps in steps(), bounded in any::<bool>(),
    ) {
        // Either bound comes into play, or neither does and the end can be judged exactly.
        let (most_asked, most_waiting) = if bounded { (12, 8) } else { (4096, 4096) };
        let parameters =
            Parameters { k, alpha, paths, most_asked, most_waiting, ..Parameters::default() };
        let seeds: Vec<Contact> = seeds.iter().map(|&seed| at(seed, false)).collect();
        let mut search = Search::default();
        for seed in &seeds {
            search.told(plain(seed).0, plain(seed).1);
        }
        let lookup = Lookup::new(id(target), id(0), &parameters, seeds);
        let mut run = Run { lookup, search, in_flight: Vec::new(), parameters };
        run.ask()?;
        for step in steps {
            run.step(step)?;
        }
        // What is left fails; then it must have ended.
        let mut more = 0;
        while !run.lookup.is_done() {
            run.step(Step::Failed(0))?;
            more += 1;
            prop_assert!(more <= 2 * 4096, "it does not end");
        }
        let result: Vec<u64> = run.lookup.closest().map(|contact| plain(contact).0).collect();
        let sorted: BTreeSet<u64> = result.iter().map(|id| id ^ u64::from(target)).collect();
        prop_assert!(result.iter().map(|id| id ^ u64::from(target)).eq(sorted));
        if !bounded {
            let judged = run.search.ended(target.into(), k.into(), &result);
            prop_assert!(judged.is_ok(), "{}", judged.unwrap_err());
        }
    }
}

/// Whoever tells the most is cut back: what others told stays.
#[test]
fn one_liar_does_not_crowd_out_what_others_told() {
    let parameters = Parameters { k: 20, paths: 1, most_waiting: 30, ..Parameters::default() };
    let seeds = [at(0xf0, false), at(0xf1, false)];
    let mut lookup = Lookup::new(id(0), id(0), &parameters, seeds);
    let (Ask(first), Ask(second)) = (lookup.step(), lookup.step()) else { panic!() };
    let honest: Vec<Contact> = (0..15).map(|at_| at(0xa0 + at_, false)).collect();
    lookup.answered(first.id, first.address, honest.clone());
    // Nearer than all of them, and again and again.
    let near = |from: u8| (from..from + 20).map(|at_| at(at_, false)).collect::<Vec<_>>();
    lookup.answered(second.id, second.address, near(1));
    let Ask(liar) = lookup.step() else { panic!() };
    lookup.answered(liar.id, liar.address, near(21));
    assert_eq!(lookup.kept().0, 30);
    let mut asked: BTreeSet<NodeId> = BTreeSet::new();
    while let Ask(contact) = lookup.step() {
        asked.insert(contact.id);
        lookup.failed(contact.id, contact.address);
    }
    let kept = honest.iter().filter(|contact| asked.contains(&contact.id)).count();
    assert!(kept >= 10, "{kept} of 15 honest contacts kept");
}
