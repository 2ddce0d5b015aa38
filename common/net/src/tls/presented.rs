// SPDX-License-Identifier: Apache-2.0
//! The certificates that servers presented, remembered until the process ends, for a tool that
//! shows them. A certificate is remembered even if it was not trusted. Nothing is verified here.
//!
//! At most [`MAX_PLACES`] hosts and ports are remembered, each with its last certificate.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, ProtocolVersion};

use super::{der, distinguished_name, names};
use crate::url::Url;

/// The maximum number of hosts and ports that are remembered.
const MAX_PLACES: usize = 16;

/// A server's certificate, and the version of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The version of TLS, such as `TLS 1.3`; `None` if the handshake failed before the version was
    /// chosen.
    pub protocol: Option<String>,
    /// The authority that signed the certificate, as in RFC 4514; `None` if the certificate cannot
    /// be read. The text may contain control characters.
    pub issuer: Option<String>,
    /// The end of the certificate's validity, in seconds since the epoch.
    pub expires: Option<u64>,
}

/// The certificates by host and port.
type Places = HashMap<(String, u16), Presented>;

static PRESENTED: Mutex<Option<Places>> = Mutex::new(None);

thread_local! {
    /// The certificate in this thread's current handshake. rustls does not keep a refused
    /// certificate.
    static CURRENT: RefCell<Option<CertificateDer<'static>>> = const { RefCell::new(None) };
}

/// The certificate that the host of a URL presented last; `None` if there was none.
pub fn at(url: &Url) -> Option<Presented> {
    let presented = PRESENTED.lock().unwrap_or_else(PoisonError::into_inner);
    presented.as_ref()?.get(&(url.host(), url.port())).cloned()
}

/// Called before a handshake: forgets the certificate of an earlier one.
pub(super) fn begin() {
    CURRENT.set(None);
}

/// Called when a certificate is about to be checked.
pub(super) fn checking(certificate: &CertificateDer<'_>) {
    CURRENT.set(Some(certificate.clone().into_owned()));
}

/// Called after a handshake, even if it failed. The host is in the form of
/// [`Url::host`](crate::url::Url::host).
pub(super) fn record(host: &str, port: u16, connection: &ClientConnection) {
    let refused = CURRENT.take();
    let accepted = connection.peer_certificates().and_then(|chain| chain.first());
    let Some(certificate) = accepted.or(refused.as_ref()) else { return };
    let fields = der::fields(certificate);
    let presented = Presented {
        protocol: connection.protocol_version().map(version),
        issuer: fields.and_then(|fields| distinguished_name::text(fields.issuer)),
        expires: fields.and_then(|fields| fields.not_after),
    };
    let mut places = PRESENTED.lock().unwrap_or_else(PoisonError::into_inner);
    keep(places.get_or_insert_default(), (host.to_owned(), port), presented);
}

fn keep(places: &mut Places, place: (String, u16), presented: Presented) {
    if places.len() < MAX_PLACES || places.contains_key(&place) {
        places.insert(place, presented);
    }
}

/// The name of a version of TLS.
fn version(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        other => names::words(&other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_remembered_up_to_the_limit() {
        let one = |expires| Presented { protocol: None, issuer: None, expires: Some(expires) };
        let place = |port: usize| ("a.example".to_owned(), u16::try_from(port).unwrap());
        let mut places = Places::default();
        for port in 0..=MAX_PLACES {
            keep(&mut places, place(port), one(1));
        }
        assert_eq!(places.len(), MAX_PLACES);
        keep(&mut places, place(0), one(2));
        assert_eq!(places[&place(0)], one(2));
    }
}
