// SPDX-License-Identifier: Apache-2.0
//! Asking a token server for a bearer token, by GET or by POST, and reading its answer.
//!
//! Whose token it is, is settled before; whether the server may be asked at all is
//! [`url::decide`]'s word.

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
use net::url::{self, Purpose, Url};
use serde_json::Value;

use super::api::Api;
use super::challenge::Challenge;
use super::scope::Scope;
use crate::{answer, refusal};

/// The largest answer of a token server, in bytes.
const MAX_TOKEN_BODY: u64 = 128 << 10;

/// What a token lives when its server does not say, or says less.
const MIN_LIFE: Duration = Duration::from_secs(60);

/// The longest life that is believed.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How early a token counts as dead.
const MARGIN: Duration = Duration::from_secs(10);

/// How this program calls itself to a token server.
const CLIENT_ID: &str = "regutils";

/// A bearer token and when it dies.
#[derive(Clone)]
pub(super) struct Token {
    /// The Authorization header that carries it.
    pub(super) header: String,
    /// What was asked for with it.
    pub(super) asked: Scope,
    dies: Instant,
}

impl Token {
    /// Whether it is not near its end.
    pub(super) fn lives(&self) -> bool {
        self.dies.saturating_duration_since(Instant::now()) >= MARGIN
    }
}

/// The token server that a challenge names, if it may be asked.
///
/// # Errors
/// Malformed.
pub(super) fn realm(api: &Api, challenge: &Challenge) -> Result<Url, Error> {
    let base = &api.root;
    let wrong =
        |why: &str| Error::malformed(format_args!("{}: token realm: {why}", base.authority()));
    let realm = challenge.parameter("realm").ok_or_else(|| wrong("the challenge has none"))?;
    Ok(url::decide(Purpose::Realm, &base.origin(), base, realm).map_err(|e| wrong(&e))?.url)
}

/// Asks a token server for a token for these scopes.
///
/// # Errors
/// Refused, when it does not take the credential or gives nothing without one; malformed; later.
pub(super) fn fetch(
    api: &Api,
    realm: &Url,
    service: Option<&str>,
    scope: &Scope,
    found: &Lookup,
) -> Result<Token, Failure> {
    let Some(trace) = &api.http.client().trace else {
        return ask(api, (realm, Role::Api), service, scope, found);
    };
    let variable = trace.ask_token();
    let token = ask(api, (realm, Role::Token(&variable)), service, scope, found);
    let came = token.as_ref().ok().and_then(|token| token.header.strip_prefix("Bearer "));
    trace.token_came(&variable, came);
    token
}

fn ask(
    api: &Api,
    (realm, role): (&Url, Role<'_>),
    service: Option<&str>,
    scope: &Scope,
    found: &Lookup,
) -> Result<Token, Failure> {
    if found.credential.is_some() {
        // Nor could the token be sent on; and who reads the registry's answers could have written
        // this realm.
        api.http.refuse_to_show(&api.root)?;
    }
    let response = match &found.credential {
        Some(Credential::Identity { user, token }) => {
            let response = post(api, (realm, role), service, scope, token)?;
            match response.status.as_u16() {
                // A server that knows no POST, or no identity tokens. Some take one as a password.
                400 | 401 | 403 | 404 | 405 | 501 => {
                    let login = user.as_ref().map(|user| (user.as_str(), token.as_str()));
                    if login.is_none() {
                        let status = response.status.as_u16();
                        notice::warn("identity token", || {
                            let place = realm.authority();
                            format!(
                                "{place}: {status}: it takes no identity token: asked as nobody"
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
        let refusal = refusal::by_token_server(found, api.root.authority());
        return Err(answer::failure(response.about(refusal), &place));
    }
    let body = response.read(MAX_TOKEN_BODY)?;
    let wrong = |why: String| Failure::from(Error::malformed(format_args!("{place}: {why}")));
    let body =
        body.ok_or_else(|| wrong(format!("an answer of more than {MAX_TOKEN_BODY} bytes")))?;
    let (text, life) = read(&body).map_err(wrong)?;
    let header = format!("Bearer {text}");
    if found.credential.is_none() {
        api.http.is_for_anybody(&header);
    }
    Ok(Token { header, asked: scope.clone(), dies: Instant::now() + life })
}

/// The token specification's own way. The login goes to the realm's scheme, host and port alone.
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
    // Not the registry: the user's own headers are not for it.
    follow_foreign(&api.http, &target, &[], login.as_deref(), role)
        .map_err(|failure| failure.context("token server"))
}

/// The way of OAuth2, for identity tokens: the secret is in the body, so no redirect is followed.
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
    // A server may say back what it was sent as it was sent.
    secret::keep(form(&[("", token)]).trim_start_matches('='));
    let body = form(&fields);
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    // Here a secret is in the body, where nobody else looks for one.
    api.http.refuse_to_show(realm)?;
    let request = Request { role, ..Request::new(Method::Post, realm, &headers) };
    let context = |failure: Failure| failure.context("token server");
    api.http.send(request, &mut Payload::Bytes(body.as_bytes())).map_err(context)
}

/// Reads a token server's answer: the token and how long it lives.
fn read(body: &[u8]) -> Result<(String, Duration), String> {
    let document = json::parse_object(body)?;
    let text =
        |key: &str| document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = match (text("token"), text("access_token")) {
        (Some(token), Some(access)) if token != access => {
            return Err("token and access_token differ".to_owned());
        }
        (Some(token), _) | (None, Some(token)) => token,
        (None, None) => return Err("an answer without a token".to_owned()),
    };
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a token that fits no header".to_owned());
    }
    let life = document.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
    secret::keep(token);
    Ok((token.to_owned(), life.unwrap_or(MIN_LIFE).clamp(MIN_LIFE, MAX_LIFE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_as_dead_before_it_is() {
        let lives = |life: Duration| {
            let dies = Instant::now() + life;
            Token { header: String::new(), asked: Scope::pull("a"), dies }.lives()
        };
        assert!(lives(MIN_LIFE) && lives(MARGIN + Duration::from_secs(5)));
        assert!(!lives(MARGIN) && !lives(Duration::ZERO));
    }

    #[test]
    fn tokens_are_believed_within_limits() {
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
