//! The target of the registers' parts: WIRE-1 to WIRE-3 of `specs/wire.md`, section 8.
//!
//! A second reader of parts, written from the grammar: it copies, is slow, says only yes or no, and
//! shares no line with the one that it judges. Its numbers are written out here.

use cloakroom_register::{Message, pack, unpack};
use cloakroom_wire::{Body, Notice};

/// Both readers agree on whether bytes are a part. What is one has one encoding, alone and in a
/// notice.
///
/// # Panics
/// When they do not, or it has another.
pub fn slots(bytes: &[u8]) {
    let ours = Message::decode(bytes);
    let theirs = Reader(bytes).part();
    match ours {
        Err(error) => {
            assert!(error.offset <= bytes.len(), "WIRE-2: {error}");
            assert_eq!(theirs, None, "WIRE-1: {error}, and by the grammar a part");
        }
        Ok(None) => assert_eq!(theirs, Some(false), "WIRE-3: a newer node's"),
        Ok(Some(message)) => {
            assert_eq!(theirs, Some(true), "WIRE-1: a part, and none by the grammar");
            let mut parts = Vec::new();
            message.encode(&mut parts).expect("it was decoded");
            assert_eq!(parts, [bytes], "WIRE-1: decoded, then encoded");
            let notice = pack(&parts).next().expect("one part");
            let mut whole = Vec::new();
            notice.encode(&mut whole).expect("it fits");
            let again = cloakroom_wire::Message::decode(&whole).expect("it was encoded");
            let Body::Notice(Notice::Slots { parts }) = again.body else { panic!("WIRE-1: SLOTS") };
            assert_eq!(unpack(parts), Ok(vec![message]), "WIRE-1: in a notice");
        }
    }
}

/// What is left of a part.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// Whether it is a part that is known (true), a newer node's (false), or none.
    fn part(mut self) -> Option<bool> {
        self.skip(2 + 4)?;
        let known = match self.byte()? {
            0 => self.all(|it| {
                let which = it.byte()?;
                it.key()?;
                it.ballot()?;
                match which {
                    0 | 1 => Some(()),
                    2 => {
                        it.state()?;
                        it.maybe(Self::ballot)
                    }
                    _ => None,
                }
            }),
            1 => self.all(|it| {
                let which = it.byte()?;
                it.key()?;
                it.ballot()?;
                match which {
                    0 | 1 => {
                        it.skip(8)?;
                        it.maybe(Self::accepted)
                    }
                    2 => it.maybe(Self::ballot),
                    3 => it.ballot(),
                    _ => None,
                }
            }),
            2 => self.view(),
            3 => match self.byte()? {
                0 => self.ballot(),
                1 => self.ballot().and_then(|()| self.view()),
                _ => None,
            },
            4 => match self.byte()? {
                0 => {
                    self.ballot()?;
                    self.maybe(|it| it.ballot().and_then(|()| it.view()))
                }
                1 => self.ballot(),
                2 => self.ballot().and_then(|()| self.ballot()),
                _ => None,
            },
            5 => self.view().and_then(|()| self.view()),
            6 => self.view().and_then(|()| self.maybe(|it| it.key().map(|_| ()))),
            7 => self.maybe(|it| it.key().map(|_| ())),
            8 => self.page(),
            9 | 10 => Some(()),
            11 => self.all(|it| {
                let which = it.byte()?;
                it.key()?;
                it.ballot()?;
                match which {
                    0 => it.skip(8),
                    1 => Some(()),
                    _ => None,
                }
            }),
            12 => self.all(|it| it.key().and_then(|_| it.ballot())),
            13 => self.call(),
            14 => self.called(),
            15 => self.skip(12),
            _ => return Some(false),
        };
        known.filter(|()| self.0.is_empty()).map(|()| true)
    }

    fn call(&mut self) -> Option<()> {
        self.maybe(|it| it.skip(12))?;
        self.skip(12 + 8 + 4 + 16)?;
        self.key()?;
        self.maybe(|it| it.skip(8))?;
        match self.byte()? {
            0 => Some(()),
            1 => {
                match self.byte()? {
                    0 => {}
                    1 => self.value()?,
                    2 => self.skip(8)?,
                    _ => return None,
                }
                self.maybe(Self::value)
            }
            _ => None,
        }
    }

    fn called(&mut self) -> Option<()> {
        self.skip(12 + 8)?;
        match self.byte()? {
            0 => match self.byte()? {
                0 | 2 => self.maybe(|it| it.skip(8).and_then(|()| it.value())),
                1 | 4 => self.skip(8),
                3 => Some(()),
                _ => None,
            },
            1 => self.view(),
            2 => self.skip(12),
            _ => None,
        }
    }

    fn value(&mut self) -> Option<()> {
        let length = self.0.get(..3)?;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        self.skip(3)?;
        (length <= 65_536).then_some(())?;
        self.skip(usize::try_from(length).ok()?)
    }

    fn page(&mut self) -> Option<()> {
        self.skip(4)?;
        let mut last = match self.byte()? {
            0 => None,
            1 => Some(self.key()?),
            _ => return None,
        };
        self.ballot()?;
        self.skip(8)?;
        if self.byte()? > 1 {
            return None;
        }
        while !self.0.is_empty() {
            let key = self.key()?;
            self.accepted()?;
            if last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
        }
        Some(())
    }

    fn all(&mut self, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        while !self.0.is_empty() {
            one(self)?;
        }
        Some(())
    }

    fn maybe(&mut self, one: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        match self.byte()? {
            0 => Some(()),
            1 => one(self),
            _ => None,
        }
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.0.first()?;
        self.skip(1)?;
        Some(byte)
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(self.byte()?);
        let key = self.0.get(..length)?.to_vec();
        self.skip(length)?;
        Some(key)
    }

    fn ballot(&mut self) -> Option<()> {
        let seat = *self.0.get(8)?;
        self.skip(13)?;
        (seat < 15).then_some(())
    }

    fn state(&mut self) -> Option<()> {
        self.skip(8 + 16)?;
        self.maybe(Self::value)
    }

    fn accepted(&mut self) -> Option<()> {
        self.ballot()?;
        self.state()
    }

    fn view(&mut self) -> Option<()> {
        self.skip(4)?;
        let count = self.byte()?;
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.0.get(..32)?.to_vec());
            self.skip(40)?;
        }
        let before = nodes.len();
        nodes.sort();
        nodes.dedup();
        (1..=15).contains(&before).then_some(())?;
        (nodes.len() == before).then_some(())
    }
}
