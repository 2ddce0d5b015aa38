// SPDX-License-Identifier: Apache-2.0
//! The open upload sessions, so that they can be cancelled when the run ends.
//!
//! The run may end during a request that opens a session. The cleanup waits for that request first.
//! The run may also end while a request sends bytes. [`Sending`] then stops the request: each byte
//! that arrives at the registry changes the session's state, and the registry may refuse to cancel
//! a session if the state in the URL is old.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::error::{Error, Status};
use registry::upload::{CANCEL_TIMEOUT, UploadUrl};

/// The longest time to wait until requests that send bytes have stopped. A request does not stop if
/// the registry does not read its bytes.
const STOP_TIMEOUT: Duration = Duration::from_millis(200);

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
    /// The sessions to which a request sends bytes.
    sending: BTreeSet<u64>,
    /// Whether the run is ending. No session is opened then, and no bytes are sent.
    closing: bool,
}

impl OpenSessions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that may open a session, until the returned value is dropped. If the run is
    /// ending, this blocks until the process ends.
    pub(super) fn opening(&self) -> Opening<'_> {
        self.lock_unless_closing().opening += 1;
        Opening { sessions: self }
    }

    /// Counts a request that sends bytes to a session, until the returned value is dropped. If the
    /// run is ending, this blocks until the process ends.
    pub(super) fn sending(&self, session: &UploadSession) -> Sending<'_> {
        self.lock_unless_closing().sending.insert(session.id);
        Sending { sessions: self, id: session.id }
    }

    fn lock_unless_closing(&self) -> MutexGuard<'_, Table> {
        let mut state = self.lock();
        while state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Stops counting a request that sent bytes to this session.
    fn sent(&self, id: u64) {
        self.lock().sending.remove(&id);
        self.changed.notify_all();
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

    /// Prevents new sessions and new parts, waits for the running requests, and returns the open
    /// sessions that `is_wanted` selects. The wait for requests that may open a session ends when
    /// none of them finishes within [`CANCEL_TIMEOUT`]. The wait for requests that send bytes to a
    /// selected session ends after at most [`STOP_TIMEOUT`].
    pub(super) fn close(&self, is_wanted: impl Fn(&UploadSession) -> bool) -> Vec<UploadSession> {
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
        let is_sending = |state: &mut Table| {
            let mut sending = state.sending.iter().filter_map(|id| state.open.get(id));
            sending.any(&is_wanted)
        };
        let stopped = self.changed.wait_timeout_while(state, STOP_TIMEOUT, is_sending);
        let (state, _) = stopped.unwrap_or_else(PoisonError::into_inner);
        state.open.values().filter(|session| is_wanted(session)).cloned().collect()
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

/// A running request that sends bytes to a session.
pub(super) struct Sending<'a> {
    sessions: &'a OpenSessions,
    id: u64,
}

impl Sending<'_> {
    /// The bytes of the request. Reading them fails when the run is ending, and the connection is
    /// then closed.
    pub(super) fn stoppable<'r>(&'r self, reader: &'r mut dyn Read) -> impl Read + 'r {
        Stoppable { sessions: self.sessions, reader }
    }

    /// Called when the request has failed. If the run is ending, this blocks until the process
    /// ends: the end of the run is perhaps the reason, and must not be reported as an error.
    pub(super) fn failed(&self) {
        self.sessions.sent(self.id);
        drop(self.sessions.lock_unless_closing());
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.sessions.sent(self.id);
    }
}

struct Stoppable<'a> {
    sessions: &'a OpenSessions,
    reader: &'a mut dyn Read,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.sessions.lock().closing {
            return Err(io::Error::other(Error::new(Status::Local, "the run is ending")));
        }
        self.reader.read(buffer)
    }
}
