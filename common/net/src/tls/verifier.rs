// SPDX-License-Identifier: Apache-2.0
//! The check whether a server's certificate is trusted: rustls's check, with one exception.
//!
//! rustls refuses an authority's certificate as a server's own certificate. But `openssl req -x509`
//! marks each certificate that it makes as an authority's, and many private registries present such
//! a certificate. Their users then add exactly this certificate to `certs.d`. The exception: if the
//! server presents a certificate that the user added, only its host name and its validity are
//! checked.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::der;

/// rustls's verifier, and the certificates that the user added.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// The verifier for all other certificates.
    pub(crate) inner: Arc<WebPkiServerVerifier>,
    /// Certificates that are trusted as a server's own certificate.
    pub(crate) added: Vec<CertificateDer<'static>>,
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
        let judged = self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now);
        // rustls reports an authority's certificate with this error, which has no specific variant.
        let Err(Error::InvalidCertificate(CertificateError::Other(_))) = judged else {
            return judged;
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
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
