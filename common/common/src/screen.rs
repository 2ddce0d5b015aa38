// SPDX-License-Identifier: Apache-2.0
//! stderr, which may be a terminal with a line of progress. The line is cleared before anything else
//! is written to the terminal, and drawn again after it.
//!
//! The cursor stays at the start of the line. If the terminal gets narrower and the line is wrapped,
//! the cursor is then at its first row, and clearing to the end of the screen removes all rows.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Clears the line of progress, and everything below it.
const CLEAR: &str = "\r\x1b[J";

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
        Some(line) => format!("{CLEAR}{text}{line}\r"),
    };
    put(&text);
}

/// Calls `write`, which writes complete lines to stdout, if stdout is a terminal: probably the same
/// as that of stderr.
pub fn around<T>(write: impl FnOnce() -> T) -> T {
    let line = line();
    match &*line {
        Some(line) if std::io::stdout().is_terminal() => {
            put(CLEAR);
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
    put(&format!("{CLEAR}{text}\r"));
    *line = Some(text);
}

/// Removes the line of progress.
pub(crate) fn clear() {
    if line().take().is_some() {
        put(CLEAR);
    }
}

fn put(text: &str) {
    // A write error is ignored: a lost message is no reason to stop.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
