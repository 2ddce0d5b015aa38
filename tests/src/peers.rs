// SPDX-License-Identifier: Apache-2.0
//! The foreign programs (peers) that the suite runs: judges (skopeo, umoci), servers
//! (docker-registry) and plain clients (curl). `peers.sh` installs them. The ones that it builds
//! itself, in fixed versions, are in a cache directory.
//!
//! A missing peer fails the test that needs it. Nothing is skipped, because a suite that skips
//! tests looks exactly like a suite that passes. Tests that need a peer are in a module
//! `with_peers` or `as_root`, so that all other tests can run on a machine without peers.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Programs that every Debian system has: any test may run them.
const EVERYWHERE: [&str; 14] = [
    "chgrp", "chmod", "chown", "cp", "dash", "gzip", "mkfifo", "mount", "prlimit", "setpriv", "sh",
    "tar", "umount", "unshare",
];

/// A command for a program that must exist.
///
/// # Panics
/// When it is not on the PATH.
#[track_caller]
pub fn peer(name: &str) -> Command {
    Command::new(find(name))
}

/// The path of a program.
///
/// # Panics
/// When it is not on the PATH, or when it is a peer and the test is not in a module `with_peers` or
/// `as_root`.
#[track_caller]
pub fn find(name: &str) -> PathBuf {
    // A test's thread has the name of the test, unless all tests run on one thread.
    let thread = std::thread::current();
    let test = thread.name().filter(|test| test.contains("::"));
    let may_need_peers =
        test.is_none_or(|test| test.contains("::with_peers::") || test.contains("::as_root::"));
    assert!(
        may_need_peers || EVERYWHERE.contains(&name),
        "{name} is not on every machine: this test belongs in a module `with_peers`"
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An unprivileged user's PATH often lacks the directories of servers.
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let dirs = built_peers().into_iter().chain(dirs);
    dirs.map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("needs {name}: \"make peers\" installs it"))
}

/// The directory of the programs that `peers.sh` builds.
fn built_peers() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(cache.join("regutils-peers"))
}

/// Runs a peer that must succeed, and returns its stdout.
///
/// # Panics
/// When it fails, with its output.
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
