// SPDX-License-Identifier: Apache-2.0
//! A lock on a digest: two connections never bring the same blob at once. The second waits, and
//! then finds it there.

use std::sync::{Condvar, Mutex, PoisonError};

use common::digest::Digest;

/// The digests that are locked.
static LOCKED: Mutex<Vec<Digest>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();

/// Waits until the digest is free, and locks it until the returned value is dropped.
pub(super) fn lock(digest: &Digest) -> DigestLock {
    let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    while locked.contains(digest) {
        locked = CHANGED.wait(locked).unwrap_or_else(PoisonError::into_inner);
    }
    locked.push(digest.clone());
    DigestLock { digest: digest.clone() }
}

/// A digest that is locked.
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
