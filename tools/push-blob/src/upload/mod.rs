// SPDX-License-Identifier: Apache-2.0
//! Uploads into a repository of a registry.
//!
//! | module | holds |
//! |---|---|
//! | [`push`] | the upload of a blob of known digest, with its recovery from failures |
//! | [`plan`] | the input of an upload, its way of sending, and the limits on its recovery |
//! | [`states`], [`setbacks`] | the states of an upload; the next state after a refusal |
//! | [`stream`] | the upload of bytes whose length and digest are not known at the start |
//! | [`parts`] | reading the parts of a pipe ahead |
//! | [`spool`] | those bytes in a temporary file, for a registry that accepts only one part |
//! | [`requests`] | each request of an upload session, and the interpretation of its response |
//! | [`refused`] | the reasons why a registry refused a request |
//! | [`rereadable`], [`hashed_once`] | bytes that can be read again; hashing each byte once |
//! | [`open_sessions`] | the open sessions, which are cancelled when the run ends |
//!
//! Not here: the choice of blobs, the check whether the registry has a blob, the choice of
//! repositories to mount from, and the files of saved sessions.

mod hashed_once;
mod open_sessions;
pub(crate) mod parts;
pub(crate) mod plan;
mod push;
mod refused;
pub(crate) mod requests;
pub(crate) mod rereadable;
mod setbacks;
mod spool;
mod states;
pub(crate) mod stream;

use std::sync::atomic::AtomicBool;

use registry::Registry;

use open_sessions::OpenSessions;
pub(crate) use open_sessions::UploadSession;

/// The uploads into one repository. It is shared between threads.
pub(crate) struct Uploads {
    registry: Registry,
    open: OpenSessions,
    /// Whether the registry refused a part of a stream, so that streams are sent in one request.
    refuses_parts: AtomicBool,
}

impl Uploads {
    /// Uploads into the repository of `registry`, which must be opened for pushing.
    pub(crate) fn new(registry: Registry) -> Uploads {
        Uploads { registry, open: OpenSessions::default(), refuses_parts: AtomicBool::new(false) }
    }

    /// The registry of the repository.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}
