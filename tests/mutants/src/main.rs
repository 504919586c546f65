//! Breaks the code on purpose.

fn main() {}
