// SPDX-License-Identifier: Apache-2.0
//! The distribution API: a repository in a registry (OCI distribution specification).
//!
//! | module | owns |
//! |---|---|
//! | [`blob`], [`manifest`], [`tags`] | the operations that read |
//! | [`upload`], [`put`], [`referrers`] | the operations that write |
//! | `sessions` | the uploads that are open |
//! | `checked` | bytes on their way there |
//! | [`push`], [`stream`] | a whole blob brought into a repository |
//! | [`auth`] | challenges and tokens |
//! | `answer` | statuses and error bodies in words |
//!
//! A program's secrets and own headers go to the registry's own scheme, host and port, and a login to the token server
//! that it names, and nowhere else. Not here: one exchange over the network (crate `net`), and where else a repository
//! may be read (crate `store`).

mod answer;
pub mod auth;
pub mod blob;
mod checked;
pub mod manifest;
pub mod push;
pub mod put;
pub mod referrers;
mod sessions;
pub mod stream;
pub mod tags;
pub mod upload;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::error::{Error, Result};
use common::reference::Repository;
use machine::mirrors::{self, Configured, Place, ROOT};
use net::endpoint;
use net::exchange::Http;
use net::request::{Payload, Request};
use net::response::Response;
use net::retry::Failure;
use net::settings::Settings;
use net::url::Url;

use auth::{Auth, Scope};
use sessions::Uploads;

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

    /// A place where a repository of the registry `named` may be read. If that is another host, what is given for
    /// the registry is not for it.
    pub fn at(place: &Place, settings: &Settings, named: &str) -> Result<Registry> {
        let repository = Repository::at(&place.host, &place.path)
            .map_err(|why| Error::malformed(format_args!("{}: {why}", place.origin)))?;
        let is_same = repository.host().eq_ignore_ascii_case(named);
        let settings = if is_same { settings.clone() } else { settings.of_another_host() };
        let settings = settings.at(place);
        let scope = Scope::pull(repository.path());
        let registry = Registry::with_scope(&repository, &settings, scope)?;
        Ok(Registry { root: place.root.clone(), namespace: place.namespace.clone(), ..registry })
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
pub fn refuse_blocked(repository: &Repository, by: Option<&str>) -> Result<()> {
    match by {
        Some(file) => Err(Error::refused(format_args!("{repository}: blocked by {file}"))),
        None => Ok(()),
    }
}
