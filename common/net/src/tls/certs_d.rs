// SPDX-License-Identifier: Apache-2.0
//! What the machine's owner keeps for a host in docker's and the containers tools' `certs.d`: authorities to trust
//! there (`*.crt`), and client certificates to show there (`*.cert`, each with its `*.key`).
//!
//! The directories are named `HOST[:PORT]`. Of the places where one may be the first that has it counts, alone. What
//! is wrong in it is an error wherever it is one to those programs: nobody would want to know less than they.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use common::error::{Error, Result, Status, os_words};
use common::notice;
use machine::credentials::config_home;
use rustls::pki_types::CertificateDer;

use super::certificates::{Pair, Pem, named_pair};
use crate::url::Url;

/// The most entries that a host's directory may have.
const MAX_ENTRIES: usize = 256;

/// How many hosts are remembered; more are looked up each time.
const MAX_HOSTS: usize = 256;

/// Where Docker Hub's API is, and the name that it is known by here.
const HUB: [&str; 2] = ["registry-1.docker.io", "docker.io"];

/// What is kept for a host.
pub(crate) struct HostCertificates {
    /// Where.
    pub(crate) directory: PathBuf,
    /// Whom to trust there beside the system's.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Who the user may be there, in the order of their names.
    pub(crate) pairs: Vec<Pair>,
}

impl PartialEq for HostCertificates {
    fn eq(&self, other: &HostCertificates) -> bool {
        self.directory == other.directory
    }
}

/// What is kept for a URL's host and port, read once; nothing when there is no directory for it.
///
/// # Errors
/// Malformed and local trouble with what is there.
pub(crate) fn of(url: &Url) -> Result<Option<Arc<HostCertificates>>> {
    static KNOWN: Mutex<Option<HashMap<String, Option<Arc<HostCertificates>>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    let names = names(url);
    let key = names.join("/");
    if let Some(kept) = known.get(&key) {
        return Ok(kept.clone());
    }
    let kept = find(&places(), &names)?.map(|directory| read(&directory)).transpose()?;
    let kept = kept.flatten().map(Arc::new);
    if known.len() < MAX_HOSTS {
        known.insert(key, kept.clone());
    }
    Ok(kept)
}

/// The names that a directory may have for a URL's host and port: as it is written, then, for https's own port, the
/// other way to write it; Docker Hub's last.
fn names(url: &Url) -> Vec<String> {
    let host = match url.host() {
        address if address.contains(':') => format!("[{address}]"),
        name => name,
    };
    let with_port = format!("{host}:{}", url.port());
    let mut names = match url.port() {
        443 if url.authority().ends_with(":443") => vec![with_port, host.clone()],
        443 => vec![host.clone(), with_port],
        _ => vec![with_port],
    };
    if host == HUB[0] && url.port() == 443 {
        names.push(HUB[1].to_owned());
    }
    names
}

/// Where such directories are: the user's before the machine's, and the containers tools' before docker's.
fn places() -> Vec<PathBuf> {
    let all = config_home().into_iter().chain([PathBuf::from("/etc")]);
    all.flat_map(|place| ["containers", "docker"].map(|tools| place.join(tools).join("certs.d")))
        .collect()
}

/// The first directory that is there. One that may not be looked at is passed over.
fn find(places: &[PathBuf], names: &[String]) -> Result<Option<PathBuf>> {
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

/// What a directory holds; nothing when it may not be read.
fn read(directory: &Path) -> Result<Option<HostCertificates>> {
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
    let mut kept = HostCertificates {
        directory: directory.to_owned(),
        authorities: Vec::new(),
        pairs: Vec::new(),
    };
    for name in &names {
        let path = directory.join(name);
        let lacks = |partner: &str| !names.iter().any(|name| name == partner);
        if name.ends_with(".crt") {
            kept.authorities.extend(authorities(&path)?);
        } else if let Some(stem) = name.strip_suffix(".cert") {
            let key = format!("{stem}.key");
            if lacks(&key) {
                let what = format_args!("{}: a client certificate without {key}", path.display());
                return Err(Error::malformed(what)
                    .hint("the certificate of an authority to trust has a name in .crt"));
            }
            let pair = named_pair(&path, Some(&directory.join(key)));
            // That something is not there is for a registry to say.
            kept.pairs.push(pair.map_err(|error| match error.status() {
                Status::Absent => Error::malformed(error),
                _ => error,
            })?);
        } else if let Some(stem) = name.strip_suffix(".key")
            && lacks(&format!("{stem}.cert"))
        {
            let what = format_args!("{}: a key without {stem}.cert", path.display());
            return Err(Error::malformed(what));
        }
    }
    Ok(Some(kept))
}

/// The names in a directory, sorted, but no more than one too many. What is no text has none of our endings.
fn entries(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)?.take(MAX_ENTRIES + 1) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The authorities in a file. One that is not there (a link to nowhere) or has none is passed over, as those programs
/// do, but not silently.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = Pem::file(path).and_then(|pem| match pem.certificates() {
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(Error::absent(error)),
    });
    match read {
        Err(error) if error.status() == Status::Absent => {
            notice::warn("certs.d", || format!("{error}: passed over"));
            Ok(Vec::new())
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(url: &str) -> Vec<String> {
        names(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_host_is_known_by_its_name_and_port() {
        assert_eq!(names_of("https://A.example.:5000/"), ["a.example:5000"]);
        assert_eq!(names_of("https://a.example/"), ["a.example", "a.example:443"]);
        assert_eq!(names_of("https://a.example:443/"), ["a.example:443", "a.example"]);
        assert_eq!(names_of("https://[::1]:5000/"), ["[::1]:5000"]);
        let hub = ["registry-1.docker.io", "registry-1.docker.io:443", "docker.io"];
        assert_eq!(names_of("https://registry-1.docker.io/"), hub);
    }
}
