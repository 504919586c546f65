//! The judge: is a history of concurrent calls linearizable?
//!
//! A history is linearizable if each operation can be said to happen at one moment between its call
//! and its return, so that in the order of these moments a sequential object gives every answer. An
//! operation without a return may happen at any moment after its call, or never.
//!
//! ```
//! use cloakroom_lincheck::register::{Answer, Call, Register};
//! use cloakroom_lincheck::{History, Limit, Verdict, judge};
//!
//! let mut history = History::default();
//! let write = history.invoke(0, Call::Write(Some(7)));
//! let read = history.invoke(1, Call::Read);
//! history.answer(read, Answer::Value(Some(7)));
//! let late = history.invoke(1, Call::Read);
//! history.answer(late, Answer::Value(None));
//! history.answer(write, Answer::Done);
//! let Verdict::Violated(violation) = judge(&Register::empty(), &history, Limit::default()).verdict
//! else { panic!("the write was seen and then unseen") };
//! assert_eq!((violation.operation, violation.prefix), (late, 5));
//! assert_eq!(violation.states, [Some(7)]);
//! ```
//!
//! * [`History`]: what was called and answered, in order.
//! * [`Specification`]: the object, one call at a time. [`register::Register`] and [`pool::Pool`]
//!   are two.
//! * [`judge`]: the verdict on one object. Objects that know nothing of each other, such as the keys
//!   of a map, are judged one by one: a history of many is linearizable if each one's is.
//! * [`format`](mod@format): histories from files; [`report`](mod@report): verdicts on them;
//!   [`timeline`]: pictures of them; [`sample`]: simulated ones.
//!
//! Properties: LIN-1 to LIN-4 of `specs/README.md`.
//!
//! What it does not do: weaker conditions, such as sequential consistency; find out what went wrong
//! inside the object.

#![forbid(unsafe_code)]

mod entries;
pub mod format;
mod history;
mod judge;
mod marks;
mod memo;
mod pending;
pub mod pool;
pub mod register;
pub mod report;
pub mod sample;
mod search;
mod specification;
pub mod timeline;

pub use history::{History, Operation, Timed};
pub use judge::{Judgement, Limit, Verdict, Violation, judge, judge_with};
pub use specification::Specification;
