// SPDX-License-Identifier: Apache-2.0
//! A repository in a registry, over the network: the OCI distribution specification.
//!
//! | module | owns |
//! |---|---|
//! | [`url`] | URLs, and the decision on every one that a server supplies |
//! | `host` | what a host is, and which are nobody's on the internet |
//! | `form` | names and values in a query or a body |
//! | `settings` | how whoever runs a tool wants it spoken to |
//! | `http` | one exchange |
//! | `request`, [`response`] | what is sent, and what comes |
//! | `broken` | why nothing came |
//! | [`retry`] | attempts counted and waited between |
//! | `trust`, `certificates`, `certs_d` | whom to trust, and who the user is, in files |
//! | `secure`, `verifier`, `der` | TLS: the host made sure of, a client certificate chosen |
//! | `tls` | why it failed |
//! | `seen` | what must not be forgotten of a host |
//! | [`trace`] | the conversation told as curl commands |
//! | `agents` | the connections that serve a URL |
//! | `connection` | what a connection must not do |
//! | `proxy`, `no_proxy` | which proxy a URL goes by, if any |
//! | `tunnel`, `forward` | the way through a proxy, and plain http by it |
//! | `endpoint` | where a registry's API is |
//! | [`auth`] | challenges and tokens |
//! | [`credentials`] | who the user is: given, or kept in his files |
//! | `answer` | statuses and error bodies in words |
//! | [`blob`], [`manifest`], [`tags`] | the operations that read |
//! | `mirrors` | where else the machine's configuration says that a repository is |
//! | [`places`] | reading wherever a repository is had |
//! | [`upload`], [`put`], [`referrers`] | the operations that write |
//! | `sessions` | the uploads that are open |
//! | `checked` | bytes on their way there |
//! | [`push`], [`stream`] | a whole blob brought into a repository, whatever happens on the way |
//!
//! Redirects are followed here, in [`follow`], so that every hop passes the same decision. Nothing of a
//! program's secrets or own headers goes to another scheme, host or port than the registry's.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod agents;
mod answer;
pub mod auth;
pub mod blob;
mod broken;
mod certificates;
mod certs_d;
mod checked;
mod connection;
pub mod credentials;
mod der;
mod endpoint;
mod form;
mod forward;
mod host;
mod http;
pub mod manifest;
pub mod mirrors;
mod no_proxy;
pub mod places;
mod proxy;
pub mod push;
pub mod put;
pub mod referrers;
mod request;
pub mod response;
pub mod retry;
mod secure;
mod seen;
mod sessions;
mod settings;
pub mod stream;
pub mod tags;
mod tls;
pub mod trace;
mod trust;
mod tunnel;
pub mod upload;
pub mod url;
mod verifier;

pub use retry::{Backoff, Failure, Retry, with_attempts};
pub use settings::{Mirrors, Settings};
pub use trace::Trace;

use auth::{Auth, Scope};
use http::Http;
use mirrors::Configured;
use request::{Method, Payload, Request, Role};
use response::Response;
use sessions::Uploads;
use url::{Purpose, Url};

use crate::error::{Error, Result};
use crate::reference::Repository;

/// The most redirects that are followed for one request.
pub const MAX_REDIRECTS: usize = 10;

/// The path of the API's root (distribution specification, "Endpoints").
const ROOT: &str = "/v2/";

/// A repository in a registry. Shared between threads: connections and tokens are the same to all.
pub struct Registry {
    repository: Repository,
    base: Url,
    /// The path of the API's root.
    root: String,
    /// The name of the registry that this is a mirror of, where a mirror of many wants to be told.
    namespace: Option<String>,
    http: Http,
    scope: Scope,
    auth: Mutex<Auth>,
    uploads: Uploads,
}

impl Registry {
    /// Opens a repository to read from. Nothing is sent to it yet, but for the offer to a loopback host to speak TLS.
    ///
    /// # Errors
    /// Usage, when its host cannot be part of a URL.
    pub fn open(repository: &Repository, settings: &Settings) -> Result<Registry> {
        Registry::named(repository, settings, Scope::pull(repository.path()))
    }

    /// Opens a repository to write to; as [`open`](Registry::open).
    ///
    /// # Errors
    /// Usage, when its host cannot be part of a URL.
    pub fn open_to_push(repository: &Repository, settings: &Settings) -> Result<Registry> {
        Registry::named(repository, settings, Scope::push(repository.path()))
    }

