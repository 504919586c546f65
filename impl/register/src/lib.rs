//! Linearizable registers: atomic operations on the keys of a slot, through crashes of its members
//! and changes of who they are.
//!
//! Within one view of a slot this is CASPaxos over a majority of its members: [`Replica`] votes,
//! [`Coordinator`] asks. `specs/register.md` tells the whole with its arguments.
//!
//! All of it is step machines: no clock, socket, entropy or thread inside. What must survive a crash
//! is one type, [`Durable`]; a step says what to persist and then what to send ([`Effects`]).
//!
//! | file | what |
//! |---|---|
//! | `id.rs`, `ballot.rs`, `view.rs`, `record.rs` | names, the order of votes, majorities, what is remembered of a key |
//! | `message.rs`, `bytes/` | what is said, and how it looks on the wire |
//! | `durable.rs` | what survives |
//! | `replica.rs`, `acceptor.rs` | a member's part in one view |
//! | `operation.rs`, `coordinator.rs` | get and compare-and-set |
//! | `forward.rs` | an operation that another node runs |
//! | `decree.rs` | the next view |
//! | `handover.rs` | from one view to the next: pull, seal, merge, activate, retire |
//! | `collection.rs` | tombstones go |
//! | `host/` | all replicas and coordinators of one node, and what survives of them |
//! | `map.rs` | the pool's atomic map |
//!
//! What it does not do: frames, routing, clocks. Members may crash and forget what was not durable;
//! they do not lie. An admitted malicious member can break atomicity.
//!
//! # Example
//!
//! ```
//! use cloakroom_register::{
//!     Boot, Call, Coordinator, Epoch, Expected, Incarnation, Key, Member, NodeId, Operation,
//!     OperationId, Outcome, Replica, Seat, Slot, Value, Version, View,
//! };
//!
//! let me = Member { node: NodeId([1; 32]), incarnation: Incarnation(0) };
//! let view = View::new(Slot(7), Epoch(0), &[me])?;
//! let mut replica = Replica::genesis(me, view.clone())?;
//! let mut coordinator = Coordinator::new(view, Seat(0), Boot(1));
//!
//! let put = Operation {
//!     id: OperationId([1; 16]),
//!     key: Key::from(&b"coat"[..]),
//!     call: Call::CompareAndSet { expected: Expected::Absent, new: Some(Value::from(&b"7"[..])) },
//!     bound: None,
//! };
//! let mut steps = coordinator.begin([put]);
//! while let Some(envelope) = steps.send.pop() {
//!     let effects = replica.handle(me.node, &envelope.message); // persist, then send
//!     for reply in effects.send {
//!         let next = coordinator.handle(me.node, &reply.message);
//!         steps.send.extend(next.send);
//!         steps.ended.extend(next.ended);
//!     }
//! }
//! assert_eq!(steps.ended, [(OperationId([1; 16]), Outcome::Set(Version(1)))]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acceptor;
mod ballot;
mod bytes;
mod collection;
mod coordinator;
mod decree;
mod durable;
mod forward;
mod handover;
mod host;
mod id;
mod map;
mod message;
mod operation;
mod record;
mod replica;
mod view;

pub use ballot::Ballot;
pub use bytes::{kept, pack, unpack};
pub use collection::Collector;
pub use coordinator::{Coordinator, MAX_KEPT, Steps};
pub use decree::{Change, Decree};
pub use durable::{Durable, Life, Pulled, Vote, Write};
pub use forward::{Called, Forwarded, Start, Told};
pub use host::{Disk, Host, Moment, Save, Waits, Work};
pub use id::{Boot, Epoch, Incarnation, Key, Member, NodeId, OperationId, Slot, Value, Version};
pub use map::{Attempts, RegisterMap, Registers};
pub use message::{
    Ask, Body, Collect, DecreeAsk, DecreeReply, Envelope, Found, Message, Page, Reply,
};
pub use operation::{Call, Expected, Held, Operation, Outcome};
pub use record::{Accepted, Floor, Record, State};
pub use replica::{Effects, Replica, ReplicaError};
pub use view::{MAX_MEMBERS, Seat, Seats, View, ViewError};
