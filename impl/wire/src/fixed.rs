//! Contents of fixed layout: numbers, strings, choices, one behind the other, without tags. For the
//! parts of a notice, whose crates know what stands in them and own its meaning.
//!
//! Invariants:
//! * WIRE-1: a number has one width, a string one length, and whoever has read all says so
//!   ([`Fixed::end`]), so that bytes behind are refused;
//! * WIRE-2: nothing is allocated, and nothing panics. Lists have no counts to believe: they fill what
//!   they stand in ([`Fixed::is_done`]).
//!
//! What it does not do: know what is read. Newer nodes cannot add to a fixed layout; they use another
//! one, under another number.

use alloc::vec::Vec;

use crate::decode::text;
use crate::encode::limit;
use crate::error::{DecodeError, EncodeError, Fault, Limit};

/// Reads from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Fixed<'a> {
    /// At the front. Offsets of errors count from here.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    /// Where it is.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// All that is left.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.offset += rest.len();
        self.rest = &[];
        rest
    }

    /// Whether all is read.
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// That all is read.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn end(&self) -> Result<(), DecodeError> {
        let left = Fault::Length { expected: self.offset, got: self.offset + self.rest.len() };
        if self.is_done() { Ok(()) } else { Err(left.at(self.offset)) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let short = Fault::Short { expected: count, got: self.rest.len() };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(short.at(self.offset))?;
        self.rest = rest;
        self.offset += count;
        Ok(taken)
    }

    /// So many bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let short = Fault::Short { expected: N, got: self.rest.len() }.at(self.offset);
        self.take(N)?.try_into().map_err(|_| short)
    }

    /// One byte.
    ///
    /// # Errors
    /// There is none.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A number of two bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A number of four bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of eight bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Which of several follows: 0 to `most`.
    ///
    /// # Errors
    /// None of them.
    pub fn choice(&mut self, most: u8) -> Result<u8, DecodeError> {
        let at = self.offset;
        let got = self.u8()?;
        if got > most { Err(Fault::Choice { most, got }.at(at)) } else { Ok(got) }
    }

    /// Bytes behind their length in one byte.
    ///
    /// # Errors
    /// There are fewer.
    pub fn short(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// Text behind its length in one byte.
    ///
    /// # Errors
    /// There are fewer bytes, or they are no UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.short()?;
        let begin = self.offset - bytes.len();
        text(bytes).map_err(|(at, fault)| fault.at(begin + at))
    }

    /// A value behind its length in three bytes.
    ///
    /// # Errors
    /// There are fewer, or too many.
    pub fn value(&mut self) -> Result<&'a [u8], DecodeError> {
        let [high, middle, low] = self.array()?;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Limit::Value.check(length).map_err(|fault| fault.at(self.offset))?;
        self.take(length)
    }
}

/// Appends bytes behind their length in one byte.
///
/// # Errors
/// More than [`MAX_SHORT_BYTES`](crate::MAX_SHORT_BYTES); nothing is appended.
pub fn put_short(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    limit(Limit::Short, bytes.len())?;
    let [.., length] = bytes.len().to_be_bytes();
    to.push(length);
    to.extend_from_slice(bytes);
    Ok(())
}

/// Appends a value behind its length in three bytes.
///
/// # Errors
/// More than [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES); nothing is appended.
pub fn put_value(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    limit(Limit::Value, bytes.len())?;
    let [.., high, middle, low] = bytes.len().to_be_bytes();
    to.extend_from_slice(&[high, middle, low]);
    to.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_was_put_is_read_and_nothing_may_be_left() {
        let mut bytes = vec![2];
        put_short(&mut bytes, b"coat").unwrap();
        put_value(&mut bytes, b"").unwrap();
        let mut fixed = Fixed::new(&bytes);
        assert_eq!((fixed.choice(2), fixed.short()), (Ok(2), Ok(&b"coat"[..])));
        assert_eq!(fixed.end(), Err(Fault::Length { expected: 6, got: 9 }.at(6)));
        assert_eq!((fixed.value(), fixed.end()), (Ok(&b""[..]), Ok(())));
        assert_eq!(Fixed::new(&bytes[1..]).text(), Ok("coat"));
        assert_eq!(Fixed::new(b"\x02c\xc3").text(), Err(Fault::Text { got: 0xc3 }.at(2)));
        assert_eq!(Fixed::new(&bytes).choice(1), Err(Fault::Choice { most: 1, got: 2 }.at(0)));
        assert_eq!(
            Fixed::new(&bytes[1..4]).short(),
            Err(Fault::Short { expected: 4, got: 2 }.at(1))
        );
    }

    #[test]
    fn limits_hold_both_ways() {
        let mut bytes = Vec::new();
        assert!(
            put_short(&mut bytes, &[0; 256]).is_err() && put_short(&mut bytes, &[0; 255]).is_ok()
        );
        bytes.clear();
        assert!(put_value(&mut bytes, &vec![0; 65_537]).is_err());
        assert!(put_value(&mut bytes, &vec![0; 65_536]).is_ok());
        assert_eq!(Fixed::new(&bytes).value().map(<[u8]>::len), Ok(65_536));
        bytes[2] = 1;
        let most = Fault::TooMuch { what: Limit::Value, most: 65_536, got: 65_537 };
        assert_eq!(Fixed::new(&bytes).value(), Err(most.at(3)));
    }
}
