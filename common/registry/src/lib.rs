// SPDX-License-Identifier: Apache-2.0
//! The distribution API: a repository in a registry (OCI distribution specification).
//!
//! | module | owns |
//! |---|---|
//! | [`blob`], [`manifest`], [`tags`] | the operations that read |
//! | `put`, `referrers` | the operations that write |
//! | [`auth`] | challenges and tokens |
//! | [`answer`], `error_body`, `refusal` | answers that are no success, and their words |
//!
//! A program's secrets and own headers go to the registry's own scheme, host and port, and a login
//! to the token server that it names, and nowhere else. Not here: one exchange over the network
//! (crate `net`), and where else a repository may be read (crate `store`). Uploads are push-blob's,
//! the one tool that makes them; it sends them through the [`session`](Registry::session) here.

pub mod answer;
pub mod auth;
pub mod blob;
mod error_body;
pub mod manifest;
mod put;
mod referrers;
mod refusal;
pub mod tags;

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

/// A repository in a registry. Shared between threads.
pub struct Registry {
    repository: Repository,
    session: Session,
    /// What its requests need to be allowed to do.
    scope: Scope,
    /// The name of the registry that this is a mirror of, where a mirror of many wants to be told.
    namespace: Option<String>,
}

impl Registry {
    /// Opens a repository to read from. Nothing is sent to it yet, but for the offer to a loopback
    /// host to speak TLS.
    ///
    /// # Errors
    /// Usage, when its host cannot be part of a URL.
    pub fn open(repository: &Repository, client: &Client, peer: &Peer) -> Result<Registry> {
        Registry::open_for(repository, client, peer, Scope::pull(repository.path()))
    }

    /// Opens a repository to write to; as [`open`](Registry::open).
    ///
    /// # Errors
    /// Usage, when its host cannot be part of a URL.
    pub fn open_to_push(repository: &Repository, client: &Client, peer: &Peer) -> Result<Registry> {
        Registry::open_for(repository, client, peer, Scope::push(repository.path()))
    }

    /// Opens a repository where its name says, if the machine's configuration does not block it,
    /// for requests of a scope.
    ///
    /// # Errors
    /// Usage, when its host cannot be part of a URL; refused, when it is blocked; malformed
    /// configuration.
    pub fn open_for(
        repository: &Repository,
        client: &Client,
        peer: &Peer,
        scope: Scope,
    ) -> Result<Registry> {
        let Configured { own, blocked, .. } = mirrors::configured(repository)?;
        refuse_blocked(repository, blocked.as_deref())?;
        // Writing goes to the registry that the name says, but by what the machine says of that
        // host.
        match own.filter(|place| place.host.eq_ignore_ascii_case(repository.host())) {
            Some(place) => {
                let peer = peer.clone().at(&place);
                Registry::with_root(repository, &place.root, client, peer, scope)
            }
            None => Registry::with_root(repository, ROOT, client, peer.clone(), scope),
        }
    }

    /// Opens a place where a repository may be read. `peer` is what is known of that host, beside
    /// what the configuration says of the place.
    ///
    /// # Errors
    /// Malformed, when host and path are no repository's; usage.
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
        Ok(Registry { repository, session, scope, namespace: None })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// What holds for the run.
    pub fn client(&self) -> &Client {
        self.session.http().client()
    }

    /// The session with its registry.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What its requests need to be allowed to do.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A URL of the API in this repository.
    ///
    /// # Errors
    /// Usage, when it grows too long.
    pub fn url(&self, rest: &str) -> Result<Url> {
        let root = self.session.root();
        let path = format!("{}{}/{rest}", root.path(), self.repository.path());
        let url = root.join(&path).map_err(Error::usage)?;
        match &self.namespace {
            Some(name) => url.with_query(&[("ns", name)]).map_err(Error::usage),
            None => Ok(url),
        }
    }

    /// Sends a request that reads: authenticates when the registry challenges, follows redirects,
    /// and goes back to the registry once when a redirect's target refuses (its signature may have
    /// expired).
    fn request(&self, request: Request<'_>) -> std::result::Result<Response, Failure> {
        let send = || self.session.send(&self.scope, request, &mut Payload::None);
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
        matches!(response.status.as_u16(), 400 | 401 | 403) && !self.session.is_own(response)
    }
}

/// Refuses a repository that the machine's configuration blocks.
pub fn refuse_blocked(repository: &Repository, by: Option<&str>) -> Result<()> {
    match by {
        Some(file) => Err(Error::refused(format_args!("{repository}: blocked by {file}"))),
        None => Ok(()),
    }
}
