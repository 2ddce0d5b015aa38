// SPDX-License-Identifier: Apache-2.0
//! The errors of a tree that changes while it is read.

use common::error::{Error, Status, os_message};
use rustix::io::Errno;

/// The error for a file that changed.
pub(crate) fn changed() -> Error {
    Error::content("changed while it was read")
}

/// The error for a file whose size changed from `want` to `got` bytes.
pub(crate) fn changed_from(want: u64, got: u64) -> Error {
    Error::content(format_args!("changed while it was read: got {got} bytes, want {want}"))
}

/// The error for a system call that failed on a file which existed when its directory was listed.
pub(crate) fn system_error(cause: Errno) -> Error {
    match cause {
        Errno::NOENT => Error::content("vanished while the tree was read"),
        Errno::LOOP | Errno::NOTDIR => changed(),
        _ => {
            let words = os_message(&cause.into());
            Error::new(Status::Local, words)
        }
    }
}
