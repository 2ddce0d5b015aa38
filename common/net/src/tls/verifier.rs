// SPDX-License-Identifier: Apache-2.0
//! The check whether a server's certificate is trusted: rustls's check, with one exception.
//!
//! rustls refuses an authority's certificate as a server's own certificate. But `openssl req -x509`
//! marks each certificate that it makes as an authority's, and many private registries present such
//! a certificate. Their users then add exactly this certificate to `certs.d`. The exception: if the
//! server presents a certificate that the user added, only its host name and its validity are
//! checked.
//!
//! rustls reports a signature by an RSA key of an unsupported length as a wrong signature. Such an
//! error is replaced by a [`Reason`] that names the length.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::{der, names, presented};

/// The lengths of RSA keys, in bits, whose signatures ring verifies.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// Why a certificate is not trusted, in words.
#[derive(Clone, Debug)]
pub(crate) struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reason {}

/// rustls's verifier, and the certificates that the user added.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// The verifier for all other certificates.
    pub(crate) inner: Arc<WebPkiServerVerifier>,
    /// The authorities that `inner` trusts.
    pub(crate) authorities: Arc<RootCertStore>,
    /// Certificates that are trusted as a server's own certificate.
    pub(crate) added: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// The error, or a reason that explains it: a wrong signature is explained by an RSA key of an
    /// unsupported length in the chain.
    fn explained(&self, error: Error, chain: &[&CertificateDer<'_>]) -> Error {
        if error != Error::InvalidCertificate(CertificateError::BadSignature) {
            return error;
        }
        let fields: Vec<_> = chain.iter().filter_map(|one| der::fields(one)).collect();
        let own = fields.iter().filter_map(|fields| der::key(fields.key));
        // The names of the authorities lack their DER tags.
        let is_issuer = |subject: &[u8]| fields.iter().any(|one| one.issuer.ends_with(subject));
        let roots = self.authorities.roots.iter().filter(|root| is_issuer(&root.subject));
        let roots = roots.filter_map(|root| der::key_in(&root.subject_public_key_info));
        let unsupported =
            |key: &der::Key<'_>| key.rsa_bits.is_some_and(|bits| !RSA_BITS.contains(&bits));
        let Some(key) = own.chain(roots).find(unsupported) else { return error };
        let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
        let name = names::key(&key);
        let reason = format!("its chain has a key of type {name}: expected {least} to {most} bits");
        CertificateError::Other(OtherError(Arc::new(Reason(reason)))).into()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        presented::checking(certificate);
        let judged = self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now);
        // rustls reports an authority's certificate with this error, which has no specific variant.
        let Err(Error::InvalidCertificate(CertificateError::Other(_))) = judged else {
            let chain: Vec<_> = std::iter::once(certificate).chain(intermediates).collect();
            return judged.map_err(|error| self.explained(error, &chain));
        };
        let Some(fields) = der::fields(certificate) else { return judged };
        if !self.added.iter().any(|known| known == certificate) {
            let self_signed = fields.issuer == fields.subject;
            return if self_signed { Err(CertificateError::UnknownIssuer.into()) } else { judged };
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let time = |time: Option<u64>| {
            let seconds = time.ok_or(CertificateError::BadEncoding)?;
            Ok::<_, Error>(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
        };
        let not_before = time(fields.not_before)?;
        let not_after = time(fields.not_after)?;
        if now < not_before {
            Err(CertificateError::NotValidYetContext { time: now, not_before }.into())
        } else if now > not_after {
            Err(CertificateError::ExpiredContext { time: now, not_after }.into())
        } else {
            Ok(ServerCertVerified::assertion())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.inner.verify_tls12_signature(message, certificate, signed);
        verified.map_err(|error| self.explained(error, &[certificate]))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.inner.verify_tls13_signature(message, certificate, signed);
        verified.map_err(|error| self.explained(error, &[certificate]))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
