// SPDX-License-Identifier: Apache-2.0
//! The standard streams, and what a process owes to the pipe it stands in.
//!
//! The only module with `unsafe`, for what std does not offer: it ignores SIGPIPE before `main`, it
//! lets SIGXFSZ end the process, it quietly opens /dev/null in the place of a closed standard
//! stream, so that a tool whose stdout was closed would write its result nowhere and report
//! success, and it cannot tell whether a signal is ignored.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{StdinLock, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result, Status};

static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before std's own start-up, which replaces closed streams.
extern "C" fn look_at_streams() {
    // SAFETY: fcntl(F_GETFD) only reads the descriptor table, and atomics need no initialisation;
    // nothing here depends on std having started.
    unsafe {
        STDIN_CLOSED.store(libc::fcntl(0, libc::F_GETFD) == -1, Ordering::Relaxed);
        STDOUT_CLOSED.store(libc::fcntl(1, libc::F_GETFD) == -1, Ordering::Relaxed);
    }
}

// SAFETY: .init_array holds pointers to C functions without arguments that the loader calls once
// before main; `look_at_streams` is one and touches nothing that is not ready by then.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STREAMS: extern "C" fn() = look_at_streams;

/// Whether the stream was closed when the process started.
fn was_closed(stream: &AtomicBool) -> bool {
    // Reading the static keeps the linker from dropping its section.
    std::hint::black_box(LOOK_AT_STREAMS as usize);
    stream.load(Ordering::Relaxed)
}

/// Gives SIGPIPE its default back: a reader that goes away ends the tool quietly, as it does cat.
/// Sockets are not concerned: std and ureq send with MSG_NOSIGNAL. To be called first thing in
/// main.
pub fn restore_sigpipe() {
    // SAFETY: no thread exists yet, and SIG_DFL is a valid disposition.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Makes a file that grows beyond `ulimit -f` an error of the write, to be told like a full disk,
/// and not the end of the process. To be called first thing in main.
pub fn ignore_sigxfsz() {
    // SAFETY: no thread exists yet, and SIG_IGN is a valid disposition.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// From here on a reader that goes away makes a write fail, and does not end the process.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition, and no handler of ours is replaced.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Whether a signal is ignored, as `nohup` sees to before it starts a program.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros is a valid sigaction, and without a new one the call only writes the old
    // one into it.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    }
}

/// stdin, to be read.
///
/// # Errors
/// Malformed when the tool was started with it closed: std would show an empty one.
pub fn stdin() -> Result<StdinLock<'static>> {
    if was_closed(&STDIN_CLOSED) {
        return Err(Error::malformed("standard input: closed"));
    }
    Ok(std::io::stdin().lock())
}

/// stdout as a plain file, unbuffered, for results.
///
/// # Errors
/// Local trouble when the tool was started with it closed.
pub fn stdout() -> Result<File> {
    if was_closed(&STDOUT_CLOSED) {
        return Err(Error::new(Status::Local, "standard output: closed"));
    }
    let fd = std::io::stdout().as_fd().try_clone_to_owned();
    fd.map(File::from).map_err(|cause| Error::local("standard output", &cause))
}

/// Writes a whole result to stdout.
///
/// # Errors
/// Local trouble when it is closed or full.
pub fn write_stdout(bytes: &[u8]) -> Result<()> {
    stdout()?.write_all(bytes).map_err(|cause| Error::local("standard output", &cause))
}
