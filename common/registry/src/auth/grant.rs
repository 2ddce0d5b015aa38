// SPDX-License-Identifier: Apache-2.0
//! What a registry would be sent, for other programs to send.
//!
//! One request, or few, learn what the registry asks for, and another one asks its token server. Whether the registry
//! takes the answer only its use can tell.

use common::error::{Error, Result};
use common::reference::Repository;
use net::redirect::follow;
use net::request::{Method, Payload, Request};
use net::retry::{Failure, with_attempts};
use net::settings::Settings;

use super::{Peer, Scope, challenges_of, given_token};
use crate::Registry;
use crate::answer;

/// An upload that no registry ever began.
const NO_UPLOAD: &str = "blobs/uploads/00000000-0000-0000-0000-000000000000";

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
    /// repository, or, where everybody may read, at what writes there. That is a part of an upload that there cannot
    /// be: who is let in leaves nothing behind.
    fn learn(&self, peer: Peer<'_>) -> std::result::Result<Option<String>, Failure> {
        let root = peer.base.join(peer.root).map_err(Error::malformed)?;
        let mut places = vec![(Method::Get, root), (Method::Get, self.url("tags/list?n=1")?)];
        if self.scope.writes() {
            places.push((Method::Patch, self.url(NO_UPLOAD)?));
        }
        let mut refusal = None;
        for (method, url) in places {
            let request = Request::new(method, &url, &[]);
            let mut payload = match method {
                Method::Patch => Payload::Bytes(&[]),
                _ => Payload::None,
            };
            let mut response = follow(peer.http, peer.base, request, None, &mut payload)?;
            let is_own = response.url.same_origin(peer.base);
            match response.status.as_u16() {
                401 if is_own && !challenges_of(&response).is_empty() => {
                    response.error_text();
                    return self.auth().answer(peer, &self.scope, &response, None, false);
                }
                // It says nothing of what it wants: another place may say more.
                401 | 403 => {
                    response.hold();
                    refusal = Some(response);
                }
                200..=299 => {
                    response.error_text();
                    refusal = None;
                }
                404 | 405 => drop(response.error_text()),
                _ if method == Method::Patch => drop(response.error_text()),
                _ => return Err(answer::failure(response, &self.repository.to_string())),
            }
        }
        match refusal {
            Some(refusal) => Err(answer::failure(refusal, &self.repository.to_string())),
            None => Ok(None),
        }
    }
}
