// SPDX-License-Identifier: Apache-2.0
//! Converts unsuccessful responses into failures.
//!
//! The HTTP status determines the exit status and whether the request may be retried. The body
//! ([`ErrorBody`]) only adds an explanation, so an unreadable body is not a separate error. There
//! are two exceptions: the error codes for a rate limit, and those that reject the content
//! ([`REJECTIONS`]), which some registries send with a wrong status. The wording of a refusal
//! depends on the credentials (`refusal`).

use common::error::{Error, printable};
use net::failure::{Failure, Retry};
use net::proxy::Proxy;
use net::response::Response;
use ureq::http::StatusCode;

pub use super::error_body::ErrorBody;
use super::refusal;

/// The error codes that reject the content that was sent or named. Another attempt gets the same
/// response, even if the status is that of a server error.
const REJECTIONS: [&str; 8] = [
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNVERIFIED",
    "NAME_INVALID",
    "SIZE_INVALID",
    "TAG_INVALID",
    "UNSUPPORTED",
];

/// The hint for a digest that a registry does not accept.
const ONLY_SHA256: &str = "some registries support only sha256 digests";

/// The failure that a response reports. `what` names the requested resource.
pub fn failure(response: Response, what: &str) -> Failure {
    failure_with_body(response, what).0
}

/// Like [`failure`], and also returns the response's body, for callers that check its error code.
pub fn failure_with_body(mut response: Response, what: &str) -> (Failure, ErrorBody) {
    let body = ErrorBody::parse(&response.error_text());
    let failure = match author_proxy(&response, &body) {
        None => classify(&response, &body, what),
        Some(proxy) => {
            let what = format!("{what}: the proxy {proxy} or the server behind it");
            let failure = classify(&response, &body, &what);
            let hint = proxy.hint(&response.url.host());
            Failure { error: failure.error.hint(hint), ..failure }
        }
    };
    (failure, body)
}

/// The proxy, if it may have written the response itself: it can read this traffic, proxies send
/// this status, and the response has no error code of a registry.
fn author_proxy<'a>(response: &'a Response, body: &ErrorBody) -> Option<&'a Proxy> {
    let is_possible = matches!(response.status.as_u16(), 400 | 403 | 405 | 413 | 500..=599);
    response.reader().filter(|_| is_possible && body.code.is_empty())
}

/// The failure for a status and an error code.
fn classify(response: &Response, body: &ErrorBody, what: &str) -> Failure {
    let status = response.status;
    let mut detail = format!("{}", status.as_u16());
    let reason = if body.code.is_empty() { phrase(response) } else { &body.code };
    if !reason.is_empty() {
        detail = format!("{detail} {}", printable(reason));
    }
    if !body.message.is_empty() {
        detail = format!("{detail}: {}", printable(&body.message));
    }
    let limited = body.code == "TOOMANYREQUESTS";
    let text = format!("{what}: {detail}");
    if body.code == "DIGEST_INVALID" && what.contains("sha512:") {
        return Error::malformed(text).hint(ONLY_SHA256).into();
    }
    match status.as_u16() {
        500.. if REJECTIONS.contains(&body.code.as_str()) => Error::malformed(text).into(),
        _ if status == StatusCode::TOO_MANY_REQUESTS || (limited && status.is_client_error()) => {
            temporary(response, Error::unavailable(text))
        }
        408 | 425 | 499 | 500 | 502 | 503 | 504 | 520..=524 => {
            temporary(response, Error::unavailable(text))
        }
        401 => {
            let refusal = response.refusal.clone().unwrap_or_else(refusal::unattributed);
            let error = Error::refused(format_args!("{text} ({})", refusal.words));
            error.optional_hint(refusal.hint).into()
        }
        403 => {
            let refusal = response.refusal.clone().unwrap_or_else(refusal::unattributed);
            Error::refused(text).optional_hint(refusal.hint).into()
        }
        407 | 451 => Error::refused(text).into(),
        404 | 410 => Error::absent(text).into(),
        // Some servers request a client certificate and report its absence as an HTTP 400 without a
        // registry error code.
        400 if body.code.is_empty() && response.lacks_client_certificate() => {
            let text = format_args!("{text} (the server requested a client certificate)");
            Error::refused(text).hint(response.options.client_certificate()).into()
        }
        _ => Error::malformed(text).into(),
    }
}

/// The reason phrase of the server, or the standard phrase if both differ only in case.
fn phrase(response: &Response) -> &str {
    let standard = response.status.canonical_reason().unwrap_or_default();
    match response.reason.as_deref() {
        Some(own) if !own.eq_ignore_ascii_case(standard) => own,
        _ => standard,
    }
}

/// A temporary failure: the retry waits for the time in Retry-After, or else for the usual backoff.
fn temporary(response: &Response, error: Error) -> Failure {
    Failure { error, retry: response.retry_after().map_or(Retry::Backoff, Retry::After) }
}

/// Whether the response is a web page (a login page, for example) instead of a registry's response.
pub(super) fn is_html(response: &Response) -> bool {
    common::mediatype::of_content_type(response.header("content-type"))
        .is_some_and(|said| said == "text/html" || said == "application/xhtml+xml")
}
