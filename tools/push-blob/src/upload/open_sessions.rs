// SPDX-License-Identifier: Apache-2.0
//! Upload sessions that are open, known so that they can be closed when the run ends.
//!
//! What ends a run may come while a request is under way that opens one: it is waited for.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::url::Url;

/// How long cancelling a session may take: nobody waits for it but a person at the keyboard.
pub(super) const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// An open upload: where its bytes go, and how many the registry is known to have.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    id: u64,
    pub(super) url: Url,
    /// Whether it is at the registry itself, so that credentials go along.
    pub(super) own: bool,
    /// How many bytes the registry has of it, as far as is known.
    pub(crate) offset: u64,
    /// The least that each part but the last must have, when the registry says so.
    pub(crate) min_chunk: Option<u64>,
    /// Whether it is an earlier run's, and must be asked how far it is.
    pub(crate) reopened: bool,
    /// Whether a later run may come back to it.
    pub(crate) kept: bool,
}

impl Session {
    /// Its URL, to come back to it in another run. With it, whoever may write to the repository may go on.
    pub(crate) fn address(&self) -> String {
        self.url.as_sent()
    }
}

/// The sessions that are open, to be closed at the end.
#[derive(Default)]
pub(super) struct OpenSessions {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many sessions there were.
    count: u64,
    open: BTreeMap<u64, Session>,
    /// How many requests are under way that may open one.
    opening: usize,
    /// Whether the run ends: nothing is opened any more.
    closing: bool,
}

impl OpenSessions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that may open a session is under way until this is dropped. When the run ends, nothing is opened any
    /// more: who would then waits for that end.
    pub(super) fn opening(&self) -> Opening<'_> {
        let mut state = self.lock();
        while state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.opening += 1;
        Opening { sessions: self }
    }

    pub(super) fn opened(&self, url: Url, own: bool, min_chunk: Option<u64>) -> Session {
        let mut state = self.lock();
        state.count += 1;
        let id = state.count;
        let session = Session { id, url, own, offset: 0, min_chunk, reopened: false, kept: false };
        state.open.insert(id, session.clone());
        session
    }

    pub(super) fn moved(&self, session: &Session) {
        if let Some(open) = self.lock().open.get_mut(&session.id) {
            *open = session.clone();
        }
    }

    pub(super) fn closed(&self, session: &Session) {
        self.lock().open.remove(&session.id);
    }

    /// Nothing is opened from here on; what is open, when no request is under way any more that may open one.
    pub(super) fn close(&self) -> Vec<Session> {
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

/// A request that may open a session.
pub(super) struct Opening<'a> {
    sessions: &'a OpenSessions,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.sessions.lock().opening -= 1;
        self.sessions.changed.notify_all();
    }
}
