// SPDX-License-Identifier: Apache-2.0
//! Pushes of blobs and manifests to a registry, and the faults that can occur.

mod bytes;
mod cancelled;
mod faults;
mod lines;
mod manifest_faults;
mod manifest_rejections;
mod memory;
mod mount;
mod one_part;
mod pipe;
mod resume;
mod start;
mod stopped;

use tests::fake::Reply;

/// The responses of a web server that accepts every request but is not a registry.
const PAGES: [fn() -> Reply; 3] = [
    || Reply::ok("<html>").header("Content-Type", "text/html"),
    || Reply::ok(""),
    || Reply::new(204),
];
