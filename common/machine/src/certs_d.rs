// SPDX-License-Identifier: Apache-2.0
//! What the machine's administrator keeps for a host in docker's and the containers tools'
//! `certs.d`: authorities to trust there (`*.crt`), and client certificates to present there
//! (`*.cert`, each with its `*.key`).
//!
//! The directories are named `HOST[:PORT]`. The first one that exists counts, alone. A certificate
//! without its key, or a key without its certificate, is an error, as in those programs. Not here:
//! the files' contents.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use common::error::{Error, Result, os_words};
use common::notice;

use crate::credentials::config_home;

/// The most entries that a host's directory may have.
const MAX_ENTRIES: usize = 256;

/// Where Docker Hub's API is, and the name that it is known by here.
const HUB: [&str; 2] = ["registry-1.docker.io", "docker.io"];

/// The files that are kept for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFiles {
    /// The directory.
    pub directory: PathBuf,
    /// Certificates to trust there, in the order of their names.
    pub authorities: Vec<PathBuf>,
    /// Client certificates and their keys, in the order of their names.
    pub pairs: Vec<(PathBuf, PathBuf)>,
}

/// What is kept for a host under one of its names; `None` when there is no directory for it, or it
/// may not be read.
///
/// # Errors
/// Malformed, when there are too many files, or a certificate or key lacks the other; local
/// trouble.
pub fn find(names: &[String]) -> Result<Option<HostFiles>> {
    match first(&places(), names)? {
        Some(directory) => list(&directory),
        None => Ok(None),
    }
}

/// The names that a directory may have for an https host and port: as it is written, then, for
/// https's own port, the other way to write it; Docker Hub's last. `host` has no brackets.
pub fn names(host: &str, port: u16, port_is_written: bool) -> Vec<String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let with_port = format!("{host}:{port}");
    let mut names = match port {
        443 if port_is_written => vec![with_port, host.clone()],
        443 => vec![host.clone(), with_port],
        _ => vec![with_port],
    };
    if host == HUB[0] && port == 443 {
        names.push(HUB[1].to_owned());
    }
    names
}

/// Where such directories are: the user's before the machine's, and the containers tools' before
/// docker's.
fn places() -> Vec<PathBuf> {
    let all = config_home().into_iter().chain([PathBuf::from("/etc")]);
    all.flat_map(|place| ["containers", "docker"].map(|tools| place.join(tools).join("certs.d")))
        .collect()
}

/// The first directory that is there. One that may not be looked at is passed over.
fn first(places: &[PathBuf], names: &[String]) -> Result<Option<PathBuf>> {
    for directory in places.iter().flat_map(|place| names.iter().map(|name| place.join(name))) {
        match std::fs::metadata(&directory) {
            Ok(_) => return Ok(Some(directory)),
            Err(cause)
                if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(cause) if cause.kind() == ErrorKind::PermissionDenied => {
                pass_over(&directory, &cause)
            }
            Err(cause) => return Err(Error::local(directory.display(), &cause)),
        }
    }
    Ok(None)
}

fn pass_over(path: &Path, cause: &std::io::Error) {
    notice::warn("certs.d", || format!("{}: {}: passed over", path.display(), os_words(cause)));
}

/// The files of a directory; `None` when it may not be read.
fn list(directory: &Path) -> Result<Option<HostFiles>> {
    let names = match entries(directory) {
        Ok(names) => names,
        Err(cause) if cause.kind() == ErrorKind::PermissionDenied => {
            pass_over(directory, &cause);
            return Ok(None);
        }
        Err(cause) => return Err(Error::local(directory.display(), &cause)),
    };
    if names.len() > MAX_ENTRIES {
        let shown = directory.display();
        return Err(Error::malformed(format_args!("{shown}: more than {MAX_ENTRIES} files")));
    }
    let (mut authorities, mut pairs) = (Vec::new(), Vec::new());
    for name in &names {
        let path = directory.join(name);
        let lacks = |partner: &str| !names.iter().any(|name| name == partner);
        if name.ends_with(".crt") {
            authorities.push(path);
        } else if let Some(stem) = name.strip_suffix(".cert") {
            let key = format!("{stem}.key");
            if lacks(&key) {
                let what = format_args!("{}: a client certificate without {key}", path.display());
                return Err(Error::malformed(what)
                    .hint("the certificate of an authority to trust has a name in .crt"));
            }
            pairs.push((path, directory.join(key)));
        } else if let Some(stem) = name.strip_suffix(".key")
            && lacks(&format!("{stem}.cert"))
        {
            let what = format_args!("{}: a key without {stem}.cert", path.display());
            return Err(Error::malformed(what));
        }
    }
    Ok(Some(HostFiles { directory: directory.to_owned(), authorities, pairs }))
}

/// The names in a directory, sorted, but no more than one too many. What is no text has none of our
/// endings.
fn entries(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)?.take(MAX_ENTRIES + 1) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_its_name_and_port() {
        assert_eq!(names("a.example", 5000, true), ["a.example:5000"]);
        assert_eq!(names("a.example", 443, false), ["a.example", "a.example:443"]);
        assert_eq!(names("a.example", 443, true), ["a.example:443", "a.example"]);
        assert_eq!(names("::1", 5000, true), ["[::1]:5000"]);
        let hub = ["registry-1.docker.io", "registry-1.docker.io:443", "docker.io"];
        assert_eq!(names("registry-1.docker.io", 443, false), hub);
    }
}
