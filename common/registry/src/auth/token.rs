// SPDX-License-Identifier: Apache-2.0
//! Fetches a bearer token from a token server, by GET or POST, and reads the response.
//!
//! Not here: finding the credential (`known`), and deciding whether the token server's URL is
//! allowed ([`Http::decide`](net::exchange::Http::decide)).

use std::time::{Duration, Instant};

use common::error::Error;
use common::{json, notice, secret};
use machine::credentials::{Credential, Lookup};
use net::basic::basic;
use net::failure::Failure;
use net::form::form;
use net::redirect::follow_foreign;
use net::request::{Method, Payload, Request, Role};
use net::response::Response;
use net::url::{Purpose, Url};
use serde_json::Value;

use super::api::Api;
use super::challenge::Challenge;
use super::scope::Scope;
use crate::{answer, refusal};

/// The maximum size of a token server's response, in bytes.
const MAX_TOKEN_BODY: u64 = 128 << 10;

/// The minimum lifetime of a token, also used if the token server does not state one.
const MIN_LIFE: Duration = Duration::from_secs(60);

/// The maximum lifetime of a token, whatever the token server states.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A token counts as expired this long before its expiry.
const MARGIN: Duration = Duration::from_secs(10);

/// The `client_id` that is sent to a token server.
const CLIENT_ID: &str = "regutils";

/// A bearer token and its expiry.
#[derive(Clone)]
pub(super) struct Token {
    /// The Authorization header with the token.
    pub(super) header: String,
    /// The scope that was requested.
    pub(super) asked: Scope,
    expires: Instant,
}

impl Token {
    /// Whether the token is valid for at least [`MARGIN`].
    pub(super) fn is_valid(&self) -> bool {
        self.expires.saturating_duration_since(Instant::now()) >= MARGIN
    }
}

/// The URL of the token server that a challenge names.
///
/// # Errors
/// Malformed if the challenge has no realm, or if its URL is invalid or not allowed.
pub(super) fn realm(api: &Api, challenge: &Challenge) -> Result<Url, Error> {
    let what = format!("{}: token realm", api.root.authority());
    let missing = || Error::malformed(format_args!("{what}: missing in the challenge"));
    let realm = challenge.parameter("realm").ok_or_else(missing)?;
    let target = api.http.decide(Purpose::Realm, &api.root, realm);
    Ok(target.map_err(|refusal| refusal.error(&what))?.url)
}

/// The URL of the token server that a challenge of another registry names. The rules for addresses
/// are those of that registry.
///
/// # Errors
/// As [`realm`].
pub(super) fn realm_elsewhere(api: &Api, from: &Url, realm: &str) -> Result<Url, Error> {
    let what = format!("{}: token realm", from.authority());
    let target = api.http.decide_elsewhere(Purpose::Realm, from, realm);
    Ok(target.map_err(|refusal| refusal.error(&what))?.url)
}

/// Fetches a token for these scopes from a token server, and adds the request to the trace.
/// `registry` is the host of the registry that named the token server, for messages: the name under
/// which its credentials are stored.
///
/// # Errors
/// Refused if the token server rejects the credential or gives no anonymous token, or if a proxy
/// could read the credential. Malformed if the response is invalid. Unavailable for a network
/// failure or a temporary error status.
pub(super) fn fetch(
    api: &Api,
    registry: &str,
    realm: &Url,
    service: Option<&str>,
    scope: &Scope,
    found: &Lookup,
) -> Result<Token, Failure> {
    let Some(trace) = &api.http.client().trace else {
        return ask(api, registry, (realm, Role::Api), service, scope, found);
    };
    let variable = trace.ask_token();
    let token = ask(api, registry, (realm, Role::Token(&variable)), service, scope, found);
    let bearer = token.as_ref().ok().and_then(|token| token.header.strip_prefix("Bearer "));
    trace.token_came(&variable, bearer);
    token
}

