// SPDX-License-Identifier: Apache-2.0
//! Registries that do not list their repositories (`_catalog`). The distribution specification does
//! not define this list: a registry may lack it, or show it to administrators only.

use common::error::{Error, Status};
use net::failure::Failure;
use net::response::Response;

use super::{Registry, answer};

/// Public registries without a usable list, and another list for each of them.
const OTHER_LISTS: [(&str, &str); 2] = [
    (
        "docker.io",
        "Docker Hub has no such list; \
         https://hub.docker.com/v2/repositories/NAMESPACE/ lists the repositories of a namespace",
    ),
    (
        "ghcr.io",
        "GitHub has no such list; \
         https://api.github.com/users/NAME/packages?package_type=container \
         lists the repositories of a user",
    ),
];

const NO_CATALOG: &str =
    "not every registry has this list; the registry's web page or its own API may have one";

const RESERVED: &str = "some registries show this list to administrators only";

/// The failure that a response to a request for the repositories reports.
pub(super) fn failure(registry: &Registry, response: Response, what: &str) -> Failure {
    let status = response.status.as_u16();
    let (failure, body) = answer::failure_with_body(response, what);
    let is_unsupported = body.code == "UNSUPPORTED" && (400..500).contains(&status);
    match status {
        404 | 405 | 410 | 501 => no_catalog(failure),
        401 | 403 if !registry.session.is_anonymous() => {
            Failure { error: failure.error.hint(RESERVED), ..failure }
        }
        _ if is_unsupported => no_catalog(failure),
        _ => failure,
    }
}

/// Turns a failure into the error that the registry has no list.
fn no_catalog(failure: Failure) -> Failure {
    Error::absent(format_args!("{} (the registry has no list)", failure.error))
        .hint(NO_CATALOG)
        .into()
}

/// The same error, with a hint to another list if one is known for the registry.
pub(super) fn explained(host: &str, error: Error) -> Error {
    let other = OTHER_LISTS.iter().find(|(of, _)| host.eq_ignore_ascii_case(of));
    match other {
        Some((_, hint)) if matches!(error.status(), Status::Absent | Status::Refused) => {
            error.hint(hint)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_list_is_named_if_one_is_known() {
        let hint = |host: &str, error: Error| explained(host, error).hint_text().map(str::to_owned);
        for (host, words) in [("docker.io", "hub.docker.com"), ("GHCR.io", "api.github.com")] {
            for error in [Error::refused("401"), Error::absent("404").hint(NO_CATALOG)] {
                assert!(hint(host, error).unwrap().contains(words));
            }
            assert_eq!(hint(host, Error::unavailable("503")), None);
        }
        assert_eq!(hint("a.example", Error::refused("401")), None);
    }
}
