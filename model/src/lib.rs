//! Exhaustive models.

pub mod article;
