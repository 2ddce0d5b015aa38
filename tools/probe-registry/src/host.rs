// SPDX-License-Identifier: Apache-2.0
//! The facts in the response of the API's root: headers, TLS, clock, login.

use common::error::Result;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;
use net::url::{Purpose, Url};
use registry::Registry;
use registry::auth::challenge::{self, Challenge};

use crate::report::{Is, Report};
use crate::{answers, clock, tls};

/// Reports the facts.
///
/// # Errors
/// The failure if the API's root could not be requested; the facts about TLS are reported anyway.
/// Local if standard output cannot be written.
pub(crate) fn probe(registry: &Registry, report: &mut Report) -> Result<()> {
    let session = registry.session();
    let root = session.root().clone();
    report.put("url", Is::Text(root.to_string()), "")?;
    let get = Request::new(Method::Get, &root, &[]);
    let sent = with_attempts(registry.client(), || {
        let (response, exchange) = clock::timed(|| session.send_bare(get, &mut Payload::None));
        Ok((response?, exchange))
    });
    tls::probe(&root, session.http().peer(), sent.is_err(), report)?;
    let (response, exchange) = sent.map_err(|error| error.context(registry.repository()))?;
    api(&response, session.is_own(&response), report)?;
    for (name, header) in
        [("version-header", "docker-distribution-api-version"), ("server", "server")]
    {
        match text_of(&response, header) {
            Some(text) => report.put(name, Is::Text(text), "")?,
            None => report.put(name, Is::No, "no such header")?,
        }
    }
    clock::probe(&response, exchange, report)?;
    let challenges = challenges(&response);
    login(&response, &challenges, report)?;
    if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
        token_server(registry, &root, bearer, report)?;
    }
    drop(response);
    access(registry, &root, report)
}

/// Reports whether the response is that of a registry.
fn api(response: &Response, is_own: bool, report: &mut Report) -> Result<()> {
    let status = response.status;
    let is_html = common::mediatype::of_content_type(response.header("content-type"))
        .is_some_and(|said| said.ends_with("html") || said.ends_with("html+xml"));
    let (is, why) = match status.as_u16() {
        200 | 401 if is_html => (Is::No, format!("{} with a web page", status.as_u16())),
        200 | 401 if !is_own => {
            (Is::Yes, format!("{}, redirected to {}", status.as_u16(), response.url.authority()))
        }
        200 | 401 => (Is::Yes, String::new()),
        _ => (Is::No, status.to_string()),
    };
    report.put("registry-api", is, why)
}

/// The value of a header as text; `None` if it is absent or empty.
fn text_of(response: &Response, name: &str) -> Option<String> {
    let value = response.headers.get(name)?;
    let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn challenges(response: &Response) -> Vec<Challenge> {
    let headers = response.headers.get_all("www-authenticate").iter();
    headers.filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect()
}

/// Reports the authentication schemes.
fn login(response: &Response, challenges: &[Challenge], report: &mut Report) -> Result<()> {
    let mut schemes: Vec<String> = Vec::new();
    for Challenge { scheme, .. } in challenges {
        let name = match scheme.as_str() {
            "basic" => "Basic".to_owned(),
            "bearer" => "Bearer".to_owned(),
            other => other.to_owned(),
        };
        if !schemes.contains(&name) {
            schemes.push(name);
        }
    }
    match (schemes.is_empty(), response.status.as_u16()) {
        (false, _) => report.put("login", Is::Text(schemes.join(", ")), ""),
        (true, 200) => report.put("login", Is::Text("none".to_owned()), "for the API's root"),
        (true, status) => report.put("login", Is::Unknown, format!("{status} without a challenge")),
    }
}

/// Reports the token server of a Bearer challenge, and whether the rules for URLs allow it.
fn token_server(
    registry: &Registry,
    root: &Url,
    bearer: &Challenge,
    report: &mut Report,
) -> Result<()> {
    match bearer.parameter("realm") {
        None => report.put("token-server", Is::No, "the challenge has no realm")?,
        Some(realm) => match registry.session().http().decide(Purpose::Realm, root, realm) {
            Ok(target) => report.put("token-server", Is::Text(target.url.to_string()), "")?,
            Err(refusal) => {
                report.put("token-server", Is::No, format!("refused: {}", refusal.why))?
            }
        },
    }
    match bearer.parameter("service") {
        Some(service) => report.put("token-service", Is::Text(service.to_owned()), ""),
        None => report.put("token-service", Is::No, "the challenge has no service"),
    }
}

/// Reports whether the API's root can be read with the user's credentials, or without any.
fn access(registry: &Registry, root: &Url, report: &mut Report) -> Result<()> {
    let get = Request::new(Method::Get, root, &[]);
    let outcome = answers::send(registry, registry.scope(), get, &mut Payload::None);
    let whose = match registry.session().credential_origin() {
        Some(origin) => format!("with the credentials from {origin}"),
        None if registry.session().is_anonymous() => "anonymous".to_owned(),
        None => "with the given credentials".to_owned(),
    };
    match outcome {
        Ok(response) if response.status.is_success() => report.put("access", Is::Yes, whose),
        Ok(response) => {
            let words = answers::words(response);
            report.put("access", Is::No, format!("{words}, {whose}"))
        }
        Err(error) => {
            let (is, why) = answers::failed(registry, &error);
            report.put("access", is, why)
        }
    }
}
