// SPDX-License-Identifier: Apache-2.0
//! A response: its head, and its body as a reader.

use std::io::{self, Cursor, Read};
use std::time::{Duration, Instant, SystemTime};

use common::error::{Error, Result, printable};
use common::notice;
use ureq::BodyReader;
use ureq::http::{HeaderMap, StatusCode};

use crate::advice::Options;
use crate::connection::{MAX_FRAMING, begin_read};
use crate::failure::Failure;
use crate::history;
use crate::proxy::{Kind, Proxy};
use crate::timing::seconds;
use crate::trace::transcript::Trace;
use crate::url::Url;

/// The maximum number of bytes that are read of the body of an error response.
pub const MAX_ERROR_BODY: u64 = 64 << 10;

/// A response: its head, and a reader of its body.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, as the server sent it.
    pub reason: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// The URL of the request.
    pub url: Url,
    /// The options of the command line that apply to the URL's host.
    pub options: Options,
    /// The explanation of a 401 or 403, set by the code that knows which credential was sent.
    pub refusal: Option<Refusal>,
    /// The proxy that the exchange used.
    pub proxy: Option<Proxy>,
}

/// An explanation of a 401 or 403 for the error message.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The probable reason.
    pub words: String,
    /// The hint for the user.
    pub hint: Option<String>,
}

impl Response {
    /// A header's value; `None` if the header is absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The HTTP proxy that forwarded a plain HTTP response, and so could read and change it.
    pub fn reader(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| !self.url.is_https() && proxy.kind() != Kind::Socks)
    }

    /// The response with an explanation of its 401 or 403.
    pub fn about(self, refusal: Refusal) -> Response {
        Response { refusal: Some(refusal), ..self }
    }

    /// Whether the host requested a client certificate, but none was presented.
    pub fn lacks_client_certificate(&self) -> bool {
        self.url.is_https() && history::of(&self.url.host(), self.url.port()).wants_certificate
    }

    /// Checks that the body has no content encoding: the digest of encoded bytes would differ.
    ///
    /// # Errors
    /// Malformed if the body is encoded.
    pub fn refuse_encoding(&self) -> Result<()> {
        match self.header("content-encoding").map(str::trim) {
            None | Some("" | "identity") => Ok(()),
            Some(encoding) => Err(Error::malformed(format_args!(
                "the response has Content-Encoding \"{}\", which was not requested",
                printable(encoding)
            ))),
        }
    }

    /// The time to wait that Retry-After requests, as seconds or as a date (RFC 9110, section
    /// 10.2.3). It is zero for a date in the past, and `None` for an invalid or absent header.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            // A number beyond u64 is replaced by a very long time.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX >> 1)));
        }
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// The complete body if it has at most `limit` bytes, else `None`.
    ///
    /// # Errors
    /// A temporary failure if the connection breaks. Malformed if the framing is too large.
    pub fn read(mut self, limit: u64) -> std::result::Result<Option<Vec<u8>>, Failure> {
        let mut bytes = Vec::new();
        let read = (&mut self.body).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|cause| body_failure(&cause, body_words(&cause)))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// Reads the body of an error response into memory, so that the connection can be reused. The
    /// body can still be read from the response. Returns a copy of it.
    pub fn hold(&mut self) -> Vec<u8> {
        let text = self.error_text();
        self.body =
            Body { source: Source::Held(Cursor::new(text.clone())), left: None, measured: None };
        text
    }

    /// The body of an error response, as far as it can be read. A read error is ignored, so that it
    /// does not replace the error that the status reports.
    pub fn error_text(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = (&mut self.body).take(MAX_ERROR_BODY).read_to_end(&mut bytes);
        bytes
    }
}

/// A reader of a response's body.
///
/// ureq reuses a connection only after a read has reached the end of the body. A caller that knows
/// the size of the body does not read that far. Therefore [`Body`] makes this last read itself,
/// after the last byte.
pub struct Body {
    source: Source,
    /// The number of bytes that were not read yet, if the response states its length.
    left: Option<u64>,
    /// The data for the trace. `None` without a trace, and after the end of the body was traced.
    measured: Option<Measured>,
}

