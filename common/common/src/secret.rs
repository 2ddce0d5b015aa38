// SPDX-License-Identifier: Apache-2.0
//! The secrets that this process holds, and their removal from all output.
//!
//! A server may repeat a secret in an error message, and a redirect may contain one. Therefore all
//! printed text passes through [`redact`], whatever its source. Not here: the sources of secrets,
//! and the servers that receive them.

use std::sync::{Mutex, PoisonError};

/// The shortest text that is redacted: hiding shorter text would remove ordinary words from
/// messages.
const SHORTEST: usize = 4;

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Registers a secret: from now on it is redacted.
pub fn keep(secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() >= SHORTEST && !secrets.iter().any(|kept| kept == secret) {
        // Longest first: a shorter secret may be part of a longer one. If it were replaced first,
        // the rest of the longer one would remain visible.
        let place = secrets.partition_point(|kept| kept.len() >= secret.len());
        secrets.insert(place, secret.to_owned());
    }
}

/// A header name that contains one of these words marks a header that carries a secret.
const SECRET_WORDS: [&str; 9] =
    ["auth", "cookie", "token", "key", "secret", "pass", "credential", "session", "signature"];

/// User-supplied headers whose values are not secret. The value of any other header may be secret.
const HARMLESS: [&str; 7] = [
    "accept",
    "accept-language",
    "cache-control",
    "if-none-match",
    "pragma",
    "user-agent",
    "x-request-id",
];

/// The shortest header value that is redacted because it may be secret: shorter values may be
/// ordinary words.
const LONG: usize = 12;

/// Whether the value of a user-supplied header may be secret.
pub fn may_be_secret(name: &str) -> bool {
    !HARMLESS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless))
}

/// Registers the secrets of a header. If the name marks a secret, these are the value, each word in
/// it, and the text after a word's `=`. The value of any other header is registered only if it may
/// be secret and is long.
pub fn keep_header(name: &str, value: &str) {
    if may_be_secret(name) && value.len() >= LONG {
        keep(value);
    }
    let name = name.to_ascii_lowercase();
    if SECRET_WORDS.iter().any(|word| name.contains(word)) {
        keep(value);
        // An authentication scheme's name is not secret and appears in ordinary text.
        let is_scheme = |word: &&str| ["basic", "bearer"].contains(&word.to_lowercase().as_str());
        for word in value.split([' ', ';', ',']).filter(|word| !is_scheme(word)) {
            keep(word);
            // The name of a cookie is not secret.
            keep(word.split_once('=').map_or("", |(_, value)| value));
        }
    }
}

/// The text with every secret replaced by `[secret]`.
pub fn redact(text: &str) -> String {
    hide(&SECRETS.lock().unwrap_or_else(PoisonError::into_inner), text)
}

/// Replaces these secrets in the text. If two match at one position, the first in the list is used.
/// The replacement is not searched again: the word "secret" may itself be a password.
fn hide(secrets: &[String], text: &str) -> String {
    if !secrets.iter().any(|secret| text.contains(secret.as_str())) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
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
    fn a_secret_is_redacted_anywhere_in_text() {
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
    fn only_known_headers_are_harmless() {
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
