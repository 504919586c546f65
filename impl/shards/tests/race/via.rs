//! What a scenario's steps are made on: the map, or cells of which a key's number is the place; by a
//! thread that has registered, or by any; of cells also by looks, which know a value by where it stands.

use cloakroom_pool::Cas;
use cloakroom_shards::reclaim::Reclaim;
use cloakroom_shards::{Cells, CellsHandle, Handle, Shards};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Map,
    Cells,
    Looks,
}

/// What is checked.
pub(crate) enum Store<R: Reclaim> {
    Map(Shards<R>),
    Cells(Cells<Vec<u8>, R>),
    Looks(Cells<Vec<u8>, R>),
}

/// Places of the cells: keys of scenarios on them are below this.
const PLACES: usize = 4;

impl<R: Reclaim> Store<R> {
    pub(crate) fn new(on: On) -> Self {
        match on {
            On::Map => Self::Map(Shards::with_reclaimer(1).unwrap()),
            On::Cells => Self::Cells(Cells::new(PLACES).unwrap()),
            On::Looks => Self::Looks(Cells::new(PLACES).unwrap()),
        }
    }

    /// By any thread, or by one that registers.
    pub(crate) fn via(&self, registered: bool) -> Via<'_, R> {
        match self {
            Self::Map(map) if registered => Via::Handle(map.handle().unwrap()),
            Self::Map(map) => Via::Map(map),
            Self::Cells(cells) if registered => Via::CellsHandle(cells.handle().unwrap()),
            Self::Cells(cells) => Via::Cells(cells),
            Self::Looks(cells) => Via::Looks(cells.handle().unwrap()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Map(map) => map.len(),
            Self::Cells(cells) | Self::Looks(cells) => cells.len(),
        }
    }

    /// Hands every key and value to `f`, of the map by `for_each` or by its iterator; `key` makes one of a
    /// place's number.
    pub(crate) fn iterate(
        &self,
        each: bool,
        key: impl Fn(u8) -> Vec<u8>,
        mut f: impl FnMut(&[u8], &[u8]),
    ) {
        match self {
            Self::Map(map) if each => map.for_each(f).unwrap(),
            Self::Map(map) => {
                for entry in map {
                    let (key, value) = entry.unwrap();
                    f(&key, &value);
                }
            }
            Self::Cells(cells) | Self::Looks(cells) => {
                for place in 0..cells.places() {
                    let number = key(u8::try_from(place).unwrap());
                    cells.read(place, |value| value.map(|value| f(&number, value))).unwrap();
                }
            }
        }
    }
}

/// By way of what a thread makes its steps.
pub(crate) enum Via<'a, R: Reclaim> {
    Map(&'a Shards<R>),
    Handle(Handle<'a, R>),
    Cells(&'a Cells<Vec<u8>, R>),
    CellsHandle(CellsHandle<'a, Vec<u8>, R>),
    Looks(CellsHandle<'a, Vec<u8>, R>),
}

/// The place of a key: its number, in its last byte.
fn place(key: &[u8]) -> usize {
    key[key.len() - 1].into()
}

impl<R: Reclaim> Via<'_, R> {
    pub(crate) fn read<A>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> A) -> A {
        match self {
            Self::Map(map) => map.read(key, f).unwrap(),
            Self::Handle(handle) => handle.read(key, f).unwrap(),
            Self::Cells(cells) => {
                cells.read(place(key), |value| f(value.map(Vec::as_slice))).unwrap()
            }
            Self::CellsHandle(handle) => {
                handle.read(place(key), |value| f(value.map(Vec::as_slice)))
            }
            Self::Looks(handle) => f(handle.look().read(place(key)).map(Vec::as_slice)),
        }
    }

    pub(crate) fn set(&self, key: &[u8], expected: Option<&[u8]>, new: Option<&[u8]>) -> Cas {
        let owned = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
        let (expected_value, new_value) = (owned(expected), owned(new));
        let done = match self {
            Self::Map(map) => return map.compare_and_set(key, expected, new).unwrap(),
            Self::Handle(handle) => return handle.compare_and_set(key, expected, new).unwrap(),
            Self::Cells(it) => it.exchange(place(key), expected_value.as_ref(), new_value),
            Self::CellsHandle(it) => it.exchange(place(key), expected_value.as_ref(), new_value),
            Self::Looks(it) => {
                let look = it.look();
                let seen = look.read(place(key));
                if seen != expected_value.as_ref() {
                    return Cas::Mismatch(seen.cloned());
                }
                let new = new_value.expect("a look removes nothing");
                let done = look.exchange(place(key), seen, new);
                done.map(|done| done.map_err(Option::<&Vec<u8>>::cloned))
            }
        };
        done.unwrap().map_or_else(Cas::Mismatch, |()| Cas::Set)
    }
}
