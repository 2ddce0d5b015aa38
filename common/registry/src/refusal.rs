// SPDX-License-Identifier: Apache-2.0
//! Refusals in words that depend on the credentials: without one a login is needed, with one it was
//! not enough.

use common::error::Error;
use machine::credentials::Lookup;
use net::response::Refusal;

/// A refusal where the credentials that were sent are not known.
pub(crate) fn unattributed() -> Refusal {
    Refusal { words: "or there is no such repository".to_owned(), hint: None }
}

/// A refusal by a registry, with the credentials that were found for it.
pub(crate) fn by_registry(found: &Lookup, host: &str) -> Refusal {
    let Refusal { words, hint } = by_token_server(found, host);
    Refusal { words: format!("{words}, or no such repository"), hint }
}

/// A refusal by a registry's token server, with the credentials that were found for the registry.
pub(crate) fn by_token_server(found: &Lookup, host: &str) -> Refusal {
    let (words, hint) = match (&found.credential, found.unread.first()) {
        (Some(_), _) => ("credentials refused", format!("they are those of {}", found.origin)),
        (None, Some(unread)) => {
            ("login needed", format!("there may be credentials that were not read: {unread}"))
        }
        (None, None) => (
            "login needed",
            format!(
                "-u NAME logs in; podman login {host} or docker login {host} keeps credentials"
            ),
        ),
    };
    Refusal { words: words.to_owned(), hint: Some(hint) }
}

/// The error that reports a refusal: `what` names what was refused.
pub(crate) fn error(what: &str, refusal: &Refusal) -> Error {
    with_hint(Error::refused(format_args!("{what}: {}", refusal.words)), refusal)
}

/// An error with the refusal's hint.
pub(crate) fn with_hint(error: Error, refusal: &Refusal) -> Error {
    match &refusal.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
