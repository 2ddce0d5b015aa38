// SPDX-License-Identifier: Apache-2.0
//! Anonymous tokens for other registries.
//!
//! Some registries redirect every request to another registry, which requires at least an anonymous
//! token. Docker and containerd answer the challenge of that other registry. This module answers it
//! without any credential, so that neither the other registry nor its token server receives a
//! secret. The rules for addresses apply as if the request had been sent to the other registry
//! directly.
//!
//! A challenge is answered only if the URL looks like that of a registry's API. The URLs of storage
//! servers are signed: a challenge from such a server means that it refuses the signature.

use common::error::{Error, Status};
use machine::credentials::Lookup;
use net::failure::Failure;
use net::origin::Origin;
use net::response::Response;
use net::url::Url;

use super::api::Api;
use super::challenge::challenges_of;
use super::known::MAX_REALMS;
use super::scope::Scope;
use super::token::{self, Token};

/// The maximum number of tokens that are kept. Further tokens replace the oldest.
const MAX_TOKENS: usize = 64;

/// The tokens for other registries.
#[derive(Default)]
pub(super) struct Elsewhere {
    tokens: Vec<(Origin, Token)>,
    /// The URLs of the token servers used so far, without queries.
    realms: Vec<String>,
}

impl Elsewhere {
    /// The header that answers the challenge in a response of another registry; `None` if the
    /// response is not such a challenge.
    pub(super) fn header(
        &mut self,
        api: &Api,
        response: &Response,
    ) -> Result<Option<String>, Failure> {
        if response.status.as_u16() != 401 || api.is_own(response) || !is_api(&response.url) {
            return Ok(None);
        }
        let challenges = challenges_of(response);
        let bearer = challenges.iter().filter(|challenge| challenge.is_bearer());
        let mut named =
            bearer.filter_map(|challenge| Some((challenge, challenge.parameter("realm")?)));
        let Some((challenge, realm)) = named.next() else { return Ok(None) };
        let origin = response.url.origin();
        let scope = Scope::named(challenge.scopes());
        let is_it = |(of, token): &&(Origin, Token)| *of == origin && token.asked == scope;
        if let Some((_, token)) = self.tokens.iter().find(is_it)
            && token.is_valid()
        {
            return Ok(Some(token.header.clone()));
        }
        let realm = token::realm_elsewhere(api, &response.url, realm)?;
        self.count(&realm, &response.url)?;
        let anonymous = Lookup { credential: None, origin: String::new(), unread: Vec::new() };
        let (registry, service) = (response.url.authority(), challenge.parameter("service"));
        let token = token::fetch(api, registry, &realm, service, &scope, &anonymous)
            .map_err(|failure| of_redirect(failure, registry))?;
        let header = token.header.clone();
        self.tokens.retain(|(of, known)| *of != origin || known.asked != scope);
        if self.tokens.len() == MAX_TOKENS {
            self.tokens.remove(0);
        }
        self.tokens.push((origin, token));
        Ok(Some(header))
    }

    /// Counts a token server, and refuses it if there are too many.
    fn count(&mut self, realm: &Url, from: &Url) -> Result<(), Error> {
        let name = realm.to_string();
        if self.realms.contains(&name) {
            return Ok(());
        }
        if self.realms.len() >= MAX_REALMS {
            return Err(Error::malformed(format_args!(
                "{}: token realm: more than {MAX_REALMS} token servers in one run: {name}",
                from.authority()
            )));
        }
        self.realms.push(name);
        Ok(())
    }
}

/// Whether a URL is part of a registry's API, and not of storage: its path begins with the API's
/// root, and it has no query that may contain a signature.
fn is_api(url: &Url) -> bool {
    url.path().starts_with("/v2/") && !url.has_query()
}

/// The failure to get a token for a registry that the reference does not name. Storing credentials
/// for it would not help.
fn of_redirect(failure: Failure, registry: &str) -> Failure {
    let Failure { error, retry } = failure.context(format_args!("redirected to {registry}"));
    let hint =
        format_args!("a login for {registry} is used only if the reference names {registry}");
    let error = if error.status() == Status::Refused { error.hint(hint) } else { error };
    Failure { error, retry }
}