    /// The repository where its name says, if the machine's configuration lets it be spoken to.
    fn named(repository: &Repository, settings: &Settings, scope: Scope) -> Result<Registry> {
        let Configured { own, blocked, .. } = mirrors::configured(repository)?;
        refuse_blocked(repository, blocked.as_deref())?;
        let own = own.filter(|place| place.host.eq_ignore_ascii_case(repository.host()));
        let lax = settings.lax || own.is_some_and(|place| place.insecure);
        Registry::with_scope(repository, &Settings { lax, ..settings.clone() }, scope)
    }

    fn with_scope(repository: &Repository, settings: &Settings, scope: Scope) -> Result<Registry> {
        let base = endpoint::base(repository, settings)?;
        let http = Http::new(settings.clone(), base.clone());
        let (repository, auth) = (repository.clone(), Mutex::default());
        let (root, namespace, uploads) = (ROOT.to_owned(), None, Uploads::default());
        Ok(Registry { repository, base, root, namespace, http, scope, auth, uploads })
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
        let url = format!("{}{}/{rest}", self.root, self.repository.path());
        let url = self.base.join(&url).map_err(Error::usage)?;
        match &self.namespace {
            Some(name) => url.with_query(&[("ns", name)]).map_err(Error::usage),
            None => Ok(url),
        }
    }

    fn auth(&self) -> MutexGuard<'_, Auth> {
        self.auth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request that reads: authenticates when the registry challenges, follows redirects, and goes back
    /// to the registry once when a redirect's target refuses (its signature may have expired).
    fn request(&self, request: Request<'_>) -> std::result::Result<Response, Failure> {
        let send = || self.authorized(&self.scope, request, &mut Payload::None);
        let response = send()?;
        if !self.refused_elsewhere(&response) {
            return Ok(response);
        }
        let response = send()?;
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
}

/// Refuses a repository that the machine's configuration blocks.
fn refuse_blocked(repository: &Repository, by: Option<&str>) -> Result<()> {
    match by {
        Some(file) => Err(Error::refused(format_args!("{repository}: blocked by {file}"))),
        None => Ok(()),
    }
}

/// Sends a request and follows redirects. `authorization` and the headers of the settings go to the origin of
/// `base` alone. What writes is only sent on by 307 and 308, in the registry itself, and if it can be sent again: another
/// redirect would turn it into a GET, whose success means nothing.
fn follow(
    http: &Http,
    base: &Url,
    request: Request<'_>,
    authorization: Option<&str>,
    payload: &mut Payload<'_>,
) -> std::result::Result<Response, Failure> {
    let mut url = request.url.clone();
    let mut visited: Vec<Url> = Vec::new();
    loop {
        let mut headers = request.headers.to_vec();
        if url.same_origin(base) {
            headers.extend(authorization.map(|value| ("Authorization", value)));
            let own = http.settings().headers.iter();
            headers.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let hop = Request { url: &url, headers: &headers, hop: !visited.is_empty(), ..request };
        let mut response = http.send(hop, payload)?;
        let status = response.status.as_u16();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) || request.redirects == 0 {
            return Ok(response);
        }
        let wrong =
            |why: &str| Error::malformed(format_args!("{}: redirect: {why}", url.authority()));
        let location = response.header("location").map(str::to_owned);
        let location = location.ok_or_else(|| wrong("no Location that can be read"))?;
        let target =
            url::decide(Purpose::Redirect, base, &url, &location).map_err(|e| wrong(&e))?;
        let sent_on = matches!(status, 307 | 308) && target.same_origin && payload.can_repeat();
        if !request.method.only_reads() && !sent_on {
            let why = format!("{status} to {} is not followed when writing", target.url);
            return Err(wrong(&why).into());
        }
        // Read to its end, the connection can serve again.
        response.error_text();
        visited.push(url);
        if visited.contains(&target.url) {
            return Err(Error::malformed(format_args!("redirect loop at {}", target.url)).into());
        }
        if visited.len() > request.redirects {
            let most = request.redirects;
            return Err(Error::malformed(format_args!("more than {most} redirects")).into());
        }
        url = target.url;
    }
}

/// Fetches from a place that is not the registry: nothing of the settings goes along, and `authorization` to this
/// scheme, host and port alone, until a redirect first leaves them.
fn follow_foreign(
    http: &Http,
    base: &Url,
    url: &Url,
    headers: &[(&str, &str)],
    mut authorization: Option<&str>,
    role: Role<'_>,
) -> std::result::Result<Response, Failure> {
    let start = url;
    let mut url = url.clone();
    for step in 0..=MAX_REDIRECTS {
        let mut headers = headers.to_vec();
        authorization = authorization.filter(|_| url.same_origin(start));
        headers.extend(authorization.map(|value| ("Authorization", value)));
        let hop = step > 0;
        let request = Request { role, hop, ..Request::new(Method::Get, &url, &headers) };
        let mut response = http.send(request, &mut Payload::None)?;
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
