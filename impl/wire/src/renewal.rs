//! The question for a newer certificate and its answers, which have streams of their own (`specs/wire.md`, section 9).
//!
//! Invariants:
//! * the question says nothing of who asks, nor for which key or names: the connection does;
//! * WIRE-1: an answer has one encoding;
//! * WIRE-2: it is bounded, and decoding allocates nothing.
//!
//! What it does not do: know what a certificate is.

use alloc::vec::Vec;

use crate::decode::text;
use crate::encode::limit;
use crate::error::{DecodeError, EncodeError, Fault, Limit};
use crate::fixed::Fixed;
use crate::{MAX_CERTIFICATE_BYTES, MAX_DETAIL_BYTES};

/// All bytes of the question.
pub const RENEW: [u8; 1] = [1];

/// The longest answer, in bytes.
pub const MAX_RENEWAL_BYTES: usize = 1 + MAX_CERTIFICATE_BYTES;

const RENEWED: u8 = 0;
const NOT_HERE: u8 = 1;
const REFUSED: u8 = 2;

/// What is answered to who asks for a newer certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal<'a> {
    /// It is this one, in DER.
    Renewed(&'a [u8]),
    /// The authority is not here; another member may have it.
    NotHere,
    /// There is none, and why, for people.
    Refused(&'a str),
}

impl<'a> Renewal<'a> {
    /// Its bytes.
    ///
    /// # Errors
    /// More than [`MAX_CERTIFICATE_BYTES`], or [`MAX_DETAIL_BYTES`] of text.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let (which, rest) = match self {
            Self::Renewed(certificate) => {
                limit(Limit::Certificate, certificate.len())?;
                (RENEWED, *certificate)
            }
            Self::NotHere => (NOT_HERE, &[][..]),
            Self::Refused(why) => {
                limit(Limit::Detail, why.len())?;
                (REFUSED, why.as_bytes())
            }
        };
        let mut bytes = Vec::with_capacity(1 + rest.len());
        bytes.push(which);
        bytes.extend_from_slice(rest);
        Ok(bytes)
    }

    /// From all bytes of a stream.
    ///
    /// # Errors
    /// It is none of these, or of a newer node.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fixed = Fixed::new(bytes);
        let which = fixed.choice(REFUSED)?;
        let at = fixed.offset();
        let is_bounded = |what: Limit, got: usize| what.check(got).map_err(|fault| fault.at(at));
        match which {
            RENEWED => {
                let certificate = fixed.rest();
                is_bounded(Limit::Certificate, certificate.len())?;
                Ok(Self::Renewed(certificate))
            }
            NOT_HERE => fixed.end().map(|()| Self::NotHere),
            _ => {
                let why = fixed.rest();
                is_bounded(Limit::Detail, why.len())?;
                let why =
                    text(why).map_err(|(behind, fault): (usize, Fault)| fault.at(at + behind));
                why.map(Self::Refused)
            }
        }
    }

    /// As [`Renewal::Refused`], with as much of the text as may be sent.
    pub fn refused(why: &'a str) -> Self {
        Self::Refused(&why[..why.floor_char_boundary(MAX_DETAIL_BYTES)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn limits_hold_both_ways_and_no_text_is_cut_within_a_letter() {
        let largest = vec![7; MAX_CERTIFICATE_BYTES];
        let bytes = Renewal::Renewed(&largest).encode().unwrap();
        assert_eq!(
            (bytes.len(), Renewal::decode(&bytes)),
            (MAX_RENEWAL_BYTES, Ok(Renewal::Renewed(&largest)))
        );
        let larger = vec![7; MAX_CERTIFICATE_BYTES + 1];
        assert!(Renewal::Renewed(&larger).encode().is_err());
        let larger = [&[RENEWED][..], &larger].concat();
        let most = Fault::TooMuch { what: Limit::Certificate, most: 16_384, got: 16_385 };
        assert_eq!(Renewal::decode(&larger), Err(most.at(1)));
        let why = "x".repeat(255) + "ü";
        assert!(Renewal::Refused(&why).encode().is_err());
        let Renewal::Refused(said) = Renewal::refused(&why) else { panic!("another answer") };
        assert_eq!(said.len(), 255);
        assert_eq!(
            Renewal::decode(&Renewal::refused(&why).encode().unwrap()),
            Ok(Renewal::Refused(said))
        );
    }
}
