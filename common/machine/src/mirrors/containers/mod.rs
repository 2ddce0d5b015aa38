// SPDX-License-Identifier: Apache-2.0
//! Mirrors from registries.conf, the configuration of podman, skopeo and buildah:
//! containers-registries.conf(5).
//!
//! | module | owns |
//! |---|---|
//! | `conf` | parsing one file |
//! | `prefix` | matching the prefix of a table with a repository |
//!
//! The files and their precedence are those of these programs (sysregistriesv2 of
//! containers/image), except:
//! - `$XDG_CONFIG_HOME` is used, as for their other files, and
//!   `$CONTAINERS_REGISTRIES_CONF_OVERRIDE` names a file that is read last, as in their new
//!   versions;
//! - a file of the user that exists but cannot be read is an error: those programs fall back to the
//!   system's file.
//!
//! Not read: mirrors of short names, and settings that complete a name without a host.

mod conf;
mod prefix;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::error::{Error, Result, printable};
use common::notice;
use common::reference::{Reference, Repository};

use super::document::{Document, MAX_BYTES, Wrong, wrong};
use super::{Configured, Place};
use crate::credentials::{config_home, directory};
use conf::Entry;

/// The maximum number of drop-in files in one directory.
const MAX_DROP_INS: usize = 256;

/// Reads the configuration for a repository; `None` if no table matches it.
///
/// # Errors
/// Malformed if a file is invalid (the message has file and line); Local if a file cannot be read.
pub(super) fn configured(repository: &Repository) -> Result<Option<Configured>> {
    // Read only once in a run, so that all requests use the same configuration, even if the file is
    // a pipe.
    static TABLES: OnceLock<Result<Tables>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| Files::of_machine().read());
    tables.as_ref().map_err(Error::clone)?.lookup(repository)
}

/// The configuration files.
struct Files {
    /// The main file that the environment names, if any. It must exist.
    named: Option<PathBuf>,
    /// The user's directory.
    user: Option<PathBuf>,
    /// The system's directory.
    system: PathBuf,
    /// A file that the environment names, if any, read after all others. It must exist.
    last: Option<PathBuf>,
}

impl Files {
    fn of_machine() -> Files {
        let config = config_home();
        Files {
            named: directory("CONTAINERS_REGISTRIES_CONF")
                .or_else(|| directory("REGISTRIES_CONFIG_PATH")),
            user: config.map(|dir| dir.join("containers")),
            system: PathBuf::from("/etc/containers"),
            last: directory("CONTAINERS_REGISTRIES_CONF_OVERRIDE"),
        }
    }

    /// Reads the files: one registries.conf, the drop-ins, then the last file. A later table
    /// replaces an earlier one with the same prefix.
    fn read(&self) -> Result<Tables> {
        let mut tables = Tables { entries: BTreeMap::new(), left: MAX_BYTES };
        let user = self.user.as_deref();
        let mut dirs = vec![self.system.as_path()];
        if let Some(named) = &self.named {
            tables.must_add(named)?;
            dirs.extend(user);
        } else if let Some(dir) = user
            && tables.add(&dir.join("registries.conf"), false)?
        {
            // If the user has a registries.conf, the system's files are not read.
            dirs = vec![dir];
        } else {
            tables.add(&self.system.join("registries.conf"), false)?;
            dirs.extend(user);
        }
        for dir in dirs {
            for file in drop_ins(&dir.join("registries.conf.d"))? {
                // A file that was removed after the directory was read is skipped.
                tables.add(&file, true)?;
            }
        }
        if let Some(last) = &self.last {
            tables.must_add(last)?;
        }
        Ok(tables)
    }
}

/// The `*.conf` files of a directory, sorted by name. Subdirectories are skipped.
fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let shown = printable(&dir.display().to_string());
    let local = |cause: &std::io::Error| Error::local(&shown, cause);
    let entries = match std::fs::read_dir(dir) {
        Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(|cause| local(&cause))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|cause| local(&cause))?;
        let is_conf = entry.file_name().as_encoded_bytes().ends_with(b".conf");
        if !is_conf || entry.file_type().map_err(|cause| local(&cause))?.is_dir() {
            continue;
        }
        files.push(entry.path());
        if files.len() > MAX_DROP_INS {
            return Err(Error::malformed(format_args!(
                "{shown}: more than {MAX_DROP_INS} drop-in files"
            )));
        }
    }
    files.sort();
    Ok(files)
}

/// The tables of all files, by prefix.
struct Tables {
    entries: BTreeMap<String, Entry>,
    /// The number of bytes that may still be read.
    left: u64,
}

