//! What whoever acts on messages does with bytes that came in: `specs/wire.md`, section 5.
//!
//! Invariants: WIRE-3: only a request is answered when it is not understood, with the code of its fault; a request of
//! an unknown kind is one of them.
//!
//! What it does not do: act on a message, or refuse what only who acts can judge, as a purpose that is not known.

use alloc::string::ToString;

use crate::error::{DecodeError, Fault};
use crate::message::{Body, Header, Message};
use crate::owned::OwnedMessage;

/// Of the kind in a message.
const KIND_OFFSET: usize = 1;

impl<'a> Message<'a> {
    /// As [`Message::decode`]; but what is of an unknown kind, and cannot be acted on, is an error too.
    ///
    /// # Errors
    /// [`DecodeError`], and [`DecodeError::answer`] is what to send back.
    pub fn receive(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let decoded = Self::decode(bytes);
        if let Ok(Self { body: Body::Unknown(unknown), .. }) = decoded {
            return Err(Fault::Kind { got: unknown.kind }.at(KIND_OFFSET));
        }
        decoded
    }
}

impl DecodeError {
    /// What to answer to the bytes that have this fault: an error to a request, nothing to anything else.
    pub fn answer(&self, bytes: &[u8]) -> Option<OwnedMessage> {
        let header = Header::peek(bytes)?;
        header.refusal(self.code(), &self.to_string()).map(|refusal| refusal.to_owned())
    }
}
