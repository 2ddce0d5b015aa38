// SPDX-License-Identifier: Apache-2.0
//! Quoting of text that a user may paste into a shell, so that the shell executes nothing in it.

use crate::error::{needs_escape, printable};
use crate::secret;

/// Quotes text as one shell word in which the shell executes nothing. Text without control or
/// invisible characters is put in single quotes. Other text becomes a `printf` command substitution
/// that writes those characters as octal escapes, so that the quoted form shows what it contains.
/// `None` if the shell cannot reproduce the text: a shell word cannot contain a NUL, and command
/// substitution removes newlines at the end. Secrets are not redacted here: that is the caller's
/// task.
pub fn quoted(text: &str) -> Option<String> {
    if !text.contains(needs_escape) {
        return Some(single(text));
    }
    if text.ends_with('\n') || text.contains('\0') {
        return None;
    }
    let mut format = String::new();
    for (i, c) in text.chars().enumerate() {
        match c {
            '\\' => format.push_str("\\\\"),
            '%' => format.push_str("%%"),
            '\n' => format.push_str("\\n"),
            '\r' => format.push_str("\\r"),
            '\t' => format.push_str("\\t"),
            // printf would read a leading `-` as an option.
            '-' if i == 0 => format.push_str("\\055"),
            c if needs_escape(c) => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    format.push_str(&format!("\\{byte:03o}"));
                }
            }
            c => format.push(c),
        }
    }
    Some(format!("\"$(printf {})\"", single(&format)))
}

/// Text in single quotes.
fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whether a shell executes and expands nothing in the text, unquoted or in double quotes.
pub fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || " _-.,/:@%+=".contains(c))
}

/// A message line, printable and with secrets redacted. The line is split at `: `, and each part
/// that is not plain is quoted. If the user pastes the line into a shell, together with the
/// commands around it, the shell executes nothing in the line, even if it does not support
/// comments.
pub fn inert(text: &str) -> String {
    let text = printable(&secret::redact(text));
    let parts =
        text.split(": ").map(|part| if is_plain(part) { part.to_owned() } else { single(part) });
    parts.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_quoted_as_one_word() {
        let word = |text: &str| quoted(text).unwrap();
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("it's $(x) `y` \\"), "'it'\\''s $(x) `y` \\'");
    }

    #[test]
    fn control_and_invisible_characters_become_octal_escapes() {
        let word = |text: &str| quoted(text).unwrap();
        assert_eq!(word("a\n\u{1b}1"), r#""$(printf 'a\n\0331')""#);
        assert_eq!(word("it's\u{202e}\\%"), r#""$(printf 'it'\''s\342\200\256\\%%')""#);
        assert_eq!(word("-v\u{feff}"), r#""$(printf '\055v\357\273\277')""#);
        assert_eq!(word("a\u{9b}"), r#""$(printf 'a\302\233')""#);
    }

    #[test]
    fn text_that_a_shell_cannot_reproduce_is_not_quoted() {
        for none in ["a\n", "\u{202e}\n", "a\0b"] {
            assert_eq!(quoted(none), None);
        }
    }

    #[test]
    fn a_shell_executes_nothing_in_an_inert_line() {
        assert_eq!(inert("200 OK"), "200 OK");
        assert_eq!(inert("A: text/html; charset=x"), "A: 'text/html; charset=x'");
        assert_eq!(inert("A: b: '; rm -rf /"), "A: b: ''\\''; rm -rf /'");
        assert_eq!(inert("a\nb"), "'a\\nb'");
        assert_eq!(inert("a ~ *"), "'a ~ *'");
        assert!(inert(&"x".repeat(5000)).len() < 1100);
    }
}
