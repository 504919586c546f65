//! The pool runs unchanged on registers: three members in one process, two coordinators, and every
//! few messages one that is lost.

use std::cell::{Cell, RefCell};

use cloakroom_pool::{AllocateError, FreeOutcome, Id, Policy, Pool, PoolId, Shape, Tag, Tree};
use cloakroom_register::{
    Boot, Coordinator, Envelope, Epoch, Incarnation, Member, NodeId, Operation, OperationId,
    Outcome, RegisterMap, Registers, Replica, Seat, Slot, Steps, View,
};

struct Cluster {
    replicas: RefCell<Vec<Replica>>,
    coordinators: RefCell<Vec<Coordinator>>,
    calls: Cell<u64>,
    /// Messages so far.
    sent: Cell<u64>,
    /// Of so many messages one is lost.
    loses: u64,
}

fn node(seat: u8) -> NodeId {
    NodeId([seat + 1; 32])
}

impl Cluster {
    fn new(loses: u64) -> Self {
        let member = |seat| Member { node: node(seat), incarnation: Incarnation(0) };
        let members = [0, 1, 2].map(member);
        let view = View::new(Slot(0), Epoch(0), &members).unwrap();
        let replicas = members.map(|me| Replica::genesis(me, view.clone()).unwrap());
        let coordinators = [0, 1].map(|seat| Coordinator::new(view.clone(), Seat(seat), Boot(1)));
        Self {
            replicas: RefCell::new(replicas.into()),
            coordinators: RefCell::new(coordinators.into()),
            calls: Cell::new(0),
            sent: Cell::new(0),
            loses,
        }
    }

    fn is_lost(&self) -> bool {
        self.sent.set(self.sent.get() + 1);
        self.loses > 0 && self.sent.get().is_multiple_of(self.loses)
    }

    fn deliver(&self, from: u8, sent: &Envelope) -> Option<Steps> {
        let to = (0..3).find(|&to| node(to) == sent.to)?;
        if self.is_lost() {
            return None;
        }
        let effects = self.replicas.borrow_mut()[usize::from(to)].handle(node(from), &sent.message);
        let answer = effects.send.first().filter(|_| !self.is_lost())?;
        let mut coordinators = self.coordinators.borrow_mut();
        Some(coordinators[usize::from(from)].handle(node(to), &answer.message))
    }
}

impl Registers for &Cluster {
    fn operation_id(&self) -> OperationId {
        self.calls.set(self.calls.get() + 1);
        OperationId(u128::from(self.calls.get()).to_be_bytes())
    }

    fn run(&self, operation: &Operation) -> Outcome {
        // Attempts go to both coordinators in turn.
        let seat = u8::try_from(self.sent.get() % 2).unwrap();
        let begun = self.coordinators.borrow_mut()[usize::from(seat)].begin([operation.clone()]);
        let mut steps = begun;
        while let Some(sent) = steps.send.pop() {
            if let Some(next) = self.deliver(seat, &sent) {
                if let Some((_, outcome)) = next.ended.into_iter().next() {
                    // What is left on its way still arrives.
                    for sent in steps.send {
                        let _ = self.deliver(seat, &sent);
                    }
                    return outcome;
                }
                steps.send.splice(0..0, next.send);
            }
        }
        let given_up = self.coordinators.borrow_mut()[usize::from(seat)].give_up(operation.id);
        given_up.expect("under way")
    }
}

fn tag(number: u64) -> Tag {
    Tag::new(format!("worker-{number}")).unwrap()
}

#[test]
fn a_pool_on_registers_hands_out_every_id_once() {
    for loses in [0, 7, 11, 23] {
        let cluster = Cluster::new(loses);
        let tree = Tree::new(PoolId(1), 20, Shape::new(2, 2).unwrap()).unwrap();
        let pool = Pool::new(RegisterMap::new(&cluster, 50), tree, Policy::LowestFirst);
        let ids: Vec<Id> = (0..20).map(|number| pool.allocate(&tag(number)).unwrap()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 20, "loses one of {loses}");
        assert!(matches!(pool.allocate(&tag(99)), Err(AllocateError::Full { .. })));
        for (number, id) in (0..).zip(&ids).filter(|(number, _)| number % 3 == 0) {
            assert_eq!(pool.free(*id, &tag(number)).unwrap(), FreeOutcome::Freed);
            assert_eq!(pool.free(*id, &tag(number)).unwrap(), FreeOutcome::AlreadyFree);
        }
        assert_eq!(pool.list().unwrap().len(), 13);
        assert_eq!(pool.allocate(&tag(100)).unwrap(), ids[0]);
    }
}
