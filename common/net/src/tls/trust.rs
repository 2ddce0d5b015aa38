// SPDX-License-Identifier: Apache-2.0
//! The trusted authorities: the system's, and the added ones.
//!
//! The system's trust store is read once in a process, when HTTPS is first used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use common::error::Result;
use common::notice;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::{load_certs_from_paths, load_native_certs};

use super::certificates::Pem;

/// The files that contain a distribution's complete trust store. Reading such a file takes a tenth
/// of the time of reading the directory that has the same certificates in separate files.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads the system's trust store. OpenSSL's variables `SSL_CERT_FILE` and `SSL_CERT_DIR` override
/// its path.
fn read_system() -> Vec<CertificateDer<'static>> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let file = variable("SSL_CERT_FILE");
    let dir = variable("SSL_CERT_DIR");
    let usual = BUNDLES.iter().map(PathBuf::from).find(|bundle| bundle.is_file());
    let bundle = file.or(usual.filter(|bundle| dir.is_none() || dir.as_deref() == bundle.parent()));
    match bundle {
        Some(bundle) => {
            let other = dir.filter(|dir| bundle.parent() != Some(dir));
            let alone = if other.is_none() { Pem::file(&bundle).ok() } else { None };
            match alone.and_then(|bundle| bundle.certificates().ok()) {
                Some(certificates) => certificates,
                // This reads those certificates of a faulty file that are valid.
                None => load_certs_from_paths(Some(&bundle), other.as_deref()).certs,
            }
        }
        None => load_native_certs().certs,
    }
}

/// The system's trust store, read at the first call.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(read_system());
        Arc::new(store)
    };
    Arc::clone(SYSTEM.get_or_init(read))
}

/// The trusted certificates.
pub(crate) struct Trusted {
    /// All authorities: the system's and the added ones.
    pub(crate) authorities: Arc<RootCertStore>,
    /// The added certificates. Each is also trusted if a server presents it as its own certificate.
    pub(crate) added: Vec<CertificateDer<'static>>,
}

/// The system's authorities, the certificates in `ca_file`, and `more`.
///
/// # Errors
/// As [`Pem::of`] and [`Pem::certificates`] for `ca_file`.
pub(crate) fn trusted(
    ca_file: Option<&Path>,
    more: Vec<CertificateDer<'static>>,
) -> Result<Trusted> {
    let mut added = more;
    if let Some(path) = ca_file {
        added.extend(Pem::of("--ca-file", path)?.certificates()?);
    }
    let system = system();
    if added.is_empty() {
        if system.is_empty() {
            notice::warn("trust store", || {
                "the system has no trusted certificates (is ca-certificates installed?)".to_owned()
            });
        }
        return Ok(Trusted { authorities: system, added });
    }
    let mut store = RootCertStore::clone(&system);
    store.add_parsable_certificates(added.iter().cloned());
    Ok(Trusted { authorities: Arc::new(store), added })
}
