// SPDX-License-Identifier: Apache-2.0
//! Redirects: followed hop by hop, each decided by [`url::decide`], and none by the library.
//!
//! What only one origin may see (an Authorization, the settings' own headers) goes to it and to no
//! other; a login not even there once a stranger said where. What writes is only sent on by 307 and
//! 308, in the registry itself, and if it can be sent again: another redirect would turn it into a
//! GET, whose success means nothing.

use common::error::Error;

use crate::exchange::Http;
use crate::failure::Failure;
use crate::origin::Origin;
use crate::request::{Method, Payload, Request, Role};
use crate::response::Response;
use crate::url::{self, Purpose, Url};

/// Sends a request to the peer and follows redirects.
///
/// # Errors
/// Malformed, for a redirect that leads nowhere or where it may not; else the exchange's.
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

/// Fetches from another place than the peer's API: the peer's headers are not sent, and
/// `authorization` goes to the place's own scheme, host and port alone.
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

/// What only one origin may see.
struct Secrets<'a> {
    origin: Origin,
    headers: Vec<(&'a str, &'a str)>,
    /// Whether it still may when redirects led elsewhere and back.
    resend_on_return: bool,
}

/// Goes from hop to hop, with the secrets of one origin.
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
        let location = location.ok_or_else(|| wrong("no Location that can be read"))?;
        let target = url::decide(Purpose::Redirect, http.origin(), &url, &location)
            .map_err(|e| wrong(&e))?;
        let sent_on = matches!(status, 307 | 308) && target.same_origin && payload.can_repeat();
        if !request.method.only_reads() && !sent_on {
            let why = format!("{status} to {} is not followed when writing", target.url);
            return Err(wrong(&why).into());
        }
        // Read to its end, the connection can serve again.
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
