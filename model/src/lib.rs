//! Exhaustive models.

pub mod opinions;
pub mod twin;
