// SPDX-License-Identifier: Apache-2.0
//! Plain HTTP requests that a proxy forwards: requests in absolute form (RFC 9112, section 3.2.2).
//!
//! ureq can only write the origin form, `GET /path HTTP/1.1`. This wrapper changes the request
//! line: it makes the target absolute, and adds the header Proxy-Authorization after the line.
//!
//! The wrapper must know where a request begins. ureq writes the head of a request first, and calls
//! `is_open` on a reused connection before the next request. Therefore a request begins with the
//! first bytes on a connection, and with the first bytes after each call of `is_open`. If these
//! bytes are not a request line, they are not sent.

use std::fmt;

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

/// A connection to a proxy, on which requests for one origin are made.
pub(crate) struct Forward<In> {
    connection: In,
    /// `http://HOST[:PORT]`
    origin: String,
    /// Header lines for the proxy.
    lines: String,
    /// Whether the next bytes begin a request.
    begins: bool,
}

impl<In> Forward<In> {
    /// A connection for requests to the origin of `url`; `lines` are added to each request.
    pub(crate) fn new(connection: In, url: &Uri, lines: String) -> Forward<In> {
        let host = url.host().unwrap_or_default();
        // As in the header Host: without the default port.
        let origin = match url.port_u16() {
            Some(port) if port != 80 => format!("http://{host}:{port}"),
            _ => format!("http://{host}"),
        };
        Forward { connection, origin, lines, begins: true }
    }
}

impl<In: Transport> Transport for Forward<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !std::mem::take(&mut self.begins) {
            return self.connection.transmit_output(amount, timeout);
        }
        let written = &self.connection.buffers().output()[..amount];
        let absolute = absolute(written, &self.origin, &self.lines);
        let absolute = absolute
            .ok_or(Error::BadUri("the request does not begin with a request line".to_owned()))?;
        let mut rest = absolute.as_slice();
        while !rest.is_empty() {
            let output = self.connection.buffers().output();
            let (piece, after) = rest.split_at(rest.len().min(output.len()));
            output[..piece.len()].copy_from_slice(piece);
            self.connection.transmit_output(piece.len(), timeout)?;
            rest = after;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.connection.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.begins = true;
        self.connection.is_open()
    }
}

impl<In> fmt::Debug for Forward<In> {
    /// The origin, without the secret header lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", self.origin)
    }
}

/// Makes the target of a request's first line absolute, and inserts `lines` after that line. `None`
/// if `written` does not begin with a request line in origin form.
fn absolute(written: &[u8], origin: &str, lines: &str) -> Option<Vec<u8>> {
    let end = written.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = written.split_at(end + 2);
    let line = std::str::from_utf8(line).ok()?;
    let (method, target) = line.strip_suffix(" HTTP/1.1\r\n")?.split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    if !is_method || !target.starts_with('/') || target.contains(' ') {
        return None;
    }
    let mut absolute = format!("{method} {origin}{target} HTTP/1.1\r\n{lines}").into_bytes();
    absolute.extend_from_slice(rest);
    Some(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_made_absolute_and_the_rest_kept() {
        let made = |written: &str, lines: &str| {
            let made = absolute(written.as_bytes(), "http://r.example:5000", lines)?;
            Some(String::from_utf8(made).unwrap())
        };
        assert_eq!(
            made("GET /v2/?n=1 HTTP/1.1\r\nHost: r\r\n\r\n", "").unwrap(),
            "GET http://r.example:5000/v2/?n=1 HTTP/1.1\r\nHost: r\r\n\r\n"
        );
        assert_eq!(
            made("PUT /x HTTP/1.1\r\nA: b\r\n\r\nbody\r\n", "P: q\r\n").unwrap(),
            "PUT http://r.example:5000/x HTTP/1.1\r\nP: q\r\nA: b\r\n\r\nbody\r\n"
        );
        for none in [
            "",
            "GET /x HTTP/1.1",
            "GET x HTTP/1.1\r\n",
            "GET http://a/ HTTP/1.1\r\n",
            "GET /a b HTTP/1.1\r\n",
            "get / HTTP/1.1\r\n",
            " / HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "\u{0}\u{1}\r\n",
            "body\r\nGET / HTTP/1.1\r\n",
        ] {
            assert_eq!(made(none, ""), None, "{none:?}");
        }
    }

    #[test]
    fn an_origin_is_spelled_as_in_the_header_host() {
        for (url, origin) in [
            ("http://r.example/v2/", "http://r.example"),
            ("http://r.example:80/", "http://r.example"),
            ("http://r.example:5000/", "http://r.example:5000"),
            ("http://[fd00::1]:5000/", "http://[fd00::1]:5000"),
        ] {
            let forward = Forward::new((), &url.parse().unwrap(), String::new());
            assert_eq!(forward.origin, origin);
        }
    }
}
