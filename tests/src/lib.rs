//! Checks across crates; they stand in `tests/`.
