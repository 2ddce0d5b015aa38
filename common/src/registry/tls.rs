// SPDX-License-Identifier: Apache-2.0
//! Whom to trust, and why a TLS connection was not made, in words.

use std::path::{Path, PathBuf};

use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use ureq::tls::{Certificate, PemItem};

use crate::error::{Error, Result, Status, printable};
use crate::notice;

/// What is wrong with a TLS connection, and what to do about it.
pub(super) fn tls_error(error: &rustls::Error) -> Error {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(reason) => {
            let distrusted =
                |why: &str| Error::malformed(format_args!("certificate not trusted: {why}"));
            match reason {
                Certificate::UnknownIssuer => {
                    distrusted("unknown issuer").hint("--ca-file FILE trusts its authority")
                }
                Certificate::Expired | Certificate::ExpiredContext { .. } => {
                    distrusted("it has expired").hint("is this machine's clock right?")
                }
                Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                    distrusted("it is not valid yet").hint("is this machine's clock right?")
                }
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    distrusted(&printable(&reason.to_string()))
                }
                other => distrusted(&printable(&other.to_string())),
            }
        }
        rustls::Error::InvalidMessage(_) => Error::malformed("it does not speak TLS")
            .hint("--plain-http speaks http to a registry that has no TLS"),
        rustls::Error::PeerIncompatible(_) => Error::malformed("no common TLS version or cipher"),
        other => Error::malformed(format_args!("TLS: {}", printable(&other.to_string()))),
    }
}

/// Where distributions keep their trust store as one file: a tenth of the time that the directory of single
/// certificates beside it takes, which has the same ones.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's trust store; OpenSSL's variables say if it is elsewhere.
fn system_trust() -> CertificateResult {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (file, dir) = (variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR"));
    let usual = BUNDLES.iter().map(PathBuf::from).find(|bundle| bundle.is_file());
    let bundle = file.or(usual.filter(|bundle| dir.is_none() || dir.as_deref() == bundle.parent()));
    match bundle {
        Some(bundle) => {
            let other = dir.filter(|dir| bundle.parent() != Some(dir));
            load_certs_from_paths(Some(&bundle), other.as_deref())
        }
        None => load_native_certs(),
    }
}

/// The system's trust store, and the certificates of `ca_file`.
pub(super) fn trusted(ca_file: Option<&Path>) -> Result<Vec<Certificate<'static>>> {
    let system = system_trust();
    let mut roots: Vec<Certificate<'static>> =
        system.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    if let Some(path) = ca_file {
        let wrong = |why: &str| {
            Error::new(Status::Malformed, format_args!("--ca-file {}: {why}", path.display()))
        };
        let pem = std::fs::read(path)
            .map_err(|cause| Error::local(format_args!("--ca-file {}", path.display()), &cause))?;
        let before = roots.len();
        for item in ureq::tls::parse_pem(&pem) {
            match item {
                Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
                Ok(_) => {}
                Err(_) => return Err(wrong("not PEM")),
            }
        }
        if roots.len() == before {
            return Err(wrong("no certificate in it"));
        }
    } else if roots.is_empty() {
        notice::warn("trust store", || {
            "the system has no trusted certificates (is ca-certificates installed?)".to_owned()
        });
    }
    Ok(roots)
}
