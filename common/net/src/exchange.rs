// SPDX-License-Identifier: Apache-2.0
//! One HTTP exchange: sends a request and reads the head of its response.
//!
//! Not here: following redirects ([`redirect`](crate::redirect)), and the meaning of a status
//! (crate `registry`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use common::error::Error;
use common::secret::may_be_secret;
use ureq::http::StatusCode;
use ureq::{Agent, SendBody};

use crate::classify::{classify, is_broken, proxy_refusal};
use crate::client::Client;
use crate::connection::take_reason;
use crate::failure::Failure;
use crate::history;
use crate::origin::Origin;
use crate::peer::Peer;
use crate::pool::Agents;
use crate::request::{Exactly, Method, Payload, Request};
use crate::response::{Body, Response, pass_on_warnings};
use crate::trace::block;
use crate::trace::command::Traced;
use crate::url::{Purpose, Refusal, Target, Url};

/// The response to a request that closes an upload may take this many times the idle time-out: the
/// registry assembles the blob and hashes it before it responds.
const COMMIT_TIMEOUT_FACTOR: u32 = 10;

/// The maximum number of anonymous Authorization headers that are remembered.
const MAX_ANONYMOUS: usize = 16;

/// Makes exchanges with a registry, and with the other servers that its responses name.
pub struct Http {
    agents: Agents,
    /// Whether a response was received before. Only then can a request use a kept connection.
    answered: AtomicBool,
    /// Authorization headers with anonymous tokens, which are not secret.
    anonymous: Mutex<Vec<String>>,
}

impl Http {
    /// A client for exchanges with the peer at `origin`, and with other origins that its responses
    /// name.
    pub fn new(client: Client, origin: Origin, peer: Peer) -> Http {
        let agents = Agents::new(client, origin, peer);
        Http { agents, answered: AtomicBool::new(false), anonymous: Mutex::default() }
    }

    /// The settings of the run.
    pub fn client(&self) -> &Client {
        self.agents.client()
    }

    /// The peer's origin.
    pub fn origin(&self) -> &Origin {
        self.agents.origin()
    }

    /// The settings of the origin. Requests to any other origin use [`Peer::unconfigured`].
    pub fn peer(&self) -> &Peer {
        self.agents.peer()
    }

    /// Checks a URL in the response to a request to `from`. The rules are those of
    /// [`url::decide_with`](crate::url::decide_with), with the hosts that the user allows.
    ///
    /// # Errors
    /// The reason why the URL is refused.
    pub fn decide(&self, purpose: Purpose, from: &Url, text: &str) -> Result<Target, Refusal> {
        self.agents.decide(purpose, from, text)
    }

    /// As [`decide`](Http::decide), but `from` is the URL of a request to another registry. The
    /// rules for the origin of `from` apply instead of those for the peer's origin.
    ///
    /// # Errors
    /// The reason why the URL is refused.
    pub fn decide_elsewhere(
        &self,
        purpose: Purpose,
        from: &Url,
        text: &str,
    ) -> Result<Target, Refusal> {
        self.agents.decide_for(purpose, &from.origin(), from, text)
    }

    /// Checks that no proxy could read credentials that are sent to this URL.
    ///
    /// # Errors
    /// Refused if the URL is plain HTTP and uses a proxy. Usage if the proxy's URL is invalid.
    pub fn check_proxy_cannot_read(&self, url: &Url) -> common::error::Result<()> {
        match self.agents.proxy(url)? {
            Some(proxy) if !url.is_https() => Err(proxy.would_read(url)),
            _ => Ok(()),
        }
    }

    /// Records that this Authorization header is not secret: its token was given to an anonymous
    /// client. From now on it may be sent through a proxy that can read it.
    pub fn mark_anonymous(&self, header: &str) {
        let mut anonymous = self.anonymous.lock().unwrap_or_else(PoisonError::into_inner);
        // A server may issue any number of tokens. A header that is forgotten counts as secret.
        if anonymous.len() >= MAX_ANONYMOUS {
            anonymous.remove(0);
        }
        anonymous.push(header.to_owned());
    }

    /// Whether a header may be secret: an Authorization that is not known to be anonymous, or a
    /// header that the user configured and whose name is not known to be harmless.
    fn may_be_secret(&self, name: &str, value: &str) -> bool {
        let is_own = || self.peer().headers.iter().any(|(own, _)| own == name);
        if name.eq_ignore_ascii_case("authorization") {
            let anonymous = self.anonymous.lock().unwrap_or_else(PoisonError::into_inner);
            !anonymous.iter().any(|known| known == value)
        } else {
            is_own() && may_be_secret(name)
        }
    }

