// SPDX-License-Identifier: Apache-2.0
//! Blobs and manifests on their way into a registry, and what goes wrong there.

mod bytes;
mod faults;
mod lines;
mod manifest_faults;
mod mount;
mod resume;
mod start;
mod stopped;

use tests::fake::Reply;

/// What a web server says that likes everything, and is no registry.
const PAGES: [fn() -> Reply; 3] = [
    || Reply::ok("<html>").header("Content-Type", "text/html"),
    || Reply::ok(""),
    || Reply::new(204),
];
