// SPDX-License-Identifier: Apache-2.0
//! Recognises the archive of a complete image that was given as a layer: an OCI image layout in a
//! tar archive, or the output of `docker save`. Such an archive is unpacked like any other, with a
//! warning, because a layer may have files of these names.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use common::notice;
use rustix::fs::{Mode, OFlags};

/// The file that each OCI image layout has, and a keyword in it.
const LAYOUT: (&[u8], &str) = (b"oci-layout", "\"imageLayoutVersion\"");

/// The list of images in the output of `docker save`, and a keyword in it.
const SAVED: (&[u8], &str) = (b"manifest.json", "\"Layers\"");

/// The maximum number of bytes of a file that are searched for its keyword.
const MAX_READ: u64 = 64 << 10;

/// The files of these two that the current layer has in its root directory.
#[derive(Default)]
pub(super) struct ImageFiles {
    layout: bool,
    saved: bool,
}

impl ImageFiles {
    /// Notes a regular file in the root directory.
    pub(super) fn note(&mut self, name: &[u8]) {
        self.layout |= name == LAYOUT.0;
        self.saved |= name == SAVED.0;
    }

    /// Warns if a noted file has the content that it has in an archive of an image.
    pub(super) fn warn(self, root: impl AsFd) {
        let has = |(name, keyword)| contains(&root, name, keyword);
        if self.layout && has(LAYOUT) {
            notice::warn("image archive", || {
                "\"oci-layout\": this is an archive of an image, not a layer: unpack it with tar, \
                 then run: fetch-manifest oci:DIR | list-blobs | unpack-layer --from oci:DIR ROOT"
                    .to_owned()
            });
        } else if self.saved && has(SAVED) {
            notice::warn("image archive", || {
                "\"manifest.json\": this is an archive of docker save, not a layer: unpack it with \
                 tar, then give unpack-layer the files listed under \"Layers\" in manifest.json"
                    .to_owned()
            });
        }
    }
}

/// Whether the beginning of a file in the root directory contains a keyword. False if it cannot be
/// read.
fn contains(root: impl AsFd, name: &[u8], keyword: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(root, name, flags, Mode::empty()) else { return false };
    let mut bytes = Vec::new();
    let read = File::from(fd).take(MAX_READ).read_to_end(&mut bytes);
    read.is_ok() && bytes.windows(keyword.len()).any(|window| window == keyword.as_bytes())
}
