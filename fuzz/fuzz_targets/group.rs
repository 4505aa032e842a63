//! Any sequence of operations on lanes that share a budget, judged after each of
//! them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| laneway::fuzzing::group(bytes));
