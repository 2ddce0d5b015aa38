// SPDX-License-Identifier: Apache-2.0
//! The error type, which contains an exit status, and the escaping of text from servers and files.
//!
//! All tools use the same exit statuses. The code that recognises a failure sets the status, and
//! the status stays with the error. Callers add context with [`Error::context`]. Tools can also use
//! the `context` of `anyhow`.

use std::fmt;

use crate::secret;

/// The exit status of a failed run. It has the same meaning in every tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The content differs from the requested content: in digest, size, diff ID or number of
    /// layers.
    Content = 1,
    /// Wrong usage: an invalid flag, operand, reference or digest on the command line.
    Usage = 2,
    /// Absent: a tag, manifest, blob, repository or platform does not exist.
    Absent = 3,
    /// Refused: the registry did not accept the credential, or a permission is missing.
    Refused = 4,
    /// Try again later: a network failure, a time-out, 429 or 5xx, after our own retries.
    Unavailable = 5,
    /// Malformed, unsupported, hostile or missing input, or content that the registry rejected.
    Malformed = 6,
    /// Local failure: disk full, permission, unwritable output, an existing directory where a file
    /// is to be written.
    Local = 7,
    /// Nothing to do: the user asked only for new content, and none was found. This is not a
    /// failure and has no message.
    Unchanged = 8,
}

/// A failure: its status, a one-line message, and an optional hint for the user.
///
/// The message has the shape `what failed: why`, lower case, no full stop. [`exit`](crate::exit)
/// puts the tool's name in front.
#[derive(Clone, Debug)]
pub struct Error {
    status: Status,
    message: String,
    hint: Option<String>,
}

/// The result of a function that can fail with a status.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with the given status.
    pub fn new(status: Status, message: impl fmt::Display) -> Error {
        Error { status, message: message.to_string(), hint: None }
    }

    /// The end of a run that found nothing new, with [`Status::Unchanged`].
    pub fn unchanged() -> Error {
        Error::new(Status::Unchanged, "nothing new")
    }

    /// An error with [`Status::Content`].
    pub fn content(message: impl fmt::Display) -> Error {
        Error::new(Status::Content, message)
    }

    /// An error with [`Status::Usage`].
    pub fn usage(message: impl fmt::Display) -> Error {
        Error::new(Status::Usage, message)
    }

    /// An error with [`Status::Absent`].
    pub fn absent(message: impl fmt::Display) -> Error {
        Error::new(Status::Absent, message)
    }

    /// An error with [`Status::Refused`].
    pub fn refused(message: impl fmt::Display) -> Error {
        Error::new(Status::Refused, message)
    }

    /// An error with [`Status::Unavailable`].
    pub fn unavailable(message: impl fmt::Display) -> Error {
        Error::new(Status::Unavailable, message)
    }

    /// An error with [`Status::Malformed`].
    pub fn malformed(message: impl fmt::Display) -> Error {
        Error::new(Status::Malformed, message)
    }

    /// An error with [`Status::Local`], from the failed action (a verb and the name that the user
    /// knows) and the system's error.
    pub fn local(what: impl fmt::Display, cause: &std::io::Error) -> Error {
        Error::new(Status::Local, format_args!("{what}: {}", os_message(cause)))
    }

    /// The same failure with a hint for the user, which is printed on a separate line.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Error {
        self.hint = Some(hint.to_string());
        self
    }

    /// The same failure with this hint, if there is one.
    #[must_use]
    pub fn optional_hint(self, hint: Option<impl fmt::Display>) -> Error {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The same failure with `what` (the action or object that failed) in front of the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Error {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same failure with `more` at the end of the message.
    #[must_use]
    pub fn and(mut self, more: impl fmt::Display) -> Error {
        self.message = format!("{}: {more}", self.message);
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

/// The system's text for an I/O error, lower case and without the "(os error 28)".
pub fn os_message(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut words = String::with_capacity(text.len());
    let mut chars = text.chars();
    if let Some(first) = chars.next() {
        // "No space left" becomes lower case, but "I/O error" and "EOF" keep their capitals.
        let next_is_lower = chars.clone().next().is_some_and(char::is_lowercase);
        if next_is_lower { words.extend(first.to_lowercase()) } else { words.push(first) }
    }
    words.extend(chars);
    words
}

/// The maximum number of bytes of text from a server or a file that one message shows.
pub const MAX_FOREIGN_TEXT: usize = 1024;

/// Makes text from a server, a layer or a file fit to print on one line. Control characters (escape
/// sequences, newlines) and bidirectional overrides become `\u{..}` escapes. The text is cut at
/// [`MAX_FOREIGN_TEXT`] bytes. Secrets are redacted first, because an escaped or cut secret can no
/// longer be recognised.
pub fn printable(text: &str) -> String {
    let text = secret::redact(text);
    let mut clean = String::with_capacity(text.len().min(MAX_FOREIGN_TEXT));
    for c in text.chars() {
        if clean.len() >= MAX_FOREIGN_TEXT {
            clean.push('…');
            break;
        }
        if needs_escape(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Unwraps the [`Error`] inside an I/O error; any other I/O error becomes a local failure to read
/// the source.
pub fn source_error(cause: &std::io::Error) -> Error {
    match cause.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::local("read the source", cause),
    }
}

/// Whether a character can control a terminal or disguise text: a control character, a character
/// without width, or a bidirectional control.
pub fn needs_escape(c: char) -> bool {
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
        assert_eq!(os_message(&full), "no space left on device");
    }
}
