// SPDX-License-Identifier: Apache-2.0
//! A store under the name that push-blob uses.

use std::io::Read;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::Error;
use net::client::Client;

use crate::Store;

/// A store that blobs are read from.
pub struct Source {
    /// The store.
    pub store: Store,
}

impl Source {
    /// A store as a source.
    pub fn new(store: Store, _: Client) -> Source {
        Source { store }
    }

    /// As [`Store::leave_mirrors_of`].
    pub fn leave_mirrors_of(&self, digest: &Digest, why: &Error) -> bool {
        self.store.leave_mirrors_of(digest, why)
    }

    /// As [`Store::reader`].
    pub fn reader<'a>(&'a self, descriptor: &Descriptor, offset: u64) -> impl Read + 'a {
        self.store.reader(descriptor, offset)
    }
}
