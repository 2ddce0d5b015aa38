// SPDX-License-Identifier: Apache-2.0
//! Reading from a store (a repository in a registry, or an OCI image layout) through one type.
//!
//! | module | holds |
//! |---|---|
//! | [`manifest`] | reading and verifying a manifest |
//! | [`platform`] | choosing the manifest for a platform from an index |
//! | [`below`] | everything below a manifest |
//! | [`blob`] | one request for a blob |
//! | [`reading`] | reading a blob across broken connections |
//! | [`kept`] | manifests that a layout has already |
//! | [`place`] | trying a repository's mirrors, then its registry |
//! | [`options`], `login` | the network options of the command line |
//!
//! This crate never writes to a store. A tool that needs only one kind of store uses the crate
//! `registry` or `layout` directly. Start reading at [`Store`].

pub mod below;
pub mod blob;
pub mod kept;
mod login;
pub mod manifest;
pub mod options;
pub mod place;
pub mod platform;
pub mod reading;

use common::digest::Digest;
use common::error::{Error, Result, Status, printable};
use common::reference::{Location, StoreName};
use layout::Layout;
use net::client::Client;
use net::peer::Peer;
use net::retry::Backoff;

pub use crate::manifest::{Document, ReadOptions, Which};
use crate::place::{Mirrors, Places};

/// The settings for reaching a registry: those of the run, those of this registry, and its mirrors.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The settings of the run, for every host.
    pub client: Client,
    /// The settings for this registry only, its credential included.
    pub peer: Peer,
    /// The mirrors to use.
    pub mirrors: Mirrors,
}

/// A repository in a registry, or a layout.
pub enum Store {
    /// A repository in a registry.
    Registry(Box<Places>),
    /// An existing OCI image layout.
    Layout(Layout),
}

impl Store {
    /// Opens a store. A layout must exist. A registry is not contacted yet, except to probe a host
    /// for TLS where plain HTTP is possible.
    ///
    /// # Errors
    /// For a layout: Absent if it does not exist, Malformed if it is not a valid layout, Local if
    /// it cannot be read. For a repository: as for [`Places::open`].
    pub fn open(name: &StoreName, remote: &Remote) -> Result<Store> {
        Ok(match name {
            StoreName::Repository(repository) => {
                Store::Registry(Box::new(Places::open(repository, remote)?))
            }
            StoreName::Layout(dir) => Store::Layout(Layout::open(dir)?),
        })
    }

    /// Opens the store that a location is in.
    ///
    /// # Errors
    /// As for [`open`](Store::open).
    pub fn of(location: &Location, remote: &Remote) -> Result<Store> {
        Store::open(
            &match location {
                Location::Registry(reference) => {
                    StoreName::Repository(reference.repository.clone())
                }
                Location::Layout(layout) => StoreName::Layout(layout.dir.clone()),
            },
            remote,
        )
    }

    /// The name of a blob of this store, for messages.
    pub fn name_of(&self, digest: &Digest) -> String {
        match self {
            Store::Registry(registry) => format!("{}@{digest}", registry.repository()),
            Store::Layout(layout) => format!("{}: {digest}", printable(&layout.to_string())),
        }
    }

    /// The error about wrong content of one of its blobs, with the store's name in front, unless
    /// the message already has it.
    #[must_use]
    pub fn blame(&self, error: Error) -> Error {
        let name = self.to_string();
        let is_wrong = matches!(error.status(), Status::Content | Status::Malformed);
        if is_wrong && !error.to_string().contains(&name) { error.context(name) } else { error }
    }

    /// The hint for a blob whose bytes or size are wrong: the command that fetches it again into
    /// the layout. `None` for a registry.
    pub fn repair(&self) -> Option<String> {
        match self {
            Store::Registry(_) => None,
            Store::Layout(layout) => Some(layout.repair()),
        }
    }

    /// Adds the hint [`repair`](Store::repair) to the error about a blob whose bytes or size are
    /// wrong.
    #[must_use]
    pub fn with_repair(&self, error: Error) -> Error {
        let repair = self.repair().filter(|_| error.status() == Status::Content);
        error.optional_hint(repair)
    }

    /// The retry budget for reading from this store. A layout gets a single attempt.
    fn backoff(&self) -> Backoff {
        match self {
            Store::Registry(registry) => Backoff::new(registry.client()),
            Store::Layout(_) => Backoff::single(),
        }
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Store::Registry(registry) => registry.repository().fmt(f),
            Store::Layout(layout) => write!(f, "{}", printable(&layout.to_string())),
        }
    }
}
