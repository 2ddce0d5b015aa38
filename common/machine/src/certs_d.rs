// SPDX-License-Identifier: Apache-2.0
//! The certificates for a host in the `certs.d` directories of docker and the containers tools: CA
//! certificates to trust (`*.crt`), and client certificates to present (`*.cert`, each with a
//! `*.key`).
//!
//! The directories are named `HOST[:PORT]`. Only the first one that exists is used. A certificate
//! without its key, or a key without its certificate, is an error, as in those programs. Not here:
//! parsing the files.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use common::error::{Error, Result, os_message};
use common::notice;

use crate::credentials::config_home;

/// The maximum number of entries in a host's directory.
const MAX_ENTRIES: usize = 256;

/// The host of Docker Hub's API, and the host name in its references.
const HUB: [&str; 2] = ["registry-1.docker.io", "docker.io"];

/// The certificate files for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFiles {
    /// The directory.
    pub directory: PathBuf,
    /// CA certificates to trust, sorted by name.
    pub authorities: Vec<PathBuf>,
    /// Client certificates and their keys, sorted by name.
    pub pairs: Vec<(PathBuf, PathBuf)>,
}

/// The files for a host that has these names. `None` if there is no directory for it, or if the
/// directory is not readable.
///
/// # Errors
/// Malformed if there are too many files, or if a certificate has no key or a key has no
/// certificate; Local if a directory cannot be read for a reason other than its permissions.
pub fn find(names: &[String]) -> Result<Option<HostFiles>> {
    match first(&places(), names)? {
        Some(directory) => list(&directory),
        None => Ok(None),
    }
}

/// The directory names for an https host and port, in order of preference. The first is the host as
/// written in the URL. For port 443, the second is the other form, with or without the port. For
/// Docker Hub, the last is `docker.io`. `host` has no brackets.
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

/// The parent directories, in order: the user's, then the machine's. In each group the directory of
/// the containers tools is before docker's.
fn places() -> Vec<PathBuf> {
    let all = config_home().into_iter().chain([PathBuf::from("/etc")]);
    all.flat_map(|place| ["containers", "docker"].map(|tools| place.join(tools).join("certs.d")))
        .collect()
}

/// The first directory that exists. A directory that this user may not examine is skipped with a
/// warning.
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
    notice::warn("certs.d", || format!("{}: {}: skipped", path.display(), os_message(cause)));
}

/// The files of a directory; `None` if there is no permission to read it.
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
    let mut authorities = Vec::new();
    let mut pairs = Vec::new();
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
                    .hint("a CA certificate to trust needs a name ending in .crt"));
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

/// The names in a directory, sorted: at most `MAX_ENTRIES + 1`, which is enough to detect too many.
/// A name that is not UTF-8 is converted with replacement characters.
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
