// SPDX-License-Identifier: Apache-2.0
//! Determines the authorization that a registry requires.
//!
//! Up to three requests to the registry find its challenge. The token is then requested from the
//! token server. The tool does not test whether the registry accepts the token.

use common::error::Result;
use net::failure::Failure;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;
use net::url::Url;
use registry::auth::Scope;
use registry::{Registry, answer};

/// The path of an upload session that does not exist.
const NO_UPLOAD: &str = "blobs/uploads/00000000-0000-0000-0000-000000000000";

/// The authorization that a registry requires.
pub(crate) enum Authorization {
    /// None: the registry does not require authentication.
    Nothing,
    /// A bearer token.
    Bearer(String),
    /// User name and password, as the value of the Authorization header.
    Basic(String),
}

impl Authorization {
    /// Determines the authorization for requests with this scope.
    ///
    /// # Errors
    /// Refused, Unavailable or Malformed, depending on the response of the registry or its token
    /// server. A missing repository (404) is not an error here.
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

/// The Authorization header that answers the first challenge found. The places are tried in this
/// order: the root of the API, the repository's tag list and, for a scope with push, an upload. The
/// upload request continues an upload session that does not exist, so it changes nothing in the
/// registry.
fn header(registry: &Registry, scope: &Scope) -> std::result::Result<Option<String>, Failure> {
    let session = registry.session();
    let mut refusal = None;
    for (method, url) in places(registry, scope)? {
        let writes = method == Method::Patch;
        let mut payload = if writes { Payload::Bytes(&[]) } else { Payload::None };
        let request = Request::new(method, &url, &[]);
        let response = session.send_bare(request, &mut payload);
        let mut response = response.map_err(|failure| failure.context(registry.repository()))?;
        match response.status.as_u16() {
            401 if session.is_own(&response) && session.is_challenge(&response) => {
                response.error_text();
                return session.answer(scope, &response);
            }
            // This response has no challenge. Another place may send one.
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

/// The places where a registry may send a challenge, in the order in which they are tried.
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
