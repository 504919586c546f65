//! See `cloakroom_fuzz::slots`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::slots(bytes));
