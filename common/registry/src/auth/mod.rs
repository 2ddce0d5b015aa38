// SPDX-License-Identifier: Apache-2.0
//! How a registry asks who is there, and the answer.
//!
//! | module | owns |
//! |---|---|
//! | `challenge` | what is asked for |
//! | `scope` | what a request needs to be allowed to do |
//! | `token` | asking a token server |
//! | [`grant`] | a token for other programs |
//!
//! Nothing is sent before a challenge, but for a bearer token that was given for just this registry. A Basic challenge
//! is answered by name and password, and once only. A Bearer challenge (distribution's token specification) is
//! answered by asking its realm for a token; without credentials that is the anonymous token that public registries
//! want even for public images. A program asks for one token for each set of scopes that it needs and shares it among
//! its connections. A token that was just asked for and is refused is replaced once, where the refusal says what is
//! wrong with it.

mod challenge;
pub mod grant;
mod scope;
mod token;

use common::error::{Error, Status};
use common::reference::Repository;
use machine::credentials::{Credential, Found, find};
use net::basic::basic;
use net::exchange::Http;
use net::redirect::follow;
use net::request::{Method, Payload, Request};
use net::response::{Refusal, Response};
use net::retry::{Failure, Retry};
use net::url::Url;

use super::Registry;
use crate::answer::{self, refusal};
use challenge::{Challenge, challenges_of, choose};
pub(super) use scope::Scope;
use token::Token;

/// The most token servers that a repository's registry may send a run to: each learns who the user is.
const MAX_REALMS: usize = 2;

/// Whom this is about, and how to speak to it.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) http: &'a Http,
    pub(super) base: &'a Url,
    pub(super) root: &'a str,
    pub(super) repository: &'a Repository,
}

impl Registry {
    fn peer(&self) -> Peer<'_> {
        Peer { http: &self.http, base: &self.base, root: &self.root, repository: &self.repository }
    }

    /// Sends a request to the registry and authenticates when it is challenged. A payload that cannot be sent again
    /// leaves the new token for the caller's next attempt.
    pub(super) fn authorized(
        &self,
        scope: &Scope,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Failure> {
        let peer = self.peer();
        let mut auth = self.auth();
        let mut header = auth.header(peer, scope)?;
        // The first request of all: others wait for what it learns.
        let mut held = Some(auth).filter(|auth| !auth.settled);
        // Answers to a challenge. Of a token that was kept any may be wrong, of a new one few.
        let mut left = if header.is_none() { 2 } else { 1 };
        let mut fresh = false;
        let response = loop {
            let mut response = follow(peer.http, peer.base, request, header.as_deref(), payload)?;
            let is_challenge =
                response.status.as_u16() == 401 && response.url.same_origin(peer.base);
            // Who brings a header of his own answers for it.
            if !is_challenge || left == 0 || self.settings().authorizes() {
                break response;
            }
            left -= 1;
            response.hold();
            let mut auth = held.take().unwrap_or_else(|| self.auth());
            // The token was asked for just for these bytes: another one would fare no better.
            if !payload.can_repeat() && header.is_some() && header == auth.renewed {
                held = Some(auth);
                break response;
            }
            let next = auth.answer(peer, scope, &response, header.as_deref(), fresh)?;
            let Some(next) = next else {
                held = Some(auth);
                break response;
            };
            (header, fresh) = (Some(next), true);
            if !payload.can_repeat() {
                auth.settled = true;
                auth.renewed = header;
                let what =
                    format_args!("{}: the token died while a blob was sent", self.repository);
                let retry = Retry::After(std::time::Duration::ZERO);
                return Err(Failure { error: Error::later(what), retry });
            }
            held = Some(auth).filter(|auth| !auth.settled);
        };
        let mut auth = held.unwrap_or_else(|| self.auth());
        auth.settled = true;
        if !payload.can_repeat() && response.status.as_u16() != 401 {
            auth.renewed = None;
        }
        let is_own = response.url.same_origin(peer.base);
        Ok(match response.status.as_u16() {
            401 | 403 if is_own => response.about(auth.refusal(peer)),
            _ => response,
        })
    }
}

