// SPDX-License-Identifier: Apache-2.0
//! Uploads into a repository of a registry.
//!
//! | module | holds |
//! |---|---|
//! | [`requests`] | each request of an upload session, and its answer understood; one call is one attempt |
//! | [`push`] | a blob of known digest brought into the repository, whatever happens on the way |
//! | [`stream`] | bytes of unknown length and digest, sent as they arrive |
//! | [`hashed`] | bytes on their way out, each hashed once |
//! | [`open`] | the sessions that are open, to be closed when the run ends |
//!
//! Not here: which blobs are pushed, whether they are there already, and where they may be mounted from (`target`); the
//! sessions that a later run may continue, on disk (`sessions`).

mod hashed;
mod open;
pub(crate) mod push;
pub(crate) mod requests;
pub(crate) mod stream;

use registry::Registry;

use open::OpenSessions;
pub(crate) use open::Session;

/// The uploads into one repository. Shared between threads.
pub(crate) struct Uploads {
    registry: Registry,
    open: OpenSessions,
}

impl Uploads {
    /// Uploads into the repository of `registry`, which was opened to push.
    pub(crate) fn new(registry: Registry) -> Uploads {
        Uploads { registry, open: OpenSessions::default() }
    }

    /// The registry that they go to.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}
