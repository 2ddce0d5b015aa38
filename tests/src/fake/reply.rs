// SPDX-License-Identifier: Apache-2.0
//! A response, right or wrong, built step by step. The server sends exactly the response that is
//! described.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::request::Request;

/// An early end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Closed normally (FIN), but without a close_notify under TLS.
    Fin,
    /// Reset (RST). The client may lose bytes that it has not read yet.
    Reset,
    /// A TLS record that cannot be decrypted, then closed.
    Garbled,
}

/// An event at a position in the body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    End(End),
    Stall,
}

/// The way in which the response states the length of its body.
#[derive(Clone, Debug)]
pub(super) enum Length {
    /// A correct Content-Length.
    Right,
    /// These texts as Content-Length headers.
    Text(Vec<String>),
    /// No Content-Length: the end of the connection is the end of the body.
    Missing,
    /// Chunks of this size; `broken` is the number of the chunk whose size line is invalid.
    Chunked { size: usize, broken: Option<usize> },
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Bytes {
        all: Arc<[u8]>,
        part: Range<usize>,
    },
    /// The bytes, repeated until the client stops reading.
    Endless(Vec<u8>),
}

/// A response, right or wrong.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Body,
    pub(super) length: Length,
    /// A position in the body, and the event there.
    pub(super) event: Option<(u64, Event)>,
    /// The number of bytes per write, and the pause after each.
    pub(super) drip: Option<(usize, Duration)>,
    /// Bytes sent before the head.
    pub(super) before: Vec<u8>,
    /// Whether headers are sent without end.
    pub(super) endless_headers: bool,
    /// Bytes sent instead of a response.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) close: bool,
    /// Whether nothing is sent before the release.
    pub(super) held: bool,
}

