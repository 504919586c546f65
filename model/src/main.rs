//! The `cloakroom-model` command.

fn main() {}
