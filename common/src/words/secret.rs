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
        secrets.push(secret.to_owned());
    }
}

/// The text with every secret in it replaced.
pub fn redact(text: &str) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        keep("open sesame");
        keep("abc");
        assert_eq!(redact("you sent open sesame, abc"), "you sent [secret], abc");
    }
}
