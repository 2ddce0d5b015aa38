// SPDX-License-Identifier: Apache-2.0
//! `fuzz::url` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::url(data));
