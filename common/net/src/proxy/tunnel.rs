// SPDX-License-Identifier: Apache-2.0
//! Connections through a proxy. A SOCKS proxy opens a tunnel for every request. An HTTP proxy opens
//! a tunnel with CONNECT (RFC 9110, section 9.3.6) for https, and forwards requests (module
//! `forward`) for http.
//!
//! Only the proxy's own name is resolved here. The proxy resolves the names of the servers behind
//! it. A failure before the tunnel is open is a [`ProxyFailure`], so that the error message names
//! the proxy as the cause, and not the server.

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

/// Why a proxy opened no tunnel. Nothing was sent to the server behind the proxy.
#[derive(Debug)]
pub(crate) enum ProxyFailure {
    /// The connection to the proxy failed.
    Connection(Error),
    /// The proxy's response is not HTTP.
    NotHttp,
    /// The proxy's response has an error status.
    Refused {
        /// The status.
        status: u16,
        /// The authentication schemes that the proxy offers.
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

/// A resolver that resolves no names, for servers behind a proxy.
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

/// Makes connections through a proxy.
pub(crate) struct ProxyConnector {
    proxy: Proxy,
    /// The configuration for connections to the proxy.
    config: Config,
    /// TLS to the proxy; `None` if the proxy is not an https proxy.
    secure: Option<Secure>,
    resolver: DefaultResolver,
}

impl ProxyConnector {
    /// A connector for this proxy. `config` and `secure` apply to connections to the proxy itself.
    pub(crate) fn new(proxy: Proxy, config: Config, secure: Option<Secure>) -> ProxyConnector {
        ProxyConnector { proxy, config, secure, resolver: DefaultResolver::default() }
    }

    /// Connects to the proxy itself. If it is a SOCKS proxy, connects through it to the server
    /// behind it.
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

    /// Sends CONNECT on a connection to the proxy, and waits until the tunnel is open.
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
            // Interim responses are skipped.
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

/// The setting that makes ureq use a SOCKS proxy; `None` for other proxies.
///
/// # Errors
/// The error of ureq if it does not accept the proxy's host, user name or password.
pub(crate) fn socks(proxy: &Proxy) -> Result<Option<ureq::Proxy>, Error> {
    if proxy.kind() != Kind::Socks {
        return Ok(None);
    }
    // Socks5h: the proxy resolves host names.
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

/// The head of a response to CONNECT: its status, and its length in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    length: usize,
}

/// Parses the head of a response; `None` if it is incomplete.
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

/// The authentication schemes in the Proxy-Authenticate headers of a response's head.
fn schemes(head: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(head);
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// A tunnel to a server behind a proxy. It reports that it is not TLS, even if the connection to
/// the proxy is: TLS to the server still has to be started.
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
    fn a_response_is_parsed_when_its_head_is_complete() {
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
