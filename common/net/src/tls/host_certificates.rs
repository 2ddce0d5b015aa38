// SPDX-License-Identifier: Apache-2.0
//! The certificates for a host in the machine's `certs.d`, read once in a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use common::error::{Error, Result, Status};
use common::notice;
use machine::certs_d::{self, HostFiles};
use rustls::pki_types::CertificateDer;

use super::certificates::{Pair, Pem, named_pair};
use crate::url::Url;

/// The maximum number of hosts that are remembered. The files of further hosts are read for each
/// request.
const MAX_HOSTS: usize = 256;

/// The certificates for one host.
pub(crate) struct HostCertificates {
    /// The directory that contains them.
    pub(crate) directory: PathBuf,
    /// Authorities to trust for this host, in addition to the system's.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Client certificates to present to this host, sorted by file name.
    pub(crate) pairs: Vec<Pair>,
}

impl PartialEq for HostCertificates {
    fn eq(&self, other: &HostCertificates) -> bool {
        self.directory == other.directory
    }
}

/// The certificates for a URL's host and port; `None` if there is no directory for them.
///
/// # Errors
/// Malformed if a client certificate or its key is missing or invalid, or if a file is too large.
/// Local if a file cannot be read.
pub(crate) fn of(url: &Url) -> Result<Option<Arc<HostCertificates>>> {
    static KNOWN: Mutex<Option<HashMap<String, Option<Arc<HostCertificates>>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    let names = certs_d::names(&url.host(), url.port(), url.authority().ends_with(":443"));
    let key = names.join("/");
    if let Some(kept) = known.get(&key) {
        return Ok(kept.clone());
    }
    let kept = certs_d::find(&names)?.map(read).transpose()?.map(Arc::new);
    if known.len() < MAX_HOSTS {
        known.insert(key, kept.clone());
    }
    Ok(kept)
}

fn read(files: HostFiles) -> Result<HostCertificates> {
    let mut certificates =
        HostCertificates { directory: files.directory, authorities: Vec::new(), pairs: Vec::new() };
    for file in &files.authorities {
        certificates.authorities.extend(authorities(file)?);
    }
    for (file, key) in &files.pairs {
        // The status Absent would mean that content of the registry is missing, not a local file.
        let pair = named_pair(file, Some(key)).map_err(|error| match error.status() {
            Status::Absent => Error::malformed(error),
            _ => error,
        });
        certificates.pairs.push(pair?);
    }
    Ok(certificates)
}

/// The authorities in a file. A file that is missing (a dangling symlink) or has no valid content
/// is skipped with a warning. Other programs that read `certs.d` skip it silently.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = Pem::file(path).and_then(|pem| match pem.certificates() {
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(Error::absent(error)),
    });
    match read {
        Err(error) if error.status() == Status::Absent => {
            notice::warn("certs.d", || format!("{error}: skipped"));
            Ok(Vec::new())
        }
        outcome => outcome,
    }
}
