//! What becomes of the calls of a turn when one of its writes has an unknown outcome, or cannot be reached.
//!
//! Judged: who does not depend on that write is answered before it is looked at again; who does has its own
//! definite answer as long as the map answers, and only then is left in doubt.

use std::collections::BTreeMap;

use cloakroom_pool::{
    AllocateFailure, Done, FreeOutcome, Id, Interrupted, Place, Policy, PoolId, Request, Response,
    Shape, Tag, Tree, Turn, Value, Want,
};

type Map = BTreeMap<Place, Value>;

fn tree() -> Tree {
    Tree::new(PoolId(1), 16, Shape::new(4, 4).unwrap()).unwrap()
}

fn tag(name: &str) -> Tag {
    Tag::new(name).unwrap()
}

fn perform(map: &mut Map, request: &Request) -> Response {
    match request {
        Request::Get(place) | Request::Recall(place) => Response::Value(map.get(place).cloned()),
        Request::CompareAndSet { place, expected, new } => {
            if map.get(place) != expected.as_ref() {
                return Response::Mismatch(map.get(place).cloned());
            }
            map.insert(*place, new.clone());
            Response::Set
        }
        Request::IsLive(tag) => panic!("{tag:?}"),
    }
}

/// Runs a turn; `lose` answers what it wants to answer instead of the map. What was told, in its order.
fn run(
    map: &mut Map,
    wants: Vec<Want>,
    mut lose: impl FnMut(&mut Map, &Request, &[(usize, Done)]) -> Option<Response>,
) -> Vec<(usize, Done)> {
    let mut turn = Turn::new(tree(), Policy::LowestFirst, wants);
    let mut told = Vec::new();
    for _ in 0..1000 {
        told.extend(turn.ended());
        let Some(batch) = turn.begin() else { return told };
        let requests = turn.requests(batch);
        let answers = requests
            .iter()
            .map(|request| lose(map, request, &told).unwrap_or_else(|| perform(map, request)));
        let answers = answers.collect();
        turn.answer(batch, answers);
    }
    panic!("POOL-5: it does not end: {told:?}");
}

/// A pool with the ids 0 to 6 held by `t0` to `t6`: one block full, one with room for one.
fn held() -> Map {
    let mut map = Map::new();
    for number in 0..7 {
        let want = Want::Allocate(tag(&format!("t{number}")));
        let told = run(&mut map, vec![want], |_, _, _| None);
        assert_eq!(told, [(0, Done::Allocated(Ok(Id(number))))]);
    }
    map
}

/// One call in the first block, two in the second.
fn wants() -> Vec<Want> {
    vec![Want::Free(Id(1), tag("t1")), Want::Free(Id(5), tag("t5")), Want::Allocate(tag("new"))]
}

fn is_write_of(request: &Request, block: Place) -> bool {
    matches!(request, Request::CompareAndSet { place, .. } if *place == block)
}

fn total(map: &Map) -> u64 {
    map[&tree().root()].total()
}

const FREED: Done = Done::Freed(Ok(FreeOutcome::Freed));

/// The block of the ids 0 to 3, and that of 4 to 7.
fn blocks() -> (Place, Place) {
    let block = |id| tree().slot(Id(id)).unwrap().0;
    (block(0), block(4))
}

#[test]
fn a_lost_write_is_found_out_and_each_call_has_its_own_end() {
    let (_, second) = blocks();
    for was_applied in [false, true] {
        let (mut map, mut lost) = (held(), 0);
        let told = run(&mut map, wants(), |map, request, _| {
            if !is_write_of(request, second) || lost > 0 {
                return None;
            }
            lost += 1;
            if was_applied {
                perform(map, request);
            }
            Some(Response::Unknown)
        });
        assert_eq!(lost, 1);
        let ended: BTreeMap<usize, Done> = told.into_iter().collect();
        assert_eq!(ended[&0], FREED);
        assert_eq!(ended[&1], FREED);
        assert_eq!(ended[&2], Done::Allocated(Ok(Id(7))));
        assert_eq!(total(&map), 6, "POOL-4");
    }
}

#[test]
fn who_does_not_depend_on_what_is_in_doubt_is_answered_before_anybody_looks_there() {
    let (_, second) = blocks();
    let (mut map, mut looks) = (held(), 0);
    let told = run(&mut map, wants(), |_, request, told| {
        if is_write_of(request, second) {
            return Some(Response::Unknown);
        }
        if *request == Request::Get(second) {
            looks += 1;
            assert!(told.contains(&(0, FREED)), "{told:?}");
            return Some(Response::Unavailable);
        }
        None
    });
    let failed = Done::Allocated(Err(AllocateFailure::Unknown(Id(7))));
    assert_eq!(told, [(0, FREED), (1, Done::Freed(Err(Interrupted))), (2, failed)]);
    assert_eq!((looks, total(&map)), (1, 6));
}

/// POOL-1: the block has gone on without the write, so that it is dead, and its calls are called by themselves.
#[test]
fn a_write_that_can_never_happen_leaves_its_calls_to_be_called_by_themselves() {
    let (_, second) = blocks();
    let (mut map, mut lost) = (held(), None);
    let told = run(&mut map, wants(), |map, request, _| {
        if !is_write_of(request, second) || lost.is_some() {
            return None;
        }
        lost = Some(request.clone());
        let others = vec![Want::Allocate(tag("other"))];
        assert_eq!(run(map, others, |_, _, _| None), [(0, Done::Allocated(Ok(Id(7))))]);
        Some(Response::Unknown)
    });
    let ended: BTreeMap<usize, Done> = told.into_iter().collect();
    let Done::Allocated(Ok(id)) = ended[&2] else { panic!("{ended:?}") };
    assert!([Id(1), Id(5)].contains(&id), "{ended:?}");
    assert_eq!((ended[&0], ended[&1]), (FREED, FREED));
    // It comes late, and is refused.
    let late = perform(&mut map, &lost.unwrap());
    assert!(matches!(late, Response::Mismatch(_)), "{late:?}");
    assert_eq!(total(&map), 7, "POOL-4");
}

#[test]
fn frees_of_a_block_that_cannot_be_reached_do_not_wait_for_it_one_after_the_other() {
    let (_, second) = blocks();
    let (mut map, mut asked) = (held(), 0);
    let frees = [1, 4, 5, 6].map(|id| Want::Free(Id(id), tag(&format!("t{id}"))));
    let told = run(&mut map, frees.to_vec(), |_, request, _| {
        let is_there = is_write_of(request, second);
        asked += u32::from(is_there);
        is_there.then_some(Response::Unavailable)
    });
    let ended: BTreeMap<usize, Done> = told.into_iter().collect();
    assert_eq!(ended[&0], FREED);
    assert!((1..4).all(|number| ended[&number] == Done::Freed(Err(Interrupted))), "{ended:?}");
    assert_eq!(asked, 1);
}
