// SPDX-License-Identifier: Apache-2.0
//! A registry's challenge, credential and tokens, and the Authorization header that results from
//! them.
//!
//! Not here: sending the request again, see [`session`](super::session).

use common::error::{Error, Status};
use machine::credentials::{Credential, Lookup, find};
use net::basic::basic;
use net::failure::Failure;
use net::redirect::follow;
use net::request::{Method, Payload, Request};
use net::response::{Refusal, Response};

use super::api::Api;
use super::challenge::{Challenge, challenges_of, choose};
use super::scope::Scope;
use super::token::{self, Token};
use crate::refusal;

/// The maximum number of token servers per repository in one run: each of them receives the user's
/// credential.
pub(super) const MAX_REALMS: usize = 2;

/// The known facts about a registry's authentication.
#[derive(Default)]
pub(super) struct Known {
    /// The last challenge.
    challenge: Option<Challenge>,
    /// The result of the search for a credential, made at the first challenge.
    found: Option<Lookup>,
    tokens: Vec<(Scope, Token)>,
    /// The new header for an upload whose token was rejected and whose bytes cannot be sent again
    /// at once. The header is kept until the registry accepts bytes.
    pub(super) renewed: Option<String>,
    /// The URLs of the token servers used so far, without queries.
    realms: Vec<String>,
    /// The scopes for which the credential was refused. The credential is not used again for these
    /// scopes, because repeated failures may lock an account.
    refused: Vec<(Scope, Error)>,
}

impl Known {
    /// The Authorization header to send for a scope. `None` before the first challenge, unless the
    /// user gave a bearer token for this registry. A token that is about to expire is renewed. A
    /// missing token is fetched if the registry is known to require one.
    pub(super) fn header(&mut self, api: &Api, scope: &Scope) -> Result<Option<String>, Failure> {
        if let Some(token) = given_token(api) {
            return Ok(Some(token));
        }
        if let Some((_, error)) = self.refused.iter().find(|(of, _)| of == scope) {
            return Err(error.clone().into());
        }
        let Some(challenge) = self.challenge.clone() else { return Ok(None) };
        if let Some(fixed) = self.fixed(api, &challenge)? {
            return Ok(Some(fixed));
        }
        match self.token(scope) {
            Some(token) if token.is_valid() => Ok(Some(token.header.clone())),
            Some(token) => {
                let asked = token.asked.clone();
                self.ask(api, &challenge, scope, &asked).map(Some)
            }
            None => self.ask(api, &challenge, scope, scope).map(Some),
        }
    }

    /// Whether the registry has sent a challenge.
    pub(super) fn is_challenged(&self) -> bool {
        self.challenge.is_some() || self.renewed.is_some()
    }

    fn token(&self, scope: &Scope) -> Option<&Token> {
        self.tokens.iter().find(|(of, _)| of == scope).map(|(_, token)| token)
    }

