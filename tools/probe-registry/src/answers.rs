// SPDX-License-Identifier: Apache-2.0
//! Requests for which an unsuccessful response is a fact, not a failure; the texts about such
//! responses.

use common::error::{Error, Result, Status};
use net::request::{Payload, Request};
use net::response::Response;
use net::retry::with_attempts;
use registry::auth::Scope;
use registry::{Registry, answer};

use crate::report::Is;

/// Sends a read request. Returns its response, whatever the status.
///
/// # Errors
/// The failure if there is no response, or if a challenge cannot be answered.
pub(crate) fn send(
    registry: &Registry,
    scope: &Scope,
    request: Request<'_>,
    payload: &mut Payload<'_>,
) -> Result<Response> {
    with_attempts(registry.client(), || registry.session().send(scope, request, payload))
}

/// Like [`send`], but without retries, for a request that writes: if its response is lost, the
/// registry may have executed it.
///
/// # Errors
/// As for [`send`].
pub(crate) fn send_once(
    registry: &Registry,
    scope: &Scope,
    request: Request<'_>,
    payload: &mut Payload<'_>,
) -> Result<Response> {
    registry.session().send(scope, request, payload).map_err(|failure| failure.error)
}

/// The status of a response and the reason for it, in words.
pub(crate) fn words(response: Response) -> String {
    const WHAT: &str = "response";
    if !(response.status.is_client_error() || response.status.is_server_error()) {
        return format!("unexpected status {}", response.status.as_u16());
    }
    let text = answer::failure(response, WHAT).error.to_string();
    text.strip_prefix(WHAT).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text).to_owned()
}

/// The value of a fact for an unsuccessful response: `No` if the registry refused the request,
/// `Unknown` if it failed.
pub(crate) fn refused(response: Response) -> (Is, String) {
    let status = response.status.as_u16();
    let is = if matches!(status, 408 | 425 | 429 | 500 | 502..) { Is::Unknown } else { Is::No };
    (is, words(response))
}

/// The value of a fact for an error: `No` if the registry refused the request, or does not have the
/// requested resource; else `Unknown`.
pub(crate) fn failed(registry: &Registry, error: &Error) -> (Is, String) {
    let is = match error.status() {
        Status::Absent | Status::Refused => Is::No,
        _ => Is::Unknown,
    };
    let text = error.to_string();
    let name = format!("{}: ", registry.repository());
    (is, text.strip_prefix(&name).unwrap_or(&text).to_owned())
}