fn ask(
    api: &Api,
    registry: &str,
    (realm, role): (&Url, Role<'_>),
    service: Option<&str>,
    scope: &Scope,
    found: &Lookup,
) -> Result<Token, Failure> {
    if found.credential.is_some() {
        // Over plain HTTP through a proxy, the proxy could read the token later. It could also have
        // replaced this realm's URL to receive the credential.
        api.http.check_proxy_cannot_read(&api.root)?;
    }
    let response = match &found.credential {
        Some(Credential::Identity { user, token }) => {
            let response = post(api, (realm, role), service, scope, token)?;
            match response.status.as_u16() {
                // The token server does not support POST or identity tokens. Some servers accept an
                // identity token as a password.
                400 | 401 | 403 | 404 | 405 | 501 => {
                    let login = user.as_ref().map(|user| (user.as_str(), token.as_str()));
                    if login.is_none() {
                        let status = response.status.as_u16();
                        notice::warn("identity token", || {
                            let place = realm.authority();
                            format!(
                                "{place}: {status}: it does not accept identity tokens: trying \
                                 without credentials"
                            )
                        });
                    }
                    get(api, (realm, role), service, scope, login)?
                }
                _ => response,
            }
        }
        Some(Credential::Password { user, password }) => {
            get(api, (realm, role), service, scope, Some((user, password)))?
        }
        _ => get(api, (realm, role), service, scope, None)?,
    };
    let place = format!("token server {}", realm.authority());
    if !response.status.is_success() {
        let refusal = refusal::by_token_server(found, api.http.peer(), registry);
        return Err(answer::failure(response.about(refusal), &place));
    }
    let body = response.read(MAX_TOKEN_BODY).map_err(|failure| failure.context(&place))?;
    let wrong = |why: String| Failure::from(Error::malformed(format_args!("{place}: {why}")));
    let body = body.ok_or_else(|| wrong(format!("response larger than {MAX_TOKEN_BODY} bytes")))?;
    let (text, life) = read(&body).map_err(wrong)?;
    let header = format!("Bearer {text}");
    if found.credential.is_none() {
        api.http.mark_anonymous(&header);
    }
    Ok(Token { header, asked: scope.clone(), expires: Instant::now() + life })
}

/// Requests a token by GET, as in the token specification. The user name and password are sent only
/// to the realm's origin.
fn get(
    api: &Api,
    (realm, role): (&Url, Role<'_>),
    service: Option<&str>,
    scope: &Scope,
    login: Option<(&str, &str)>,
) -> Result<Response, Failure> {
    let mut query: Vec<(&str, &str)> = Vec::new();
    query.extend(service.map(|service| ("service", service)));
    query.extend(scope.names().map(|scope| ("scope", scope)));
    query.extend(login.map(|(user, _)| ("account", user)));
    let target = realm.with_query(&query).map_err(Error::malformed)?;
    let login = login.map(|(user, password)| basic(user, password));
    // The user's own headers are not sent: they are for the registry only.
    follow_foreign(&api.http, &target, &[], login.as_deref(), role)
        .map_err(|failure| failure.context("token server"))
}

/// Requests a token by POST as in OAuth2, for identity tokens. The secret is in the body, so
/// redirects are not followed.
fn post(
    api: &Api,
    (realm, role): (&Url, Role<'_>),
    service: Option<&str>,
    scope: &Scope,
    token: &str,
) -> Result<Response, Failure> {
    let scopes: Vec<&str> = scope.names().collect();
    let scopes = scopes.join(" ");
    let mut fields = vec![("grant_type", "refresh_token"), ("client_id", CLIENT_ID)];
    fields.extend(service.map(|service| ("service", service)));
    fields.extend([("scope", scopes.as_str()), ("refresh_token", token)]);
    // An error message of the server may repeat the token in form encoding, so the encoded token is
    // also a secret.
    secret::keep(form(&[("", token)]).trim_start_matches('='));
    let body = form(&fields);
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    // The exchange checks only headers for secrets, and this secret is in the body.
    api.http.check_proxy_cannot_read(realm)?;
    let request = Request { role, ..Request::new(Method::Post, realm, &headers) };
    let context = |failure: Failure| failure.context("token server");
    api.http.send(request, &mut Payload::Bytes(body.as_bytes())).map_err(context)
}

/// Reads a token server's response: the token and its lifetime.
fn read(body: &[u8]) -> Result<(String, Duration), String> {
    let document = json::parse_object(body)?;
    let text =
        |key: &str| document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = match (text("token"), text("access_token")) {
        (Some(token), Some(access)) if token != access => {
            return Err("token and access_token differ".to_owned());
        }
        (Some(token), _) | (None, Some(token)) => token,
        (None, None) => return Err("response without a token".to_owned()),
    };
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the token has characters that are not allowed in a header".to_owned());
    }
    let life = document.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
    secret::keep(token);
    Ok((token.to_owned(), life.unwrap_or(MIN_LIFE).clamp(MIN_LIFE, MAX_LIFE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_as_expired_before_its_end() {
        let is_valid = |life: Duration| {
            let expires = Instant::now() + life;
            Token { header: String::new(), asked: Scope::pull("a"), expires }.is_valid()
        };
        assert!(is_valid(MIN_LIFE) && is_valid(MARGIN + Duration::from_secs(5)));
        assert!(!is_valid(MARGIN) && !is_valid(Duration::ZERO));
    }

    #[test]
    fn a_stated_lifetime_is_kept_within_limits() {
        let life = |body: &str| read(body.as_bytes()).unwrap().1;
        assert_eq!(life(r#"{"token":"x"}"#), MIN_LIFE);
        assert_eq!(life(r#"{"access_token":"x","expires_in":0}"#), MIN_LIFE);
        assert_eq!(life(r#"{"token":"x","expires_in":1000000000000}"#), MAX_LIFE);
        assert_eq!(life(r#"{"token":"x","expires_in":"junk"}"#), MIN_LIFE);
        assert_eq!(life(r#"{"token":"x","expires_in":61}"#), Duration::from_secs(61));
        for wrong in [
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\nb"}"#,
            r#"{"token":"ä"}"#,
            r#"{"token":"a","access_token":"b"}"#,
            "<html>",
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
