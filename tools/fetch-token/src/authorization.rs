// SPDX-License-Identifier: Apache-2.0
//! What a registry wants to be sent, for other programs to send.
//!
//! One request, or few, learn what the registry asks for, and another one asks its token server.
//! Whether the registry takes the answer only its use can tell.

use common::error::Result;
use net::failure::Failure;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;
use net::url::Url;
use registry::auth::Scope;
use registry::{Registry, answer};

/// An upload that no registry ever began.
const NO_UPLOAD: &str = "blobs/uploads/00000000-0000-0000-0000-000000000000";

/// What a registry wants to be sent.
pub(crate) enum Authorization {
    /// Nothing: it does not authenticate its clients.
    Nothing,
    /// A bearer token.
    Bearer(String),
    /// Name and password, as the value of the Authorization header.
    Basic(String),
}

impl Authorization {
    /// What the registry wants to be sent for requests of this scope.
    ///
    /// # Errors
    /// Refused, later, malformed; absent when there is no such repository.
    pub(crate) fn learn(registry: &Registry, scope: &Scope) -> Result<Authorization> {
        let header = match registry.session().given_token() {
            Some(given) => Some(given),
            None => with_attempts(registry.client(), || header(registry, scope))?,
        };
        Ok(match header {
            None => Authorization::Nothing,
            Some(header) => match header.strip_prefix("Bearer ") {
                Some(token) => Authorization::Bearer(token.to_owned()),
                None => Authorization::Basic(header),
            },
        })
    }
}

/// The answer to the first challenge: at the root of the API; or, if that is open to all, at the
/// repository; or, if that can be read by all, at what writes there. There it is a part of an
/// upload that does not exist, which leaves nothing behind.
fn header(registry: &Registry, scope: &Scope) -> std::result::Result<Option<String>, Failure> {
    let session = registry.session();
    let mut refusal = None;
    for (method, url) in places(registry, scope)? {
        let writes = method == Method::Patch;
        let mut payload = if writes { Payload::Bytes(&[]) } else { Payload::None };
        let request = Request::new(method, &url, &[]);
        let mut response = session.send_bare(request, &mut payload)?;
        match response.status.as_u16() {
            401 if session.is_own(&response) && session.is_challenge(&response) => {
                response.error_text();
                return session.answer(scope, &response);
            }
            // It does not say what it wants: another place may say more.
            401 | 403 => {
                response.hold();
                refusal = Some(response);
            }
            200..=299 => {
                response.error_text();
                refusal = None;
            }
            404 | 405 => drop(response.error_text()),
            _ if writes => drop(response.error_text()),
            _ => return Err(failure(response, registry)),
        }
    }
    match refusal {
        Some(refusal) => Err(failure(refusal, registry)),
        None => Ok(None),
    }
}

/// Where a registry may challenge, in the order in which it is asked.
fn places(registry: &Registry, scope: &Scope) -> Result<Vec<(Method, Url)>> {
    let root = registry.session().root().clone();
    let mut places = vec![(Method::Get, root), (Method::Get, registry.url("tags/list?n=1")?)];
    if scope.writes() {
        places.push((Method::Patch, registry.url(NO_UPLOAD)?));
    }
    Ok(places)
}

fn failure(response: Response, registry: &Registry) -> Failure {
    answer::failure(response, &registry.repository().to_string())
}
