// SPDX-License-Identifier: Apache-2.0
//! The commands of most tests: tools that use plain HTTP and do not wait between their attempts.

use crate::tools::{Command, tool};

/// The tool of this name.
#[track_caller]
pub fn plain(name: &str) -> Command {
    tool(name).args(["--plain-http", "--max-wait", "0"])
}

/// fetch-blob.
#[track_caller]
pub fn fetch_blob() -> Command {
    plain("fetch-blob")
}

/// fetch-manifest.
#[track_caller]
pub fn fetch_manifest() -> Command {
    plain("fetch-manifest")
}

/// push-blob.
#[track_caller]
pub fn push_blob() -> Command {
    plain("push-blob")
}
