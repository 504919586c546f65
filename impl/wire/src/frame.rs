//! Messages out of a stream of bytes, however it was cut on its way.
//!
//! A frame is a message behind its length: four bytes, greatest first, from [`HEADER_BYTES`] to
//! [`MAX_MESSAGE_BYTES`].
//!
//! Invariants:
//! * WIRE-4: which messages come out depends on the bytes alone, not on where the stream was cut;
//! * WIRE-2: room is taken for bytes that have come, never for those that a length announces; whoever
//!   takes all frames out after each push holds at most one unfinished frame and one push, and the
//!   vector that they stand in is at most twice as large, or as large as it ever was;
//! * a stream with a wrong length has no next frame: from then on there is only the error.
//!
//! What it does not do: read, time out, or decode messages.

use alloc::vec::Vec;
use thiserror::Error;

use crate::MAX_MESSAGE_BYTES;
use crate::message::HEADER_BYTES;

/// Bytes in front of a message in a frame: its length.
pub const FRAME_HEAD_BYTES: usize = 4;

/// A length that no message has: the peer's fault, and the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "frame at byte {offset}: expected a length of {HEADER_BYTES} to {MAX_MESSAGE_BYTES}, got {got}"
)]
pub struct FrameError {
    /// Of the frame, from the start of the stream or slice.
    pub offset: u64,
    /// Its length.
    pub got: u32,
}

/// A message, and the bytes behind its frame; `None` while the frame is not whole.
pub type Split<'a> = Option<(&'a [u8], &'a [u8])>;

/// The message of the frame at the front of some bytes, and the bytes behind it.
///
/// # Errors
/// [`FrameError`] as soon as the length stands there and is wrong.
pub fn split_frame(bytes: &[u8]) -> Result<Split<'_>, FrameError> {
    let Some((&head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(None);
    };
    let got = u32::from_be_bytes(head);
    match usize::try_from(got) {
        Ok(length @ HEADER_BYTES..=MAX_MESSAGE_BYTES) => Ok(rest.split_at_checked(length)),
        _ => Err(FrameError { offset: 0, got }),
    }
}

/// Takes bytes as they come, and gives messages.
#[derive(Clone, Debug, Default)]
pub struct FrameReader {
    /// What has come; up to `start` it was given out.
    buffer: Vec<u8>,
    start: usize,
    /// Of `buffer[start]` in the stream.
    offset: u64,
    broken: Option<FrameError>,
}

impl FrameReader {
    /// At the start of a stream.
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, offset: 0, broken: None }
    }

    /// Takes the next bytes of the stream. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        // What was given out goes first: at most one unfinished frame has to be moved, and only once.
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, not decoded; `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError`], from now on always the same.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        match split_frame(&self.buffer[self.start..]) {
            Ok(None) => Ok(None),
            Ok(Some((message, _))) => {
                let taken = FRAME_HEAD_BYTES + message.len();
                self.start += taken;
                // At most MAX_MESSAGE_BYTES and four.
                self.offset += u64::try_from(taken).unwrap_or(0);
                let from = self.start - message.len();
                Ok(Some(&self.buffer[from..self.start]))
            }
            Err(error) => {
                let error = FrameError { offset: self.offset, ..error };
                self.broken = Some(error);
                self.buffer = Vec::new();
                self.start = 0;
                Err(error)
            }
        }
    }

    /// How many bytes wait for the rest of their frame.
    pub const fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn frame(length: usize) -> Vec<u8> {
        let head = u32::try_from(length).unwrap().to_be_bytes();
        head.into_iter().chain((0..length).map(|byte| byte.to_le_bytes()[0])).collect()
    }

    #[test]
    fn lengths_are_refused_as_soon_as_they_stand_there() {
        for got in [0, 9, 131_073, u32::MAX] {
            let mut reader = FrameReader::new();
            reader.push(&frame(10));
            reader.push(&got.to_be_bytes()[..3]);
            assert_eq!(reader.next_frame().unwrap().unwrap().len(), 10);
            assert_eq!(reader.next_frame(), Ok(None));
            reader.push(&got.to_be_bytes()[3..]);
            for _ in 0..2 {
                assert_eq!(reader.next_frame(), Err(FrameError { offset: 14, got }));
                reader.push(&[0; 1000]);
                assert_eq!((reader.waiting(), reader.buffer.capacity()), (0, 0));
            }
        }
        for length in [10, MAX_MESSAGE_BYTES] {
            assert_eq!(split_frame(&frame(length)).unwrap().unwrap().0.len(), length);
        }
    }

    #[test]
    fn room_is_taken_for_what_has_come_not_for_what_is_announced() {
        let mut reader = FrameReader::new();
        reader.push(&131_072_u32.to_be_bytes());
        assert_eq!(reader.next_frame(), Ok(None));
        assert!(reader.buffer.capacity() <= 64);
        let bytes = frame(MAX_MESSAGE_BYTES).repeat(3);
        let mut reader = FrameReader::new();
        let mut lengths = vec![];
        for piece in bytes.chunks(1000) {
            reader.push(piece);
            while let Some(message) = reader.next_frame().unwrap() {
                lengths.push(message.len());
            }
            let most = 2 * (FRAME_HEAD_BYTES + MAX_MESSAGE_BYTES + 1000);
            assert!(reader.buffer.capacity() <= most, "{}", reader.buffer.capacity());
        }
        assert_eq!(lengths, [MAX_MESSAGE_BYTES; 3]);
    }
}
