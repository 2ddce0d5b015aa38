// SPDX-License-Identifier: Apache-2.0
//! `distribution-sources`: the repositories in which blobs were seen, as hints for later mounts.
//!
//! A layout has such a file for its blobs, and the user's state directory has one for blobs that
//! are in no layout. The file is a JSON object that maps a digest to an object, which maps a host
//! to a string: the paths of the repositories at that host, joined by commas as in containerd's
//! content labels. In each object and list, the oldest blob, host or path is the first. If a limit
//! is exceeded, the oldest is dropped.
//!
//! Docker also keeps an HMAC of the credentials with which a repository was seen, and prefers
//! repositories that were seen with the same credentials. regutils does not keep an HMAC, because
//! nothing that is derived from a secret may be written to disk. Without the HMAC, a mount may be
//! tried from a repository that these credentials cannot read. Such an attempt costs one request,
//! and then the repository is removed from the file.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::digest::Digest;
use common::error::{Error, Result};
use common::reference::{Repository, StoreName};
use common::tempfile::TempFile;
use common::{notice, output, state};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::{Map, Value};

use crate::{Layout, read_limited};

/// The maximum number of repositories that are recorded for one blob at one host.
const MAX_SOURCES: usize = 50;

/// The maximum number of hosts that are recorded for one blob.
const MAX_HOSTS: usize = 50;

/// The maximum number of blobs that are recorded in one file.
const MAX_BLOBS: usize = 20_000;

/// The maximum size of a layout's file, in bytes. A larger file counts as empty.
const MAX_SOURCES_FILE: u64 = 4 << 20;

/// The maximum size of the file in the user's state directory, in bytes. It is smaller than that of
/// a layout's file, because every push reads the user's file and most pushes replace it.
const MAX_USER_FILE: u64 = 1 << 20;

/// The longest wait for the lock of the user's state directory. Another process normally holds the
/// lock for a few milliseconds, but longer if it is suspended.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The time between two attempts to take that lock.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The name of the file.
pub(crate) const SOURCES: &str = "distribution-sources";

/// A repository in which a blob was seen, or turned out to be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The blob.
    pub digest: Digest,
    /// The host of the repository, as in references.
    pub host: String,
    /// The path of the repository.
    pub path: String,
    /// Whether the blob is in the repository.
    pub is_there: bool,
}

impl Sighting {
    /// The sighting of a blob in a repository.
    pub fn of(digest: &Digest, repository: &Repository) -> Sighting {
        let (host, path) = (repository.host().to_owned(), repository.path().to_owned());
        Sighting { digest: digest.clone(), host, path, is_there: true }
    }
}

/// The file in which repositories are recorded.
#[derive(Clone, Debug)]
pub enum DistributionSources {
    /// The file of a layout.
    Layout(Layout),
    /// The file in the user's state directory.
    User(PathBuf),
}

impl DistributionSources {
    /// The file in the user's state directory, for blobs that are in no layout. `None` if there is
    /// no such directory.
    pub fn user() -> Option<DistributionSources> {
        state::directory().map(DistributionSources::User)
    }

