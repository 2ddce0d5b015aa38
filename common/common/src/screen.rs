// SPDX-License-Identifier: Apache-2.0
//! stderr, which may be a terminal with a line of progress. The line is cleared before anything
//! else is written to the terminal, and drawn again after it.
//!
//! The cursor stays at the start of the line. If the terminal gets narrower and the line is
//! wrapped, the cursor is then at its first row, and the rows below it are cleared too.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{stdio, terminal};

/// Clears a row.
const CLEAR_ROW: &str = "\r\x1b[K";

/// Clears a line that was drawn, with all its rows. The sequence that clears to the end of the
/// screen is not used: with the cursor in the first row, tmux would save the screen each time.
fn clearing(line: &str) -> String {
    let below = line.len().saturating_sub(1) / terminal::width(std::io::stderr()).max(1);
    let mut sequence = CLEAR_ROW.to_owned();
    if below > 0 {
        sequence.push_str(&format!("\x1b[B{CLEAR_ROW}").repeat(below));
        sequence.push_str(&format!("\x1b[{below}A"));
    }
    sequence
}

/// The line that is drawn at the moment.
static LINE: Mutex<Option<String>> = Mutex::new(None);

fn line() -> MutexGuard<'static, Option<String>> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes complete lines to stderr.
pub fn write(text: &str) {
    let line = line();
    let text = match &*line {
        None => text.to_owned(),
        Some(line) => format!("{}{text}{line}\r", clearing(line)),
    };
    put(&text);
}

/// Calls `write`, which writes complete lines to stdout. If stdout is a terminal, it is probably
/// the same as that of stderr: the line of progress is then cleared before the call and drawn again
/// after it.
pub fn around<T>(write: impl FnOnce() -> T) -> T {
    let line = line();
    match &*line {
        Some(line) if std::io::stdout().is_terminal() => {
            put(&clearing(line));
            let outcome = write();
            put(&format!("{line}\r"));
            outcome
        }
        _ => write(),
    }
}

/// Draws the line of progress, which must fit into the terminal's width.
pub(crate) fn draw(text: String) {
    let mut line = line();
    if !IS_DRAWN.swap(true, Ordering::Relaxed) {
        stdio::before_fatal_signals(clear_in_handler);
    }
    let clearing = line.as_deref().map(clearing).unwrap_or_default();
    put(&format!("{clearing}{CLEAR_ROW}{text}\r"));
    *line = Some(text);
}

/// Removes the line of progress.
pub fn clear() {
    if let Some(line) = line().take() {
        IS_DRAWN.store(false, Ordering::Relaxed);
        put(&clearing(&line));
    }
}

/// Forgets the line without clearing it, because another program may have written over it.
pub(crate) fn forget() {
    IS_DRAWN.store(false, Ordering::Relaxed);
    line().take();
}

/// Whether a line is drawn, for a signal handler.
static IS_DRAWN: AtomicBool = AtomicBool::new(false);

/// Clears the line of progress before a signal ends the process. May be called in a signal handler.
pub(crate) fn clear_in_handler() {
    if IS_DRAWN.swap(false, Ordering::Relaxed) {
        let _ = rustix::io::write(rustix::stdio::stderr(), CLEAR_ROW.as_bytes());
    }
}

fn put(text: &str) {
    // A write error is ignored: the run must not fail because of a lost message.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
