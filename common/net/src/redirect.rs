// SPDX-License-Identifier: Apache-2.0
//! Follows redirects, one hop at a time. [`Http::decide`] checks each target; the HTTP library
//! follows no redirects.
//!
//! Headers that belong to one origin (Authorization, and the configured headers) are sent to that
//! origin only. The rule for token servers is stricter: after a redirect to another origin, the
//! credential is not sent any more. If the other origin redirects back, it has chosen the URL.
//!
//! A request that writes follows only 307 and 308, only within the registry's origin, and only if
//! its body can be sent again. After 301, 302 or 303 the next request would be a GET, and the
//! success of a GET does not mean that anything was written.

use common::error::Error;

use crate::exchange::Http;
use crate::failure::Failure;
use crate::origin::Origin;
use crate::request::{Method, Payload, Request, Role};
use crate::response::Response;
use crate::url::{Purpose, Url};

/// Sends a request to the peer and follows redirects.
///
/// # Errors
/// Malformed for a redirect without a valid Location, to a target that is not allowed, in a loop,
/// or beyond the limit. Otherwise as [`Http::send`].
pub fn follow(
    http: &Http,
    request: Request<'_>,
    authorization: Option<&str>,
    payload: &mut Payload<'_>,
) -> Result<Response, Failure> {
    let own = http.peer().headers.iter();
    let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = authorization.map(|value| ("Authorization", value)).into_iter().chain(own);
    let origin = http.origin().clone();
    let secrets = Secrets { origin, headers: headers.collect(), resend_on_return: true };
    hops(http, request, secrets, payload)
}

/// Fetches a URL that is not part of the peer's API, such as a token server's. The peer's headers
/// are not sent. `authorization` is sent to the URL's own origin only.
///
/// # Errors
/// As [`follow`].
pub fn follow_foreign(
    http: &Http,
    url: &Url,
    headers: &[(&str, &str)],
    authorization: Option<&str>,
    role: Role<'_>,
) -> Result<Response, Failure> {
    let request = Request { role, ..Request::new(Method::Get, url, headers) };
    let authorization = authorization.map(|value| ("Authorization", value));
    let headers = authorization.into_iter().collect();
    let secrets = Secrets { origin: url.origin(), headers, resend_on_return: false };
    hops(http, request, secrets, &mut Payload::None)
}

/// Sends a request to an origin other than the peer's, such as a registry that the peer redirects
/// to. The peer's headers are not sent. `authorization` is sent to the URL's own origin only.
///
/// # Errors
/// As [`follow`].
pub fn follow_elsewhere(
    http: &Http,
    request: Request<'_>,
    authorization: &str,
) -> Result<Response, Failure> {
    let headers = vec![("Authorization", authorization)];
    let secrets = Secrets { origin: request.url.origin(), headers, resend_on_return: false };
    hops(http, request, secrets, &mut Payload::None)
}

/// Headers that are sent to one origin only.
struct Secrets<'a> {
    origin: Origin,
    headers: Vec<(&'a str, &'a str)>,
    /// Whether they are sent again after redirects have led to another origin and back.
    resend_on_return: bool,
}

/// Sends the request and follows redirects, with the secrets of one origin.
fn hops(
    http: &Http,
    request: Request<'_>,
    mut secrets: Secrets<'_>,
    payload: &mut Payload<'_>,
) -> Result<Response, Failure> {
    let mut url = request.url.clone();
    let mut visited: Vec<Url> = Vec::new();
    loop {
        let at_own_origin = url.origin() == secrets.origin;
        if !at_own_origin && !secrets.resend_on_return {
            secrets.headers.clear();
        }
        let own = if at_own_origin { secrets.headers.as_slice() } else { &[] };
        let headers = [request.headers, own].concat();
        let hop = Request { url: &url, headers: &headers, hop: !visited.is_empty(), ..request };
        let mut response = http.send(hop, payload)?;
        let status = response.status.as_u16();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) || request.redirects == 0 {
            return Ok(response);
        }
        let wrong =
            |why: &str| Error::malformed(format_args!("{}: redirect: {why}", url.authority()));
        let location = response.header("location").map(str::to_owned);
        let location = location.ok_or_else(|| wrong("the Location is missing or not readable"))?;
        let target = http
            .decide(Purpose::Redirect, &url, &location)
            .map_err(|refusal| refusal.error(format_args!("{}: redirect", url.authority())))?;
        let sent_on = matches!(status, 307 | 308) && target.same_origin && payload.can_repeat();
        if !request.method.only_reads() && !sent_on {
            let why = format!("{status} to {} is not followed when writing", target.url);
            return Err(wrong(&why).into());
        }
        // The body is read to its end, so that the connection can be reused.
        response.error_text();
        visited.push(url);
        if visited.contains(&target.url) {
            return Err(Error::malformed(format_args!("redirect loop at {}", target.url)).into());
        }
        if visited.len() > request.redirects {
            let most = request.redirects;
            return Err(Error::malformed(format_args!("more than {most} redirects")).into());
        }
        url = target.url;
    }
}
