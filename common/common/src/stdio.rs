// SPDX-License-Identifier: Apache-2.0
//! The standard streams, and the signals that concern them.
//!
//! The only module with `unsafe`, for tasks that std does not offer:
//! - std ignores SIGPIPE before `main`; this module restores the default action.
//! - std lets SIGXFSZ end the process; this module ignores the signal.
//! - std silently opens /dev/null for a standard stream that was closed. A tool whose stdout was
//!   closed would therefore lose its result and report success. This module detects a closed
//!   stream.
//! - std cannot report whether a signal is ignored, block a signal in a thread, or run code before
//!   a signal ends the process; this module can.
//! - std cannot use a file descriptor that the user gives as a number; this module can.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{StdinLock, Write};
use std::os::fd::{AsFd, FromRawFd as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result, Status};

static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before std's own start-up code, which replaces closed streams.
extern "C" fn look_at_streams() {
    // SAFETY: fcntl(F_GETFD) only reads the descriptor table, and atomics need no initialisation;
    // nothing here depends on std having started.
    unsafe {
        STDIN_CLOSED.store(libc::fcntl(0, libc::F_GETFD) == -1, Ordering::Relaxed);
        STDOUT_CLOSED.store(libc::fcntl(1, libc::F_GETFD) == -1, Ordering::Relaxed);
    }
}

// SAFETY: .init_array holds pointers to C functions without arguments. The loader calls each of
// them one time, before main. `look_at_streams` is such a function and uses nothing that needs
// initialisation.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STREAMS: extern "C" fn() = look_at_streams;

/// Whether the stream was closed when the process started.
fn was_closed(stream: &AtomicBool) -> bool {
    // Reading the static keeps the linker from dropping its section.
    std::hint::black_box(LOOK_AT_STREAMS as usize);
    stream.load(Ordering::Relaxed)
}

/// Restores the default action of SIGPIPE: if the reader of a pipe closes it, the tool ends
/// silently, as cat does. Sockets are not affected: std and ureq send with MSG_NOSIGNAL. Must be
/// called first in main.
pub fn restore_sigpipe() {
    // SAFETY: no thread exists yet, and SIG_DFL is a valid disposition.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Ignores SIGXFSZ. A write beyond `ulimit -f` then does not end the process: it fails with an
/// error, which is reported like a full disk. Must be called first in main.
pub fn ignore_sigxfsz() {
    // SAFETY: no thread exists yet, and SIG_IGN is a valid disposition.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// From now on, if the reader of a pipe closes it, the write fails and the process continues.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition, and no handler of ours is replaced.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Whether a signal is ignored, as `nohup` does before it starts a program.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros is a valid sigaction. The second argument is null, so the call changes
    // nothing and only writes the current action into `old`.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    }
}

/// Blocks SIGPIPE in this thread. If the reader of a pipe closes it, a write by this thread fails.
pub fn block_sigpipe() {
    // SAFETY: `set` is initialised by sigemptyset before it is used, and the last argument may be
    // null.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// The function that [`before_fatal_signals`] calls.
static BEFORE_SIGNAL: OnceLock<fn()> = OnceLock::new();

/// The signals that end a process by default, and that a user or another program sends.
const FATAL: [i32; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE, libc::SIGTERM];

/// Calls `cleanup`, which must only do what a signal handler may do, before a signal ends the
/// process. Signals that are ignored or have another handler are left unchanged.
pub(crate) fn before_fatal_signals(cleanup: fn()) {
    if BEFORE_SIGNAL.set(cleanup).is_err() {
        return;
    }
    extern "C" fn handle(signal: libc::c_int) {
        if let Some(cleanup) = BEFORE_SIGNAL.get() {
            cleanup();
        }
        // SAFETY: raise may be called in a handler. The default action was restored when the
        // handler was entered (SA_RESETHAND). It ends the process when the handler returns.
        unsafe {
            libc::raise(signal);
        }
    }
    for signal in FATAL {
        // SAFETY: all zeros is a valid sigaction, which is then filled in. `handle` calls only
        // functions that a handler may call.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut old);
            if old.sa_sigaction != libc::SIG_DFL {
                continue;
            }
            let mut new: libc::sigaction = std::mem::zeroed();
            new.sa_sigaction = handle as extern "C" fn(libc::c_int) as usize;
            new.sa_flags = libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const new, std::ptr::null_mut());
        }
    }
}

/// A copy of the file descriptor with this number, which the user gave.
///
/// # Errors
/// The system's error if it is not open.
pub fn descriptor(number: i32) -> std::io::Result<File> {
    // SAFETY: the call only reads the descriptor table and adds a new descriptor to it.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so that nothing else owns it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// Locks stdin for reading.
///
/// # Errors
/// Malformed if stdin was closed when the tool started: std would present it as empty.
pub fn stdin() -> Result<StdinLock<'static>> {
    if was_closed(&STDIN_CLOSED) {
        return Err(Error::malformed("standard input: closed"));
    }
    Ok(std::io::stdin().lock())
}

/// stdout as a plain file, unbuffered, for results.
///
/// # Errors
/// Local if stdout was closed when the tool started, or cannot be duplicated.
pub fn stdout() -> Result<File> {
    if was_closed(&STDOUT_CLOSED) {
        return Err(Error::new(Status::Local, "standard output: closed"));
    }
    let fd = std::io::stdout().as_fd().try_clone_to_owned();
    fd.map(File::from).map_err(|cause| Error::local("standard output", &cause))
}

/// A function that prints names on stdout, one on a line. It prints at most `limit` names, and
/// returns whether it would print another one. `limit` is at least 1.
///
/// # Errors
/// Local if stdout is closed. The returned function: Local if the write fails.
pub fn name_printer(limit: Option<u64>) -> Result<impl FnMut(&str) -> Result<bool>> {
    let mut output = stdout()?;
    let mut left = limit.unwrap_or(u64::MAX);
    Ok(move |name: &str| {
        let written = output.write_all(format!("{name}\n").as_bytes());
        written.map_err(|cause| Error::local("standard output", &cause))?;
        left = left.saturating_sub(1);
        Ok(left > 0)
    })
}

/// Writes a complete result to stdout.
///
/// # Errors
/// Local if stdout is closed or the write fails.
pub fn write_stdout(bytes: &[u8]) -> Result<()> {
    stdout()?.write_all(bytes).map_err(|cause| Error::local("standard output", &cause))
}
