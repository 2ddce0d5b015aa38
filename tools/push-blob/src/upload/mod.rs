// SPDX-License-Identifier: Apache-2.0
//! Uploads into a repository of a registry.
//!
//! | module | holds |
//! |---|---|
//! | [`push`] | a blob of known digest brought into the repository, whatever happens on the way |
//! | [`plan`] | what is brought, how its bytes are sent, and how often a setback is met |
//! | [`states`], [`setbacks`] | the states of such an upload; where it continues after a refusal |
//! | [`stream`] | bytes of unknown length and digest, sent as they arrive |
//! | [`requests`] | each request of a session, and its answer understood |
//! | [`refused`] | why a registry did not take what was sent |
//! | [`rereadable`], [`hashed_once`] | bytes that can be read again; bytes hashed once, as sent |
//! | [`open_sessions`] | the sessions that are open, to be closed when the run ends |
//!
//! Not here: which blobs are pushed, whether they are there already, where they may be mounted
//! from, and the sessions that a later run may continue, on disk.

mod hashed_once;
mod open_sessions;
pub(crate) mod plan;
mod push;
mod refused;
pub(crate) mod requests;
pub(crate) mod rereadable;
mod setbacks;
mod states;
pub(crate) mod stream;

use registry::Registry;

use open_sessions::OpenSessions;
pub(crate) use open_sessions::UploadSession;

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
