//! A desk over a map in memory and a disk with group commit, by a clock that moves only when all tasks wait for it.
//!
//! What it does not do: lose requests. The pool's own tests and the models do.

use cloakroom_pool::{Place, Policy, PoolId, Shape, Tag, Value};
use tokio::time::{sleep, sleep_until};

use super::*;

/// What a sync of the disk takes. In it are all writes that have come when it begins.
const SYNC: Duration = Duration::from_millis(10);

/// One pool in memory.
#[derive(Clone)]
struct Rehearsal {
    tree: Tree,
    places: Arc<Mutex<HashMap<Place, Value>>>,
    /// When the last sync has begun, or will begin.
    sync: Arc<Mutex<Instant>>,
}

impl Rehearsal {
    fn new() -> Self {
        let shape = Shape::new(16, 16).expect("a shape");
        let tree = Tree::new(PoolId(1), 256, shape).expect("a tree");
        let sync = Arc::new(Mutex::new(Instant::now()));
        Self { tree, places: Arc::default(), sync }
    }

    /// When a write that comes now is durable.
    fn durable_at(&self) -> Instant {
        let (mut sync, now) = (lock(&self.sync), Instant::now());
        if *sync < now {
            // The disk is idle, or the next one begins when this one has ended.
            *sync = now.max(*sync + SYNC);
        }
        *sync + SYNC
    }

    /// The ids that are held, as the root counts them.
    fn counted(&self) -> u64 {
        let places = lock(&self.places);
        places.get(&self.tree.root()).map_or(0, Value::total)
    }
}

impl Ground for Rehearsal {
    async fn answer(
        &self,
        _: Tree,
        request: Request,
        _: Instant,
    ) -> (Response, Option<MapError>, Rounds) {
        let response = match request {
            Request::Get(place) | Request::Recall(place) => {
                Response::Value(lock(&self.places).get(&place).cloned())
            }
            Request::CompareAndSet { place, expected, new } => {
                sleep_until(self.durable_at()).await;
                let mut places = lock(&self.places);
                let held = places.get(&place).cloned();
                if held == expected {
                    places.insert(place, new);
                    Response::Set
                } else {
                    Response::Mismatch(held)
                }
            }
            Request::IsLive(tag) => panic!("asked whether {tag:?} is live"),
        };
        (response, None, Some(1))
    }

    async fn look_up(
        &self,
        name: &str,
        _: Instant,
    ) -> (Result<Option<Definition>, MapError>, Rounds) {
        let policy = Policy::LowestFirst;
        (Ok(Some(Definition { name: name.into(), tree: self.tree, policy })), Some(1))
    }
}

/// How many milliseconds and rounds a lone caller waits for an allocation and for a free, between which he rests.
async fn a_pair(rest: Duration) -> [(u128, Rounds); 2] {
    let (desks, ground) = (Desks::default(), Rehearsal::new());
    let tag = Tag::new("ann").expect("a tag");
    let call = async |want| {
        let begun = Instant::now();
        let done = desks.call(&ground, "coats", want, begun + Duration::from_mins(1)).await;
        let (done, rounds) = done.expect("it is done");
        (done, (begun.elapsed().as_millis(), rounds))
    };
    let mut took = [(0, None); 2];
    // The first ones create what is above.
    for _ in 0..5 {
        let (done, allocated) = call(Want::Allocate(tag.clone())).await;
        let Done::Taken(id) = done else { panic!("{done:?}") };
        sleep(rest).await;
        let (done, freed) = call(Want::Free(id, tag.clone())).await;
        assert_eq!(done, Done::Freed(FreeOutcome::Freed));
        sleep(rest).await;
        took = [allocated, freed];
    }
    assert_eq!(ground.counted(), 0);
    took
}

#[tokio::test(start_paused = true)]
async fn the_counts_above_an_id_are_written_beside_the_next_call_of_a_lone_caller() {
    // An id is taken after one sync, a free is counted after two.
    assert_eq!(a_pair(LINGER / 2).await, [(10, Some(1)), (20, Some(2))]);
    // Who comes when they are being written waits for the rest of that.
    let rest = LINGER + Duration::from_millis(3);
    assert_eq!(a_pair(rest).await, [(10, Some(1)), (20 + 7, Some(2))]);
}

#[tokio::test(start_paused = true)]
async fn the_counts_above_an_id_are_written_also_when_nobody_comes() {
    let (desks, ground) = (Desks::default(), Rehearsal::new());
    for before in 0..3 {
        assert_eq!(ground.counted(), before);
        let until = Instant::now() + Duration::from_mins(1);
        let want = Want::Allocate(Tag::new("ann").expect("a tag"));
        assert!(matches!(desks.call(&ground, "coats", want, until).await, Ok((Done::Taken(_), _))));
        sleep(LINGER + SYNC * 2).await;
    }
}
