// SPDX-License-Identifier: Apache-2.0
//! The lines of `--progress json`. regutils-terminal(7) documents them. Other programs rely on the
//! fields: new fields may be added, but the existing ones do not change.

use super::{Entry, How};
use crate::digest::Digest;

impl How {
    fn name(self) -> &'static str {
        match self {
            How::Present => "present",
            How::Fetched => "fetched",
            How::Pushed => "pushed",
            How::Mounted => "mounted",
            How::Packed => "packed",
            How::Unpacked => "unpacked",
            How::Verified => "verified",
        }
    }
}

/// The line of a blob that is done.
pub(super) fn done(digest: &Digest, size: u64, how: How) -> String {
    let status = how.name();
    format!("{{\"digest\":\"{digest}\",\"size\":{size},\"status\":\"{status}\"}}\n")
}

/// The line of a blob under way; `rate` is in bytes per second.
pub(super) fn under_way(entry: &Entry, rate: u64) -> String {
    let digest = entry.digest.as_ref().map(|digest| format!("\"digest\":\"{digest}\","));
    let offset = entry.position();
    let total = entry.total.map(|total| format!(",\"total\":{total}"));
    let (digest, total) = (digest.unwrap_or_default(), total.unwrap_or_default());
    format!("{{{digest}\"offset\":{offset}{total},\"rate\":{rate}}}\n")
}
