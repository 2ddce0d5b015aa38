// SPDX-License-Identifier: Apache-2.0
//! Where a registry's API is: its scheme, host and port.
//!
//! https, unless plain http is asked for, or the host does not speak TLS there and is loopback, or one that the machine's
//! configuration marks as insecure: that is asked by offering a TLS handshake and looking at the first byte of the answer.
//! Nothing is sent but the offer, and by no proxy: behind one it is https. Who has spoken TLS in this process is not asked
//! again.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use common::error::{Error, Result, os_words};
use common::host::is_loopback;
use common::reference::Repository;

use crate::proxy::Proxies;
use crate::retry::{Failure, with_attempts};
use crate::settings::Settings;
use crate::tls::seen;
use crate::url::Url;

/// How long a host may think about the offer before it counts as speaking TLS.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The first bytes of a TLS record: a handshake message, or an alert.
const TLS_RECORDS: [u8; 2] = [0x16, 0x15];

/// The base URL of a repository's registry.
///
/// # Errors
/// Usage, when the host cannot be part of a URL; later, when a host that is asked does not let anybody connect.
pub fn base(repository: &Repository, settings: &Settings) -> Result<Url> {
    let host = repository.api_host();
    let of = |scheme: &str| {
        Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|e| Error::usage(e).context(repository.host()))
    };
    let https = of("https")?;
    if settings.plain_http {
        return of("http");
    }
    // Who says how to check a certificate, or which to show, says that there is one.
    let is_said = settings.insecure || settings.ca_file.is_some() || settings.cert_file.is_some();
    let may_be_plain = settings.lax || !is_said && is_loopback(&https.host());
    // Behind a proxy nobody can be asked.
    let in_doubt =
        may_be_plain && !settings.https_only && Proxies::of_environment().of(&https)?.is_none();
    // One that is not up yet is asked again, as any other request would be.
    match !in_doubt || with_attempts(settings, || speaks_tls(&https, settings))? {
        true => Ok(https),
        false => {
            settings.comment(format_args!("{host} speaks no TLS: plain http"));
            of("http")
        }
    }
}

/// Whether a host speaks TLS. In doubt it does: then the attempt to use it says what is wrong.
fn speaks_tls(url: &Url, settings: &Settings) -> std::result::Result<bool, Failure> {
    if seen::of(&url.host(), url.port()).tls {
        return Ok(true);
    }
    let Some(offer) = client_hello() else { return Ok(true) };
    let timeout = settings.connect_timeout.min(PROBE_TIMEOUT);
    let Ok(addresses) = (url.host().as_str(), url.port()).to_socket_addrs() else {
        return Ok(true);
    };
    let mut refused = None;
    let connect = |address| match TcpStream::connect_timeout(&address, timeout) {
        Ok(stream) => Some(stream),
        Err(cause) => {
            refused = Some(cause);
            None
        }
    };
    let Some(mut stream) = addresses.into_iter().find_map(connect) else {
        let why = refused.map_or_else(|| "no address".to_owned(), |cause| os_words(&cause));
        return Err(Failure::temporary(Error::later(format_args!("{}: {why}", url.authority()))));
    };
    let mut first = [0];
    let asked = stream.set_read_timeout(Some(timeout)).and_then(|()| stream.write_all(&offer));
    Ok(match asked.and_then(|()| stream.read(&mut first)) {
        Ok(1) if TLS_RECORDS.contains(&first[0]) => {
            seen::note_tls(&url.host(), url.port(), false);
            true
        }
        Ok(1) => false,
        // Closed or reset without a word: what a plain http server may do with such bytes.
        Ok(_) => false,
        Err(cause) => cause.kind() != std::io::ErrorKind::ConnectionReset,
    })
}

/// The first message of a TLS handshake. No certificate is ever looked at with it, so it needs no roots.
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
    use crate::settings::Mirrors;

    fn settings(lax: bool) -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            plain_http: false,
            insecure: false,
            // With it a loopback host is not in doubt of its own.
            ca_file: Some(PathBuf::from("/none")),
            cert_file: None,
            key_file: None,
            own_authorities: Vec::new(),
            own_pairs: Vec::new(),
            given: None,
            authfile: None,
            mirrors: Mirrors::None,
            lax,
            https_only: false,
            headers: Vec::new(),
            attempts: 1,
            max_wait: second,
            idle_timeout: second,
            connect_timeout: second,
            trace: None,
        }
    }

    /// A registry that answers each offer with these bytes, one after the other.
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
    fn one_that_is_marked_insecure_is_asked_whether_it_speaks_tls() {
        let plain = answering(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
        assert_eq!(base(&plain, &settings(false)).unwrap().scheme(), "https");
        assert_eq!(base(&plain, &settings(true)).unwrap().scheme(), "http");
        let alert = answering(&[b"\x15\x03\x01\x00\x02\x02\x28"]);
        assert_eq!(base(&alert, &settings(true)).unwrap().scheme(), "https");
    }

    #[test]
    fn who_has_spoken_tls_is_not_asked_again() {
        let turncoat =
            answering(&[b"\x15\x03\x01\x00\x02\x02\x28", b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
        for _ in 0..2 {
            assert_eq!(base(&turncoat, &settings(true)).unwrap().scheme(), "https");
        }
    }
}
