// SPDX-License-Identifier: Apache-2.0
//! Text that a shell may come to read: quoted, or such that it finds nothing to do in it.

use crate::error::printable;
use crate::secret;

/// Text as one word in which a shell finds nothing to do, and no secret.
pub fn quoted(text: &str) -> String {
    let mut word = String::from("'");
    for c in secret::redact(text).chars() {
        match c {
            '\'' => word.push_str("'\\''"),
            c if c.is_control() => word.extend(c.escape_default()),
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

/// Whether a shell finds nothing to do in text, in double quotes or in none.
pub fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || " _-.,/:@%+=".contains(c))
}

/// A line for people, printable and without secrets, in which each part between `: ` is quoted that is not plain: pasted
/// with the commands around it, it does nothing, also where a shell takes no comments.
pub fn inert(text: &str) -> String {
    let text = printable(&secret::redact(text));
    let parts = text.split(": ").map(|part| match is_plain(part) {
        true => part.to_owned(),
        false => quoted(part),
    });
    parts.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_whatever_it_holds() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $(x) `y` \\"), "'it'\\''s $(x) `y` \\'");
        assert_eq!(quoted("a\n\u{1b}b"), "'a\\n\\u{1b}b'");
    }

    #[test]
    fn a_line_for_people_holds_nothing_that_a_shell_would_do() {
        assert_eq!(inert("200 OK"), "200 OK");
        assert_eq!(inert("A: text/html; charset=x"), "A: 'text/html; charset=x'");
        assert_eq!(inert("A: b: '; rm -rf /"), "A: b: ''\\''; rm -rf /'");
        assert_eq!(inert("a\nb"), "'a\\nb'");
        assert_eq!(inert("a ~ *"), "'a ~ *'");
        assert!(inert(&"x".repeat(5000)).len() < 1100);
    }
}