    /// The header that answers a 401, or `None` if there is no other header to try. `sent` is the
    /// header of the refused request. `fresh` is true if that header was obtained for this very
    /// request. If another connection has fetched a newer token in the meantime, that token is
    /// used.
    pub(super) fn answer(
        &mut self,
        api: &Api,
        scope: &Scope,
        refused: &Response,
        sent: Option<&str>,
        fresh: bool,
    ) -> Result<Option<String>, Failure> {
        if sent.is_some() && given_token(api).is_some() {
            return Ok(None);
        }
        if let Some(token) = self.token(scope)
            && sent != Some(token.header.as_str())
        {
            return Ok(Some(token.header.clone()));
        }
        let mut challenges = challenges_of(refused);
        if challenges.is_empty() && !fresh {
            challenges = ping(api)?;
        }
        let challenge = match choose(challenges) {
            Err(_) if fresh => return Ok(None),
            Err(why) => return Err(Error::refused(why).context(api.root.authority()).into()),
            Ok(challenge) => challenge,
        };
        if let Some(fixed) = self.fixed(api, &challenge)? {
            if sent != Some(fixed.as_str()) {
                self.challenge = Some(challenge);
                return Ok(Some(fixed));
            }
            let what = format!("{}: 401", api.repository);
            let error = refusal::error(&what, &self.refusal(api));
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
        let header = self.ask(api, &challenge, scope, &wanted)?;
        self.challenge = Some(challenge);
        Ok(Some(header))
    }

    /// The header that answers a challenge without a token server; `None` if a token server must be
    /// asked.
    fn fixed(&mut self, api: &Api, challenge: &Challenge) -> Result<Option<String>, Failure> {
        let found = self.found(api);
        match &found.credential {
            Some(Credential::Bearer(token)) if challenge.is_bearer() => {
                Ok(Some(format!("Bearer {token}")))
            }
            _ if challenge.is_bearer() => Ok(None),
            Some(Credential::Password { user, password }) => Ok(Some(basic(user, password))),
            Some(_) => {
                let host = api.root.authority();
                let why =
                    "401: a user name and password are required, but only a token is available";
                let hint = format!("the token is from {}", found.origin);
                Err(Error::refused(why).context(host).hint(hint).into())
            }
            None => {
                let refusal = refusal::by_registry(found, api.http.peer(), &api.repository);
                Err(refusal::error(&format!("{}: 401", api.repository), &refusal).into())
            }
        }
    }

    /// The credential, searched for at the first call.
    fn found(&mut self, api: &Api) -> &Lookup {
        self.found.get_or_insert_with(|| {
            let client = api.http.client();
            let host = api.repository.host();
            let found = match &api.http.peer().login {
                Some(given) => Lookup {
                    credential: Some(given.credential.clone()),
                    origin: given.origin.clone(),
                    unread: Vec::new(),
                },
                None => {
                    let authfile = client.authfile.as_deref();
                    find(&api.repository, authfile, client.idle_timeout)
                }
            };
            match &found.credential {
                Some(_) => client.comment(format_args!("credentials for {host}: {}", found.origin)),
                None => client.comment(format_args!("credentials for {host}: none")),
            }
            found
        })
    }

    /// Fetches a token from a challenge's realm and keeps it. Returns the header with the token.
    fn ask(
        &mut self,
        api: &Api,
        challenge: &Challenge,
        scope: &Scope,
        wanted: &Scope,
    ) -> Result<String, Failure> {
        let realm = token::realm(api, challenge)?;
        let name = realm.to_string();
        if !self.realms.contains(&name) {
            if self.realms.len() >= MAX_REALMS {
                let what = format_args!(
                    "{}: token realm: more than {MAX_REALMS} token servers in one run: {name}",
                    api.root.authority()
                );
                return Err(Error::malformed(what).into());
            }
            self.realms.push(name);
        }
        let found = self.found(api).clone();
        let service = challenge.parameter("service");
        let registry = api.repository.host();
        let token = token::fetch(api, registry, &realm, service, wanted, &found).inspect_err(
            |failure| {
                if failure.error.status() == Status::Refused {
                    self.refused.push((scope.clone(), failure.error.clone()));
                }
            },
        )?;
        let header = token.header.clone();
        self.tokens.retain(|(of, _)| of != scope);
        self.tokens.push((scope.clone(), token));
        Ok(header)
    }

    /// Whether a credential was found, when the registry first asked for one.
    pub(super) fn has_credential(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.credential.is_some())
    }

    /// The source of the credential, if one was found.
    pub(super) fn credential_origin(&self) -> Option<&str> {
        let found = self.found.as_ref().filter(|found| found.credential.is_some())?;
        Some(&found.origin)
    }

    /// The refusal text for the credential that was sent.
    pub(super) fn refusal(&mut self, api: &Api) -> Refusal {
        match (&self.found, &api.http.peer().login) {
            (Some(found), _) => refusal::by_registry(found, api.http.peer(), &api.repository),
            (None, Some(given)) if given_token(api).is_some() => {
                let credential = Some(given.credential.clone());
                let found = Lookup { credential, origin: given.origin.clone(), unread: Vec::new() };
                refusal::by_registry(&found, api.http.peer(), &api.repository)
            }
            (None, _) => refusal::unattributed(),
        }
    }
}

/// The Authorization header for the bearer token that the user gave for this registry.
pub(super) fn given_token(api: &Api) -> Option<String> {
    match &api.http.peer().login.as_ref()?.credential {
        Credential::Bearer(token) => Some(format!("Bearer {token}")),
        _ => None,
    }
}

/// The challenges of the API's root, because some servers send a challenge only there. A challenge
/// from a redirect's target is not answered.
fn ping(api: &Api) -> Result<Vec<Challenge>, Failure> {
    let request = Request::new(Method::Get, &api.root, &[]);
    let mut response = follow(&api.http, request, None, &mut Payload::None)?;
    response.error_text();
    Ok(if api.is_own(&response) { challenges_of(&response) } else { Vec::new() })
}