impl Tables {
    /// Adds the tables of a file. Returns whether the file exists.
    fn add(&mut self, path: &Path, is_drop_in: bool) -> Result<bool> {
        let Some(document) = Document::read(path, &mut self.left)? else { return Ok(false) };
        self.entries.extend(conf::entries(&document, is_drop_in)?);
        Ok(true)
    }

    /// Adds the tables of a file that must exist.
    fn must_add(&mut self, path: &Path) -> Result<()> {
        if self.add(path, false)? {
            return Ok(());
        }
        let cause = std::io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error());
        Err(Error::local(printable(&path.display().to_string()), &cause))
    }

    /// The entry with the longest matching prefix of a repository's name, and how many bytes of the
    /// name the prefix matches.
    fn find(&self, name: &str) -> Option<(usize, &Entry)> {
        let mut best: Option<(usize, usize, &Entry)> = None;
        for (prefix, entry) in &self.entries {
            let Some(matched) = prefix::matched(name, prefix) else { continue };
            // If two prefixes have equal length, the first in byte order is used.
            if best.is_none_or(|(longest, ..)| prefix.len() > longest) {
                best = Some((prefix.len(), matched, entry));
            }
        }
        best.map(|(_, matched, entry)| (matched, entry))
    }

    /// The file that blocks the repository of this name, if any.
    fn blocks(&self, name: &str) -> Option<&str> {
        let (_, entry) = self.find(name)?;
        entry.blocked.then_some(entry.origin.as_str())
    }

    /// The configuration for a repository.
    fn lookup(&self, repository: &Repository) -> Result<Option<Configured>> {
        let name = name_of(repository.host(), repository.path());
        let Some((matched, entry)) = self.find(&name) else { return Ok(None) };
        let rest = &name[matched..];
        let place = |location: &str, line: usize| {
            place(&format!("{location}{rest}"), &entry.origin, repository.is_whole())
                .map_err(|why| wrong(&entry.origin, &Wrong { line, why }))
        };
        let mut mirrors = Vec::new();
        for mirror in &entry.mirrors {
            let there = place(&mirror.location, mirror.line)?;
            // A blocked repository is also blocked as a mirror of another one.
            match self.blocks(&name_of(&there.host, &there.path)) {
                Some(by) => notice::say(
                    "mirror",
                    &format!(
                        "mirror {} ({}) is skipped: blocked by {by}",
                        there.host, there.origin
                    ),
                ),
                None => mirrors.push(Place {
                    insecure: mirror.insecure,
                    serves: mirror.serves,
                    ..there
                }),
            }
        }
        if entry.blocked {
            let blocked = Some(entry.origin.clone());
            return Ok(Some(Configured { mirrors, own: None, blocked }));
        }
        let own = match entry.location.as_str() {
            "" => Place::at(repository.host(), repository.path(), &entry.origin),
            location => place(location, entry.line)?,
        };
        let there = name_of(&own.host, &own.path);
        if let Some(by) = self.blocks(&there) {
            let why = format!("{name}: its location is {there}, which is blocked by {by}");
            return Err(wrong(&entry.origin, &Wrong { line: entry.line, why }));
        }
        let is_configured = entry.insecure || there != name;
        let own = Some(Place { insecure: entry.insecure, ..own }).filter(|_| is_configured);
        Ok(Some(Configured { mirrors, own, blocked: None }))
    }
}

/// The name of a repository, `HOST/PATH`, or of a registry as a whole, `HOST`.
fn name_of(host: &str, path: &str) -> String {
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// The place of a complete name, `HOST/PATH`. For a registry as a whole (`is_whole`) the name may
/// be just `HOST`.
fn place(name: &str, origin: &str, is_whole: bool) -> std::result::Result<Place, String> {
    let shown = || printable(name);
    if is_whole && !name.contains('/') {
        let registry = Repository::whole(name).map_err(|why| format!("\"{}\": {why}", shown()))?;
        return Ok(Place::at(registry.host(), registry.path(), origin));
    }
    let read: Reference = name.parse().map_err(|why| format!("\"{}\": {why}", shown()))?;
    let Reference { repository, tag: None, digest: None } = read else {
        return Err(format!("\"{}\" is not a repository", shown()));
    };
    let (host, path) = (repository.host(), repository.path());
    // Docker's defaults must not change the name: the result would be another repository.
    if format!("{host}/{path}") != name {
        return Err(format!(
            "\"{}\" is not a complete repository name (\"{host}/{path}\" is)",
            shown()
        ));
    }
    Ok(Place::at(host, path, origin))
}

#[cfg(test)]
mod tests;
