// SPDX-License-Identifier: Apache-2.0
//! A client for one repository in a registry, or for a registry as a whole (OCI distribution
//! specification).
//!
//! | module | owns |
//! |---|---|
//! | [`blob`], [`manifest`] | reading blobs and manifests |
//! | [`list`] | lists of tags and of repositories |
//! | `catalog` | the error for a registry that does not list its repositories |
//! | `page`, `link` | one page of names; the link to the next page |
//! | `after` | the names in a list that follow a given name |
//! | [`upload`] | uploading a small blob; the requests of larger uploads |
//! | `put`, `delete` | writing and deleting manifests |
//! | `referrers_api`, `referrers` | listing referrers; the list under the fallback tag |
//! | [`auth`] | authentication: challenges and tokens |
//! | [`answer`], `error_body`, `refusal`, `rejection` | error responses and their messages |
//!
//! Credentials and the user's own headers are sent to the registry's own origin only (scheme, host
//! and port). The one exception: a user name and password or an identity token is also sent to the
//! token server that the registry names.
//!
//! Not here: a single HTTP exchange (crate `net`), mirrors (crate `store`), and uploads of large
//! blobs (push-blob). Start reading at [`Registry`].

mod after;
pub use rejection::PUSH_BLOBS_FIRST;

pub mod answer;
pub mod auth;
pub mod blob;
mod catalog;
mod delete;
mod error_body;
mod link;
pub mod list;
pub mod manifest;
mod page;
mod put;
mod referrers;
mod referrers_api;
mod refusal;
mod rejection;
pub mod upload;

use std::sync::atomic::AtomicBool;

use common::error::{Error, Result};
use common::reference::Repository;
use machine::mirrors::{self, Configured, Place, ROOT};
use net::client::Client;
use net::endpoint;
use net::exchange::Http;
use net::failure::Failure;
use net::peer::Peer;
use net::request::{Payload, Request};
use net::response::Response;
use net::url::Url;

use auth::{Scope, Session};

/// A repository in a registry. Can be shared between threads.
pub struct Registry {
    repository: Repository,
    session: Session,
    /// The permissions that requests need.
    scope: Scope,
    /// For a mirror of several registries: the name of the mirrored registry, sent as `ns` in the
    /// query.
    namespace: Option<String>,
    /// Whether the registry answered that it has no referrers API.
    lacks_referrers: AtomicBool,
}

impl Registry {
    /// Opens a repository for reading. Sends no request yet. A loopback host, or a host that is
    /// configured as insecure, may be probed for TLS.
    ///
    /// # Errors
    /// Usage if the host cannot be part of a URL. Refused if the machine's configuration blocks the
    /// repository. Malformed if that configuration is invalid, Local if it cannot be read.
    /// Unavailable if a probed host cannot be reached.
    pub fn open(repository: &Repository, client: &Client, peer: &Peer) -> Result<Registry> {
        Registry::open_for(repository, client, peer, Scope::pull(repository.path()))
    }

    /// Opens a repository for writing. Otherwise like [`open`](Registry::open).
    ///
    /// # Errors
    /// As for [`open`](Registry::open).
    pub fn open_to_push(repository: &Repository, client: &Client, peer: &Peer) -> Result<Registry> {
        Registry::open_for(repository, client, peer, Scope::push(repository.path()))
    }

    /// Opens a registry as a whole, to list its repositories.
    ///
    /// # Errors
    /// As for [`open`](Registry::open).
    pub fn open_whole(registry: &Repository, client: &Client, peer: &Peer) -> Result<Registry> {
        Registry::open_for(registry, client, peer, Scope::catalog())
    }

    /// Opens a repository for deleting. Otherwise like [`open`](Registry::open).
    ///
    /// # Errors
    /// As for [`open`](Registry::open).
    pub fn open_to_delete(
        repository: &Repository,
        client: &Client,
        peer: &Peer,
    ) -> Result<Registry> {
        Registry::open_for(repository, client, peer, Scope::delete(repository.path()))
    }