/// The data that the trace needs at the end of a body.
pub(crate) struct Measured {
    pub(crate) trace: Trace,
    /// The start of the exchange.
    pub(crate) start: Instant,
    /// The request.
    pub(crate) what: String,
    /// The number of bytes received.
    pub(crate) bytes: u64,
}

impl Measured {
    fn end(self) {
        let Measured { trace, start, what, bytes } = self;
        let time = seconds(start.elapsed());
        trace.comment(format_args!("all {time}, {bytes} bytes: {what}"));
    }
}

/// The source of a body's bytes.
enum Source {
    /// The connection.
    Coming(BodyReader<'static>),
    /// Memory.
    Held(Cursor<Vec<u8>>),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Coming(reader) => {
                begin_read();
                reader.read(buffer)
            }
            Source::Held(bytes) => bytes.read(buffer),
        }
    }
}

impl Body {
    /// A body whose length is known if the response states it.
    pub fn new(reader: BodyReader<'static>, length: Option<u64>) -> Body {
        Body { source: Source::Coming(reader), left: length, measured: None }
    }

    /// Adds the end of the body to the trace.
    pub(crate) fn measure(&mut self, measured: Measured) {
        self.measured = Some(measured);
    }

    fn end(&mut self) {
        if let Some(measured) = self.measured.take() {
            measured.end();
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        if let Some(measured) = &mut self.measured {
            measured.bytes += n as u64;
        }
        if n == 0 && !buffer.is_empty() {
            self.end();
        }
        if let Some(left) = self.left.as_mut().filter(|_| n > 0) {
            *left = left.saturating_sub(n as u64);
            if *left == 0 {
                // All bytes were received: an error of this read does not matter.
                let _ = self.source.read(&mut [0]);
                self.left = None;
                self.end();
            }
        }
        Ok(n)
    }
}

/// A body may be dropped before its end.
impl Drop for Body {
    fn drop(&mut self) {
        self.end();
    }
}

/// The failure for an error in reading a body, with this text. It is temporary, unless the server
/// would send the same bytes again.
pub fn body_failure(cause: &io::Error, words: String) -> Failure {
    match library_error(cause) {
        Some(ureq::Error::LargeResponseHeader(..)) => Error::malformed(words).into(),
        _ => Failure::temporary(Error::unavailable(words)),
    }
}

fn library_error(cause: &io::Error) -> Option<&ureq::Error> {
    cause.get_ref().and_then(|error| error.downcast_ref())
}

/// Describes why reading a body failed.
pub fn body_words(cause: &io::Error) -> String {
    match library_error(cause) {
        Some(ureq::Error::Timeout(_)) => return "timed out: the response stalled".to_owned(),
        Some(ureq::Error::LargeResponseHeader(..)) => {
            return format!(
                "invalid HTTP: more than {MAX_FRAMING} bytes of trailers or chunk extensions"
            );
        }
        _ => {}
    }
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the connection ended in the middle of the response".to_owned()
        }
        io::ErrorKind::TimedOut => "timed out: the response stalled".to_owned(),
        _ => printable(&common::error::os_message(cause)),
    }
}

/// Shows the user the text of `Warning: 299 - "text"` headers (RFC 7234, section 5.5). Registries
/// use them for announcements.
pub fn pass_on_warnings(response: &Response) {
    for value in response.headers.get_all("warning") {
        let text = value.to_str().unwrap_or_default();
        if let Some((_, quoted)) = text.strip_prefix("299 ").and_then(|rest| rest.split_once('"')) {
            let text = quoted.rsplit_once('"').map_or(quoted, |(text, _)| text);
            notice::say("registry", &format!("{} says: {text}", response.url.authority()));
        }
    }
}
