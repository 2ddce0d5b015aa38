// SPDX-License-Identifier: Apache-2.0
//! Origins (RFC 6454): scheme, host and port. Whatever is for one origin is sent to no other.

use std::fmt;

use machine::mirrors::Scheme;

/// Where a URL leads, by scheme, host and port. Hosts compare in lower case and without a final
/// dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// `host` as [`common::host::bare_host`] has it.
    pub(crate) fn new(scheme: Scheme, host: String, port: u16) -> Origin {
        Origin { scheme, host, port }
    }

    /// Whether it is spoken to by TLS.
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
    /// As a URL has it, without the scheme's own port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.is_https() { ("https", 443) } else { ("http", 80) };
        let host = &self.host;
        write!(f, "{scheme}://")?;
        if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }?;
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}
