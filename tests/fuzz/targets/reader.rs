// SPDX-License-Identifier: Apache-2.0
//! `fuzz::reader` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::reader(data));
