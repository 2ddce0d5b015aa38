// SPDX-License-Identifier: Apache-2.0
//! An answer: its head, and its body as it comes.

use std::io::{self, Cursor, Read};
use std::time::{Duration, SystemTime};

use common::error::{Error, Result, printable};
use common::notice;
use ureq::BodyReader;
use ureq::http::{HeaderMap, StatusCode};

use crate::failure::Failure;
use crate::proxy::{Kind, Proxy};
use crate::tls::history;
use crate::url::Url;

/// The most bytes of an error's body that are read.
pub const MAX_ERROR_BODY: u64 = 64 << 10;

/// An answer: its head, and its body still to be read.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// Where it came from.
    pub url: Url,
    /// What a refusal means, where the caller knows who was refused.
    pub refusal: Option<Refusal>,
    /// The proxy that it came by.
    pub proxy: Option<Proxy>,
}

/// What a refusal means, and what to do about it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What a 401 may mean, in words.
    pub words: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Response {
    /// A header's text; nothing when it is absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The proxy that it came by, if that could read it, or write it.
    pub fn reader(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| !self.url.is_https() && proxy.kind() != Kind::Socks)
    }

    /// The same answer with the words of who was refused.
    pub fn about(self, refusal: Refusal) -> Response {
        Response { refusal: Some(refusal), ..self }
    }

    /// Whether it is from a host that asked for a client certificate and got none.
    pub fn lacks_client_certificate(&self) -> bool {
        self.url.is_https() && history::of(&self.url.host(), self.url.port()).wants_certificate
    }

    /// Refuses a body that is encoded: its bytes would not be those that the digest is of.
    ///
    /// # Errors
    /// Malformed.
    pub fn refuse_encoding(&self) -> Result<()> {
        match self.header("content-encoding").map(str::trim) {
            None | Some("" | "identity") => Ok(()),
            Some(encoding) => Err(Error::malformed(format_args!(
                "it came with Content-Encoding \"{}\", which was not asked for",
                printable(encoding)
            ))),
        }
    }

    /// Retry-After in its forms; a date that has passed is no time at all.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            // What does not fit is as good as never.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX >> 1)));
        }
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// The whole body, if it has at most `limit` bytes; nothing if it has more.
    ///
    /// # Errors
    /// A broken connection, worth another attempt.
    pub fn read(mut self, limit: u64) -> std::result::Result<Option<Vec<u8>>, Failure> {
        let mut bytes = Vec::new();
        let read = (&mut self.body).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|cause| Failure::temporary(Error::unavailable(body_words(&cause))))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// Reads an error's body, which can still be read: its connection serves again meanwhile.
    pub fn hold(&mut self) {
        let text = self.error_text();
        self.body = Body { source: Source::Held(Cursor::new(text)), left: None };
    }

    /// What can be read of an error's body; trouble with it never hides the status.
    pub fn error_text(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = (&mut self.body).take(MAX_ERROR_BODY).read_to_end(&mut bytes);
        bytes
    }
}

/// The bytes of an answer as they come.
///
/// The library keeps a connection only when it is asked for more than there is: whoever knows how
/// many bytes he wants never does, so it is done here when the last of them came.
pub struct Body {
    source: Source,
    /// How many are to come, when the answer says so.
    left: Option<u64>,
}

/// Where they come from.
enum Source {
    /// The connection.
    Coming(BodyReader<'static>),
    /// The memory.
    Held(Cursor<Vec<u8>>),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Coming(reader) => reader.read(buffer),
            Source::Held(bytes) => bytes.read(buffer),
        }
    }
}

impl Body {
    /// Those of an answer that says how many they are, or does not.
    pub fn new(reader: BodyReader<'static>, length: Option<u64>) -> Body {
        Body { source: Source::Coming(reader), left: length }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        if let Some(left) = self.left.as_mut().filter(|_| n > 0) {
            *left = left.saturating_sub(n as u64);
            if *left == 0 {
                // All is there, whatever comes of this.
                let _ = self.source.read(&mut [0]);
                self.left = None;
            }
        }
        Ok(n)
    }
}

/// Why reading a body failed, in words.
pub fn body_words(cause: &io::Error) -> String {
    if let Some(ureq::Error::Timeout(_)) = cause.get_ref().and_then(|e| e.downcast_ref()) {
        return "the answer stood still for too long".to_owned();
    }
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the connection ended in the middle of the answer".to_owned()
        }
        io::ErrorKind::TimedOut => "the answer stood still for too long".to_owned(),
        _ => printable(&common::error::os_words(cause)),
    }
}

/// Shows what a registry wants people to know: `Warning: 299 - "text"` (RFC 7234, section 5.5).
pub fn pass_on_warnings(response: &Response) {
    for value in response.headers.get_all("warning") {
        let text = value.to_str().unwrap_or_default();
        if let Some((_, quoted)) = text.strip_prefix("299 ").and_then(|rest| rest.split_once('"')) {
            let text = quoted.rsplit_once('"').map_or(quoted, |(text, _)| text);
            notice::say("registry", &format!("{} says: {text}", response.url.authority()));
        }
    }
}
