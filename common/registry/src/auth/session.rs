// SPDX-License-Identifier: Apache-2.0
//! A session with a registry: sends requests with the required Authorization header and answers
//! challenges.
//!
//! Not here: interpreting other responses, and retries.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::error::Error;
use common::reference::Repository;
use net::exchange::Http;
use net::failure::{Failure, Retry};
use net::redirect::{follow, follow_elsewhere};
use net::request::{Payload, Request};
use net::response::{MAX_ERROR_BODY, Response};
use net::url::Url;

use super::api::Api;
use super::challenge::challenges_of;
use super::elsewhere::Elsewhere;
use super::known::{Known, given_token};
use super::scope::Scope;

/// A session with a registry. Shared between threads, which use the same connections and tokens.
pub struct Session {
    api: Api,
    known: Mutex<Known>,
    /// Anonymous tokens for registries that this registry redirects to.
    elsewhere: Mutex<Elsewhere>,
    /// Whether the registry has answered a request. Until then requests are sent one at a time, so
    /// that all threads use the result of the first challenge.
    has_answered: Mutex<bool>,
}

/// The Authorization header of a request. It decides whether a 401 is answered.
enum Sent {
    /// No header. A challenge is answered. If the new header is rejected, the second challenge is
    /// answered too.
    Bare,
    /// The header of an earlier request. Its token may have expired.
    Kept(String),
    /// The header that answered this request's first challenge.
    Fresh(String),
    /// The header of the last attempt: a 401 is final.
    Last(String),
}

impl Sent {
    fn header(&self) -> Option<&str> {
        match self {
            Sent::Bare => None,
            Sent::Kept(header) | Sent::Fresh(header) | Sent::Last(header) => Some(header),
        }
    }

    /// The state for the next attempt, which sends this header after a 401.
    fn then(&self, header: String) -> Sent {
        if matches!(self, Sent::Bare) { Sent::Fresh(header) } else { Sent::Last(header) }
    }
}

impl Session {
    /// A session with the API at `root`.
    pub fn new(http: Http, root: Url, repository: Repository) -> Session {
        let api = Api { http, root, repository };
        Session {
            api,
            known: Mutex::default(),
            elsewhere: Mutex::default(),
            has_answered: Mutex::new(false),
        }
    }

    /// The HTTP client for the registry.
    pub fn http(&self) -> &Http {
        &self.api.http
    }

    /// The URL of the API's root.
    pub fn root(&self) -> &Url {
        &self.api.root
    }

    /// Whether a response is from the registry itself, not from the target of a redirect.
    pub fn is_own(&self, response: &Response) -> bool {
        self.api.is_own(response)
    }

