// SPDX-License-Identifier: Apache-2.0
//! Origins (RFC 6454): scheme, host and port. Secrets of one origin are not sent to another.

use std::fmt;

use machine::mirrors::Scheme;

/// The scheme, host and port of a URL. Hosts are compared in lower case and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// An origin whose `host` is in the form of [`common::host::bare_host`].
    pub(crate) fn new(scheme: Scheme, host: String, port: u16) -> Origin {
        Origin { scheme, host, port }
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// The host: lower case, without brackets and without a final dot.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    /// `SCHEME://HOST[:PORT]`, without the scheme's default port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.is_https() { ("https", 443) } else { ("http", 80) };
        let host = &self.host;
        write!(f, "{scheme}://")?;
        if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }?;
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}
