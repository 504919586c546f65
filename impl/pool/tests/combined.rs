//! Many calls as one, among calls by themselves: random plans from memories of any age, random interleavings
//! of every single map operation, some plans that stop half-way.
//!
//! Invariants that are judged: POOL-1 and POOL-2 at each write of a block; POOL-4 when all have returned and
//! none has stopped; that every free id can then be had, and no more (POOL-3).

use std::collections::BTreeMap;

use cloakroom_pool::{
    Allocate, AllocateFailure, Block, Combined, Free, FreeOutcome, Id, Machine, Next, Place,
    Policy, PoolId, Refresh, Request, Response, Served, Shape, Tag, Tree, Value, Want,
};
use proptest::prelude::*;

/// A map with all that it ever held.
#[derive(Default)]
struct Map {
    now: BTreeMap<Place, Value>,
    past: BTreeMap<Place, Vec<Option<Value>>>,
}

impl Map {
    fn perform(&mut self, request: &Request) -> Response {
        match request {
            Request::Get(place) | Request::Recall(place) => {
                Response::Value(self.now.get(place).cloned())
            }
            Request::CompareAndSet { place, expected, new } => {
                if self.now.get(place) != expected.as_ref() {
                    return Response::Mismatch(self.now.get(place).cloned());
                }
                if place.is_block() {
                    judge(expected.clone(), new.clone());
                }
                self.past.entry(*place).or_default().push(expected.clone());
                self.now.insert(*place, new.clone());
                Response::Set
            }
            Request::IsLive(tag) => panic!("{tag:?}"),
        }
    }

    /// What stood at a place some writes ago.
    fn remembered(&self, place: Place, age: usize) -> Option<Value> {
        let past = self.past.get(&place).map_or(&[][..], Vec::as_slice);
        match age {
            0 => self.now.get(&place).cloned(),
            age => past.get(past.len().wrapping_sub(age)).cloned().unwrap_or(None),
        }
    }
}

fn block(value: Value) -> Block {
    match value {
        Value::Block(block) => block,
        Value::Node(node) => panic!("{node:?}"),
    }
}

/// POOL-1, POOL-2: a slot is free before or after.
fn judge(old: Option<Value>, new: Value) {
    let new = block(new);
    let Some(old) = old.map(block) else { return };
    assert!(new.version > old.version);
    for (old, new) in old.slots.iter().zip(new.slots.iter()) {
        assert!(old == new || old.is_none() || new.is_none(), "POOL-2: {old:?} became {new:?}");
    }
}

/// Somebody at work.
enum Actor {
    Combined(Box<Together>),
    Allocate(Allocate, Tag),
    Free(Free, Id, Tag),
    Refresh(Refresh, Place),
}

/// Calls as one, under way.
struct Together {
    combined: Combined,
    /// Levels of which writes are under way, and how these have ended so far.
    asked: Vec<(u8, Vec<Response>)>,
    /// `None`: it has ended.
    wants: Vec<Option<Want>>,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    /// Begin a plan of so many allocations and frees, from a memory of this age.
    Plan {
        allocates: usize,
        frees: usize,
        age: usize,
    },
    /// So many join the plans under way, by a memory of this age, wherever they can.
    Join {
        allocates: usize,
        frees: usize,
        age: usize,
    },
    Allocate,
    Free,
    /// One map operation of one of those at work.
    Step(usize),
    /// One of those at work stops for ever.
    Stop(usize),
}

fn moves(stops: u32) -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => (0..5_usize, 0..5_usize, 0..3_usize)
            .prop_map(|(allocates, frees, age)| Move::Plan { allocates, frees, age }),
        2 => (0..3_usize, 0..3_usize, 0..2_usize)
            .prop_map(|(allocates, frees, age)| Move::Join { allocates, frees, age }),
        1 => Just(Move::Allocate),
        1 => Just(Move::Free),
        24 => any::<usize>().prop_map(Move::Step),
        stops => any::<usize>().prop_map(Move::Stop),
    ];
    proptest::collection::vec(one, 1..250)
}

