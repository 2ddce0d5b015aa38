// SPDX-License-Identifier: Apache-2.0
//! Turns: who brings a blob that another connection is busy with waits, and finds it there then.

use std::sync::{Condvar, Mutex, PoisonError};

use common::digest::Digest;

/// The blobs that are being brought.
static UNDER_WAY: Mutex<Vec<Digest>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();

/// Waits until nobody is busy with this digest. Whoever has the turn is, until it is dropped.
pub(crate) fn turn(digest: &Digest) -> Turn {
    let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    while under_way.contains(digest) {
        under_way = CHANGED.wait(under_way).unwrap_or_else(PoisonError::into_inner);
    }
    under_way.push(digest.clone());
    Turn { digest: digest.clone() }
}

/// The turn with a digest.
pub(crate) struct Turn {
    digest: Digest,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|digest| *digest != self.digest);
        CHANGED.notify_all();
    }
}