/// What is known of a registry's wish to know who is there.
#[derive(Default)]
pub(super) struct Auth {
    /// Whether the registry has answered a request at all: until then only one is under way, so that
    /// many connections learn from one challenge.
    settled: bool,
    /// What it asked for last.
    challenge: Option<Challenge>,
    /// The credential that was looked for when it asked first.
    found: Option<Found>,
    tokens: Vec<(Scope, Token)>,
    /// The header that was asked for when bytes were refused that could not be sent again at once, until some are taken.
    renewed: Option<String>,
    /// The token servers that were asked, without their queries.
    realms: Vec<String>,
    /// Where the credential was refused: it is not tried again, since an account may be locked for that.
    refused: Vec<(Scope, Error)>,
}

impl Auth {
    /// The Authorization header to send for a scope: none before a challenge. A token near its end is renewed, and
    /// one that is missing is asked for where the registry is known to want one.
    fn header(&mut self, peer: Peer<'_>, scope: &Scope) -> Result<Option<String>, Failure> {
        if let Some(token) = given_token(peer) {
            return Ok(Some(token));
        }
        if let Some((_, error)) = self.refused.iter().find(|(of, _)| of == scope) {
            return Err(error.clone().into());
        }
        let Some(challenge) = self.challenge.clone() else { return Ok(None) };
        if let Some(fixed) = self.fixed(peer, &challenge)? {
            return Ok(Some(fixed));
        }
        match self.token(scope) {
            Some(token) if token.lives() => Ok(Some(token.header.clone())),
            Some(token) => {
                let asked = token.asked.clone();
                self.ask(peer, &challenge, scope, &asked).map(Some)
            }
            None => self.ask(peer, &challenge, scope, scope).map(Some),
        }
    }

    fn token(&self, scope: &Scope) -> Option<&Token> {
        self.tokens.iter().find(|(of, _)| of == scope).map(|(_, token)| token)
    }

    /// Answers a 401: the header to send now, or nothing when there is no other. `sent` is what the refused request
    /// carried, `fresh` whether that was asked for just for it; if another connection has a newer token by now, that
    /// one is used.
    fn answer(
        &mut self,
        peer: Peer<'_>,
        scope: &Scope,
        refused: &Response,
        sent: Option<&str>,
        fresh: bool,
    ) -> Result<Option<String>, Failure> {
        if sent.is_some() && given_token(peer).is_some() {
            return Ok(None);
        }
        if let Some(token) = self.token(scope)
            && sent != Some(token.header.as_str())
        {
            return Ok(Some(token.header.clone()));
        }
        let mut challenges = challenges_of(refused);
        if challenges.is_empty() && !fresh {
            challenges = ping(peer)?;
        }
        let challenge = match choose(challenges) {
            Err(_) if fresh => return Ok(None),
            Err(why) => return Err(Error::refused(why).context(peer.base.authority()).into()),
            Ok(challenge) => challenge,
        };
        if let Some(fixed) = self.fixed(peer, &challenge)? {
            if sent != Some(fixed.as_str()) {
                self.challenge = Some(challenge);
                return Ok(Some(fixed));
            }
            let what = format!("{}: 401", peer.repository);
            let error = answer::refused(&what, &self.refusal(peer));
            self.refused.push((scope.clone(), error));
            return Ok(None);
        }
        let had = self.token(scope).map(|token| token.asked.clone());
        let asked = had.as_ref().unwrap_or(scope);
        let wanted = asked.with(challenge.scopes(), fresh);
        let says_why =
            matches!(challenge.parameter("error"), Some("insufficient_scope" | "invalid_token"));
        if fresh && !says_why && asked.covers(&wanted) {
            return Ok(None);
        }
        let header = self.ask(peer, &challenge, scope, &wanted)?;
        self.challenge = Some(challenge);
        Ok(Some(header))
    }

