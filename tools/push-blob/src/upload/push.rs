// SPDX-License-Identifier: Apache-2.0
//! The upload of a blob of known digest, with its recovery from failures.
//!
//! The blob is sent in one request. It is sent in parts if the caller asks for parts, if the
//! registry has a minimum part size, or after a request with the complete blob failed.
//!
//! A broken session is continued at the offset that the registry reports. If a response was lost,
//! the registry is first asked whether it has the blob; only then are bytes sent again. Every byte
//! is hashed once and in order, and the last bytes are sent only if the digest is right.
//!
//! The states are in [`states`](super::states). Not here: the check whether the registry has the
//! blob, and mounts. The caller does both before the upload.

use common::error::{Error, Result, Status};

use super::Uploads;
use super::plan::Push;
use super::rereadable::Rereadable;
use super::states::{State, Upload};

impl Uploads {
    /// Uploads a blob.
    ///
    /// On failure the session is cancelled, with one exception: it stays open if a later run can
    /// continue it, the failure is temporary, and the registry reports neither an offset of 0 nor a
    /// missing session.
    ///
    /// # Errors
    /// Content if the source does not match the digest; otherwise the errors of the source and of
    /// the registry.
    pub(crate) fn push(&self, push: Push<'_>, source: &mut dyn Rereadable) -> Result<()> {
        if push.size == 0 && !push.digest.is_of_empty() {
            let what = format_args!(
                "{}: the size is 0, but this is not the digest of 0 bytes",
                push.digest
            );
            return Err(Error::content(what));
        }
        let mut upload = Upload::new(self, &push);
        // If the source cannot be read, no session is opened.
        let readable = source.open(0).map(drop);
        let outcome = readable.and_then(|()| upload.run(source));
        let state = std::mem::replace(&mut upload.state, State::Unopened);
        let Some(mut session) = state.into_session() else {
            push.watcher.forget();
            return outcome;
        };
        match &outcome {
            Ok(()) => self.leave(&session),
            // The registry has some bytes, which a later run need not send again.
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
}