    /// The recorded repositories. Empty if the file cannot be read.
    pub fn read(&self) -> KnownSources {
        let limit = self.limit();
        let bytes = read_limited(&self.directory().join(SOURCES), limit).unwrap_or_default();
        KnownSources { blobs: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    /// Records sightings, in this order.
    ///
    /// # Errors
    /// Local if the file cannot be locked or written. The record is only a hint, so the caller must
    /// not fail because of it.
    pub fn record(&self, sightings: &[Sighting]) -> Result<()> {
        if sightings.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut known = self.read();
        // Each sighting must be applied: `any` would stop at the first change.
        let changes = sightings.iter().filter(|sighting| known.apply(sighting)).count();
        if changes == 0 {
            return Ok(());
        }
        self.replace(&known.bounded(MAX_BLOBS, self.limit()))
    }

    /// Forgets the blobs for which `keep` is false. Returns their number. An unreadable file and
    /// keys that are not digests are left unchanged.
    ///
    /// # Errors
    /// As for [`record`](DistributionSources::record).
    pub fn retain(&self, keep: impl Fn(&Digest) -> bool) -> Result<usize> {
        let _lock = self.lock()?;
        let mut known = self.read();
        let before = known.blobs.len();
        known.blobs.retain(|name, _| name.parse().map_or(true, |digest| keep(&digest)));
        let forgotten = before - known.blobs.len();
        if forgotten > 0 {
            self.replace(&known.bounded(MAX_BLOBS, self.limit()))?;
        }
        Ok(forgotten)
    }

    fn lock(&self) -> Result<File> {
        match self {
            DistributionSources::Layout(layout) => layout.lock(),
            DistributionSources::User(dir) => {
                lock_for_a_while(dir).map_err(|cause| Error::local(dir.display(), &cause))
            }
        }
    }

    fn directory(&self) -> &Path {
        match self {
            DistributionSources::Layout(layout) => &layout.dir,
            DistributionSources::User(dir) => dir,
        }
    }

    fn limit(&self) -> u64 {
        match self {
            DistributionSources::Layout(_) => MAX_SOURCES_FILE,
            DistributionSources::User(_) => MAX_USER_FILE,
        }
    }

    /// Replaces the file atomically. The caller holds the lock.
    fn replace(&self, text: &str) -> Result<()> {
        let path = self.directory().join(SOURCES);
        match self {
            DistributionSources::Layout(layout) => {
                output::write_whole(&path, &layout.ingest_dir(), text.as_bytes())
            }
            DistributionSources::User(dir) => write_private(&path, dir, text.as_bytes())
                .map_err(|cause| Error::local(format_args!("write {}", path.display()), &cause)),
        }
    }
}

/// Repositories in which blobs were seen.
#[derive(Debug, Default)]
pub struct KnownSources {
    /// Maps a digest to an object that maps a host to paths, the oldest first.
    blobs: Map<String, Value>,
}

impl KnownSources {
    /// The paths of the repositories of `host` in which a blob was seen, newest first.
    pub fn repositories(&self, digest: &Digest, host: &str) -> Vec<String> {
        let hosts = self.blobs.get(&digest.to_string());
        let mut paths = valid_paths(hosts.and_then(|hosts| hosts.get(host)));
        paths.reverse();
        paths
    }

    /// All sightings of a blob, oldest first.
    pub fn sightings(&self, digest: &Digest) -> Vec<Sighting> {
        let hosts = self.blobs.get(&digest.to_string()).and_then(Value::as_object);
        let of_host = |(host, paths): (&String, &Value)| {
            let sighting = |path| {
                let (digest, host) = (digest.clone(), host.clone());
                Sighting { digest, host, path, is_there: true }
            };
            valid_paths(Some(paths)).into_iter().map(sighting).collect::<Vec<_>>()
        };
        hosts.into_iter().flatten().flat_map(of_host).collect()
    }

    /// Applies a sighting. Returns whether it changes the record.
    fn apply(&mut self, sighting: &Sighting) -> bool {
        let Sighting { digest, host, path, is_there } = sighting;
        let digest = digest.to_string();
        let old = self.blobs.get(&digest);
        let mut paths = valid_paths(old.and_then(|hosts| hosts.get(host)));
        let is_known = if *is_there { paths.last() == Some(path) } else { !paths.contains(path) };
        if is_known {
            return false;
        }
        paths.retain(|known| known != path);
        if *is_there {
            paths.push(path.clone());
            paths.drain(..paths.len().saturating_sub(MAX_SOURCES));
        }
        // The blob and the host are removed and inserted again, so that they are the newest.
        let mut hosts = match self.blobs.shift_remove(&digest) {
            Some(Value::Object(hosts)) => hosts,
            _ => Map::new(),
        };
        hosts.shift_remove(host);
        if !paths.is_empty() {
            hosts.insert(host.clone(), paths.join(",").into());
        }
        let surplus = hosts.len().saturating_sub(MAX_HOSTS);
        let hosts: Map<String, Value> = hosts.into_iter().skip(surplus).collect();
        if !hosts.is_empty() {
            self.blobs.insert(digest, hosts.into());
        }
        true
    }

    /// The text of the file, without the oldest blobs if there are more than `most` or if the text
    /// has more than `limit` bytes.
    fn bounded(self, most: usize, limit: u64) -> String {
        let entry = |(digest, hosts): (String, Value)| format!("{}:{hosts}", Value::from(digest));
        let surplus = self.blobs.len().saturating_sub(most);
        let entries: Vec<String> = self.blobs.into_iter().skip(surplus).map(entry).collect();
        // One byte for the first brace. A comma or the last brace follows each entry.
        let mut length = 1 + entries.iter().map(|entry| entry.len() as u64 + 1).sum::<u64>();
        let mut dropped = 0;
        for entry in &entries {
            if length <= limit {
                break;
            }
            length -= entry.len() as u64 + 1;
            dropped += 1;
        }
        format!("{{{}}}", entries[dropped..].join(","))
    }
}

impl Layout {
    /// Records that blobs were seen in a repository. The record is only a hint for later mounts, so
    /// a failure is a warning.
    pub fn record_repository(&self, repository: &Repository, digests: &[Digest]) {
        let sightings: Vec<_> =
            digests.iter().map(|digest| Sighting::of(digest, repository)).collect();
        self.record_sources(&sightings);
    }

    /// Records sightings. The record is only a hint for later mounts, so a failure is a warning.
    pub fn record_sources(&self, sightings: &[Sighting]) {
        if let Err(error) = self.distribution_sources().record(sightings) {
            notice::warn("distribution sources", || error.to_string());
        }
    }

    /// Whether blob sources may be recorded here: the layout is ours (it has `ingest/`), and this
    /// user may write to it.
    pub fn can_record_sources(&self) -> bool {
        let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        writable(&self.dir) && writable(&self.ingest_dir())
    }

    /// The record of the repositories in which the layout's blobs were seen.
    pub fn distribution_sources(&self) -> DistributionSources {
        DistributionSources::Layout(self.clone())
    }
}

/// The paths of an entry, oldest first. The file may come from another machine and may hold any
/// text, so invalid paths are left out.
fn valid_paths(entry: Option<&Value>) -> Vec<String> {
    let paths = entry.and_then(Value::as_str).unwrap_or_default().split(',');
    paths.filter(|path| is_repository_path(path)).map(str::to_owned).collect()
}

/// Whether `path` is a repository path by the grammar of references.
fn is_repository_path(path: &str) -> bool {
    matches!(format!("host.example/{path}").parse(), Ok(StoreName::Repository(parsed)) if parsed.path() == path)
}

/// Takes the lock of the user's state directory, which is created if it does not exist. The lock is
/// released when the file is dropped.
fn lock_for_a_while(dir: &Path) -> std::io::Result<File> {
    state::create(dir)?;
    let file = File::open(dir)?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if start.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(Errno::WOULDBLOCK) => return Err(ErrorKind::TimedOut.into()),
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Replaces a file that only its owner may read. It is not synced: if a power loss damages it, it
/// is read as empty.
fn write_private(path: &Path, dir: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut growing = TempFile::new(dir, path.file_name().unwrap_or_default())?;
    growing.file.set_permissions(Permissions::from_mode(0o600))?;
    growing.file.write_all(bytes)?;
    growing.publish(path)
}

#[cfg(test)]
mod tests {
    use common::digest::Algorithm;

    use super::*;

    const HOST: &str = "a.example";

    fn digest(n: usize) -> Digest {
        Algorithm::Sha256.digest(n.to_string().as_bytes())
    }

    fn sighting(n: usize, host: &str, path: &str, is_there: bool) -> Sighting {
        Sighting { digest: digest(n), host: host.to_owned(), path: path.to_owned(), is_there }
    }

    fn parsed(text: &str) -> KnownSources {
        KnownSources { blobs: serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn the_youngest_repository_is_the_first() {
        let mut known = KnownSources::default();
        for path in ["a", "b", "c", "a"] {
            assert!(known.apply(&sighting(1, HOST, path, true)));
        }
        assert_eq!(known.repositories(&digest(1), HOST), ["a", "c", "b"]);
        assert!(!known.apply(&sighting(1, HOST, "a", true)));
        assert!(known.repositories(&digest(1), "b.example").is_empty());
        assert!(known.repositories(&digest(2), HOST).is_empty());
        known.apply(&sighting(1, "b.example", "d", true));
        let all = [("b", HOST), ("c", HOST), ("a", HOST), ("d", "b.example")];
        let all = all.map(|(path, host)| sighting(1, host, path, true));
        assert_eq!(known.sightings(&digest(1)), all);
        assert_eq!(known.sightings(&digest(2)), []);
    }

    #[test]
    fn the_oldest_repository_is_dropped_at_the_bound() {
        let mut known = KnownSources::default();
        for n in 0..=MAX_SOURCES {
            known.apply(&sighting(1, HOST, &format!("r{n}"), true));
        }
        let repositories = known.repositories(&digest(1), HOST);
        assert_eq!(repositories.len(), MAX_SOURCES);
        assert_eq!(repositories[0], format!("r{MAX_SOURCES}"));
        assert_eq!(repositories[MAX_SOURCES - 1], "r1");
    }

    #[test]
    fn the_oldest_host_is_dropped_at_the_bound() {
        let mut known = KnownSources::default();
        for n in 0..=MAX_HOSTS {
            known.apply(&sighting(1, &format!("h{n}.example"), "r", true));
        }
        assert!(known.repositories(&digest(1), "h0.example").is_empty());
        assert_eq!(known.repositories(&digest(1), "h1.example"), ["r"]);
    }

    #[test]
    fn a_repository_without_the_blob_is_forgotten() {
        let mut known = KnownSources::default();
        for path in ["a", "b"] {
            known.apply(&sighting(1, HOST, path, true));
        }
        assert!(known.apply(&sighting(1, HOST, "a", false)));
        assert!(!known.apply(&sighting(1, HOST, "a", false)));
        assert_eq!(known.repositories(&digest(1), HOST), ["b"]);
        assert!(known.apply(&sighting(1, HOST, "b", false)));
        assert_eq!(known.bounded(10, 100), "{}");
    }

    #[test]
    fn the_oldest_blobs_are_dropped_at_the_bounds() {
        let of = |count: usize| {
            let mut known = KnownSources::default();
            for n in 0..count {
                known.apply(&sighting(n, HOST, "r", true));
            }
            known
        };
        let all = of(4).bounded(4, u64::MAX);
        assert_eq!(serde_json::from_str::<Value>(&all).unwrap().as_object().unwrap().len(), 4);
        let length = all.len() as u64;
        assert_eq!(of(4).bounded(4, length), all);
        for (most, limit) in [(3, length), (4, length - 1)] {
            let known = parsed(&of(4).bounded(most, limit));
            assert!(known.repositories(&digest(0), HOST).is_empty());
            assert_eq!(known.blobs.len(), 3);
            assert_eq!(known.repositories(&digest(3), HOST), ["r"]);
        }
        assert_eq!(of(4).bounded(4, 1), "{}");
    }

    #[test]
    fn invalid_entries_are_left_out_and_do_not_stay() {
        let key = digest(1).to_string();
        let text = format!(r#"{{"{key}":{{"{HOST}":"../../x,b c,B,,d:1,e","b.example":[]}}}}"#);
        let mut known = parsed(&text);
        assert_eq!(known.repositories(&digest(1), HOST), ["e"]);
        assert!(known.repositories(&digest(1), "b.example").is_empty());
        known.apply(&sighting(1, HOST, "f", true));
        assert!(known.bounded(10, 1000).contains(r#":"e,f""#));
        let mut known = parsed(&format!(r#"{{"{key}":7}}"#));
        known.apply(&sighting(1, HOST, "f", true));
        assert_eq!(known.repositories(&digest(1), HOST), ["f"]);
    }
}
