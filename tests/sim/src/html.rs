//! Stub.
use crate::run::{Outcome, figures::Figures};
/// Stub.
pub fn page(_: &mut Outcome, _: &Figures) -> String { String::new() }
