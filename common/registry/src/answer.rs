// SPDX-License-Identifier: Apache-2.0
//! Answers that are no success, turned into failures.
//!
//! The status decides what kind of failure it is and whether it may pass; the body ([`ErrorBody`])
//! only explains. A body that cannot be read is no error of its own. How a refusal is worded
//! depends on the credentials (`refusal`).

use common::error::{Error, printable};
use net::failure::{Failure, Retry};
use net::proxy::Proxy;
use net::response::Response;
use ureq::http::StatusCode;

pub use super::error_body::ErrorBody;
use super::refusal;

/// The failure that an answer stands for. `what` names the resource that was asked for.
pub fn failure(response: Response, what: &str) -> Failure {
    failure_with_body(response, what).0
}

/// As [`failure`], with the answer's body for callers that distinguish by its code.
pub fn failure_with_body(mut response: Response, what: &str) -> (Failure, ErrorBody) {
    let body = ErrorBody::parse(&response.error_text());
    let failure = match author_proxy(&response, &body) {
        None => classify(&response, &body, what),
        Some(proxy) => {
            let what = format!("{what}: the proxy {proxy} or what is behind it");
            let failure = classify(&response, &body, &what);
            let hint = proxy.hint(&response.url.host());
            Failure { error: failure.error.hint(hint), ..failure }
        }
    };
    (failure, body)
}

/// The proxy that may have written the answer itself: one that reads what passes, if the answer has
/// no registry's code.
fn author_proxy<'a>(response: &'a Response, body: &ErrorBody) -> Option<&'a Proxy> {
    let is_possible = matches!(response.status.as_u16(), 400 | 403 | 405 | 413 | 500..=599);
    response.reader().filter(|_| is_possible && body.code.is_empty())
}

/// The failure that a status stands for. The body's code decides only whether it is a rate limit.
fn classify(response: &Response, body: &ErrorBody, what: &str) -> Failure {
    let status = response.status;
    let mut words = format!("{}", status.as_u16());
    let reason =
        if body.code.is_empty() { status.canonical_reason().unwrap_or("") } else { &body.code };
    if !reason.is_empty() {
        words = format!("{words} {}", printable(reason));
    }
    if !body.message.is_empty() {
        words = format!("{words}: {}", printable(&body.message));
    }
    let limited = body.code == "TOOMANYREQUESTS";
    let text = format!("{what}: {words}");
    match status.as_u16() {
        _ if status == StatusCode::TOO_MANY_REQUESTS || (limited && status.is_client_error()) => {
            temporary(response, Error::unavailable(text))
        }
        408 | 425 | 499 | 500 | 502 | 503 | 504 | 520..=524 => {
            temporary(response, Error::unavailable(text))
        }
        401 => {
            let refusal = response.refusal.clone().unwrap_or_else(refusal::unattributed);
            let error = Error::refused(format_args!("{text} ({})", refusal.words));
            refusal::with_hint(error, &refusal).into()
        }
        403 => {
            let refusal = response.refusal.clone().unwrap_or_else(refusal::unattributed);
            refusal::with_hint(Error::refused(text), &refusal).into()
        }
        407 | 451 => Error::refused(text).into(),
        404 | 410 => Error::absent(text).into(),
        // A server that wants a client certificate may say so in http, and not in a registry's
        // words.
        400 if body.code.is_empty() && response.lacks_client_certificate() => {
            let text = format_args!("{text} (it asked for a client certificate)");
            net::tls::lacking(Error::refused(text)).into()
        }
        _ => Error::malformed(text).into(),
    }
}

/// A failure that may pass, by the time that the answer names.
fn temporary(response: &Response, error: Error) -> Failure {
    Failure { error, retry: response.retry_after().map_or(Retry::Backoff, Retry::After) }
}

/// Whether an answer is a web page: a login, a challenge, a catch-all.
pub(super) fn is_html(response: &Response) -> bool {
    common::mediatype::said(response.header("content-type"))
        .is_some_and(|said| said == "text/html" || said == "application/xhtml+xml")
}