struct World {
    tree: Tree,
    policy: Policy,
    map: Map,
    actors: Vec<Actor>,
    made: u32,
    held: Vec<(Id, Tag)>,
    stopped: bool,
}

impl World {
    fn tag(&mut self) -> Tag {
        self.made += 1;
        Tag::new(format!("t{}", self.made)).unwrap()
    }

    fn make(&mut self, made: Move) {
        match made {
            Move::Plan { allocates, frees, age } => {
                let wants = self.wants(allocates, frees);
                let remembered = |place| Some(self.map.remembered(place, age));
                let combined = Combined::plan(self.tree, self.policy, wants.clone(), &remembered);
                assert!(combined.missing().is_empty());
                let wants = wants.into_iter().map(Some).collect();
                self.go_on(Together { combined, asked: Vec::new(), wants });
            }
            Move::Join { allocates, frees, age } => {
                for at in (0..self.actors.len()).rev() {
                    if matches!(&self.actors[at], Actor::Combined(it) if it.combined.is_open())
                        && let Actor::Combined(together) = self.actors.swap_remove(at)
                    {
                        self.join(*together, allocates, frees, age);
                    }
                }
            }
            Move::Allocate => {
                let tag = self.tag();
                let call = Allocate::new(self.tree, self.policy, tag.clone());
                self.actors.push(Actor::Allocate(call, tag));
            }
            Move::Free => {
                let Some((id, tag)) = self.held.pop() else { return };
                let call = Free::new(self.tree, id, tag.clone()).unwrap();
                self.actors.push(Actor::Free(call, id, tag));
            }
            Move::Step(number) => self.step(number),
            Move::Stop(number) => {
                if !self.actors.is_empty() {
                    self.stopped = true;
                    drop(self.actors.swap_remove(number % self.actors.len()));
                }
            }
        }
    }

    fn step(&mut self, number: usize) {
        if self.actors.is_empty() {
            return;
        }
        let actor = self.actors.swap_remove(number % self.actors.len());
        match actor {
            Actor::Combined(mut together) => {
                let at = number % together.asked.len();
                let (level, answered) = &mut together.asked[at];
                let requests = together.combined.requests(*level);
                answered.push(self.map.perform(&requests[answered.len()]));
                if answered.len() == requests.len() {
                    let (level, answered) = together.asked.remove(at);
                    together.combined.answer(level, &answered);
                }
                self.go_on(*together);
            }
            Actor::Allocate(mut call, tag) => match call.step(self.map.perform(&call.request())) {
                Next::Ask => self.actors.push(Actor::Allocate(call, tag)),
                Next::Done(Ok(id)) => self.held.push((id, tag)),
                Next::Done(Err(failure)) => assert_eq!(failure, AllocateFailure::Full),
            },
            Actor::Free(mut call, id, tag) => match call.step(self.map.perform(&call.request())) {
                Next::Ask => self.actors.push(Actor::Free(call, id, tag)),
                Next::Done(outcome) => assert_eq!(outcome, Ok(FreeOutcome::Freed)),
            },
            Actor::Refresh(mut refresh, parent) => {
                match refresh.step(self.map.perform(&refresh.request())) {
                    Next::Ask => self.actors.push(Actor::Refresh(refresh, parent)),
                    Next::Done(ended) => {
                        ended.unwrap();
                        self.refresh(parent);
                    }
                }
            }
        }
    }

    fn refresh(&mut self, place: Place) {
        if let Some(refresh) = Refresh::edge(self.tree, place) {
            let (parent, _) = self.tree.parent(place).unwrap();
            self.actors.push(Actor::Refresh(refresh, parent));
        }
    }