    /// The header that answers a challenge without a token server; nothing where one is to be asked.
    fn fixed(&mut self, peer: Peer<'_>, challenge: &Challenge) -> Result<Option<String>, Failure> {
        let found = self.found(peer);
        match &found.credential {
            Some(Credential::Bearer(token)) if challenge.is_bearer() => {
                Ok(Some(format!("Bearer {token}")))
            }
            _ if challenge.is_bearer() => Ok(None),
            Some(Credential::Password { user, password }) => Ok(Some(basic(user, password))),
            Some(_) => {
                let host = peer.base.authority();
                let why = "401: it wants a name and a password, and there is a token alone";
                let hint = format!("it is that of {}", found.origin);
                Err(Error::refused(why).context(host).hint(hint).into())
            }
            None => {
                let refusal = refusal(found, peer.repository.host());
                Err(answer::refused(&format!("{}: 401", peer.repository), &refusal).into())
            }
        }
    }

    /// The credential, looked for when it is first needed.
    fn found(&mut self, peer: Peer<'_>) -> &Found {
        self.found.get_or_insert_with(|| {
            let (settings, host) = (peer.http.settings(), peer.repository.host());
            let found = match &settings.given {
                Some(given) => Found {
                    credential: Some(given.credential.clone()),
                    origin: given.origin.clone(),
                    unread: Vec::new(),
                },
                None => {
                    let authfile = settings.authfile.as_deref();
                    find(peer.repository, authfile, settings.idle_timeout)
                }
            };
            match &found.credential {
                Some(_) => {
                    settings.comment(format_args!("credentials for {host}: {}", found.origin))
                }
                None => settings.comment(format_args!("credentials for {host}: none")),
            }
            found
        })
    }

    /// Asks a challenge's realm for a token and keeps it; the header that carries it.
    fn ask(
        &mut self,
        peer: Peer<'_>,
        challenge: &Challenge,
        scope: &Scope,
        wanted: &Scope,
    ) -> Result<String, Failure> {
        let realm = token::realm(peer, challenge)?;
        let name = realm.to_string();
        if !self.realms.contains(&name) {
            if self.realms.len() >= MAX_REALMS {
                let what = format_args!(
                    "{}: token realm: {name} is one more than the {MAX_REALMS} that a run may ask",
                    peer.base.authority()
                );
                return Err(Error::malformed(what).into());
            }
            self.realms.push(name);
        }
        let found = self.found(peer).clone();
        let service = challenge.parameter("service");
        let token = token::fetch(peer, &realm, service, wanted, &found).inspect_err(|failure| {
            if failure.error.status() == Status::Refused {
                self.refused.push((scope.clone(), failure.error.clone()));
            }
        })?;
        let header = token.header.clone();
        self.tokens.retain(|(of, _)| of != scope);
        self.tokens.push((scope.clone(), token));
        Ok(header)
    }

    /// As whom a request was refused, in words.
    fn refusal(&mut self, peer: Peer<'_>) -> Refusal {
        match (&self.found, &peer.http.settings().given) {
            (Some(found), _) => refusal(found, peer.repository.host()),
            (None, Some(given)) if given_token(peer).is_some() => {
                let credential = Some(given.credential.clone());
                let found = Found { credential, origin: given.origin.clone(), unread: Vec::new() };
                refusal(&found, peer.repository.host())
            }
            (None, _) => answer::unknown(),
        }
    }
}

/// The header of a bearer token that was given for just this registry.
fn given_token(peer: Peer<'_>) -> Option<String> {
    match &peer.http.settings().given.as_ref()?.credential {
        Credential::Bearer(token) => Some(format!("Bearer {token}")),
        _ => None,
    }
}

/// The challenges of the API's root: some fronts challenge there alone. Of a place that it redirects to they are not
/// ours to answer.
fn ping(peer: Peer<'_>) -> Result<Vec<Challenge>, Failure> {
    let root = peer.base.join(peer.root).map_err(Error::malformed)?;
    let request = Request::new(Method::Get, &root, &[]);
    let mut response = follow(peer.http, peer.base, request, None, &mut Payload::None)?;
    response.error_text();
    let is_own = response.url.same_origin(peer.base);
    Ok(if is_own { challenges_of(&response) } else { Vec::new() })
}
