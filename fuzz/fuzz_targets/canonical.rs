//! See `cloakroom_fuzz::canonical`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::canonical(bytes));
