// SPDX-License-Identifier: Apache-2.0
//! The harness of the suite. The tests themselves are in `suite/`; README.md in this package's
//! directory says how to add a test.
//!
//! | module | content |
//! |---|---|
//! | [`tools`] | running a built tool, or a pipeline of them, and checking the result |
//! | [`commands`] | the tools with the options that most tests use |
//! | [`terminal`] | a pseudo-terminal for a tool's output |
//! | [`tmux`] | a terminal with a shell, and the content of its screen |
//! | [`scratch`] | directories that are removed with the test; a disk that is too small |
//! | [`trees`] | directory trees, made and compared |
//! | [`peers`] | the foreign programs that the suite needs |
//! | [`images`] | small images, made byte by byte |
//! | [`schema1`] | Docker's manifests of schema 1 |
//! | [`referrers`] | manifests with a subject, and lists of them |
//! | [`curl`] | curl as a plain client |
//! | [`compare`] | the same requests to the scripted registry and to real ones, compared |
//! | [`layers`] | archives made block by block, including hostile ones |
//! | [`cage`] | a place to unpack layers in, with canaries around it |
//! | [`judges`] | checks that peers read an archive as we do |
//! | [`merged`] | list-layer's merged image, compared with the tree of unpack-layer |
//! | [`packages`] | real archives: Debian packages, crates, sources |
//! | [`certs`] | a certificate authority that exists as long as a test |
//! | [`nginx`] | nginx in front of a registry: TLS, client certificates, limits, redirects |
//! | [`servers`] | foreign servers, started on free ports and killed by process ID |
//! | [`fake`] | a scriptable HTTP server that can send every kind of wrong response |
//! | [`fake_registry`] | a scripted registry, correct until a test makes it misbehave |
//! | [`attack`] | a registry that sends its clients to an attacker |
//! | [`urls`] | URLs of every shape, and whether a client may follow them |
//! | [`push`] | a push to the scripted registry: the blob, the commands, the checks |
//! | [`logins`] | credentials as users store them, and registries that require them |
//! | [`token_server`] | a token server for a real registry |
//! | [`trace`] | a tool's trace, checked and run as a script |
//! | [`registry`] | a real registry: CNCF Distribution, version 2.8 or 3 |
//! | [`small_registries`] | small real registries: olareg and crane's |
//! | [`ports`] | ports that refuse connections |
//! | [`proxy`] | a proxy that keeps every byte it receives; for HTTP or SOCKS |
//! | [`squid`] | a real proxy |
//!
//! Not here: any code of `common` (a test double that shares code with its subject shares its
//! mistakes), fixed waiting times, the clock, and skipped tests: a missing peer fails the test.

// The harness reports by panicking: a panic fails the test and shows the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod attack;
pub mod cage;
pub mod certs;
pub mod commands;
pub mod compare;
pub mod curl;
pub mod fake;
pub mod fake_registry;
pub mod images;
pub mod judges;
pub mod layers;
pub mod logins;
pub mod merged;
pub mod nginx;
pub mod packages;
pub mod peers;
pub mod ports;
pub mod proxy;
pub mod push;
pub mod referrers;
pub mod registry;
pub mod schema1;
pub mod scratch;
pub mod servers;
pub mod small_registries;
pub mod squid;
pub mod terminal;
pub mod tmux;
pub mod token_server;
pub mod tools;
pub mod trace;
pub mod trees;
pub mod urls;

use std::time::{Duration, Instant};

/// The longest time that a test waits for anything. It is far above the time needed, so that a test
/// fails only if something hangs, and not on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Calls `ask` until it returns a value. Use it for conditions that another process makes true
/// later.
///
/// # Panics
/// When there is no value within [`PATIENCE`]; `what` names the condition.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
