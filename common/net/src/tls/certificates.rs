// SPDX-License-Identifier: Apache-2.0
//! Certificates and keys in PEM files: read, bounded, and checked against each other before
//! anything is sent.
//!
//! Whether a certificate is still valid, and who trusts it, is not asked here.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use common::error::{Error, Result};
use machine::credentials::warn_if_open;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::der;

/// The largest file that is read, in bytes: many times what all the authorities of the world take.
const MAX_FILE: u64 = 4 << 20;

/// How an encrypted key is marked: by its label, or by a header of the old form.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// A file with certificates or keys.
pub(crate) struct Pem {
    /// Where it is from, as the user knows it: `--cert-file FILE`.
    name: String,
    bytes: Vec<u8>,
}

/// A client certificate and its key, which fit.
pub(crate) type Pair = Arc<CertifiedKey>;

impl Pem {
    /// Reads a file; `option` is what names it.
    ///
    /// # Errors
    /// Absent, malformed when it is too large, local trouble.
    pub(crate) fn of(option: &str, path: &Path) -> Result<Pem> {
        Pem::read(format!("{option} {}", path.display()), path)
    }

    /// Reads a file that stands for itself.
    ///
    /// # Errors
    /// As [`Pem::of`].
    pub(crate) fn file(path: &Path) -> Result<Pem> {
        Pem::read(path.display().to_string(), path)
    }

    fn read(name: String, path: &Path) -> Result<Pem> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
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

    /// Its certificates.
    ///
    /// # Errors
    /// Malformed, when it is not PEM or has none.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let all: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&self.bytes).collect();
        match all {
            Err(_) => Err(self.wrong("not PEM")),
            Ok(all) if all.is_empty() => Err(self.wrong("no certificate in it")),
            Ok(all) => Ok(all),
        }
    }

    /// Its key; nothing when it has none.
    ///
    /// # Errors
    /// Malformed, when it is not PEM, or the key is encrypted.
    fn key(&self) -> Result<Option<PrivateKeyDer<'static>>> {
        let is_encrypted =
            |mark: &&str| self.bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
        if ENCRYPTED.iter().any(is_encrypted) {
            return Err(self
                .wrong("the key in it is encrypted")
                .hint("openssl pkey -in FILE -out NEWFILE writes it as it is wanted"));
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

/// The client certificate that flags name. A key that others can read is warned of.
///
/// # Errors
/// Usage, when there is no key; else as [`pair`].
pub(crate) fn client_certificate(cert_file: &Path, key_file: Option<&Path>) -> Result<Pair> {
    let certificate = Pem::of("--cert-file", cert_file)?;
    let pair = match key_file {
        Some(key_file) => pair(&certificate, &Pem::of("--key-file", key_file)?)?,
        None if certificate.key()?.is_none() => {
            certificate.certificates()?;
            let what = format_args!("{}: no key in it", certificate.name);
            return Err(Error::usage(what).hint("--key-file FILE names the file that has it"));
        }
        None => pair(&certificate, &certificate)?,
    };
    warn_if_open(key_file.unwrap_or(cert_file));
    Ok(pair)
}

/// A client certificate that a configuration names, with its key if that is in another file. A key
/// that others can read is warned of.
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

/// The pair that a certificate (and those that it is signed by) and a key make.
///
/// # Errors
/// Malformed, when one of them is missing or not to be used, or the key is another one's.
fn pair(certificate: &Pem, key: &Pem) -> Result<Pair> {
    let chain = certificate.certificates()?;
    let private = key.key()?.ok_or_else(|| key.wrong("no key in it"))?;
    let private = rustls::crypto::ring::sign::any_supported_type(&private)
        .map_err(|_| key.wrong("a key of a kind that is not supported"))?;
    let own = chain.first().and_then(|first| der::fields(first));
    let own = own.ok_or_else(|| certificate.wrong("what it holds is no certificate"))?;
    if private.public_key().is_some_and(|public| public.as_ref() != own.key) {
        return Err(key.wrong(&format!("not the key of {}", certificate.name)));
    }
    Ok(Arc::new(CertifiedKey::new(chain, private)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::error::Status;

    #[test]
    fn a_file_is_bounded_at_the_limit() {
        let path = std::env::temp_dir().join(format!("regutils-pem-{}", std::process::id()));
        for (size, read) in [(MAX_FILE, Ok(MAX_FILE)), (MAX_FILE + 1, Err(Status::Malformed))] {
            std::fs::File::create(&path).unwrap().set_len(size).unwrap();
            let pem = Pem::file(&path).map(|pem| pem.bytes.len() as u64);
            assert_eq!(pem.map_err(|error| error.status()), read);
        }
        std::fs::remove_file(path).unwrap();
    }
}
