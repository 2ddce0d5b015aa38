// SPDX-License-Identifier: Apache-2.0
//! Text that a shell may come to read: quoted, or such that it finds nothing to do in it.

use crate::error::{is_steering, printable};
use crate::secret;

/// Text as one word in which a shell finds nothing to do, and which looks like what it is: other
/// characters stand there as what printf makes of their numbers. Nothing where a shell would bring
/// over another text: it drops the ends of lines at the end of what a program prints. Secrets are
/// the caller's business.
pub fn quoted(text: &str) -> Option<String> {
    if !text.contains(is_steering) {
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
            // It would begin an option.
            '-' if i == 0 => format.push_str("\\055"),
            c if is_steering(c) => {
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

/// Text between single quotes.
fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whether a shell finds nothing to do in text, in double quotes or in none.
pub fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || " _-.,/:@%+=".contains(c))
}

/// A line for people, printable and without secrets, in which each part between `: ` is quoted that
/// is not plain: pasted with the commands around it, it does nothing, also where a shell takes no
/// comments.
pub fn inert(text: &str) -> String {
    let text = printable(&secret::redact(text));
    let parts = text.split(": ").map(|part| match is_plain(part) {
        true => part.to_owned(),
        false => single(part),
    });
    parts.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_whatever_it_holds() {
        let word = |text: &str| quoted(text).unwrap();
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("it's $(x) `y` \\"), "'it'\\''s $(x) `y` \\'");
    }

    #[test]
    fn what_does_not_look_like_what_it_is_stands_there_as_numbers() {
        let word = |text: &str| quoted(text).unwrap();
        assert_eq!(word("a\n\u{1b}1"), r#""$(printf 'a\n\0331')""#);
        assert_eq!(word("it's\u{202e}\\%"), r#""$(printf 'it'\''s\342\200\256\\%%')""#);
        assert_eq!(word("-v\u{feff}"), r#""$(printf '\055v\357\273\277')""#);
        assert_eq!(word("a\u{9b}"), r#""$(printf 'a\302\233')""#);
    }

    #[test]
    fn what_a_shell_would_not_bring_over_is_no_word() {
        for none in ["a\n", "\u{202e}\n", "a\0b"] {
            assert_eq!(quoted(none), None);
        }
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
