// SPDX-License-Identifier: Apache-2.0
//! The base URL of a registry's API: scheme, host and port.
//!
//! The scheme is https unless plain HTTP is requested. Two kinds of hosts are probed first:
//! loopback hosts, and hosts that the machine's configuration marks as insecure. If such a host
//! does not use TLS, the scheme is http.
//!
//! The probe sends the first message of a TLS handshake and looks at the first byte of the
//! response. It sends nothing else. A host behind a proxy is not probed: its scheme is https. A
//! host that has used TLS in this process is not probed again.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use common::error::{Error, Result, os_message};
use common::host::is_loopback;
use common::reference::Repository;
use machine::mirrors::Scheme;

use crate::client::Client;
use crate::failure::{Failure, Retry};
use crate::history;
use crate::peer::{Peer, Verification};
use crate::proxy::Proxies;
use crate::retry::with_attempts;
use crate::url::Url;

/// How long the probe waits for a response. A host that does not respond counts as using TLS.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The first bytes of a TLS record: a handshake message, or an alert.
const TLS_RECORDS: [u8; 2] = [0x16, 0x15];

/// The base URL of a repository's registry.
///
/// # Errors
/// Usage if the host cannot be part of a URL. Unavailable if a host must be probed and cannot be
/// connected to.
pub fn base(repository: &Repository, client: &Client, peer: &Peer) -> Result<Url> {
    let host = repository.api_host();
    let of = |scheme: &str| {
        Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|e| Error::usage(e).context(repository.host()))
    };
    let https = of("https")?;
    if peer.scheme == Some(Scheme::Http) {
        return of("http");
    }
    // An option about certificates implies that the registry uses TLS.
    let has_certificate = peer.verification == Verification::Skipped
        || client.ca_file.is_some()
        || peer.certificate.is_some();
    let may_be_plain = peer.verification == Verification::Optional
        || !has_certificate && is_loopback(&https.host());
    // Behind a proxy the host cannot be probed.
    let in_doubt =
        may_be_plain && peer.scheme.is_none() && Proxies::of_environment().of(&https)?.is_none();
    // Connecting to a host that is not running yet is retried, as for any other request.
    if !in_doubt || with_attempts(client, || uses_tls(&https, client, repository))? {
        return Ok(https);
    }
    client.comment(format_args!("{host} does not use TLS: plain http"));
    of("http")
}

/// Whether a host uses TLS. The result is also true if this cannot be determined: the next request
/// then reports the actual error.
fn uses_tls(
    url: &Url,
    client: &Client,
    repository: &Repository,
) -> std::result::Result<bool, Failure> {
    if history::of(&url.host(), url.port()).tls {
        return Ok(true);
    }
    let Some(offer) = client_hello() else { return Ok(true) };
    let timeout = client.connect_timeout.min(PROBE_TIMEOUT);
    let Ok(addresses) = (url.host().as_str(), url.port()).to_socket_addrs() else {
        return Ok(true);
    };
    let mut timed_out = false;
    let mut refused = None;
    let connect = |address| match TcpStream::connect_timeout(&address, timeout) {
        Ok(stream) => Some(stream),
        Err(cause) => {
            timed_out = cause.kind() == std::io::ErrorKind::TimedOut;
            refused = Some(cause);
            None
        }
    };
    let Some(mut stream) = addresses.into_iter().find_map(connect) else {
        let why = refused.map_or_else(|| "no address".to_owned(), |cause| os_message(&cause));
        let error = Error::unavailable(format_args!("{repository}: {why}"));
        return Err(Failure { error, retry: Retry::Unreached { timed_out } });
    };
    history::record_answer(&url.host(), url.port());
    let mut first = [0];
    let asked = stream.set_read_timeout(Some(timeout)).and_then(|()| stream.write_all(&offer));
    Ok(match asked.and_then(|()| stream.read(&mut first)) {
        Ok(1) if TLS_RECORDS.contains(&first[0]) => {
            history::record_tls(&url.host(), url.port(), false);
            true
        }
        Ok(1) => false,
        // A plain HTTP server may close or reset the connection when it receives a TLS message.
        Ok(_) => false,
        Err(cause) => cause.kind() != std::io::ErrorKind::ConnectionReset,
    })
}

/// The first message of a TLS handshake. The probe never reads a certificate, so the root store is
/// empty.
fn client_hello() -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").ok()?;
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::PathBuf;

    use super::*;
    use crate::client::Attempts;

    /// The scheme that [`base`] chooses for this kind of verification. The client has a --ca-file,
    /// so that the host is not probed merely because it is loopback.
    fn scheme(registry: &Repository, verification: Verification) -> String {
        let second = Duration::from_secs(1);
        let client = Client {
            attempts: Attempts::one(),
            max_wait: second,
            idle_timeout: second,
            connect_timeout: second,
            ca_file: Some(PathBuf::from("/none")),
            authfile: None,
            allowed: Vec::new(),
            trace: None,
        };
        let peer = Peer { verification, ..Peer::unconfigured() };
        base(registry, &client, &peer).unwrap().scheme().to_owned()
    }

    /// A registry that accepts one connection for each element of `answers` and sends the element's
    /// bytes on it.
    fn answering(answers: &'static [&'static [u8]]) -> Repository {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let _ = socket.read(&mut [0; 1024]);
                let _ = socket.write_all(answer);
            }
        });
        Repository::at(&format!("127.0.0.1:{port}"), "app").unwrap()
    }

    #[test]
    fn a_host_marked_insecure_is_probed_for_tls() {
        let plain = answering(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
        assert_eq!(scheme(&plain, Verification::Required), "https");
        assert_eq!(scheme(&plain, Verification::Optional), "http");
        let alert = answering(&[b"\x15\x03\x01\x00\x02\x02\x28"]);
        assert_eq!(scheme(&alert, Verification::Optional), "https");
    }

    #[test]
    fn a_host_that_used_tls_is_not_probed_again() {
        let changing =
            answering(&[b"\x15\x03\x01\x00\x02\x02\x28", b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
        for _ in 0..2 {
            assert_eq!(scheme(&changing, Verification::Optional), "https");
        }
    }
}
