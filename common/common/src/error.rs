// SPDX-License-Identifier: Apache-2.0
//! The one error that carries an exit status, and the cleaning of foreign text.
//!
//! Every tool ends with the same statuses, so the status is decided where the
//! failure is understood and travels with the error. Words that only explain are
//! added on the way up with [`Error::context`] or, in a tool, with `anyhow`'s.

use std::fmt;

use crate::secret;

/// Why a run failed, as the process's exit status: the same in every tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The content is not what was asked for: digest, size, diff ID or number of layers differ.
    Content = 1,
    /// Wrong usage: flags, operands, references and digests that a person typed.
    Usage = 2,
    /// Not there: tag, manifest, blob, repository, platform.
    Absent = 3,
    /// Refused: credentials or permission at the registry.
    Refused = 4,
    /// Try again later: network, time-out, 429, 5xx, after our own retries.
    Unavailable = 5,
    /// Malformed, unsupported, hostile or missing input, or content that the registry rejected.
    Malformed = 6,
    /// Local trouble: disk full, permission, unwritable output, a directory in the way.
    Local = 7,
}

/// A failure: its status, what failed and why in one line, and perhaps what to do next.
///
/// The text follows the shape `what failed: why`, lower case, no full stop; the
/// tool's name is put in front once, by [`exit`](crate::exit).
#[derive(Clone, Debug)]
pub struct Error {
    status: Status,
    message: String,
    hint: Option<String>,
}

/// The result of everything in this crate that can fail with a status.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of the given status.
    pub fn new(status: Status, message: impl fmt::Display) -> Error {
        Error { status, message: message.to_string(), hint: None }
    }

    /// [`Status::Content`].
    pub fn content(message: impl fmt::Display) -> Error {
        Error::new(Status::Content, message)
    }

    /// [`Status::Usage`].
    pub fn usage(message: impl fmt::Display) -> Error {
        Error::new(Status::Usage, message)
    }

    /// [`Status::Absent`].
    pub fn absent(message: impl fmt::Display) -> Error {
        Error::new(Status::Absent, message)
    }

    /// [`Status::Refused`].
    pub fn refused(message: impl fmt::Display) -> Error {
        Error::new(Status::Refused, message)
    }

    /// [`Status::Unavailable`].
    pub fn unavailable(message: impl fmt::Display) -> Error {
        Error::new(Status::Unavailable, message)
    }

    /// [`Status::Malformed`].
    pub fn malformed(message: impl fmt::Display) -> Error {
        Error::new(Status::Malformed, message)
    }

    /// [`Status::Local`], from what was tried (a verb and the name as the user knows it) and
    /// the system's answer.
    pub fn local(what: impl fmt::Display, cause: &std::io::Error) -> Error {
        Error::new(Status::Local, format_args!("{what}: {}", os_words(cause)))
    }

    /// The same failure with a hint: what to do next, printed as a line of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Error {
        self.hint = Some(hint.to_string());
        self
    }

    /// The same failure with what was being done put in front.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Error {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The exit status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The system's words for an I/O error, lower case and without the "(os error 28)".
pub fn os_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut words = String::with_capacity(text.len());
    let mut chars = text.chars();
    if let Some(first) = chars.next() {
        // "No space left", but "I/O error" and "EOF" keep their capitals.
        let next_is_lower = chars.clone().next().is_some_and(char::is_lowercase);
        if next_is_lower { words.extend(first.to_lowercase()) } else { words.push(first) }
    }
    words.extend(chars);
    words
}

/// The most bytes of foreign text that one message shows.
pub const MAX_FOREIGN_TEXT: usize = 1024;

/// Text that came from a server, a layer or a file, made fit to print on one line: control
/// characters (escape sequences, newlines) become `\u{..}` escapes, bidirectional overrides too,
/// and it is cut at [`MAX_FOREIGN_TEXT`] bytes. Secrets go before that: of one that was escaped or
/// cut nobody would know any more that it is one.
pub fn printable(text: &str) -> String {
    let text = secret::redact(text);
    let mut clean = String::with_capacity(text.len().min(MAX_FOREIGN_TEXT));
    for c in text.chars() {
        if clean.len() >= MAX_FOREIGN_TEXT {
            clean.push('…');
            break;
        }
        if is_steering(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// The error inside an I/O error, or the system's.
pub fn source_error(cause: &std::io::Error) -> Error {
    match cause.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::local("read the source", cause),
    }
}

/// Whether a character steers a terminal, or shows text as another: a control character, what has
/// no width, a bidirectional override.
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        assert_eq!(printable("a\x1b[31mb\nc\u{202e}"), "a\\u{1b}[31mb\\nc\\u{202e}");
    }

    #[test]
    fn foreign_text_is_cut_at_the_limit() {
        let at = "x".repeat(MAX_FOREIGN_TEXT);
        assert_eq!(printable(&at), at);
        assert_eq!(printable(&format!("{at}y")), format!("{at}…"));
    }

    #[test]
    fn a_secret_is_hidden_before_it_is_escaped_or_cut() {
        secret::keep("hush\thush");
        let said = printable(&format!("{} hush\thush", "x".repeat(MAX_FOREIGN_TEXT - 5)));
        assert!(said.ends_with(" [sec…"), "{said}");
        assert_eq!(printable("hush\thush"), "[secret]");
    }

    #[test]
    fn the_systems_words_are_lower_case_without_the_number() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(os_words(&full), "no space left on device");
    }
}