    fn wants(&mut self, allocates: usize, frees: usize) -> Vec<Want> {
        let mut wants: Vec<Want> = (0..allocates).map(|_| Want::Allocate(self.tag())).collect();
        for _ in 0..frees {
            wants.extend(self.held.pop().map(|(id, tag)| Want::Free(id, tag)));
        }
        wants
    }

    fn join(&mut self, mut together: Together, allocates: usize, frees: usize, age: usize) {
        let wants = self.wants(allocates, frees);
        let remembered = |place| Some(self.map.remembered(place, age));
        let joined = together.combined.join(wants.clone(), &remembered);
        for (want, joined) in wants.into_iter().zip(joined) {
            match want {
                want if joined => together.wants.push(Some(want)),
                Want::Free(id, tag) => self.held.push((id, tag)),
                Want::Allocate(_) => {}
            }
        }
        self.go_on(together);
    }

    /// It begins what can begin, or ends.
    fn go_on(&mut self, mut together: Together) {
        while let Some(level) = together.combined.begin() {
            together.asked.push((level, Vec::new()));
        }
        for (number, served) in together.combined.settled() {
            match (together.wants[number].take(), served) {
                // Others may free it while its counts are on their way.
                (Some(Want::Allocate(tag)), Served::Taken(id)) => self.held.push((id, tag)),
                (Some(Want::Free(..)), Served::Freed) => {}
                other => panic!("{other:?}"),
            }
        }
        if !together.asked.is_empty() {
            self.actors.push(Actor::Combined(Box::new(together)));
            return;
        }
        assert!(together.combined.is_over());
        let ending = together.combined.end();
        for place in ending.stale {
            self.refresh(place);
        }
        for (want, served) in together.wants.into_iter().zip(ending.served) {
            match (want, served) {
                (None, Served::Taken(_)) | (None | Some(Want::Free(..)), Served::Freed) => {}
                (Some(Want::Allocate(tag)), Served::Again) => {
                    let call = Allocate::new(self.tree, self.policy, tag.clone());
                    self.actors.push(Actor::Allocate(call, tag));
                }
                (Some(Want::Free(id, tag)), Served::Again) => {
                    let call = Free::new(self.tree, id, tag.clone()).unwrap();
                    self.actors.push(Actor::Free(call, id, tag));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// To its end, when nobody else is at work.
    fn allocate_one(&mut self) {
        self.make(Move::Allocate);
        while !self.actors.is_empty() {
            self.step(0);
        }
    }

    /// All that are at work return; then what is free can be had, and no more.
    fn finish(&mut self) {
        let mut steps = 0;
        while !self.actors.is_empty() {
            self.step(steps * 7);
            steps += 1;
            assert!(steps < 1_000_000, "POOL-5: nobody returns");
        }
        let blocks = self.tree.all().filter(|at| at.is_block());
        let held: u64 = blocks.map(|at| self.map.now.get(&at).map_or(0, Value::total)).sum();
        for (id, tag) in &self.held {
            let (at, slot) = self.tree.slot(*id).unwrap();
            let block = block(self.map.now[&at].clone());
            assert_eq!(block.slots[usize::from(slot)].as_ref(), Some(tag), "POOL-1: {id}");
        }
        if !self.stopped {
            assert_eq!(held, self.held.len() as u64);
            let root = self.map.now.get(&self.tree.root()).map_or(0, Value::total);
            assert_eq!(root, held, "POOL-4");
        }
        if self.stopped {
            // A free that has stopped leaves counts too high, until a recovery.
            let mut places: Vec<Place> = self.tree.all().collect();
            places.sort_by_key(|place| place.level());
            for place in places {
                let Some(refresh) = Refresh::edge(self.tree, place) else { continue };
                let mut refresh = refresh;
                while refresh.step(self.map.perform(&refresh.request())) == Next::Ask {}
            }
        }
        for _ in held..self.tree.size() {
            let before = self.held.len();
            self.allocate_one();
            assert_eq!(self.held.len(), before + 1, "POOL-3: full, with {before} held");
        }
    }
}

fn world(tree: Tree, policy: Policy) -> World {
    let (map, actors, held) = (Map::default(), Vec::new(), Vec::new());
    World { tree, policy, map, actors, made: 0, held, stopped: false }
}

fn run(size: u64, shape: (u16, u16), spread: bool, moves: &[Move]) {
    let tree = Tree::new(PoolId(1), size, Shape::new(shape.0, shape.1).unwrap()).unwrap();
    let policy = if spread { Policy::Spread } else { Policy::LowestFirst };
    let mut world = world(tree, policy);
    for &made in moves {
        world.make(made);
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn many_calls_as_one_are_as_good_as_each_by_itself(
        size in 1..30_u64, fanout in 2..4_u16, block in 1..5_u16, spread: bool, moves in moves(0),
    ) {
        run(size, (fanout, block), spread, &moves);
    }

    #[test]
    fn one_that_stops_half_way_costs_nobody_an_id(
        size in 1..30_u64, fanout in 2..4_u16, block in 1..5_u16, spread: bool, moves in moves(2),
    ) {
        run(size, (fanout, block), spread, &moves);
    }
}

/// A witness: the short way is short. Three blocks, their three nodes and the root are written once each.
#[test]
fn calls_that_touch_three_blocks_cost_one_write_of_each_place() {
    let tree = Tree::new(PoolId(1), 64, Shape::new(2, 4).unwrap()).unwrap();
    assert_eq!(tree.height(), 4);
    let mut world = world(tree, Policy::LowestFirst);
    for _ in 0..41 {
        world.allocate_one();
    }
    let mut wants: Vec<Want> = (0..2).map(|_| Want::Allocate(world.tag())).collect();
    for id in [1, 2, 9, 17] {
        let held = world.held.iter().position(|(held, _)| *held == Id(id)).unwrap();
        let (id, tag) = world.held.swap_remove(held);
        wants.push(Want::Free(id, tag));
    }
    let remembered = |place| Some(world.map.remembered(place, 0));
    let mut combined = Combined::plan(tree, Policy::LowestFirst, wants, &remembered);
    let mut rounds = Vec::new();
    while let Some(level) = combined.begin() {
        let requests = combined.requests(level);
        let responses: Vec<Response> =
            requests.iter().map(|request| world.map.perform(request)).collect();
        combined.answer(level, &responses);
        rounds.push(requests.len());
        let freed = combined.settled().into_iter().filter(|(_, served)| *served == Served::Freed);
        let freed = freed.count();
        assert_eq!(freed, if level == tree.height() { 4 } else { 0 }, "POOL-6, at level {level}");
    }
    // What is freed goes to nobody in the same write, so the allocations take a fourth block.
    assert_eq!(rounds, [4, 4, 3, 2, 1]);
    let ending = combined.end();
    assert_eq!(ending.served[..2], [Served::Taken(Id(41)), Served::Taken(Id(42))]);
    assert_eq!(ending.served[2..], [Served::Freed; 4]);
    assert!(ending.stale.is_empty());
    assert_eq!(world.map.now[&tree.root()].total(), 39);
}

/// POOL-2: what is remembered is no reason to say whose it is, either.
#[test]
fn a_free_of_another_s_id_goes_by_itself() {
    let tree = Tree::new(PoolId(1), 8, Shape::new(2, 4).unwrap()).unwrap();
    let mut world = world(tree, Policy::LowestFirst);
    world.allocate_one();
    let stranger = world.tag();
    let wants = vec![Want::Free(Id(0), stranger.clone()), Want::Free(Id(1), stranger)];
    let remembered = |place| Some(world.map.remembered(place, 0));
    let combined = Combined::plan(tree, Policy::LowestFirst, wants, &remembered);
    assert!(combined.is_over());
    assert_eq!(combined.end().served, [Served::Again; 2]);
}

/// POOL-4: whoever has read a child before this write must not be able to write after it.
#[test]
fn a_node_is_written_anew_also_when_no_count_changes() {
    let tree = Tree::new(PoolId(1), 8, Shape::new(2, 4).unwrap()).unwrap();
    let mut world = world(tree, Policy::LowestFirst);
    world.allocate_one();
    let (id, tag) = world.held.pop().unwrap();
    let wants = vec![Want::Free(id, tag), Want::Allocate(world.tag())];
    let remembered = |place| Some(world.map.remembered(place, 0));
    let mut combined = Combined::plan(tree, Policy::LowestFirst, wants, &remembered);
    assert_eq!(combined.begin(), Some(0));
    combined.answer(0, &[Response::Set]);
    assert_eq!(combined.begin(), Some(1));
    let requests = combined.requests(1);
    let [Request::CompareAndSet { expected: Some(Value::Node(old)), new: Value::Node(new), .. }] =
        &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!((old.counts.of(0), new.counts.of(0)), (1, 1));
    assert_eq!(new.version, old.version + 1);
}

#[test]
fn what_is_not_known_is_asked_for_level_by_level() {
    let tree = Tree::new(PoolId(1), 64, Shape::new(2, 4).unwrap()).unwrap();
    let mut world = world(tree, Policy::LowestFirst);
    world.allocate_one();
    let mut known: BTreeMap<Place, Option<Value>> = BTreeMap::new();
    let mut looks = 0;
    loop {
        let wants = vec![Want::Allocate(world.tag())];
        let remembered = |place: Place| known.get(&place).cloned();
        let combined = Combined::plan(tree, Policy::LowestFirst, wants, &remembered);
        if combined.missing().is_empty() {
            assert!(!combined.is_over());
            break;
        }
        assert!(combined.is_over());
        for &place in combined.missing() {
            known.insert(place, world.map.remembered(place, 0));
        }
        looks += 1;
    }
    assert_eq!(looks, 5);
}

/// A witness: who joins is written beside the node of those before, and its own total follows.
#[test]
fn who_joins_is_written_beside_the_nodes_of_those_before() {
    let tree = Tree::new(PoolId(1), 8, Shape::new(2, 4).unwrap()).unwrap();
    let mut world = world(tree, Policy::LowestFirst);
    world.allocate_one();
    let (id, tag) = world.held.pop().unwrap();
    let first = vec![Want::Allocate(world.tag())];
    let remembered = |place| Some(world.map.remembered(place, 0));
    let mut combined = Combined::plan(tree, Policy::LowestFirst, first, &remembered);
    assert!(!combined.is_open(), "its block is to be written");
    assert_eq!(combined.begin(), Some(0));
    assert!(!combined.is_open(), "its block is being written");
    let perform = |combined: &mut Combined, map: &mut Map, level| {
        let requests = combined.requests(level);
        let responses: Vec<Response> = requests.iter().map(|it| map.perform(it)).collect();
        combined.answer(level, &responses);
    };
    perform(&mut combined, &mut world.map, 0);
    assert_eq!(combined.settled(), [(0, Served::Taken(Id(1)))]);
    assert_eq!(combined.begin(), Some(1));
    let remembered = |place| Some(world.map.remembered(place, 0));
    assert_eq!(combined.join(vec![Want::Free(id, tag)], &remembered), [true]);
    assert_eq!(combined.begin(), Some(0));
    perform(&mut combined, &mut world.map, 0);
    assert!(combined.begin().is_none(), "the node is being written");
    assert!(combined.settled().is_empty(), "POOL-6: it is not counted yet");
    perform(&mut combined, &mut world.map, 1);
    assert_eq!(world.map.now[&tree.root()].total(), 2);
    assert_eq!(combined.begin(), Some(1));
    perform(&mut combined, &mut world.map, 1);
    assert_eq!(combined.settled(), [(1, Served::Freed)]);
    assert!(combined.is_over() && combined.end().stale.is_empty());
    assert_eq!(world.map.now[&tree.root()].total(), 1);
}
