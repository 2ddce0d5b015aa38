// SPDX-License-Identifier: Apache-2.0
//! A blob of known digest brought into a repository, whatever happens on the way.
//!
//! It is sent in one request, unless parts are asked for: by the caller, by the registry's least
//! size of a part, or by a refusal of large bodies. A session that broke is continued at the offset
//! that the registry says it has. If an answer was lost, the registry is asked whether the blob is
//! there before anything is sent again. Every byte is hashed once, in order, and the last of them
//! are sent only if the digest is right. The states are in [`states`](super::states).
//!
//! Not here: whether the blob is there already or can be mounted, which the caller decides first.

use common::digest::Digest;
use common::error::{Error, Result, Status};

use super::Uploads;
use super::plan::Push;
use super::rereadable::Rereadable;
use super::states::{State, Upload};

impl Uploads {
    /// Brings a blob into the repository.
    ///
    /// On failure its session is cancelled, unless trying again later may help: then it is left for
    /// another run.
    ///
    /// # Errors
    /// Content when the source is not what its digest says; otherwise the source's own and the
    /// registry's.
    pub(crate) fn push(&self, push: Push<'_>, source: &mut dyn Rereadable) -> Result<()> {
        if push.size == 0 && !push.digest.is_of_nothing() {
            let what = format_args!("{}: no bytes, and not the digest of none", push.digest);
            return Err(Error::content(what));
        }
        let mut upload = Upload::new(self, &push);
        // Nothing is begun for a source that cannot be read.
        let readable = source.open(0).map(drop);
        let outcome = readable.and_then(|()| upload.run(source));
        let state = std::mem::replace(&mut upload.state, State::Unopened);
        let Some(mut session) = state.into_session() else {
            push.watcher.forget();
            return outcome;
        };
        match &outcome {
            Ok(()) => self.leave(&session),
            // The registry has a part of it, which another run need not send.
            Err(error)
                if error.status() == Status::Unavailable
                    && push.watcher.remembers()
                    && !matches!(self.ask(&mut session), Ok(Some(0) | None)) =>
            {
                push.watcher.session(&session);
                self.leave(&session);
                return outcome;
            }
            Err(_) => self.cancel(&session),
        }
        push.watcher.forget();
        outcome
    }

    /// Brings bytes in memory into the repository, unless they are there.
    ///
    /// # Errors
    /// The registry's.
    pub(super) fn push_bytes(&self, digest: &Digest, mut bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        if matches!(self.registry.has_blob(digest, size), Ok(true)) {
            return Ok(());
        }
        let push = Push { digest, size, chunk: None, session: None, watcher: &() };
        self.push(push, &mut bytes)
    }
}
