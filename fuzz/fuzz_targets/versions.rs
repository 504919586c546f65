//! See `cloakroom_fuzz::versions`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::versions(bytes));
