// SPDX-License-Identifier: Apache-2.0
//! Texts for refusals (401 and 403). They depend on the credentials: without a credential, a login
//! is needed. With a credential, it was rejected, or it does not give the permission.

use common::error::Error;
use common::reference::Repository;
use machine::credentials::Lookup;
use net::peer::Peer;
use net::response::Refusal;

/// The refusal text if it is not known which credentials were sent.
pub(crate) fn unattributed() -> Refusal {
    Refusal { words: "or there is no such repository".to_owned(), hint: None }
}

/// The refusal text for a repository in a registry. `found` has all credentials for the repository.
/// `peer` has only the credentials of the command line and of the environment.
pub(crate) fn by_registry(found: &Lookup, peer: &Peer, repository: &Repository) -> Refusal {
    let Refusal { words, hint } = by_token_server(found, peer, repository.host());
    let or = if repository.is_whole() { "no permission" } else { "no such repository" };
    Refusal { words: format!("{words}, or {or}"), hint }
}

/// The refusal text for a registry's token server. `found` and `peer` are as for [`by_registry`];
/// credentials are stored for `host`.
pub(crate) fn by_token_server(found: &Lookup, peer: &Peer, host: &str) -> Refusal {
    let (words, hint) = match (&found.credential, found.unread.first()) {
        (Some(_), _) if peer.login.is_some() => {
            ("credentials refused", format!("the credentials are from {}", found.origin))
        }
        // An expired login also prevents a pull of a public image.
        (Some(_), _) => {
            let origin = &found.origin;
            let hint = format!(
                "the credentials are from {origin}; for public images, --authfile /dev/null uses \
                 no credentials"
            );
            ("credentials refused", hint)
        }
        (None, Some(unread)) => {
            ("login needed", format!("some credentials could not be read: {unread}"))
        }
        (None, None) => ("login needed", peer.options.login(host)),
    };
    Refusal { words: words.to_owned(), hint: Some(hint) }
}

/// The error for a refusal. `what` names the refused resource.
pub(crate) fn error(what: &str, refusal: &Refusal) -> Error {
    Error::refused(format_args!("{what}: {}", refusal.words)).optional_hint(refusal.hint.as_ref())
}
