// SPDX-License-Identifier: Apache-2.0
//! A store: a repository in a registry, or a layout, behind one type.
//!
//! | module | holds |
//! |---|---|
//! | [`manifest`] | reading a manifest, verified |
//! | [`platform`] | the manifest for a platform in an index |
//! | [`blob`] | one request for a blob |
//! | [`reading`] | reading a blob across broken connections |
//! | [`place`] | a repository's mirrors, then its registry |
//! | [`options`], `login` | the network options of the command line |
//!
//! Nothing is written here. A tool that needs one kind of store only uses crate `registry` or
//! `layout` itself.

pub mod blob;
mod login;
pub mod manifest;
pub mod options;
pub mod place;
pub mod platform;
pub mod reading;

use common::error::{Result, printable};
use common::reference::{Location, StoreName};
use layout::Layout;
use net::client::Client;
use net::peer::Peer;
use net::retry::Backoff;

pub use crate::manifest::{Asking, Document, Which};
use crate::place::{Mirrors, Places};

/// How a registry is reached: what holds for the run, what holds for that registry alone, and where
/// else its repositories may be read.
#[derive(Clone, Debug)]
pub struct Remote {
    /// What holds for the run.
    pub client: Client,
    /// What holds for the registry alone.
    pub peer: Peer,
    /// Where else it may be read.
    pub mirrors: Mirrors,
}

/// A repository in a registry, or a layout.
pub enum Store {
    /// A repository in a registry.
    Registry(Box<Places>),
    /// An OCI image layout that is there.
    Layout(Layout),
}

impl Store {
    /// Opens a store. A layout must be there; a registry is not spoken to yet.
    ///
    /// # Errors
    /// Absent, malformed or local trouble with a layout.
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
    /// As [`open`](Store::open).
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

    /// Failed attempts to read from here. A layout gets a single attempt.
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
