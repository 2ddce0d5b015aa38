// SPDX-License-Identifier: Apache-2.0
//! Reads certificates and keys from PEM files of limited size, and checks before anything is sent
//! that a certificate and a key belong together.
//!
//! Not here: whether a certificate has expired, and whether it is trusted.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use common::error::{Error, Result};
use machine::credentials::warn_if_open;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{bundle, der, names};

/// The largest file that is read, in bytes: many times the size of a system's complete trust store.
const MAX_FILE: u64 = 4 << 20;

/// The marks of an encrypted key: the label of PKCS #8, and the header of the older format.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// The content of a file with certificates or keys.
pub(crate) struct Pem {
    /// The name for error messages: the path, after the option that names it, if any.
    name: String,
    bytes: Vec<u8>,
}

/// A client certificate (with its chain) and the matching key.
pub(crate) type Pair = Arc<CertifiedKey>;

impl Pem {
    /// Reads a file that the command line's `option` names.
    ///
    /// # Errors
    /// Absent if the file does not exist. Malformed if it is too large. Local if it cannot be read.
    pub(crate) fn of(option: &str, path: &Path) -> Result<Pem> {
        Pem::read(format!("{option} {}", path.display()), path)
    }

    /// Reads a file that no option names.
    ///
    /// # Errors
    /// As [`Pem::of`].
    pub(crate) fn file(path: &Path) -> Result<Pem> {
        Pem::read(path.display().to_string(), path)
    }

    fn read(name: String, path: &Path) -> Result<Pem> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| {
            let size = file.metadata()?.len().min(MAX_FILE);
            bytes.reserve_exact(usize::try_from(size).unwrap_or_default() + 1);
            file.take(MAX_FILE + 1).read_to_end(&mut bytes)
        });
        match read {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::absent(format_args!("{name}: no such file")))
            }
            Err(cause) => Err(Error::local(name, &cause)),
            Ok(n) if n as u64 > MAX_FILE => {
                Err(Error::malformed(format_args!("{name}: larger than {MAX_FILE} bytes")))
            }
            Ok(_) => Ok(Pem { name, bytes }),
        }
    }

    /// The certificates in the file.
    ///
    /// # Errors
    /// Malformed if the file is not PEM or contains no certificate.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let all: std::result::Result<Vec<_>, _> = match bundle::certificates(&self.bytes) {
            Some(all) => Ok(all),
            None => CertificateDer::pem_slice_iter(&self.bytes).collect(),
        };
        match all {
            Err(_) => Err(self.wrong("not PEM")),
            Ok(all) if all.is_empty() => Err(self.wrong("no certificate in it")),
            Ok(all) => Ok(all),
        }
    }

    /// The key in the file; `None` if the file contains no key.
    ///
    /// # Errors
    /// Malformed if the file is not PEM, or if the key is encrypted.
    fn key(&self) -> Result<Option<PrivateKeyDer<'static>>> {
        let is_encrypted =
            |mark: &&str| self.bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
        if ENCRYPTED.iter().any(is_encrypted) {
            return Err(self
                .wrong("the key in it is encrypted")
                .hint("openssl pkey -in FILE -out NEWFILE writes the key unencrypted"));
        }
        match PrivateKeyDer::from_pem_slice(&self.bytes) {
            Ok(key) => Ok(Some(key)),
            Err(rustls::pki_types::pem::Error::NoItemsFound) => Ok(None),
            Err(_) => Err(self.wrong("not PEM")),
        }
    }

    fn wrong(&self, why: &str) -> Error {
        Error::malformed(format_args!("{}: {why}", self.name))
    }
}

/// Reads the client certificate that options name. Warns if other users can read the key's file.
///
/// # Errors
/// Usage if `--cert-file` contains no key and no `--key-file` is given. Otherwise as [`pair`].
pub(crate) fn client_certificate(cert_file: &Path, key_file: Option<&Path>) -> Result<Pair> {
    let certificate = Pem::of("--cert-file", cert_file)?;
    let pair = match key_file {
        Some(key_file) => pair(&certificate, &Pem::of("--key-file", key_file)?)?,
        None if certificate.key()?.is_none() => {
            certificate.certificates()?;
            let what = format_args!("{}: no key in it", certificate.name);
            return Err(Error::usage(what).hint("--key-file FILE names the file with the key"));
        }
        None => pair(&certificate, &certificate)?,
    };
    warn_if_open(key_file.unwrap_or(cert_file));
    Ok(pair)
}

/// Reads a client certificate that a configuration names. The key is in the same file if `key` is
/// `None`. Warns if other users can read the key's file.
///
/// # Errors
/// As [`pair`].
pub(crate) fn named_pair(certificate: &Path, key: Option<&Path>) -> Result<Pair> {
    let file = Pem::file(certificate)?;
    let pair = match key {
        Some(key) => pair(&file, &Pem::file(key)?)?,
        None => pair(&file, &file)?,
    };
    warn_if_open(key.unwrap_or(certificate));
    Ok(pair)
}

/// Combines a certificate chain and a key.
///
/// # Errors
/// Malformed if the certificate or the key is missing, invalid or unsupported, or if the key does
/// not belong to the certificate.
fn pair(certificate: &Pem, key: &Pem) -> Result<Pair> {
    let chain = certificate.certificates()?;
    let private = key.key()?.ok_or_else(|| key.wrong("no key in it"))?;
    let own = chain.first().and_then(|first| der::fields(first));
    let own = own.ok_or_else(|| certificate.wrong("the certificate in it is invalid"))?;
    let private = rustls::crypto::ring::sign::any_supported_type(&private)
        .map_err(|_| key.wrong(&format!("unsupported key{}", type_of(&private, own.key))))?;
    if private.public_key().is_some_and(|public| public.as_ref() != own.key) {
        return Err(key.wrong(&format!("not the key of {}", certificate.name)));
    }
    Ok(Arc::new(CertifiedKey::new(chain, private)))
}

/// The type of a key that rustls does not support, for a message. It is read from the key itself,
/// or else from its certificate. The number of bits of an RSA key is read only from the
/// certificate.
fn type_of(private: &PrivateKeyDer<'_>, public: &[u8]) -> String {
    let of_private = match private {
        PrivateKeyDer::Pkcs8(document) => der::private_key(document.secret_pkcs8_der()),
        _ => None,
    };
    let of_public = der::key(public);
    let name = match (of_private, of_public) {
        (Some(private), Some(public)) if private.algorithm != public.algorithm => {
            names::key(&private)
        }
        (_, Some(public)) => names::key(&public),
        (Some(private), None) => names::key(&private),
        (None, None) => return String::new(),
    };
    format!(" of type {name}; supported are RSA of 2048 to 4096 bits, P-256, P-384 and Ed25519")
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::error::Status;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let path = std::env::temp_dir().join(format!("regutils-pem-{}", std::process::id()));
        for (size, read) in [(MAX_FILE, Ok(MAX_FILE)), (MAX_FILE + 1, Err(Status::Malformed))] {
            std::fs::File::create(&path).unwrap().set_len(size).unwrap();
            let pem = Pem::file(&path).map(|pem| pem.bytes.len() as u64);
            assert_eq!(pem.map_err(|error| error.status()), read);
        }
        std::fs::remove_file(path).unwrap();
    }
}