impl Reply {
    /// A response without a body.
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Body::Bytes { all: Arc::from([]), part: 0..0 },
            length: Length::Right,
            event: None,
            drip: None,
            before: Vec::new(),
            endless_headers: false,
            raw: None,
            close: false,
            held: false,
        }
    }

    /// A 200 response with a body.
    pub fn ok(body: impl AsRef<[u8]>) -> Reply {
        Reply::new(200).body(body)
    }

    /// A JSON response.
    pub fn json(status: u16, value: &serde_json::Value) -> Reply {
        Reply::new(status).header("Content-Type", "application/json").body(value.to_string())
    }

    /// A registry's error document.
    pub fn error(status: u16, code: &str, message: &str) -> Reply {
        let error = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Reply::json(status, &error)
    }

    /// A redirect to this Location.
    pub fn redirect(status: u16, location: &str) -> Reply {
        Reply::new(status).header("Location", location)
    }

    /// The range of a body that the request's Range asks for: 206, 416, or 200 with the complete
    /// body, as Go's file server responds. Several ranges at once are not supported.
    pub fn ranged(request: &Request, all: Arc<[u8]>) -> Reply {
        let len = all.len() as u64;
        let refused = |why: &str| {
            let reply = Reply::new(416).body(format!("invalid range{why}\n"));
            reply.header("Content-Type", "text/plain; charset=utf-8")
        };
        let (from, to) = match request.header("range").map(asked_range) {
            None => {
                return Reply { body: Body::Bytes { part: 0..all.len(), all }, ..Reply::new(200) };
            }
            Some(None) => return refused(""),
            Some(Some((None, None))) => return refused(""),
            Some(Some((None, Some(suffix)))) => (len.saturating_sub(suffix), len),
            Some(Some((Some(from), to))) => {
                (from, to.map_or(len, |to| to.saturating_add(1)).min(len))
            }
        };
        if from >= len {
            let reply = refused(": failed to overlap");
            return reply.header("Content-Range", format!("bytes */{len}"));
        }
        let range_text = format!("bytes {from}-{}/{len}", to - 1);
        let part = from as usize..to as usize;
        let reply = Reply::new(206).header("Content-Range", range_text);
        Reply { body: Body::Bytes { all, part }, ..reply }
    }

    /// These bytes instead of an HTTP response; then the connection is closed.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Reply {
        Reply { raw: Some(bytes.as_ref().to_owned()), ..Reply::new(0) }
    }

    /// No response: the connection is reset.
    pub fn hang_up() -> Reply {
        Reply::raw("").cut(0, End::Reset)
    }

    /// Changes the status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Reply {
        self.status = status;
        self
    }

    /// Adds a header without any check.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Reply {
        self.headers.push((name.as_bytes().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Removes the headers of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Reply {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name.as_bytes()));
        self
    }

    /// Changes the header of this name, if it exists.
    #[must_use]
    pub fn change(self, name: &str, change: impl FnOnce(&str) -> String) -> Reply {
        match self.header_value(name) {
            Some(value) => self.without(name).header(name, change(&value)),
            None => self,
        }
    }

    /// The value of the first header of this name.
    pub fn header_value(&self, name: &str) -> Option<String> {
        let mut same = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        same.next().map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Reply {
        let all: Arc<[u8]> = Arc::from(body.as_ref());
        self.body = Body::Bytes { part: 0..all.len(), all };
        self
    }

    /// Makes the body endless: `pattern` is repeated.
    #[must_use]
    pub fn endless(mut self, pattern: impl AsRef<[u8]>) -> Reply {
        // The pattern is repeated until it is long enough for efficient writes.
        let pattern = pattern.as_ref();
        self.body = Body::Endless(pattern.repeat(64 * 1024 / pattern.len() + 1));
        if matches!(self.length, Length::Right) {
            self.length = Length::Missing;
        }
        self
    }

    /// Makes the headers endless.
    #[must_use]
    pub fn endless_headers(mut self) -> Reply {
        self.endless_headers = true;
        self
    }

    /// Adds a Content-Length header with this text.
    #[must_use]
    pub fn content_length(mut self, text: impl ToString) -> Reply {
        match &mut self.length {
            Length::Text(texts) => texts.push(text.to_string()),
            other => *other = Length::Text(vec![text.to_string()]),
        }
        self
    }

    /// Leaves out Content-Length: the body ends with the connection.
    #[must_use]
    pub fn close_delimited(mut self) -> Reply {
        self.length = Length::Missing;
        self
    }

    /// Sends the body in chunks of `size` bytes.
    #[must_use]
    pub fn chunked(mut self, size: usize) -> Reply {
        self.length = Length::Chunked { size, broken: None };
        self
    }

    /// Sends the body in chunks of `size` bytes. The chunk with the number `chunk` (from 0) has an
    /// invalid size line.
    #[must_use]
    pub fn broken_chunk(mut self, size: usize, chunk: usize) -> Reply {
        self.length = Length::Chunked { size, broken: Some(chunk) };
        self
    }

    /// Ends the connection after this number of bytes of the body.
    #[must_use]
    pub fn cut(mut self, after: u64, end: End) -> Reply {
        self.event = Some((after, Event::End(end)));
        self
    }

    /// Sends nothing more after this number of bytes of the body, until
    /// [`release`](super::Server::release).
    #[must_use]
    pub fn stall(mut self, after: u64) -> Reply {
        self.event = Some((after, Event::Stall));
        self
    }

    /// Sends the body in pieces of this many bytes, with a pause after each.
    #[must_use]
    pub fn drip(mut self, piece: usize, pause: Duration) -> Reply {
        self.drip = Some((piece, pause));
        self
    }

    /// Sends these bytes before the response, for example `HTTP/1.1 103 Early Hints\r\n\r\n`.
    #[must_use]
    pub fn after(mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.before.extend_from_slice(bytes.as_ref());
        self
    }

    /// Sends nothing at all until [`release`](super::Server::release).
    #[must_use]
    pub fn held(mut self) -> Reply {
        self.held = true;
        self
    }

    /// Closes the connection after the response.
    #[must_use]
    pub fn close(mut self) -> Reply {
        self.close = true;
        self
    }

    /// Changes a byte in the middle of the body.
    #[must_use]
    pub fn corrupted(mut self) -> Reply {
        if let Body::Bytes { all, part } = &self.body
            && !part.is_empty()
        {
            let mut bytes = all.to_vec();
            bytes[part.start + part.len() / 2] ^= 1;
            self.body = Body::Bytes { all: bytes.into(), part: part.clone() };
        }
        self
    }

    /// The status, for a fault that depends on it.
    pub fn code(&self) -> u16 {
        self.status
    }

    /// Status line and headers, without the empty line at their end.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = self.before.clone();
        head.extend_from_slice(
            format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).as_bytes(),
        );
        for (name, value) in &self.headers {
            head.extend_from_slice(name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        match (&self.length, &self.body) {
            (Length::Right, Body::Bytes { part, .. }) => {
                // 1xx and 204 responses have no Content-Length (RFC 9110, section 8.6).
                if self.status >= 200 && self.status != 204 {
                    head.extend_from_slice(
                        format!("Content-Length: {}\r\n", part.len()).as_bytes(),
                    );
                }
            }
            (Length::Right, Body::Endless(_)) | (Length::Missing, _) => {
                head.extend_from_slice(b"Connection: close\r\n");
            }
            (Length::Text(texts), _) => {
                for text in texts {
                    head.extend_from_slice(format!("Content-Length: {text}\r\n").as_bytes());
                }
            }
            (Length::Chunked { .. }, _) => {
                head.extend_from_slice(b"Transfer-Encoding: chunked\r\n")
            }
        }
        head
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Whatever",
    }
}

/// The two numbers of a Range header, each optional; `None` if the header is invalid.
fn asked_range(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| match text {
        "" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let (from, to) = (number(from)?, number(to)?);
    if from.zip(to).is_some_and(|(from, to)| from > to) { None } else { Some((from, to)) }
}
