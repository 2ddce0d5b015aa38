// SPDX-License-Identifier: Apache-2.0
//! The way to a proxy, and through it to what is behind: a tunnel by CONNECT (RFC 9110, section
//! 9.3.6) for https, a tunnel by SOCKS for everything, requests in the absolute form (`forward`)
//! for http.
//!
//! Only the proxy's own name is looked up; those of what is behind it are the proxy's to look up.
//! What is wrong before there is a way is a [`ProxyFailure`], so that the proxy is as_error, and
//! nobody else.

use std::fmt;
use std::io::{self, Write};

use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, SocksConnector, TcpConnector, Transport,
    TransportAdapter,
};
use ureq::{Error, ProxyProtocol};

use super::forward::Forward;
use super::{Kind, Proxy};
use crate::connection::{MAX_HEAD, empty_line, time_left};
use crate::tls::secure::Secure;

/// Why there is no way through a proxy. Nothing was sent to what is behind it.
#[derive(Debug)]
pub(crate) enum ProxyFailure {
    /// It is not reached, or breaks off.
    Connection(Error),
    /// It does not speak HTTP.
    NotHttp,
    /// It answers with this status, which is no success.
    Refused {
        /// The status.
        status: u16,
        /// The schemes of authentication that it names.
        schemes: Vec<String>,
    },
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy: {self:?}")
    }
}

impl std::error::Error for ProxyFailure {}

impl From<Error> for ProxyFailure {
    fn from(error: Error) -> ProxyFailure {
        ProxyFailure::Connection(error)
    }
}

impl From<io::Error> for ProxyFailure {
    fn from(cause: io::Error) -> ProxyFailure {
        ProxyFailure::Connection(cause.into())
    }
}

/// Looks no name up: what is asked for is behind a proxy.
#[derive(Debug)]
pub(crate) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Makes connections by way of a proxy.
pub(crate) struct ProxyConnector {
    proxy: Proxy,
    /// How the proxy is spoken to.
    config: Config,
    /// How it is made sure of, when that is in TLS.
    secure: Option<Secure>,
    resolver: DefaultResolver,
}

impl ProxyConnector {
    /// By way of this proxy, to which connections are as the configuration says.
    pub(crate) fn new(proxy: Proxy, config: Config, secure: Option<Secure>) -> ProxyConnector {
        ProxyConnector { proxy, config, secure, resolver: DefaultResolver::default() }
    }

    /// A connection to the proxy itself; with SOCKS, to what is behind it.
    fn reach(&self, details: &ConnectionDetails<'_>) -> Result<Box<dyn Transport>, ProxyFailure> {
        let own = self.proxy.url().uri();
        let with = |uri, addrs, timeout| ConnectionDetails {
            uri,
            addrs,
            config: &self.config,
            request_level: false,
            resolver: &self.resolver,
            now: details.now,
            timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        if self.proxy.kind() == Kind::Socks {
            let details = with(details.uri, self.resolver.empty(), details.timeout);
            let connection = SocksConnector::default().connect(&details, None::<()>)?;
            return Ok(Box::new(connection.ok_or(Error::ConnectionFailed)?));
        }
        let addrs = self.resolver.resolve(own, &self.config, details.timeout)?;
        let details = with(own, addrs, details.timeout);
        let connection = TcpConnector::default().connect(&details, None::<()>)?;
        let Some(secure) = &self.secure else {
            return Ok(Box::new(connection.ok_or(Error::ConnectionFailed)?));
        };
        let connection = secure.connect(&details, connection)?;
        Ok(Box::new(connection.ok_or(Error::ConnectionFailed)?))
    }

    /// Asks the proxy for a way to the target, on a connection to it.
    fn open(
        &self,
        connection: Box<dyn Transport>,
        details: &ConnectionDetails<'_>,
    ) -> Result<Tunnel, ProxyFailure> {
        let host = details.uri.host().unwrap_or_default();
        let target = format!("{host}:{}", details.uri.port_u16().unwrap_or(443));
        let agent = concat!("regutils/", env!("CARGO_PKG_VERSION"));
        let login = self.proxy.login_line();
        let head = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\n{login}\r\n"
        );
        let mut adapter = TransportAdapter::new(connection, details.current_time.clone());
        adapter.set_timeout(time_left(details)?);
        adapter.write_all(head.as_bytes())?;
        let mut connection = adapter.into_inner();
        let mut received = 0;
        loop {
            let more = connection.await_input(time_left(details)?)?;
            // Interim answers are passed over.
            while let Some(answer) = read(connection.buffers().input())? {
                let Answer { status, length } = answer;
                received += length;
                within_limit(received)?;
                match status {
                    100..200 => {}
                    200..300 => {
                        connection.buffers().input_consume(length);
                        return Ok(Tunnel { connection });
                    }
                    _ => {
                        let schemes = schemes(&connection.buffers().input()[..length]);
                        return Err(ProxyFailure::Refused { status, schemes });
                    }
                }
                connection.buffers().input_consume(length);
            }
            within_limit(received + connection.buffers().input().len())?;
            if !more {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

impl Connector<()> for ProxyConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Box<dyn Transport>>, Error> {
        let as_error = |failure: ProxyFailure| Error::Other(Box::new(failure));
        let connection = self.reach(details).map_err(as_error)?;
        Ok(Some(match self.proxy.kind() {
            Kind::Socks => connection,
            _ if details.needs_tls() => Box::new(self.open(connection, details).map_err(as_error)?),
            _ => Box::new(Forward::new(connection, details.uri, self.proxy.login_line())),
        }))
    }
}

impl fmt::Debug for ProxyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyConnector({})", self.proxy)
    }
}

/// What makes the library go by way of a proxy that speaks SOCKS; nothing for others.
///
/// # Errors
/// The library's, of a name that it cannot send.
pub(crate) fn socks(proxy: &Proxy) -> Result<Option<ureq::Proxy>, Error> {
    if proxy.kind() != Kind::Socks {
        return Ok(None);
    }
    // Socks5h: names are looked up by the proxy.
    let url = proxy.url();
    let made = ureq::Proxy::builder(ProxyProtocol::Socks5h);
    let made = made.host(url.uri().host().unwrap_or_default()).port(url.port());
    let made = match proxy.login() {
        Some((user, password)) => made.username(user).password(password),
        None => made,
    };
    made.build().map(Some)
}

fn within_limit(head: usize) -> Result<(), Error> {
    if head > MAX_HEAD { Err(Error::LargeResponseHeader(head, MAX_HEAD)) } else { Ok(()) }
}

/// The head of an answer to CONNECT.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    length: usize,
}

