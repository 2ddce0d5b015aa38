// SPDX-License-Identifier: Apache-2.0
//! The open upload sessions, so that they can be cancelled when the run ends.
//!
//! The run may end during a request that opens a session. The cleanup waits for that request first.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use registry::upload::{CANCEL_TIMEOUT, UploadUrl};

/// An open upload session.
#[derive(Clone, Debug)]
pub(crate) struct UploadSession {
    id: u64,
    pub(super) at: UploadUrl,
    /// The number of bytes that the registry is known to have.
    pub(crate) offset: u64,
    /// The minimum size of each part but the last, if the registry requires one.
    pub(crate) min_chunk: Option<u64>,
    /// Whether an earlier run opened it. Its offset must then be requested first.
    pub(crate) reopened: bool,
    /// Whether a later run may continue it.
    pub(crate) kept: bool,
}

impl UploadSession {
    /// The URL, as it is saved for a later run. The URL is not a credential: writing to the session
    /// still requires the permission to push to the repository.
    pub(crate) fn address(&self) -> String {
        self.at.url.as_sent()
    }
}

/// The table of open sessions.
#[derive(Default)]
pub(super) struct OpenSessions {
    state: Mutex<Table>,
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    /// The number of sessions opened so far.
    count: u64,
    open: BTreeMap<u64, UploadSession>,
    /// The number of running requests that may open a session.
    opening: usize,
    /// Whether the run is ending. No session is opened then.
    closing: bool,
}

impl OpenSessions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that may open a session, until the returned value is dropped. If the run is
    /// ending, this blocks until the process ends.
    pub(super) fn opening(&self) -> Opening<'_> {
        let mut state = self.lock();
        while state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.opening += 1;
        Opening { sessions: self }
    }

    /// Adds a session that was opened.
    pub(super) fn opened(&self, at: UploadUrl, min_chunk: Option<u64>) -> UploadSession {
        let mut state = self.lock();
        state.count += 1;
        let id = state.count;
        let session = UploadSession { id, at, offset: 0, min_chunk, reopened: false, kept: false };
        state.open.insert(id, session.clone());
        session
    }

    /// Updates the entry of a session.
    pub(super) fn moved(&self, session: &UploadSession) {
        if let Some(open) = self.lock().open.get_mut(&session.id) {
            *open = session.clone();
        }
    }

    /// Removes a session that was closed or is left open on purpose.
    pub(super) fn closed(&self, session: &UploadSession) {
        self.lock().open.remove(&session.id);
    }

    /// Prevents new sessions, waits for the running requests that may open a session, and returns
    /// the open sessions. The wait ends when no request finishes within [`CANCEL_TIMEOUT`].
    pub(super) fn close(&self) -> Vec<UploadSession> {
        let mut state = self.lock();
        state.closing = true;
        while state.opening > 0 {
            let (next, time) = self
                .changed
                .wait_timeout(state, CANCEL_TIMEOUT)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if time.timed_out() {
                break;
            }
        }
        state.open.values().cloned().collect()
    }
}

/// A running request that may open a session.
pub(super) struct Opening<'a> {
    sessions: &'a OpenSessions,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.sessions.lock().opening -= 1;
        self.sessions.changed.notify_all();
    }
}
