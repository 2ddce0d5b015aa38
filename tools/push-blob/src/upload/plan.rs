// SPDX-License-Identifier: Apache-2.0
//! The input of one upload, its way of sending the bytes, and the limits on its recovery.

use common::digest::Digest;

use super::open_sessions::UploadSession;

/// An observer of an upload. It saves the session for a later run, and reports progress.
pub(crate) trait Watcher {
    /// Whether a later run can continue the session.
    fn remembers(&self) -> bool {
        false
    }

    /// Called when the upload continues in this session.
    fn session(&self, _: &UploadSession) {}

    /// Called when no session can be continued.
    fn forget(&self) {}

    /// Called when bytes are sent, from this offset on. The registry has the bytes before it.
    fn begins(&self, _: u64) {}

    /// Called when this number of bytes was read to be sent. Bytes that are sent again are counted
    /// again.
    fn sent(&self, _: u64) {}
}

/// Neither saves nor reports anything.
impl Watcher for () {}

/// One upload.
pub(crate) struct Push<'a> {
    /// The digest of the blob.
    pub(crate) digest: &'a Digest,
    /// The size of the blob in bytes.
    pub(crate) size: u64,
    /// The size of the parts, in bytes; `None` to send the blob in one request if the registry
    /// allows it.
    pub(crate) chunk: Option<u64>,
    /// A session that is open already: a failed mount opened it, or an earlier run saved it.
    pub(crate) session: Option<UploadSession>,
    /// The observer.
    pub(crate) watcher: &'a dyn Watcher,
}

/// The part size in bytes, after a registry refused a larger body.
pub(super) const CHUNK: u64 = 16 << 20;

/// The part size in bytes, after a registry refused a body of [`CHUNK`] bytes. No known registry or
/// proxy has a smaller limit.
pub(super) const SMALL_CHUNK: u64 = 4 << 20;

/// The maximum number of sessions opened for one blob.
pub(super) const MAX_SESSIONS: u32 = 6;

/// The way to send the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// All bytes in the request that closes the session.
    Whole,
    /// In parts of this number of bytes, then an empty request that closes the session.
    Parts(u64),
}

/// For one blob, the number of times that each of these recoveries is still allowed.
#[derive(Debug)]
pub(super) struct Budget {
    /// Open a session.
    sessions: u32,
    /// Ask whether the registry has the blob, after a session disappeared while it was being
    /// closed.
    looks: u32,
    /// Continue a session that the registry reported as out of order.
    pub(super) disorders: u32,
    /// Send everything again because the registry computed another digest.
    pub(super) digests: u32,
    /// Change between one request and parts, because the registry does not support the first way.
    pub(super) switches: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { sessions: MAX_SESSIONS, looks: 3, disorders: 2, digests: 1, switches: 1 }
    }
}

impl Budget {
    /// Spends one session. False if none is left.
    pub(super) fn may_open_session(&mut self) -> bool {
        spend(&mut self.sessions)
    }

    /// Spends one request for the blob. False if none is left.
    pub(super) fn may_look(&mut self) -> bool {
        spend(&mut self.looks)
    }
}

/// Decrements the counter. False if it was 0.
pub(super) fn spend(left: &mut u32) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_allows_its_number_of_sessions() {
        let mut budget = Budget::default();
        let opened = (0..10).filter(|_| budget.may_open_session()).count();
        assert_eq!(opened, MAX_SESSIONS as usize);
        assert!(!budget.may_open_session());
    }
}
