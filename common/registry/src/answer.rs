// SPDX-License-Identifier: Apache-2.0
//! What a registry says when it does not give what was asked: statuses sorted, error bodies read.
//!
//! The status decides; the body only explains. Bodies come as the specification's JSON, as older and
//! other shapes of JSON, as XML, HTML, text or nothing, and none of these is an error of its own.

use common::error::{Error, printable};
use machine::credentials::Found;
use net::failure::{Failure, Retry};
use net::response::{Refusal, Response};
use serde_json::Value;
use ureq::http::StatusCode;

/// What a refusal means where it is not known who was refused.
pub(crate) fn unknown() -> Refusal {
    Refusal { words: "or there is no such repository".to_owned(), hint: None }
}

/// What a refusal by a registry means, with the credentials that were found for it.
pub(crate) fn refusal(found: &Found, host: &str) -> Refusal {
    explain(found, host, ", or no such repository")
}

/// What a refusal by a registry's token server means.
pub(crate) fn refusal_of_token_server(found: &Found, host: &str) -> Refusal {
    explain(found, host, "")
}

fn explain(found: &Found, host: &str, or: &str) -> Refusal {
    let (what, hint) = match (&found.credential, found.unread.first()) {
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
    Refusal { words: format!("{what}{or}"), hint: Some(hint) }
}

/// The error of `what` being refused.
pub(crate) fn refused(what: &str, refusal: &Refusal) -> Error {
    hinted(Error::refused(format_args!("{what}: {}", refusal.words)), refusal)
}

fn hinted(error: Error, refusal: &Refusal) -> Error {
    match &refusal.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// An error body's code and words.
pub struct Said {
    /// The specification's code, or whatever stands in its place.
    pub code: String,
    /// The words.
    pub message: String,
    /// The digests that the first error's `detail` names.
    pub digests: Vec<String>,
}

/// Turns an answer that is no success into a failure: `what` names what was asked for.
pub fn failure(response: Response, what: &str) -> Failure {
    explained(response, what).1
}

/// As [`failure`], with what the answer's body said.
pub fn explained(mut response: Response, what: &str) -> (Said, Failure) {
    let body = response.error_text();
    let said = said(&body);
    let failure = sorted(&response, &said, what);
    (said, failure)
}

fn sorted(response: &Response, said: &Said, what: &str) -> Failure {
    // A proxy that writes an answer of its own knows no registry's codes.
    let may_be_its_own = matches!(response.status.as_u16(), 400 | 403 | 405 | 413 | 500..=599);
    match response.reader().filter(|_| may_be_its_own && said.code.is_empty()) {
        Some(proxy) => {
            let what = format!("{what}: the proxy {proxy} or what is behind it");
            let failure = by_status(response, said, &what);
            let hint = proxy.hint(&response.url.host());
            Failure { error: failure.error.hint(hint), ..failure }
        }
        None => by_status(response, said, what),
    }
}

fn by_status(response: &Response, said: &Said, what: &str) -> Failure {
    let status = response.status;
    let mut words = format!("{}", status.as_u16());
    let reason =
        if said.code.is_empty() { status.canonical_reason().unwrap_or("") } else { &said.code };
    if !reason.is_empty() {
        words = format!("{words} {}", printable(reason));
    }
    if !said.message.is_empty() {
        words = format!("{words}: {}", printable(&said.message));
    }
    let limited = said.code == "TOOMANYREQUESTS";
    let text = format!("{what}: {words}");
    match status.as_u16() {
        _ if status == StatusCode::TOO_MANY_REQUESTS || (limited && status.is_client_error()) => {
            passing(response, Error::later(text))
        }
        408 | 425 | 499 | 500 | 502 | 503 | 504 | 520..=524 => {
            passing(response, Error::later(text))
        }
        401 => {
            let refusal = response.refusal.clone().unwrap_or_else(unknown);
            hinted(Error::refused(format_args!("{text} ({})", refusal.words)), &refusal).into()
        }
        403 => {
            hinted(Error::refused(text), &response.refusal.clone().unwrap_or_else(unknown)).into()
        }
        407 | 451 => Error::refused(text).into(),
        404 | 410 => Error::absent(text).into(),
        // A server that wants a client certificate may say so in http, and not in a registry's words.
        400 if said.code.is_empty() && response.lacks_client_certificate() => {
            let text = format_args!("{text} (it asked for a client certificate)");
            net::tls::lacking(Error::refused(text)).into()
        }
        _ => Error::malformed(text).into(),
    }
}

/// A failure that may pass, at the time that the answer names.
fn passing(response: &Response, error: Error) -> Failure {
    Failure { error, retry: response.retry_after().map_or(Retry::Backoff, Retry::After) }
}

/// Whether a body looks like a page for people: a login, a challenge, a catch-all.
pub(super) fn is_html(response: &Response) -> bool {
    common::mediatype::said(response.header("content-type"))
        .is_some_and(|said| said == "text/html" || said == "application/xhtml+xml")
}

/// Reads an error body in the shapes that are seen.
fn said(body: &[u8]) -> Said {
    let text = String::from_utf8_lossy(body);
    let nothing = Said { code: String::new(), message: String::new(), digests: Vec::new() };
    // Lenient on purpose: this is only for show.
    if let Ok(document) = serde_json::from_str::<Value>(&text) {
        let error = document.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&document);
        let field = |names: &[&str]| {
            let value = names.iter().find_map(|name| error.get(*name)?.as_str());
            value.unwrap_or_default().to_owned()
        };
        let code = field(&["code"]);
        let message = field(&["message", "details", "error_description", "error"]);
        let plain = error.as_str().unwrap_or_default().to_owned();
        let message = if message.is_empty() { plain } else { message };
        return Said { code, message, digests: digests(&document) };
    }
    let trimmed = text.trim();
    if trimmed.starts_with("<?xml") || trimmed.starts_with("<Error") {
        let between = |tag: &str| {
            let (_, rest) = trimmed.split_once(&format!("<{tag}>"))?;
            rest.split_once(&format!("</{tag}>")).map(|(inner, _)| inner.to_owned())
        };
        return Said {
            code: between("Code").unwrap_or_default(),
            message: between("Message").unwrap_or_default(),
            ..nothing
        };
    }
    if trimmed.starts_with('<') || trimmed.len() > 200 || trimmed.contains('\n') {
        return nothing;
    }
    Said { message: trimmed.to_owned(), ..nothing }
}

/// The digests that the errors' `detail` name, as text or as objects with a `digest`.
fn digests(document: &Value) -> Vec<String> {
    let errors = document.get("errors").and_then(Value::as_array).into_iter().flatten();
    let details = errors.filter_map(|error| error.get("detail"));
    let named = details.flat_map(|detail| match detail {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    });
    named
        .filter_map(|item| item.get("digest").or(item.get("Digest")).unwrap_or(item).as_str())
        .filter(|text| text.parse::<common::digest::Digest>().is_ok())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_error_body_is_read() {
        for (body, code, message) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m","detail":{}}]}"#,
                "MANIFEST_UNKNOWN",
                "m",
            ),
            (r#"{"errors":[{"message":"m"}]}"#, "", "m"),
            (r#"{"errors":[]}"#, "", ""),
            (
                r#"{"details":"incorrect username or password"}"#,
                "",
                "incorrect username or password",
            ),
            (r#"{"error":"invalid_scope","error_description":"no"}"#, "", "no"),
            (
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Expired</Message></Error>",
                "AccessDenied",
                "Expired",
            ),
            ("<html><body>x</body></html>", "", ""),
            ("too busy", "", "too busy"),
            ("", "", ""),
            ("\u{0}\u{1}", "", "\u{0}\u{1}"),
        ] {
            let said = said(body.as_bytes());
            assert_eq!((said.code.as_str(), said.message.as_str()), (code, message), "{body}");
        }
    }
}
