// SPDX-License-Identifier: Apache-2.0
//! The programs of others that the suite runs: as judges (skopeo, umoci), as servers
//! (docker-registry) and as plain clients (curl).
//!
//! A missing one fails the test that needs it. Nothing is skipped, because a suite that skips looks
//! exactly like one that passes. What needs one is in a module `with_peers` or `as_root`, so that
//! all others can be run where there is none.

use std::path::PathBuf;
use std::process::{Command, Output};

/// What every Debian system has: any test may run it.
const EVERYWHERE: [&str; 14] = [
    "chgrp", "chmod", "chown", "cp", "dash", "gzip", "mkfifo", "mount", "prlimit", "setpriv", "sh",
    "tar", "umount", "unshare",
];

/// A command line to build on, for a program that must be there.
///
/// # Panics
/// When it is not on the PATH.
#[track_caller]
pub fn peer(name: &str) -> Command {
    Command::new(find(name))
}

/// Where a program is.
///
/// # Panics
/// When it is not on the PATH, or is a peer and the test does not say that it needs one.
#[track_caller]
pub fn find(name: &str) -> PathBuf {
    // The thread of a test has its name, unless there is one thread for all.
    let thread = std::thread::current();
    let test = thread.name().filter(|test| test.contains("::"));
    let says_so =
        test.is_none_or(|test| test.contains("::with_peers::") || test.contains("::as_root::"));
    assert!(
        says_so || EVERYWHERE.contains(&name),
        "{name} is not on every machine: this test belongs in a module `with_peers`"
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH often lacks the places of servers.
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("needs {name}: \"make peers\" installs it"))
}

/// Runs a peer that must succeed, and returns what it printed.
///
/// # Panics
/// When it fails, with all that it said.
#[track_caller]
pub fn must(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(
        status.success(),
        "{command:?}: {status}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    stdout
}
