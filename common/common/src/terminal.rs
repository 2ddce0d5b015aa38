// SPDX-License-Identifier: Apache-2.0
//! The terminal: its width, and a guard that refuses to write binary data to it.

use std::io::IsTerminal as _;
use std::os::fd::AsFd;

use crate::error::{Error, Result};

/// The width to assume if the terminal does not report one, in columns.
const USUAL_WIDTH: usize = 80;

/// The terminal's width in columns. It may change at any time.
pub fn width(terminal: impl AsFd) -> usize {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => USUAL_WIDTH,
    }
}

/// Refuses binary data for a terminal that the user did not choose as the destination, because such
/// data could change the terminal's state. Text, such as an image config, is allowed.
#[derive(Clone, Copy, Debug)]
pub struct TextOnly {
    /// Whether the destination is a terminal.
    applies: bool,
    hint: &'static str,
}

impl TextOnly {
    /// A guard for stdout. `hint` tells the user how to write the data anyway.
    pub fn on_stdout(hint: &'static str) -> TextOnly {
        TextOnly { applies: std::io::stdout().is_terminal(), hint }
    }

    /// No guard: all data is allowed.
    pub fn off() -> TextOnly {
        TextOnly { applies: false, hint: "" }
    }

    /// Checks the next bytes, before they are written.
    ///
    /// # Errors
    /// Usage if they are not text.
    pub fn check(self, bytes: &[u8]) -> Result<()> {
        if self.applies && !is_text(bytes) {
            let what = "standard output: a terminal, and the data is binary";
            return Err(Error::usage(what).hint(self.hint));
        }
        Ok(())
    }
}

/// Whether these bytes are a part of a UTF-8 text without control characters. The part may begin
/// and end within a character.
fn is_text(bytes: &[u8]) -> bool {
    let is_continuation = |byte: &u8| (0x80..0xc0).contains(byte);
    let start = bytes.iter().take(3).take_while(|byte| is_continuation(byte)).count();
    let bytes = &bytes[start..];
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // `None` means that the last character is incomplete.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_recognised_wherever_it_is_cut() {
        let text = "{\"author\":\"ä€😀\"}\n\t".as_bytes();
        for start in 0..text.len() {
            for end in start..=text.len() {
                assert!(is_text(&text[start..end]), "{start} {end}");
            }
        }
    }

    #[test]
    fn layers_and_escape_sequences_are_not_text() {
        for bytes in [
            &b"\x1f\x8b\x08"[..],
            b"\x28\xb5\x2f\xfd",
            b"name\0\0\0",
            b"a\x1b[31m",
            b"\x80\x80\x80\x80",
            "\u{9b}31m".as_bytes(),
        ] {
            assert!(!is_text(bytes), "{bytes:?}");
        }
    }
}
