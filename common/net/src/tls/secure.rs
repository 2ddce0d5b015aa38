// SPDX-License-Identifier: Apache-2.0
//! TLS over a connection. ureq's own connector is not used for these reasons: it supports one
//! client certificate only, it does not accept certificates of version 1, it panics if certificate
//! and key do not match, and it does not report whether the server requested a client certificate.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use super::algorithms::provider;
use super::certificates::Pair;
use super::der;
use super::failure::{Cause, ClientCert, Stage, TlsFailure};
use super::presented;
use super::trust::Trusted;
use super::verifier::Verifier;
use crate::connection::time_left;
use crate::{history, timing};

/// Makes TLS connections with one configuration: trusted authorities and client certificates.
#[derive(Clone)]
pub(crate) struct Secure {
    config: Arc<ClientConfig>,
}

impl Secure {
    /// A configuration with these trusted authorities. With `None`, any server certificate is
    /// accepted. If the server requests a client certificate, the first of `pairs` that suits the
    /// server is presented.
    ///
    /// # Errors
    /// The error of rustls if it does not accept this configuration. That is a bug of this program.
    pub(crate) fn new(trusted: Option<Trusted>, pairs: Vec<Pair>) -> Result<Secure, rustls::Error> {
        let provider = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match trusted {
            // rustls cannot build the verifier below from an empty root store.
            Some(Trusted { authorities, .. }) if authorities.is_empty() => {
                builder.with_root_certificates(authorities)
            }
            Some(Trusted { authorities, added }) => {
                let provider = Arc::clone(&provider);
                let roots = Arc::clone(&authorities);
                let inner = WebPkiServerVerifier::builder_with_provider(roots, provider);
                let inner = inner.build().map_err(|why| rustls::Error::General(why.to_string()))?;
                let verifier = Arc::new(Verifier { inner, authorities, added });
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny)),
        };
        let config = builder.with_client_cert_resolver(Arc::new(ClientCertificates(pairs)));
        Ok(Secure { config: Arc::new(config) })
    }
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secure")
    }
}

impl<In: Transport> Connector<In> for Secure {
    type Out = Either<In, Encrypted>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| Error::Tls("the host's name cannot be in a certificate"))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        let mut socket =
            TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(time_left(details)?);
        CLIENT_CERT.set(ClientCert::NotRequested);
        presented::begin();
        let outcome = connection.complete_io(&mut socket);
        let client_cert = CLIENT_CERT.get();
        let port = details.uri.port_u16().unwrap_or(443);
        let known = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        presented::record(&known, port, &connection);
        outcome.map_err(|cause| tls_failure(cause, Stage::Handshake, client_cert))?;
        timing::handshake(connection.protocol_version());
        history::record_tls(&known, port, client_cert == ClientCert::Missing);
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        let stream = StreamOwned::new(connection, socket);
        Ok(Some(Either::B(Encrypted { buffers, stream, client_cert, stage: Stage::Unanswered })))
    }
}

/// Turns a TLS error into a [`TlsFailure`]. A time-out remains an I/O error. The end of a
/// connection also remains an I/O error, unless the stage or a missing client certificate explains
/// it.
fn tls_failure(cause: io::Error, stage: Stage, client_cert: ClientCert) -> Error {
    let failure = |cause| Error::Other(Box::new(TlsFailure { cause, stage, client_cert }));
    if let Some(error) = cause.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        return failure(Cause::Tls(error.clone()));
    }
    let is_likely_cause = client_cert == ClientCert::Missing && stage == Stage::Unanswered;
    match cause.kind() {
        io::ErrorKind::UnexpectedEof if stage == Stage::Handshake || is_likely_cause => {
            failure(Cause::Ended(cause))
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted if is_likely_cause => {
            failure(Cause::Ended(cause))
        }
        _ => cause.into(),
    }
}

/// A TLS connection.
pub(crate) struct Encrypted {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    client_cert: ClientCert,
    stage: Stage,
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted").field("over", &self.stream.sock.inner()).finish()
    }
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        let written = self.stream.write_all(&self.buffers.output()[..amount]);
        written.map_err(|cause| tls_failure(cause, self.stage, self.client_cert))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|cause| tls_failure(cause, self.stage, self.client_cert))?;
        self.buffers.input_appended(amount);
        if amount > 0 {
            self.stage = Stage::Answered;
        }
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

thread_local! {
    /// The state of the client certificate in this thread's current handshake. rustls asks for the
    /// certificate during the handshake, but does not report for which connection.
    static CLIENT_CERT: Cell<ClientCert> = const { Cell::new(ClientCert::NotRequested) };
}

/// The client certificates that may be presented.
#[derive(Debug)]
struct ClientCertificates(Vec<Pair>);

impl ResolvesClientCert for ClientCertificates {
    /// Chooses the first certificate whose issuer the server names. Servers do not always name the
    /// right issuers, so the fallback is the first whose signature scheme the server supports.
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |pair: &&Pair| pair.key.choose_scheme(schemes).is_some();
        let is_named = |pair: &&Pair| {
            pair.cert
                .iter()
                .filter_map(|cert| der::fields(cert))
                .any(|f| issuers.contains(&f.issuer))
        };
        let named = self.0.iter().filter(fits).find(is_named);
        let chosen = named.or_else(|| self.0.iter().find(fits));
        CLIENT_CERT.set(if chosen.is_some() { ClientCert::Presented } else { ClientCert::Missing });
        chosen.cloned()
    }

    /// Always true: otherwise rustls would not call `resolve`, and the server's request for a
    /// certificate would not be noticed.
    fn has_certs(&self) -> bool {
        true
    }
}

/// Accepts any server certificate.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as Scheme;
        vec![
            Scheme::RSA_PKCS1_SHA1,
            Scheme::RSA_PKCS1_SHA256,
            Scheme::RSA_PKCS1_SHA384,
            Scheme::RSA_PKCS1_SHA512,
            Scheme::ECDSA_NISTP256_SHA256,
            Scheme::ECDSA_NISTP384_SHA384,
            Scheme::ECDSA_NISTP521_SHA512,
            Scheme::RSA_PSS_SHA256,
            Scheme::RSA_PSS_SHA384,
            Scheme::RSA_PSS_SHA512,
            Scheme::ED25519,
            Scheme::ED448,
        ]
    }
}
