// SPDX-License-Identifier: Apache-2.0
//! Upload sessions that are open, so that they can be cancelled when the run ends.
//!
//! The run may end while a request is under way that opens a session. The end waits for that
//! request.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::url::Url;

/// How long cancelling a session may take: a user who pressed Ctrl-C waits for it.
pub(super) const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// An open upload: where its bytes go, and how many the registry is known to have.
#[derive(Clone, Debug)]
pub(crate) struct UploadSession {
    id: u64,
    pub(super) url: Url,
    /// Whether it is at the registry itself, so that credentials go along.
    pub(super) own: bool,
    /// How many bytes of it the registry is known to have.
    pub(crate) offset: u64,
    /// The least that each part but the last must have, when the registry says so.
    pub(crate) min_chunk: Option<u64>,
    /// Whether it is an earlier run's, and must be asked how far it is.
    pub(crate) reopened: bool,
    /// Whether a later run may continue it.
    pub(crate) kept: bool,
}

impl UploadSession {
    /// Its URL, to continue it in another run. Its holder may write into the session if they may
    /// push to the repository.
    pub(crate) fn address(&self) -> String {
        self.url.as_sent()
    }
}

/// The sessions that are open.
#[derive(Default)]
pub(super) struct OpenSessions {
    state: Mutex<Table>,
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    /// How many sessions there were.
    count: u64,
    open: BTreeMap<u64, UploadSession>,
    /// How many requests are under way that may open one.
    opening: usize,
    /// Whether the run ends, and no session is opened any more.
    closing: bool,
}

impl OpenSessions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a request that may open a session as under way, until the returned value is dropped.
    /// Once the run ends, this blocks until the process is gone.
    pub(super) fn opening(&self) -> Opening<'_> {
        let mut state = self.lock();
        while state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.opening += 1;
        Opening { sessions: self }
    }

    /// Adds a session that was opened.
    pub(super) fn opened(&self, url: Url, own: bool, min_chunk: Option<u64>) -> UploadSession {
        let mut state = self.lock();
        state.count += 1;
        let id = state.count;
        let session =
            UploadSession { id, url, own, offset: 0, min_chunk, reopened: false, kept: false };
        state.open.insert(id, session.clone());
        session
    }

    /// Replaces what is known of a session.
    pub(super) fn moved(&self, session: &UploadSession) {
        if let Some(open) = self.lock().open.get_mut(&session.id) {
            *open = session.clone();
        }
    }

    /// Removes a session: it was closed, or is left open on purpose.
    pub(super) fn closed(&self, session: &UploadSession) {
        self.lock().open.remove(&session.id);
    }

    /// Stops the opening of sessions, waits for the requests under way that may open one (no longer
    /// than [`CANCEL_TIMEOUT`] at a time), and returns the sessions that are open.
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

/// A request under way that may open a session.
pub(super) struct Opening<'a> {
    sessions: &'a OpenSessions,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.sessions.lock().opening -= 1;
        self.sessions.changed.notify_all();
    }
}
