//! See `cloakroom_fuzz::pool`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::pool(bytes));
