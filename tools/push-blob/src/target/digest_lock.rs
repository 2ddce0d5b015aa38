// SPDX-License-Identifier: Apache-2.0
//! A lock for each digest, so that two connections never push the same blob at the same time. The
//! second connection waits, then finds the blob in the target.

use std::sync::{Condvar, Mutex, PoisonError};

use common::digest::Digest;

/// The locked digests.
static LOCKED: Mutex<Vec<Digest>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();

/// Waits until `digest` is unlocked, and locks it until the returned value is dropped.
pub(super) fn lock(digest: &Digest) -> DigestLock {
    let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    while locked.contains(digest) {
        locked = CHANGED.wait(locked).unwrap_or_else(PoisonError::into_inner);
    }
    locked.push(digest.clone());
    DigestLock { digest: digest.clone() }
}

/// A locked digest.
pub(super) struct DigestLock {
    digest: Digest,
}

impl Drop for DigestLock {
    fn drop(&mut self) {
        let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        locked.retain(|digest| *digest != self.digest);
        CHANGED.notify_all();
    }
}