/// Reads the head of an answer; nothing while it is still coming.
fn read(input: &[u8]) -> Result<Option<Answer>, ProxyFailure> {
    const VERSION: &[u8] = b"HTTP/1.";
    let known = input.len().min(VERSION.len());
    if input[..known] != VERSION[..known] {
        return Err(ProxyFailure::NotHttp);
    }
    let Some(length) = empty_line(input) else { return Ok(None) };
    match &input[known..] {
        [b'0'..=b'9', b' ', a @ b'1'..=b'9', b, c, b' ' | b'\r' | b'\n', ..]
            if b.is_ascii_digit() && c.is_ascii_digit() =>
        {
            let digits = [a, b, c].map(|digit| u16::from(digit - b'0'));
            let status = digits.iter().fold(0, |status, digit| status * 10 + digit);
            Ok(Some(Answer { status, length }))
        }
        _ => Err(ProxyFailure::NotHttp),
    }
}

/// The schemes of authentication that the head of an answer names.
fn schemes(head: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(head);
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// A connection to what is behind a proxy. It is not encrypted to there, even if it is to the
/// proxy.
#[derive(Debug)]
struct Tunnel {
    connection: Box<dyn Transport>,
}

impl Transport for Tunnel {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.connection.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.connection.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_its_head_is_whole() {
        let status = |text: &str| {
            let answer = read(text.as_bytes()).map_err(|_| ())?;
            Ok::<_, ()>(answer.map(|answer| (answer.status, answer.length)))
        };
        assert_eq!(status(""), Ok(None));
        assert_eq!(status("HTT"), Ok(None));
        assert_eq!(status("HTTP/1.1 200 OK\r\nA: b\r\n"), Ok(None));
        assert_eq!(status("HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest"), Ok(Some((200, 25))));
        assert_eq!(status("HTTP/1.0 407\r\n\r\n"), Ok(Some((407, 16))));
        let head = "HTTP/1.1 407 No\r\nProxy-authenticate: NTLM\r\nProxy-Authenticate:Basic realm=\"x: y\"\r\n\r\n";
        assert_eq!(schemes(head.as_bytes()), ["NTLM", "Basic"]);
        assert_eq!(schemes(b"HTTP/1.1 407 No\r\nProxy-Authenticate:\r\n\r\n"), [""; 0]);
        assert_eq!(status("HTTP/1.0 403 \n\n"), Ok(Some((403, 15))));
        for junk in [
            "SSH-2.0-x",
            "\u{16}\u{3}",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 99 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1200 OK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(status(junk), Err(()), "{junk}");
        }
    }
}
