// SPDX-License-Identifier: Apache-2.0
//! Secrets that this process holds, so that no line of its own ever shows one.
//!
//! A server can say a secret back in an error, a redirect can carry it: what is printed passes
//! [`redact`], whoever wrote it. Not here: where secrets come from and to whom they go.

use std::sync::{Mutex, PoisonError};

/// The shortest text that is worth hiding: less would turn ordinary words into gaps.
const SHORTEST: usize = 4;

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on this text is a secret.
pub fn keep(secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() >= SHORTEST && !secrets.iter().any(|kept| kept == secret) {
        // The longest first: one may be a part of another, whose rest would be left.
        let place = secrets.partition_point(|kept| kept.len() >= secret.len());
        secrets.insert(place, secret.to_owned());
    }
}

/// What the names of headers have in them that carry secrets.
const TELLING: [&str; 9] =
    ["auth", "cookie", "token", "key", "secret", "pass", "credential", "session", "signature"];

/// The headers of the user's own whose values are no secrets. Of any other that is not known.
const HARMLESS: [&str; 7] = [
    "accept",
    "accept-language",
    "cache-control",
    "if-none-match",
    "pragma",
    "user-agent",
    "x-request-id",
];

/// From this length on a header's value is no ordinary word, which would leave gaps in other texts.
const LONG: usize = 12;

/// Whether the value of a header that the user gives may be a secret.
pub fn may_be_secret(name: &str) -> bool {
    !HARMLESS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless))
}

/// From now on a header's value is a secret, and each of its words, if its name says that it
/// carries one; of others whose value may be one, if it is long.
pub fn keep_header(name: &str, value: &str) {
    if may_be_secret(name) && value.len() >= LONG {
        keep(value);
    }
    let name = name.to_ascii_lowercase();
    if TELLING.iter().any(|word| name.contains(word)) {
        keep(value);
        // The name of a way to authenticate is no secret, and stands in lines that have none.
        let is_scheme = |word: &&str| ["basic", "bearer"].contains(&word.to_lowercase().as_str());
        for word in value.split([' ', ';', ',']).filter(|word| !is_scheme(word)) {
            keep(word);
            // A cookie's own name is none.
            keep(word.split_once('=').map_or("", |(_, value)| value));
        }
    }
}

/// The text with every secret in it replaced.
pub fn redact(text: &str) -> String {
    hide(&SECRETS.lock().unwrap_or_else(PoisonError::into_inner), text)
}

/// The text with these replaced, of two at one place the first. What stands in their place is not
/// looked at again: it may be somebody's password.
fn hide(secrets: &[String], text: &str) -> String {
    if !secrets.iter().any(|secret| text.contains(secret.as_str())) {
        return text.to_owned();
    }
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        match secrets.iter().find_map(|secret| rest.strip_prefix(secret.as_str())) {
            Some(after) => {
                clean.push_str("[secret]");
                rest = after;
            }
            None => {
                clean.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        keep("open sesame");
        keep("abc");
        assert_eq!(redact("you sent open sesame, abc"), "you sent [secret], abc");
        keep_header("X-Own", "so what");
        keep_header("X-JFrog-Art", "y".repeat(LONG).as_str());
        assert_eq!(redact(&"y".repeat(LONG)), "[secret]");
        keep_header("User-Agent", "something of my own");
        assert_eq!(redact("something of my own"), "something of my own");
        keep_header("Authorization", "Bearer to-the-king");
        assert_eq!(redact("Bearer to-the-king"), "[secret]");
        assert_eq!(redact("Bearer x, to-the-king"), "Bearer x, [secret]");
        keep_header("Cookie", "jar=crumbs; other=more crumbs");
        assert_eq!(redact("so what, jar crumbs"), "so what, jar [secret]");
        keep("open sesame street");
        assert_eq!(redact("open sesame street, open sesame"), "[secret], [secret]");
    }

    #[test]
    fn of_a_users_header_only_what_is_known_is_harmless() {
        assert!(!may_be_secret("ACCEPT"));
        for name in ["Authorization", "Cookie", "X-Registry-Token", "PRIVATE-TOKEN", "X-Other"] {
            assert!(may_be_secret(name), "{name}");
        }
    }

    #[test]
    fn the_word_secret_may_be_a_secret() {
        let secrets = ["open sesame".to_owned(), "secret".to_owned()];
        assert_eq!(hide(&secrets, "ä open sesame, secret ö"), "ä [secret], [secret] ö");
    }
}
