// SPDX-License-Identifier: Apache-2.0
//! Start and end of a tool, and the only place that defines the rules of stderr:
//!
//! - An error is one line, `tool: what failed: why`: lower case, no "error:", with text from
//!   servers and files made printable. At most one more line follows: `tool: hint: …`.
//! - A problem that matters but did not stop the run is one line, `tool: warning: …`. Each kind of
//!   warning is printed once, with a count. `-q` suppresses all warnings.
//! - A run that had nothing to do may say so in one line, `tool: what: why`. `-q` suppresses it.
//! - When the first wait before a retry begins, one line is printed: `tool: waiting …`. Further
//!   waits are printed only on a terminal, or if they are long. `-q` suppresses these lines. A
//!   trace has them as comments.
//! - A trace (`--trace`) consists of blocks of complete lines: commands, and comments that begin
//!   with `#`. Each block is written in one call. `-q` does not suppress the trace. With a trace,
//!   no progress is shown unless the user asks for it. Errors, warnings and hints are then quoted
//!   so that a shell executes nothing in them.
//! - Success is silent. This module writes to stdout only for help and version. The version names
//!   the project and, in a release build, the commit: `fetch-blob (regutils) 0.1.0 (abc1234)`.
//! - The exit status is that of the [`Error`] in the error chain. An I/O error without one is a
//!   local failure (7). If nothing is new (8), there is no error line.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;

use crate::error::{Error, Status, printable};
use crate::operands::Operands;
use crate::shell::inert;
use crate::{notice, progress, screen, secret, stdio, usage};

static QUIET: AtomicBool = AtomicBool::new(false);
static TRACED: AtomicBool = AtomicBool::new(false);
static TOOL: OnceLock<&'static str> = OnceLock::new();
static HAS_WAITED: AtomicBool = AtomicBool::new(false);
static BEFORE_END: OnceLock<fn()> = OnceLock::new();

/// Sets whether warnings are dropped (`-q`).
pub fn quiet(yes: bool) {
    QUIET.store(yes, Ordering::Relaxed);
}

/// Prints why a successful run had nothing to do, unless it is quiet (`-q`).
pub fn inform(text: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        screen::write(&format!("{}: {}\n", tool(), shown(&text.to_string())));
    }
}

/// Turns the trace on. Returns the function that writes one block of it to stderr.
pub fn trace() -> fn(&str) {
    TRACED.store(true, Ordering::Relaxed);
    screen::write
}

/// Whether the trace is on.
pub fn is_traced() -> bool {
    TRACED.load(Ordering::Relaxed)
}

/// A shorter wait is not reported.
const REPORTED_WAIT: Duration = Duration::from_millis(100);

/// A wait of at least this time is always reported.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// Reports a wait that begins, if it is the first of the run, if it is long, or if stderr is a
/// terminal.
pub fn tell_wait(text: &str, wait: Duration) {
    if QUIET.load(Ordering::Relaxed) || wait < REPORTED_WAIT {
        return;
    }
    let is_first = !HAS_WAITED.swap(true, Ordering::Relaxed);
    if is_first || wait >= LONG_WAIT || std::io::stderr().is_terminal() {
        screen::write(&format!("{}: {}\n", tool(), shown(text)));
    }
}

/// The name of the running tool, as messages show it.
pub fn tool() -> &'static str {
    TOOL.get().copied().unwrap_or("regutils")
}

/// Runs a tool: sets up signals and streams, parses the command line, runs `story`, prints warnings
/// and the error line, and returns the exit status.
///
/// A wrong command line gives one error line and status 2. `--help` and `--version` are printed to
/// stdout.
pub fn run<Cli: Parser, E: Into<anyhow::Error>>(
    tool: &'static str,
    story: impl FnOnce(Cli) -> Result<(), E>,
) -> ExitCode {
    stdio::restore_sigpipe();
    stdio::ignore_sigxfsz();
    let _ = TOOL.set(tool);
    let args: Vec<OsString> = std::env::args_os().collect();
    match usage::parse(&args) {
        Ok(Some((cli, operands))) => end(tool, story(cli).map_err(Into::into), &operands),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => end(tool, Err(error), &Operands::default()),
    }
}

/// Prints the warnings, the error and the hint, and turns the outcome into an exit status.
fn end(tool: &str, outcome: anyhow::Result<()>, operands: &Operands) -> ExitCode {
    progress::end();
    if !QUIET.load(Ordering::Relaxed) {
        for notice in notice::take() {
            let more = match notice.count {
                1 => String::new(),
                n => format!(" ({n} times)"),
            };
            screen::write(&format!("{tool}: warning: {}{more}\n", shown(&notice.text)));
        }
    }
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let own = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if own.is_some_and(|error| error.status() == Status::Unchanged) {
        return ExitCode::from(Status::Unchanged as u8);
    }
    let message: Vec<String> = error.chain().map(message_of).collect();
    screen::write(&format!("{tool}: {}\n", shown(&message.join(": "))));
    // A hint about a mistaken operand is more useful than a hint about the failure that the operand
    // caused.
    let mistake = own.and_then(|error| operands.hint(error));
    if let Some(hint) = mistake.as_deref().or(own.and_then(Error::hint_text)) {
        screen::write(&format!("{tool}: hint: {}\n", shown(hint)));
    }
    ExitCode::from(own.map_or(Status::Local, Error::status) as u8)
}

/// Text prepared for stderr: secrets redacted, control characters escaped, length limited.
fn shown(text: &str) -> String {
    let text = printable(&secret::redact(text));
    // The user may paste a trace, with this line in it, into a shell.
    if is_traced() { inert(&text) } else { text }
}

/// Sets the `cleanup` that [`end_after`] calls before it ends the process. Only the first call has
/// an effect.
pub fn before_end(cleanup: fn()) {
    let _ = BEFORE_END.set(cleanup);
}

/// Ends the process after `limit`, whatever it is doing, with the status "try again later".
/// Finished and partial work is kept, and the next run continues from it.
pub fn end_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        if let Some(cleanup) = BEFORE_END.get() {
            cleanup();
        }
        let seconds = limit.as_secs_f64();
        screen::clear();
        screen::write(&format!("{}: out of time: not done after {seconds} seconds\n", tool()));
        std::process::exit(Status::Unavailable as i32);
    });
}

/// The text of one error in a chain. Errors of the system are rewritten to our message shape.
fn message_of(cause: &(dyn std::error::Error + 'static)) -> String {
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => crate::error::os_message(error),
        None => cause.to_string(),
    }
}
