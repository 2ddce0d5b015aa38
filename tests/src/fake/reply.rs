// SPDX-License-Identifier: Apache-2.0
//! An answer, right or wrong, put together step by step. What it is told to send it sends.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::request::Request;

/// How a connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Closed as if all were said (FIN; no close_notify under TLS).
    Fin,
    /// Torn down (RST). What the other side has not read yet may be lost to it.
    Reset,
    /// By a TLS record that nobody can decrypt.
    Garbled,
}

/// What happens at a place in the body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    End(End),
    Stall,
}

/// How the length of the body is told.
#[derive(Clone, Debug)]
pub(super) enum Length {
    /// Content-Length, right.
    Told,
    /// Content-Length with this text, several of them when it holds several.
    Said(Vec<String>),
    /// Not at all: the end of the connection is the end of the body.
    Untold,
    /// Chunks of this size; the number of the chunk whose size line is garbage.
    Chunked { size: usize, broken: Option<usize> },
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Bytes {
        all: Arc<[u8]>,
        part: Range<usize>,
    },
    /// The bytes again and again until the client has had enough.
    Endless(Vec<u8>),
}

/// An answer, right or wrong.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Body,
    pub(super) length: Length,
    /// Where in the body something happens.
    pub(super) event: Option<(u64, Event)>,
    /// Bytes a write, and the pause after each.
    pub(super) drip: Option<(usize, Duration)>,
    /// Sent before the head, as it is.
    pub(super) before: Vec<u8>,
    /// Headers without end.
    pub(super) endless_headers: bool,
    /// Instead of everything else.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) close: bool,
    /// Nothing is sent before the release.
    pub(super) held: bool,
}

impl Reply {
    /// A status and no body.
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Body::Bytes { all: Arc::from([]), part: 0..0 },
            length: Length::Told,
            event: None,
            drip: None,
            before: Vec::new(),
            endless_headers: false,
            raw: None,
            close: false,
            held: false,
        }
    }

    /// 200 with a body.
    pub fn ok(body: impl AsRef<[u8]>) -> Reply {
        Reply::new(200).body(body)
    }

    /// JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Reply {
        Reply::new(status).header("Content-Type", "application/json").body(value.to_string())
    }

    /// A registry's error document.
    pub fn error(status: u16, code: &str, message: &str) -> Reply {
        let error = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Reply::json(status, &error)
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Reply {
        Reply::new(status).header("Location", location)
    }

    /// The part of a body that the request's Range asks for: 206, 416, or the whole with 200.
    pub fn ranged(request: &Request, all: Arc<[u8]>) -> Reply {
        let len = all.len() as u64;
        let Some(range) = request.range() else {
            return Reply { body: Body::Bytes { part: 0..all.len(), all }, ..Reply::new(200) };
        };
        let end = range.end.min(len);
        if range.start >= end {
            return Reply::new(416).header("Content-Range", format!("bytes */{len}"));
        }
        let said = format!("bytes {}-{}/{len}", range.start, end - 1);
        let part = range.start as usize..end as usize;
        Reply { body: Body::Bytes { all, part }, ..Reply::new(206).header("Content-Range", said) }
    }

    /// These bytes instead of an HTTP answer; then the connection is closed.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Reply {
        Reply { raw: Some(bytes.as_ref().to_owned()), ..Reply::new(0) }
    }

    /// No answer: the connection is torn down.
    pub fn hang_up() -> Reply {
        Reply::raw("").cut(0, End::Reset)
    }

    /// Its status instead.
    #[must_use]
    pub fn status(mut self, status: u16) -> Reply {
        self.status = status;
        self
    }

    /// One more header, not checked in any way.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Reply {
        self.headers.push((name.as_bytes().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Without the headers of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Reply {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name.as_bytes()));
        self
    }

    /// The headers of this name changed.
    #[must_use]
    pub fn change(self, name: &str, change: impl FnOnce(&str) -> String) -> Reply {
        match self.said(name) {
            Some(value) => self.without(name).header(name, change(&value)),
            None => self,
        }
    }

    /// What it has in the header of this name.
    pub fn said(&self, name: &str) -> Option<String> {
        let mut same = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        same.next().map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// Another body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Reply {
        let all: Arc<[u8]> = Arc::from(body.as_ref());
        self.body = Body::Bytes { part: 0..all.len(), all };
        self
    }

    /// A body that never ends: this again and again.
    #[must_use]
    pub fn endless(mut self, pattern: impl AsRef<[u8]>) -> Reply {
        // Long enough that a write is worth its while.
        let pattern = pattern.as_ref();
        self.body = Body::Endless(pattern.repeat(64 * 1024 / pattern.len() + 1));
        if matches!(self.length, Length::Told) {
            self.length = Length::Untold;
        }
        self
    }

    /// Headers that never end.
    #[must_use]
    pub fn endless_headers(mut self) -> Reply {
        self.endless_headers = true;
        self
    }

    /// A Content-Length of this text.
    #[must_use]
    pub fn content_length(mut self, text: impl ToString) -> Reply {
        match &mut self.length {
            Length::Said(said) => said.push(text.to_string()),
            other => *other = Length::Said(vec![text.to_string()]),
        }
        self
    }

    /// No Content-Length: the body ends with the connection.
    #[must_use]
    pub fn close_delimited(mut self) -> Reply {
        self.length = Length::Untold;
        self
    }

    /// In chunks of so many bytes.
    #[must_use]
    pub fn chunked(mut self, size: usize) -> Reply {
        self.length = Length::Chunked { size, broken: None };
        self
    }

    /// In chunks of so many bytes, of which one (from 0) begins with garbage.
    #[must_use]
    pub fn broken_chunk(mut self, size: usize, chunk: usize) -> Reply {
        self.length = Length::Chunked { size, broken: Some(chunk) };
        self
    }

    /// The connection ends when so many bytes of the body are sent.
    #[must_use]
    pub fn cut(mut self, after: u64, end: End) -> Reply {
        self.event = Some((after, Event::End(end)));
        self
    }

    /// Nothing more is sent after so many bytes of the body, until [`release`](super::Server::release).
    #[must_use]
    pub fn stall(mut self, after: u64) -> Reply {
        self.event = Some((after, Event::Stall));
        self
    }

    /// The body comes in pieces of so many bytes with a pause after each.
    #[must_use]
    pub fn drip(mut self, piece: usize, pause: Duration) -> Reply {
        self.drip = Some((piece, pause));
        self
    }

    /// These bytes go before the answer: `HTTP/1.1 103 Early Hints\r\n\r\n`, say.
    #[must_use]
    pub fn after(mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.before.extend_from_slice(bytes.as_ref());
        self
    }

    /// Not even its head is sent until [`release`](super::Server::release).
    #[must_use]
    pub fn held(mut self) -> Reply {
        self.held = true;
        self
    }

    /// The connection is closed after it.
    #[must_use]
    pub fn close(mut self) -> Reply {
        self.close = true;
        self
    }

    /// Its body with a byte in the middle changed.
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

    /// Its status, for a fault that depends on it.
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
            (Length::Told, Body::Bytes { part, .. }) => {
                // 1xx and 204 have none by definition.
                if self.status >= 200 && self.status != 204 {
                    head.extend_from_slice(
                        format!("Content-Length: {}\r\n", part.len()).as_bytes(),
                    );
                }
            }
            (Length::Told, Body::Endless(_)) | (Length::Untold, _) => {
                head.extend_from_slice(b"Connection: close\r\n");
            }
            (Length::Said(said), _) => {
                for text in said {
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
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        _ => "Whatever",
    }
}
