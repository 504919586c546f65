//! The grammar of the step machines: one request out, one response in.
//!
//! A machine is a plain value: cloneable, comparable, hashable. Between two steps a caller may
//! pause for ever, die, or be copied by a model checker.

use crate::seen::Seen;
use crate::tag::Tag;
use crate::tree::Place;
use crate::value::{Value, Version};

/// What a machine asks of its host. `S` is how it has what it was shown before: see [`Seen`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request<S: Seen = Value> {
    /// The value at a place.
    Get(Place),
    /// A value that the place has, or once had. A host that remembers one may answer with it:
    /// [`Response::Recalled`]. One that does not takes this for a [`Request::Get`].
    Recall(Place),
    /// Put `new` at a place, atomically, if it holds `expected`.
    CompareAndSet {
        /// Where.
        place: Place,
        /// What must be there; `None` is absence.
        expected: Option<S>,
        /// What shall be there.
        new: S::New,
    },
    /// Does the caller's notebook have this tag, *now*? Asked by [`Recover`](crate::Recover) only,
    /// after it has read the tag from its slot: an older answer may free a newer holder's id.
    IsLive(Tag),
}

/// What the host answers. A value is a node at inner places and a block at level 0, with as many
/// counts or slots as [`Tree::width`](crate::Tree::width) says; [`perform`](crate::perform) sees
/// to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response<S = Value> {
    /// To `Get` and `Recall`: the value.
    Value(Option<S>),
    /// To `Recall`: what the place held at some moment before, by the host's [`Memory`].
    ///
    /// [`Memory`]: crate::Memory
    Recalled(S),
    /// To `CompareAndSet`: done.
    Set,
    /// To `CompareAndSet`: not done, since the place held this instead.
    Mismatch(Option<S>),
    /// To `CompareAndSet`: it may have happened, may still happen once, or never.
    Unknown,
    /// No answer, and nothing was or will be done. Ends the call with what is known.
    Unavailable,
    /// To `IsLive`.
    Live(bool),
}

/// What follows a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next<T> {
    /// The machine has another [`Machine::request`].
    Ask,
    /// The call has returned; the machine is used up.
    Done(T),
}

/// The map could not be reached; the call stopped half-way, as if its caller had died there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interrupted;

/// One call, as a machine that asks for one map operation at a time.
pub trait Machine<S: Seen = Value> {
    /// What the call returns.
    type Output;

    /// The operation that it waits for. The same until the next [`Machine::step`].
    fn request(&self) -> Request<S>;

    /// Takes the outcome of [`Machine::request`].
    ///
    /// # Panics
    /// When the response does not fit the request: the host's fault.
    fn step(&mut self, response: Response<S>) -> Next<Self::Output>;

    /// Shows every version in the machine's memory with its place. A model checker renumbers them,
    /// which is sound because machines compare versions for equality alone and derive new ones
    /// only from the one that the write replaces.
    fn versions(&mut self, visit: &mut dyn FnMut(Place, &mut Version));
}

/// Shows the version in a value that a machine remembers.
pub(crate) fn visit_value(
    place: Place,
    version: Option<&mut Version>,
    visit: &mut dyn FnMut(Place, &mut Version),
) {
    if let Some(version) = version {
        visit(place, version);
    }
}

/// The host answered something else than was asked.
#[cold]
pub(crate) fn unexpected<S: Seen>(request: &Request<S>, response: &Response<S>) -> ! {
    panic!("host: expected an answer to {request:?}, got {response:?}")
}
