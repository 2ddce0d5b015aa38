// SPDX-License-Identifier: Apache-2.0
//! What a registry would be sent, for other programs to send.
//!
//! One request learns what the registry asks for, and a second one asks its token server. Whether the registry
//! takes the answer only its use can tell.

use super::{Peer, Scope, challenges_of, given_token};
use crate::error::{Error, Result};
use crate::reference::Repository;
use crate::registry::answer;
use crate::registry::request::{Method, Payload, Request};
use crate::registry::retry::{Failure, with_attempts};
use crate::registry::settings::Settings;
use crate::registry::{Registry, follow};

/// What a registry wants to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// Nothing: it asks nobody who he is.
    Nothing,
    /// A bearer token.
    Bearer(String),
    /// Name and password, as the value of the Authorization header.
    Basic(String),
}

/// What is to be allowed.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// Pulling.
    Pull,
    /// Pushing, and mounting from these repositories of the same registry.
    Push(&'a [Repository]),
}

impl Registry {
    /// Opens a repository for [`authorization`](Registry::authorization); as [`open`](Registry::open).
    ///
    /// # Errors
    /// Usage, when its host cannot be part of a URL.
    pub fn open_for(
        repository: &Repository,
        settings: &Settings,
        access: Access<'_>,
    ) -> Result<Registry> {
        let path = repository.path();
        let scope = match access {
            Access::Pull => Scope::pull(path),
            Access::Push(sources) => {
                sources.iter().fold(Scope::push(path), |all, source| all.and_pull(source.path()))
            }
        };
        Registry::named(repository, settings, scope)
    }

    /// What the registry wants to be sent for what the repository was opened for.
    ///
    /// # Errors
    /// Refused, later, malformed; absent when there is no such repository.
    pub fn authorization(&self) -> Result<Authorization> {
        let peer = self.peer();
        let header = match given_token(peer) {
            Some(given) => Some(given),
            None => with_attempts(self.settings(), || self.learn(peer))?,
        };
        Ok(match header {
            None => Authorization::Nothing,
            Some(header) => match header.strip_prefix("Bearer ") {
                Some(token) => Authorization::Bearer(token.to_owned()),
                None => Authorization::Basic(header),
            },
        })
    }

    /// The answer to the first challenge that comes: at the root of the API, or, where everybody may enter, at the
    /// repository.
    fn learn(&self, peer: Peer<'_>) -> std::result::Result<Option<String>, Failure> {
        let root = peer.base.join(peer.root).map_err(Error::malformed)?;
        for url in [root, self.url("tags/list?n=1")?] {
            let request = Request::new(Method::Get, &url, &[]);
            let mut response = follow(peer.http, peer.base, request, None, &mut Payload::None)?;
            let is_own = response.url.same_origin(peer.base);
            match response.status.as_u16() {
                401 if is_own && !challenges_of(&response).is_empty() => {
                    return self.auth().answer(peer, &self.scope, &response, None, false);
                }
                // A 401 that says nothing: the other place may say more.
                200..=299 | 401 | 403 | 404 | 405 => {
                    response.error_text();
                }
                _ => return Err(answer::failure(response, &self.repository.to_string())),
            }
        }
        Ok(None)
    }
}
