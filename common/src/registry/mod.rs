// SPDX-License-Identifier: Apache-2.0
//! A repository in a registry, over the network: the OCI distribution specification's pull side.
//!
//! | module | owns |
//! |---|---|
//! | [`url`] | URLs, and the decision on every one that a server supplies |
//! | [`http`] | one exchange, failures sorted |
//! | [`retry`] | attempts counted and waited between |
//! | `tls` | whom to trust |
//! | `head` | a limit on what comes before a body |
//! | `endpoint` | where a registry's API is |
//! | `auth` | challenges and tokens |
//! | `answer` | statuses and error bodies in words |
//! | [`blob`], [`manifest`], [`tags`] | the operations |
//!
//! Redirects are followed here, in [`follow`], so that every hop passes the same decision. Nothing of a
//! program's secrets or own headers goes to another scheme, host or port than the registry's.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod answer;
mod auth;
pub mod blob;
mod endpoint;
mod head;
pub mod http;
pub mod manifest;
pub mod retry;
pub mod tags;
mod tls;
pub mod url;

pub use http::Settings;
pub use retry::{Backoff, Failure, Retry, with_attempts};

use auth::Auth;
use http::{Http, Method, Response};
use url::{Purpose, Url};

use crate::error::{Error, Result};
use crate::reference::Repository;

/// The most redirects that are followed for one request.
pub const MAX_REDIRECTS: usize = 10;

/// A repository in a registry. Shared between threads: connections and the token are the same to all.
pub struct Registry {
    repository: Repository,
    base: Url,
    http: Http,
    auth: Mutex<Auth>,
}

impl Registry {
    /// Opens a repository. Nothing is sent to it yet, but for the offer to a loopback host to speak TLS.
    ///
    /// # Errors
    /// Usage, when its host cannot be part of a URL.
    pub fn open(repository: &Repository, settings: &Settings) -> Result<Registry> {
        let base = endpoint::base(repository, settings)?;
        let http = Http::new(settings.clone(), base.clone());
        let auth = Mutex::new(Auth::pull(repository.path()));
        Ok(Registry { repository: repository.clone(), base, http, auth })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// How it is spoken to.
    pub fn settings(&self) -> &Settings {
        self.http.settings()
    }

    /// A URL of the API in this repository.
    fn url(&self, rest: &str) -> Result<Url> {
        let path = format!("/v2/{}/{rest}", self.repository.path());
        self.base.join(&path).map_err(Error::usage)
    }

    fn auth(&self) -> MutexGuard<'_, Auth> {
        self.auth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request to the registry: authenticates when it is challenged, follows redirects, and goes back
    /// to the registry once when a redirect's target refuses (its signature may have expired).
    fn request(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> std::result::Result<Response, Failure> {
        let response = self.authorized(method, url, headers)?;
        if !self.refused_elsewhere(&response) {
            return Ok(response);
        }
        let response = self.authorized(method, url, headers)?;
        if !self.refused_elsewhere(&response) {
            return Ok(response);
        }
        let status = response.status.as_u16();
        let host = response.url.authority().to_owned();
        Err(Error::refused(format_args!(
            "{}: its storage at {host} refused: {status}",
            self.repository
        ))
        .into())
    }

    /// Whether a redirect's target refused. Its challenge, if it has one, is not ours to answer.
    fn refused_elsewhere(&self, response: &Response) -> bool {
        matches!(response.status.as_u16(), 400 | 401 | 403) && !response.url.same_origin(&self.base)
    }

    fn authorized(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> std::result::Result<Response, Failure> {
        let send = |authorization: Option<&str>| {
            follow(&self.http, &self.base, method, url, headers, authorization)
        };
        let is_challenge = |r: &Response| r.status.as_u16() == 401 && r.url.same_origin(&self.base);
        let mut auth = self.auth();
        if auth.settled {
            let header = auth.header(&self.http, &self.base)?;
            drop(auth);
            let response = send(header.as_deref())?;
            if !is_challenge(&response) {
                return Ok(response);
            }
            let header =
                self.auth().answer(&self.http, &self.base, &response, header.as_deref())?;
            drop(response);
            return send(Some(&header));
        }
        // The first request of all: others wait for what it learns.
        let response = send(None)?;
        if !is_challenge(&response) {
            auth.settled = true;
            return Ok(response);
        }
        let header = auth.answer(&self.http, &self.base, &response, None)?;
        auth.settled = true;
        drop(auth);
        drop(response);
        send(Some(&header))
    }
}

/// Sends a request and follows redirects. `authorization` and the headers of the settings go to the origin of
/// `base` alone.
fn follow(
    http: &Http,
    base: &Url,
    method: Method,
    url: &Url,
    headers: &[(&str, &str)],
    authorization: Option<&str>,
) -> std::result::Result<Response, Failure> {
    let mut url = url.clone();
    let mut visited: Vec<Url> = Vec::new();
    loop {
        let mut sent = headers.to_vec();
        if url.same_origin(base) {
            sent.extend(authorization.map(|value| ("Authorization", value)));
            let own = http.settings().headers.iter();
            sent.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let mut response = http.send(method, &url, &sent)?;
        if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(response);
        }
        let wrong =
            |why: &str| Error::malformed(format_args!("{}: redirect: {why}", url.authority()));
        let location = response.header("location").map(str::to_owned);
        let location = location.ok_or_else(|| wrong("no Location that can be read"))?;
        let target =
            url::decide(Purpose::Redirect, base, &url, &location).map_err(|e| wrong(&e))?;
        // Read to its end, the connection can serve again.
        response.error_text();
        visited.push(url);
        if visited.contains(&target.url) {
            return Err(Error::malformed(format_args!("redirect loop at {}", target.url)).into());
        }
        if visited.len() > MAX_REDIRECTS {
            return Err(
                Error::malformed(format_args!("more than {MAX_REDIRECTS} redirects")).into()
            );
        }
        url = target.url;
    }
}

/// Fetches from a place that is not the registry: nothing of ours goes along, wherever it leads.
fn follow_foreign(
    http: &Http,
    base: &Url,
    url: &Url,
    headers: &[(&str, &str)],
) -> std::result::Result<Response, Failure> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let mut response = http.send(Method::Get, &url, headers)?;
        if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(response);
        }
        let wrong =
            |why: &str| Error::malformed(format_args!("{}: redirect: {why}", url.authority()));
        let location = response.header("location").unwrap_or_default().to_owned();
        response.error_text();
        url = url::decide(Purpose::Redirect, base, &url, &location).map_err(|e| wrong(&e))?.url;
    }
    Err(Error::malformed(format_args!("more than {MAX_REDIRECTS} redirects")).into())
}
