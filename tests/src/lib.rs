// SPDX-License-Identifier: Apache-2.0
//! What the suite stands on. The tests themselves are in `tests/`; how to add one is in
//! README.md beside this package's Cargo.toml.
//!
//! | module | is |
//! |---|---|
//! | [`tools`] | running a built tool, or a pipeline of them, and judging how it ended |
//! | [`commands`] | what most tests begin with |
//! | [`scratch`] | directories that go away with the test; a disk that is too small |
//! | [`trees`] | trees of files, made and compared |
//! | [`peers`] | the programs of others that the suite needs |
//! | [`images`] | small images, made here byte by byte |
//! | [`curl`] | a plain client |
//! | [`layers`] | archives made block by block, hostile ones too |
//! | [`cage`] | a place to unpack layers in, with canaries around it |
//! | [`judges`] | whether others read an archive as we do |
//! | [`packages`] | real archives: Debian's, crates, sources |
//! | [`certs`] | a certificate authority that lives as long as a test |
//! | [`nginx`] | a front before a registry: TLS, client certificates, limits, redirects |
//! | [`servers`] | servers of others, started on free ports and killed by their pids |
//! | [`fake`] | a scriptable HTTP server: every wrong answer there is |
//! | [`fake_registry`] | on top of it, a registry that answers rightly until told otherwise |
//! | [`attack`] | one that sends its clients to somebody who wants their secrets |
//! | [`urls`] | URLs of every shape, and which of them may be followed |
//! | [`push`] | a push to it: the blob, the commands, the judgement |
//! | [`logins`] | credentials as users keep them, and registries that want them |
//! | [`token_server`] | a token server for a real registry |
//! | [`trace`] | a tool's trace, judged and run as a script |
//! | [`registry`] | a real one: Debian's docker-registry |
//! | [`ports`] | ports that refuse connections |
//! | [`proxy`] | a proxy that keeps every byte it is sent; it speaks HTTP or SOCKS |
//! | [`squid`] | a real one |
//!
//! Deliberately absent: any code of `common` (a double that shares code with its subject shares
//! its mistakes), sleeping, the clock, and skipping: a peer that is missing fails the test.

// A harness reports by panicking: that is what makes a test fail, with the reason in words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod attack;
pub mod cage;
pub mod certs;
pub mod commands;
pub mod curl;
pub mod fake;
pub mod fake_registry;
pub mod images;
pub mod judges;
pub mod layers;
pub mod logins;
pub mod nginx;
pub mod packages;
pub mod peers;
pub mod ports;
pub mod proxy;
pub mod push;
pub mod registry;
pub mod scratch;
pub mod servers;
pub mod squid;
pub mod token_server;
pub mod tools;
pub mod trace;
pub mod trees;
pub mod urls;

use std::time::{Duration, Instant};

/// How long anything may take before the test is given up: far above what is needed, so that a
/// slow machine does not fail, and only a hang does.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is an answer. For what another process makes true in its own time.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