    /// Sends a request and returns its response, whatever the status. The response body is not read
    /// yet.
    ///
    /// # Errors
    /// The failure states whether a retry may succeed. If the payload's reader fails, its error is
    /// final.
    pub fn send(
        &self,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Failure> {
        // A refused request is not traced: it was not sent, and a user who runs the trace's
        // commands must not send it either.
        let proxy = self.agents.proxy(request.url)?;
        if request.headers.iter().any(|(name, value)| self.may_be_secret(name, value)) {
            self.check_proxy_cannot_read(request.url)?;
        }
        let Some(trace) = &self.client().trace else { return self.send_untraced(request, payload) };
        let traced = Traced { agents: &self.agents, request, proxy: proxy.as_ref() };
        block::exchange(trace, traced, payload, |payload| self.send_untraced(request, payload))
    }

    fn send_untraced(
        &self,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Failure> {
        let (agent, proxy) = self.agents.serving(request.url)?;
        let may_repeat = payload.can_repeat() && request.method != Method::Patch;
        let outcome = match self.exchange(&agent, request, payload) {
            // The server may have closed a kept connection. This does not count as a failed
            // attempt: the request is sent once more, on a new connection.
            Err(Broken::Connection(error))
                if may_repeat && self.answered.load(Ordering::Relaxed) && is_broken(&error) =>
            {
                self.client().comment("sent again: the connection had been closed meanwhile");
                self.exchange(&agent, request, payload)
            }
            outcome => outcome,
        };
        self.answered.fetch_or(outcome.is_ok(), Ordering::Relaxed);
        let outcome = outcome.map(|response| Response { proxy: proxy.clone(), ..response });
        if let Ok(response) = &outcome {
            history::record_answer(&request.url.host(), request.url.port());
            pass_on_warnings(response);
            if let Some(proxy) = response.reader()
                && response.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            {
                let schemes = response.headers.get_all("proxy-authenticate").iter();
                let schemes = schemes.filter_map(|value| value.to_str().ok()?.split(' ').next());
                let schemes: Vec<_> = schemes.map(str::to_owned).collect();
                return Err(proxy_refusal(request.url, proxy, response.status.as_u16(), &schemes));
            }
        }
        outcome.map_err(|broken| match broken {
            Broken::Connection(error) => {
                let options = self.agents.peer_at(request.url).options;
                classify(request.url, options, proxy.as_ref(), error)
            }
            Broken::Payload(error) => error.into(),
        })
    }

    fn exchange(
        &self,
        agent: &Agent,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response, Broken> {
        let Request { method, url, headers, within, commits, .. } = request;
        let mut request =
            ureq::http::Request::builder().method(method.name()).uri(url.uri().clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let connection = |e: ureq::http::Error| Broken::Connection(e.into());
        take_reason();
        let outcome = match payload {
            Payload::None => {
                let request = request.body(()).map_err(connection)?;
                match within {
                    Some(limit) => {
                        let config = agent.configure_request(request);
                        agent.run(config.timeout_global(Some(limit)).build())
                    }
                    None => agent.run(request),
                }
            }
            Payload::Bytes(bytes) => {
                let request = request.header("Content-Length", bytes.len());
                let request = request.body(*bytes).map_err(connection)?;
                if commits {
                    agent.run(self.with_commit_timeout(agent, request))
                } else {
                    agent.run(request)
                }
            }
            Payload::Stream { reader, length } => {
                let mut exactly = Exactly::of(*reader, *length);
                let request = request.header("Content-Length", *length);
                let request = request.body(SendBody::from_reader(&mut exactly));
                let request = request.map_err(connection)?;
                let outcome = if commits {
                    agent.run(self.with_commit_timeout(agent, request))
                } else {
                    agent.run(request)
                };
                if let Some(error) = exactly.failed {
                    return Err(Broken::Payload(error));
                }
                outcome
            }
        };
        let (head, body) = outcome.map_err(Broken::Connection)?.into_parts();
        let length = body.content_length();
        Ok(Response {
            status: head.status,
            reason: take_reason(),
            headers: head.headers,
            body: Body::new(body.into_with_config().limit(u64::MAX).reader(), length),
            url: url.clone(),
            options: self.agents.peer_at(url).options,
            refusal: None,
            proxy: None,
        })
    }

    /// Gives a request the longer time-out of [`COMMIT_TIMEOUT_FACTOR`].
    fn with_commit_timeout<S: ureq::AsSendBody>(
        &self,
        agent: &Agent,
        request: ureq::http::Request<S>,
    ) -> ureq::http::Request<S> {
        let timeout = self.client().idle_timeout.saturating_mul(COMMIT_TIMEOUT_FACTOR);
        let config = agent.configure_request(request);
        config.timeout_recv_response(Some(timeout)).timeout_per_read(Some(timeout)).build()
    }
}

/// Why there is no response.
enum Broken {
    /// The connection failed, or could not be made.
    Connection(ureq::Error),
    /// The source of the request body failed.
    Payload(Error),
}
