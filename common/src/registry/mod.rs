// SPDX-License-Identifier: Apache-2.0
//! A repository in a registry, over the network: the OCI distribution specification.
//!
//! | module | owns |
//! |---|---|
//! | `settings` | how whoever runs a tool wants it spoken to |
//! | [`url`], `host`, `form` | URLs, and the decision on every one that a server supplies |
//! | `mirrors`, [`places`] | where else the machine says that a repository is; reading wherever it is had |
//! | `endpoint` | where a registry's API is |
//! | [`http`] | one exchange, and the connections that serve it |
//! | `tls` | whom to trust, and who the user is by certificate |
//! | `proxy` | by way of whom |
//! | `redirect` | from hop to hop |
//! | [`auth`] | challenges and tokens |
//! | [`credentials`] | who the user is: given, or kept in his files |
//! | `answer` | statuses and error bodies in words |
//! | [`retry`] | attempts counted and waited between |
//! | [`trace`] | the conversation told as curl commands |
//! | [`blob`], [`manifest`], [`tags`] | the operations that read |
//! | [`upload`], [`put`], [`referrers`] | the operations that write |
//! | `sessions` | the uploads that are open |
//! | `checked` | bytes on their way there |
//! | [`push`], [`stream`] | a whole blob brought into a repository, whatever happens on the way |
//!
//! A program's secrets and own headers go to the registry's own scheme, host and port, and a login to the token server
//! that it names, and nowhere else.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod answer;
pub mod auth;
pub mod blob;
mod checked;
pub mod credentials;
mod endpoint;
mod form;
mod host;
pub mod http;
pub mod manifest;
pub mod mirrors;
pub mod places;
mod proxy;
pub mod push;
pub mod put;
mod redirect;
pub mod referrers;
pub mod retry;
mod sessions;
mod settings;
pub mod stream;
pub mod tags;
mod tls;
pub mod trace;
pub mod upload;
pub mod url;

pub use retry::{Backoff, Failure, Retry, with_attempts};
pub use settings::{Mirrors, Settings};
pub use trace::Trace;

use auth::{Auth, Scope};
use http::Http;
use http::request::{Payload, Request};
use http::response::Response;
use mirrors::Configured;
use sessions::Uploads;
use url::Url;

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
        // What is written goes where the name says, but as the machine says how to speak to that host.
        let own = own.filter(|place| place.host.eq_ignore_ascii_case(repository.host()));
        let Some(place) = own else { return Registry::with_scope(repository, settings, scope) };
        let registry = Registry::with_scope(repository, &settings.clone().at(&place), scope)?;
        Ok(Registry { root: place.root, ..registry })
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