    /// Opens a repository at the host in its name, for requests of a given scope. The machine's
    /// configuration may block the repository.
    ///
    /// # Errors
    /// As for [`open`](Registry::open).
    pub fn open_for(
        repository: &Repository,
        client: &Client,
        peer: &Peer,
        scope: Scope,
    ) -> Result<Registry> {
        let Configured { own, blocked, .. } = mirrors::configured(repository)?;
        refuse_blocked(repository, blocked.as_deref())?;
        // Requests go to the host in the repository's name, never to another host. The
        // configuration for that host is applied.
        match own.filter(|place| place.host.eq_ignore_ascii_case(repository.host())) {
            Some(place) => {
                let peer = peer.clone().at(&place);
                Registry::with_root(repository, &place.root, client, peer, scope)
            }
            None => Registry::with_root(repository, ROOT, client, peer.clone(), scope),
        }
    }

    /// Opens a place from which a repository can be read. `peer` holds the settings for that host;
    /// the settings of `place` are added to it.
    ///
    /// # Errors
    /// Malformed if the place's host and path are not a valid repository name. Usage if the host
    /// cannot be part of a URL. Unavailable if a host that is probed for TLS cannot be reached.
    pub fn at(place: &Place, client: &Client, peer: &Peer) -> Result<Registry> {
        let repository = Repository::at(&place.host, &place.path)
            .map_err(|why| Error::malformed(format_args!("{}: {why}", place.origin)))?;
        let peer = peer.clone().at(place);
        let scope = Scope::pull(repository.path());
        let registry = Registry::with_root(&repository, &place.root, client, peer, scope)?;
        Ok(Registry { namespace: place.namespace.clone(), ..registry })
    }

    fn with_root(
        repository: &Repository,
        root: &str,
        client: &Client,
        peer: Peer,
        scope: Scope,
    ) -> Result<Registry> {
        let base = endpoint::base(repository, client, &peer)?;
        let root = base.join(root).map_err(Error::usage)?;
        let http = Http::new(client.clone(), root.origin(), peer);
        let repository = repository.clone();
        let session = Session::new(http, root, repository.clone());
        let lacks_referrers = AtomicBool::new(false);
        Ok(Registry { repository, session, scope, namespace: None, lacks_referrers })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The settings of the run.
    pub fn client(&self) -> &Client {
        self.session.http().client()
    }

    /// The authenticated session with the registry.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The permissions that requests need.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The URL of an API resource in this repository, or in the registry if this is a registry as a
    /// whole.
    ///
    /// # Errors
    /// Usage if the URL is too long.
    pub fn url(&self, rest: &str) -> Result<Url> {
        let root = self.session.root();
        let repository = match self.repository.path() {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let path = format!("{}{repository}{rest}", root.path());
        let url = root.join(&path).map_err(Error::usage)?;
        match &self.namespace {
            Some(name) => url.with_query(&[("ns", name)]).map_err(Error::usage),
            None => Ok(url),
        }
    }

    /// Sends a read request: authenticates when the registry challenges, and follows redirects. If
    /// the target of a redirect is another registry that requires a token, an anonymous token is
    /// fetched. If a redirect's target refuses the request, the request is sent to the registry
    /// once more, because the redirect's signature may have expired.
    fn request(&self, request: Request<'_>) -> std::result::Result<Response, Failure> {
        let send = || {
            let response = self.session.send(&self.scope, request, &mut Payload::None)?;
            self.session.answer_elsewhere(request, response)
        };
        let response = send()?;
        if !self.refused_elsewhere(&response) {
            return Ok(response);
        }
        let response = send()?;
        if !self.refused_elsewhere(&response) {
            return Ok(response);
        }
        let status = response.status.as_u16();
        let host = response.url.authority();
        let repository = &self.repository;
        if status == 401 && self.session.is_challenge(&response) {
            let hint = format!("a login for {host} is used only if the reference names {host}");
            let why = format_args!("redirected to {host}, which requires a login: {status}");
            return Err(Error::refused(why).context(repository).hint(hint).into());
        }
        let what = format_args!("{repository}: the storage server {host} refused: {status}");
        Err(Error::refused(what).into())
    }

    /// Whether a redirect's target refused the request. If the target is a registry that requires a
    /// token, an anonymous token was sent already.
    fn refused_elsewhere(&self, response: &Response) -> bool {
        matches!(response.status.as_u16(), 400 | 401 | 403) && !self.session.is_own(response)
    }
}

/// Fails if the machine's configuration blocks the repository. `by` is the file that blocks it.
pub fn refuse_blocked(repository: &Repository, by: Option<&str>) -> Result<()> {
    match by {
        Some(file) => Err(Error::refused(format_args!("{repository}: blocked by {file}"))),
        None => Ok(()),
    }
}
