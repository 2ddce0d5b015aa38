// SPDX-License-Identifier: Apache-2.0
//! Bytes on their way: verified while they pass, put under a final name only when they are right.
//!
//! Files and pipes, but no network: a program built of this and the words is offline by construction.

#[cfg(feature = "compress")]
pub mod compress;
pub mod growing;
pub mod ingest;
pub mod layout;
pub mod lines;
pub mod output;
pub mod parallel;
pub mod stdio;
pub mod tarball;
pub mod verify;
