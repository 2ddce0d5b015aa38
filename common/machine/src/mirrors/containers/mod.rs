// SPDX-License-Identifier: Apache-2.0
//! Mirrors by registries.conf, the configuration of podman, skopeo and buildah:
//! containers-registries.conf(5).
//!
//! | module | owns |
//! |---|---|
//! | `conf` | what one file says |
//! | `prefix` | which table is for a repository |
//!
//! Where the files are and which of two holds is as in those programs (sysregistriesv2 of
//! containers/image), but for:
//! - `$XDG_CONFIG_HOME` counts, as it does for their other files, and `$CONTAINERS_REGISTRIES_CONF_OVERRIDE` names a file that
//!   is read last, as in their new versions;
//! - a file of the user that is there but cannot be read is an error: they pass over to the system's.
//!
//! Not read: the mirrors of short names, and anything that completes a name without a host.

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

/// The most drop-in files of a directory.
const MAX_DROP_INS: usize = 256;

/// What registries.conf says of a repository; nothing when no table is for it.
///
/// # Errors
/// Malformed configuration, naming file and line; local trouble with a file.
pub(super) fn configured(repository: &Repository) -> Result<Option<Configured>> {
    // Once in a run: what decides about two requests is the same, also if the file is a pipe.
    static TABLES: OnceLock<Result<Tables>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| Files::of_machine().read());
    tables.as_ref().map_err(Error::clone)?.say(repository)
}

/// Where the files are.
struct Files {
    /// The one that the environment names, which must be there.
    named: Option<PathBuf>,
    /// The user's directory.
    user: Option<PathBuf>,
    /// The system's.
    system: PathBuf,
    /// One that the environment names to be read after all others.
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

    /// Reads them: one registries.conf, the drop-ins, and what comes last. A later table takes the
    /// place of an earlier one with the same prefix.
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
            // Who has a file of his own has nothing of the system's.
            dirs = vec![dir];
        } else {
            tables.add(&self.system.join("registries.conf"), false)?;
            dirs.extend(user);
        }
        for dir in dirs {
            for file in drop_ins(&dir.join("registries.conf.d"))? {
                // One that is gone by now has been removed.
                tables.add(&file, true)?;
            }
        }
        if let Some(last) = &self.last {
            tables.must_add(last)?;
        }
        Ok(tables)
    }
}

/// A directory's `*.conf`, in the order of their names. Directories among them are none.
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

/// The tables of all files, by their prefixes.
struct Tables {
    entries: BTreeMap<String, Entry>,
    /// How many bytes may still be read.
    left: u64,
}

impl Tables {
    /// Adds a file's; whether it is there.
    fn add(&mut self, path: &Path, is_drop_in: bool) -> Result<bool> {
        let Some(document) = Document::read(path, &mut self.left)? else { return Ok(false) };
        self.entries.extend(conf::entries(&document, is_drop_in)?);
        Ok(true)
    }

    /// Adds a file's that somebody named.
    fn must_add(&mut self, path: &Path) -> Result<()> {
        match self.add(path, false)? {
            true => Ok(()),
            false => {
                let cause =
                    std::io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error());
                Err(Error::local(printable(&path.display().to_string()), &cause))
            }
        }
    }

    /// The entry with the longest prefix of a repository's name, and how much of the name that is.
    fn find(&self, name: &str) -> Option<(usize, &Entry)> {
        let mut best: Option<(usize, usize, &Entry)> = None;
        for (prefix, entry) in &self.entries {
            let Some(matched) = prefix::matched(name, prefix) else { continue };
            // Of two as long, the first in the order of their bytes.
            if best.is_none_or(|(longest, ..)| prefix.len() > longest) {
                best = Some((prefix.len(), matched, entry));
            }
        }
        best.map(|(_, matched, entry)| (matched, entry))
    }

    /// The file that blocks what has a name.
    fn blocks(&self, name: &str) -> Option<&str> {
        let (_, entry) = self.find(name)?;
        entry.blocked.then_some(entry.origin.as_str())
    }

    /// What is said of a repository.
    fn say(&self, repository: &Repository) -> Result<Option<Configured>> {
        let name = format!("{}/{}", repository.host(), repository.path());
        let Some((matched, entry)) = self.find(&name) else { return Ok(None) };
        let rest = &name[matched..];
        let place = |location: &str, line: usize| {
            place(&format!("{location}{rest}"), &entry.origin)
                .map_err(|why| wrong(&entry.origin, &Wrong { line, why }))
        };
        let mut mirrors = Vec::new();
        for mirror in &entry.mirrors {
            let there = place(&mirror.location, mirror.line)?;
            // What is blocked is so by whatever name it is asked for.
            match self.blocks(&format!("{}/{}", there.host, there.path)) {
                Some(by) => notice::say(
                    "mirror",
                    &format!("mirror {} ({}) is left: blocked by {by}", there.host, there.origin),
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
        let there = format!("{}/{}", own.host, own.path);
        if let Some(by) = self.blocks(&there) {
            let why = format!("{name} is to be read from {there}, which {by} blocks");
            return Err(wrong(&entry.origin, &Wrong { line: entry.line, why }));
        }
        let is_said = entry.insecure || there != name;
        let own = Some(Place { insecure: entry.insecure, ..own }).filter(|_| is_said);
        Ok(Some(Configured { mirrors, own, blocked: None }))
    }
}

/// The place that a whole name stands for.
fn place(name: &str, origin: &str) -> std::result::Result<Place, String> {
    let shown = || printable(name);
    let read: Reference = name.parse().map_err(|why| format!("\"{}\": {why}", shown()))?;
    let Reference { repository, tag: None, digest: None } = read else {
        return Err(format!("\"{}\" is no repository", shown()));
    };
    let (host, path) = (repository.host(), repository.path());
    // Nothing may be completed: that would be another name.
    if format!("{host}/{path}") != name {
        return Err(format!(
            "\"{}\" is no repository with a host (\"{host}/{path}\" would be)",
            shown()
        ));
    }
    Ok(Place::at(host, path, origin))
}

#[cfg(test)]
mod tests;
