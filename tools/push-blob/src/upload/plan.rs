// SPDX-License-Identifier: Apache-2.0
//! What one upload brings, how its bytes are sent, and how often each setback is met.

use common::digest::Digest;

use super::open_sessions::UploadSession;

/// Follows an upload: remembers its session for another run, and shows progress.
pub(crate) trait Watcher {
    /// Whether another run can continue the session.
    fn remembers(&self) -> bool {
        false
    }

    /// The upload continues in this session.
    fn session(&self, _: &UploadSession) {}

    /// There is no session to continue any more.
    fn forget(&self) {}

    /// So many more bytes were read to be sent, those that are sent again included.
    fn sent(&self, _: u64) {}
}

/// Remembers and shows nothing.
impl Watcher for () {}

/// What is pushed, and how.
pub(crate) struct Push<'a> {
    /// Its digest.
    pub(crate) digest: &'a Digest,
    /// Its size.
    pub(crate) size: u64,
    /// The size of its parts, in bytes; `None` for one piece where the registry takes it.
    pub(crate) chunk: Option<u64>,
    /// A session that is open for it: opened by a refused mount, or left by an earlier run.
    pub(crate) session: Option<UploadSession>,
    /// Follows the upload.
    pub(crate) watcher: &'a dyn Watcher,
}

/// The size of parts when a registry refuses large bodies, in bytes.
pub(super) const CHUNK: u64 = 16 << 20;

/// Their size when it refuses those too, in bytes: the smallest limit that is known of any registry
/// or proxy.
pub(super) const SMALL_CHUNK: u64 = 4 << 20;

/// The most sessions that are opened for one blob.
pub(super) const MAX_SESSIONS: u32 = 6;

/// How the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// All in the request that closes the session.
    Whole,
    /// In parts of so many bytes, then an empty request that closes the session.
    Parts(u64),
}

/// How often each of these may still be done for one blob.
#[derive(Debug)]
pub(super) struct Budget {
    /// Opening a session.
    sessions: u32,
    /// Looking for the blob after its session ended at its close.
    looks: u32,
    /// Continuing a session that the registry said was out of order.
    pub(super) disorders: u32,
    /// Sending everything again because the registry computed another digest.
    pub(super) digests: u32,
    /// Changing between one piece and parts because the registry did not understand.
    pub(super) switches: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { sessions: MAX_SESSIONS, looks: 3, disorders: 2, digests: 1, switches: 1 }
    }
}

impl Budget {
    /// Spends a session, if one is left.
    pub(super) fn may_open_session(&mut self) -> bool {
        spend(&mut self.sessions)
    }

    /// Spends a look for the blob, if one is left.
    pub(super) fn may_look(&mut self) -> bool {
        spend(&mut self.looks)
    }
}

/// Spends one, if one is left.
pub(super) fn spend(left: &mut u32) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_once_for_each_that_it_has() {
        let mut budget = Budget::default();
        let opened = (0..10).filter(|_| budget.may_open_session()).count();
        assert_eq!(opened, MAX_SESSIONS as usize);
        assert!(!budget.may_open_session());
    }
}