    /// Sends a request to the registry and answers challenges. If the payload cannot be sent again,
    /// the request fails, and the new token is kept for the caller's next attempt.
    ///
    /// # Errors
    /// Refused if a challenge cannot be answered. Unavailable if a new token is needed and the
    /// payload cannot be sent again: the caller can retry at once. Otherwise the errors of the
    /// exchange and of the token server. An error status is returned as a response.
    pub fn send(
        &self,
        scope: &Scope,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Failure> {
        let first = self.has_answered.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Some(first).filter(|has_answered| !**has_answered);
        let outcome = self.authorized(scope, request, payload);
        if let Some(mut has_answered) = first {
            *has_answered = outcome.is_ok() || self.known().is_challenged();
        }
        outcome
    }

    fn authorized(
        &self,
        scope: &Scope,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Failure> {
        let header = self.known().header(&self.api, scope)?;
        let mut sent = header.map_or(Sent::Bare, Sent::Kept);
        let response = loop {
            match self.attempt(scope, request, &sent, payload)? {
                ControlFlow::Break(response) => break response,
                ControlFlow::Continue(header) if payload.can_repeat() => sent = sent.then(header),
                ControlFlow::Continue(header) => {
                    self.known().renewed = Some(header);
                    let repository = &self.api.repository;
                    let what = format_args!("{repository}: the token expired during a blob upload");
                    let retry = Retry::After(Duration::ZERO);
                    return Err(Failure { error: Error::unavailable(what), retry });
                }
            }
        };
        let status = response.status.as_u16();
        let mut known = self.known();
        if !payload.can_repeat() && status != 401 {
            known.renewed = None;
        }
        if matches!(status, 401 | 403) && self.is_own(&response) {
            return Ok(response.about(known.refusal(&self.api)));
        }
        Ok(response)
    }

    /// Sends a request once. Returns the response if it is final, or the header to send next if a
    /// challenge was answered.
    fn attempt(
        &self,
        scope: &Scope,
        request: Request<'_>,
        sent: &Sent,
        payload: &mut Payload<'_>,
    ) -> Result<ControlFlow<Response, String>, Failure> {
        let mut response = follow(&self.api.http, request, sent.header(), payload)?;
        let is_challenge = response.status.as_u16() == 401 && self.is_own(&response);
        // If the user gave an Authorization header, challenges are not answered.
        let is_final = matches!(sent, Sent::Last(_)) || self.api.http.peer().authorizes();
        if !is_challenge || is_final {
            return Ok(ControlFlow::Break(response));
        }
        response.hold();
        let mut known = self.known();
        // This token was fetched to retry this very upload: a second 401 is final.
        let is_retry = !payload.can_repeat() && sent.header().is_some();
        if is_retry && sent.header() == known.renewed.as_deref() {
            return Ok(ControlFlow::Break(response));
        }
        let is_fresh = matches!(sent, Sent::Fresh(_));
        let header = known.answer(&self.api, scope, &response, sent.header(), is_fresh)?;
        Ok(header.map_or(ControlFlow::Break(response), ControlFlow::Continue))
    }

    /// Answers a challenge from another registry to which this registry redirected a request that
    /// reads. Fetches an anonymous token, and sends the request to the other registry again. Any
    /// other response is returned unchanged. Credentials and the user's headers are not sent.
    ///
    /// # Errors
    /// Refused if the other registry gives no anonymous token. Malformed if its token server's URL
    /// is not allowed. Otherwise the errors of the exchange.
    pub fn answer_elsewhere(
        &self,
        request: Request<'_>,
        response: Response,
    ) -> Result<Response, Failure> {
        let header = {
            let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
            elsewhere.header(&self.api, &response)?
        };
        let Some(header) = header else { return Ok(response) };
        let url = response.url.clone();
        // The body is read to its end, so that the connection can be reused.
        drop(response.read(MAX_ERROR_BODY));
        follow_elsewhere(&self.api.http, Request { url: &url, ..request }, &header)
    }

    /// Sends a request without this session's credentials. Headers that the user gave are sent.
    ///
    /// # Errors
    /// The errors of the exchange.
    pub fn send_bare(
        &self,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Failure> {
        follow(&self.api.http, request, None, payload)
    }

    /// Whether a response contains a challenge.
    pub fn is_challenge(&self, response: &Response) -> bool {
        !challenges_of(response).is_empty()
    }

    /// The Authorization header that answers a challenge. `None` if the only possible header was
    /// refused already.
    ///
    /// # Errors
    /// As for [`send`](Session::send).
    pub fn answer(&self, scope: &Scope, response: &Response) -> Result<Option<String>, Failure> {
        self.known().answer(&self.api, scope, response, None, false)
    }

    /// The Authorization header for the bearer token that the user gave for this registry.
    pub fn given_token(&self) -> Option<String> {
        given_token(&self.api)
    }

    /// Whether requests are sent without a credential, as far as is known at this moment.
    pub fn is_anonymous(&self) -> bool {
        let peer = self.api.http.peer();
        peer.login.is_none() && !peer.authorizes() && !self.known().has_credential()
    }

    /// The file, helper or option that the credential is from. `None` if the registry has not asked
    /// for a credential, or if none was found.
    pub fn credential_origin(&self) -> Option<String> {
        self.known().credential_origin().map(str::to_owned)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
