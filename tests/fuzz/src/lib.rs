// SPDX-License-Identifier: Apache-2.0
//! Fuzz targets: what must hold of a parser whatever bytes it is given.
//!
//! Each is an ordinary function of some bytes that panics if its property does not hold.
//! `tests/corpus.rs` calls it with every file of `corpus/TARGET` and with variations of them;
//! cargo-fuzz calls it from `targets/TARGET.rs` (`tests/README.md` says how).
//!
//! A new target is a module here, a file in `targets`, a `[[bin]]` in Cargo.toml, a test in
//! `tests/corpus.rs`, and at least five small files in `corpus/TARGET`.

// A property that does not hold is a panic: that is how libFuzzer sees it.
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
