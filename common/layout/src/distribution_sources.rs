// SPDX-License-Identifier: Apache-2.0
//! `distribution-sources`: the repositories in which blobs were seen, as hints for later mounts.

use std::collections::BTreeMap;
use std::path::Path;

use common::digest::Digest;
use common::error::Result;
use common::notice;
use common::reference::Repository;
use serde_json::json;

use crate::{Layout, read_limited};

/// The most repositories that are recorded for one blob.
const MAX_SOURCES: usize = 50;

/// The largest `distribution-sources` that is read, in bytes. A larger file counts as empty.
const MAX_SOURCES_FILE: u64 = 4 << 20;

/// The file that records the repositories in which a blob was seen.
pub(crate) const SOURCES: &str = "distribution-sources";

impl Layout {
    /// Records that blobs were seen in a repository. `distribution-sources` is an object from
    /// digest to object, from host to text: the repositories' paths, sorted and joined by commas,
    /// as in containerd's content labels. The record is only a hint for later mounts, so a failure
    /// is a warning.
    pub fn remember_source(&self, repository: &Repository, digests: &[Digest]) {
        if let Err(error) = self.try_remember_source(repository, digests) {
            notice::warn("distribution sources", || error.to_string());
        }
    }

    /// Whether blob sources may be recorded here: the layout is ours (it has `ingest/`), and this
    /// user may write to it.
    pub fn takes_notes(&self) -> bool {
        let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        writable(&self.dir) && writable(&self.ingest_dir())
    }

    /// The recorded repositories of `host` in which a blob was seen, as paths.
    pub fn sources(&self, digest: &Digest, host: &str) -> Vec<String> {
        let known = self.known_sources();
        let paths = known.get(&digest.to_string()).and_then(|hosts| hosts.get(host));
        let paths = paths.map(String::as_str).unwrap_or_default().split(',');
        paths.filter(|path| !path.is_empty()).map(str::to_owned).collect()
    }

    fn known_sources(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        read_limited(&self.dir.join(SOURCES), MAX_SOURCES_FILE)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn try_remember_source(&self, repository: &Repository, digests: &[Digest]) -> Result<()> {
        if digests.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut known = self.known_sources();
        let mut changed = false;
        for digest in digests {
            let hosts = known.entry(digest.to_string()).or_default();
            let paths = hosts.entry(repository.host().to_owned()).or_default();
            let mut list: Vec<&str> = paths.split(',').filter(|path| !path.is_empty()).collect();
            if list.contains(&repository.path()) || list.len() >= MAX_SOURCES {
                continue;
            }
            list.push(repository.path());
            list.sort_unstable();
            *paths = list.join(",");
            changed = true;
        }
        if changed { self.replace(SOURCES, &json!(known).to_string()) } else { Ok(()) }
    }
}
