// SPDX-License-Identifier: Apache-2.0
//! Fuzz targets: properties of parsers that hold for any input.
//!
//! Each target is an ordinary function. Its argument is bytes, and it panics if its property does
//! not hold for them. `tests/corpus.rs` calls it with every file of `corpus/TARGET` and with
//! variations of these files; cargo-fuzz calls it from `targets/TARGET.rs` (see `tests/README.md`).
//!
//! A new target needs a module here, a file in `targets`, a `[[bin]]` section in Cargo.toml, a test
//! in `tests/corpus.rs`, and at least five small files in `corpus/TARGET`.

// libFuzzer detects a violated property as a panic.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod challenge;
mod manifest;
mod reader;
mod reference;
mod url;

pub use challenge::challenge;
pub use manifest::manifest;
pub use reader::reader;
pub use reference::reference;
pub use url::url;
