//! Exhaustive models.

pub mod twin;
