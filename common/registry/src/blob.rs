// SPDX-License-Identifier: Apache-2.0
//! Blobs: whether one is there; asking for one, whole or from an offset; and understanding the
//! answer.
//!
//! One attempt is one call: resuming, starting over and counting attempts are the caller's, who
//! knows what is there already. Bytes are not checked here against anything but the answer's own
//! words.

use std::io::Read;

use common::digest::Digest;
use common::error::{Error, printable};
use common::notice;
use net::failure::Failure;
use net::redirect::follow_foreign;
use net::request::{Method, Payload, Request, Role};
use net::response::Response;
use net::url::{self, Purpose};

use super::{Registry, answer};

/// The bytes that are asked for: from `start`, up to but not including `end` when that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// One past the last byte.
    pub end: Option<u64>,
}

/// An answer to a request for a blob.
pub enum BlobAnswer {
    /// Bytes of the blob.
    Bytes(BlobBytes),
    /// 416: no bytes at this offset.
    Unsatisfiable {
        /// The size of the whole blob, if stated.
        total: Option<u64>,
    },
    /// The answer to a range request does not say clearly that its bytes are the requested ones:
    /// the reason.
    WrongRange(String),
}

/// Bytes of a blob, to be read from the connection or file that they are in. They are not verified.
pub struct BlobBytes {
    /// The bytes.
    pub body: Box<dyn Read + Send>,
    /// The offset of the first: the requested one, or 0 if the server ignores ranges.
    pub start: u64,
    /// How many bytes follow, if stated.
    pub length: Option<u64>,
    /// The size of the whole blob, if stated.
    pub total: Option<u64>,
}

impl Registry {
    /// Whether the repository has a blob. One of another size is said and counts as absent.
    ///
    /// # Errors
    /// Sorted. A registry that does not answer HEAD may still take the blob.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Failure> {
        let url = self.url(&format!("blobs/{digest}"))?;
        // A redirect alone says nothing: a front may redirect whatever it is asked for.
        let head = Request::new(Method::Head, &url, &[]);
        let mut response = self.session.send(&self.scope, head, &mut Payload::None)?;
        let is_own = self.session.is_own(&response);
        if !is_own && matches!(response.status.as_u16(), 400 | 401 | 403 | 405 | 501) {
            // What is signed for GET is often good for nothing else.
            let headers = [("Range", "bytes=0-0")];
            let get = Request::new(Method::Get, &url, &headers);
            response = self.session.send(&self.scope, get, &mut Payload::None)?;
        }
        let header = |name| response.header(name).map(str::trim);
        let length = match response.status.as_u16() {
            200 => header("content-length").and_then(|length| length.parse().ok()),
            206 => header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok()),
            // Of no bytes there is no first one.
            416 => Some(0),
            404 => return Ok(false),
            _ => return Err(answer::failure(response, &self.blob_name(digest))),
        };
        let fits = length.is_none_or(|length: u64| length == size);
        if !fits {
            notice::warn("other size", || {
                let got = length.unwrap_or_default();
                format!("{digest}: the registry's has {got} bytes, want {size}: sent again")
            });
        }
        Ok(fits)
    }

    /// Asks for a blob, or for a range of it.
    ///
    /// # Errors
    /// Sorted; a blob that is not there is absent, and final.
    pub fn blob(&self, digest: &Digest, range: Option<ByteRange>) -> Result<BlobAnswer, Failure> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let value = range.map(range_header);
        let header = value.as_deref().map(|value| ("Range", value));
        let what = self.blob_name(digest);
        let response = self.request(Request::new(Method::Get, &url, header.as_slice()));
        self.understand(response.map_err(|failure| failure.context(&what))?, range, &what)
    }

    /// Asks for a blob at one of its descriptor's `urls`, without credentials.
    ///
    /// # Errors
    /// As [`blob`](Registry::blob); malformed for a URL that is refused.
    pub fn blob_elsewhere(
        &self,
        text: &str,
        range: Option<ByteRange>,
    ) -> Result<BlobAnswer, Failure> {
        let target = url::decide(
            Purpose::Elsewhere,
            self.session.http().origin(),
            self.session.root(),
            text,
        )
        .map_err(Error::malformed)?;
        let value = range.map(range_header);
        let header = value.as_deref().map(|value| ("Range", value));
        let response = follow_foreign(
            self.session.http(),
            &target.url,
            header.as_slice(),
            None,
            Role::Elsewhere,
        )?;
        self.understand(response, range, &target.url.to_string())
    }

    /// How messages name a blob.
    pub fn blob_name(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository())
    }

    fn understand(
        &self,
        response: Response,
        range: Option<ByteRange>,
        what: &str,
    ) -> Result<BlobAnswer, Failure> {
        let start = range.map_or(0, |range| range.start);
        match response.status.as_u16() {
            200 => {
                response.refuse_encoding().map_err(|e| e.context(what))?;
                let total = content_length(&response);
                let body = Box::new(response.body);
                Ok(BlobAnswer::Bytes(BlobBytes { body, start: 0, length: total, total }))
            }
            206 if range.is_some() => {
                response.refuse_encoding().map_err(|e| e.context(what))?;
                match content_range(&response, start) {
                    Ok((length, total)) => {
                        let (body, length) = (Box::new(response.body), Some(length));
                        Ok(BlobAnswer::Bytes(BlobBytes { body, start, length, total }))
                    }
                    Err(why) => Ok(BlobAnswer::WrongRange(why)),
                }
            }
            416 if range.is_some() => {
                let total = response.header("content-range").and_then(|text| {
                    text.trim().strip_prefix("bytes")?.trim_start().strip_prefix("*/")?.parse().ok()
                });
                Ok(BlobAnswer::Unsatisfiable { total })
            }
            201..=399 => {
                let status = response.status.as_u16();
                Err(Error::malformed(format_args!("{what}: unexpected answer {status}")).into())
            }
            _ => Err(answer::failure(response, what)),
        }
    }
}

/// The closed form when the end is known: some servers answer 416 to the open one.
fn range_header(range: ByteRange) -> String {
    match range.end {
        Some(end) => format!("bytes={}-{}", range.start, end.saturating_sub(1)),
        None => format!("bytes={}-", range.start),
    }
}

fn content_length(response: &Response) -> Option<u64> {
    match response.header("transfer-encoding") {
        Some(_) => None,
        None => response.header("content-length")?.trim().parse().ok(),
    }
}

/// Reads the Content-Range of a 206: how many bytes come and, when it is said, the size of the
/// whole.
fn content_range(response: &Response, start: u64) -> Result<(u64, Option<u64>), String> {
    let mut values = response.headers.get_all("content-range").iter();
    let text = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        (None, _) => return Err("206 without Content-Range".to_owned()),
        (Some(_), Some(_)) => return Err("206 with several Content-Range headers".to_owned()),
    };
    parse_content_range(text, start).ok_or_else(|| {
        format!("asked for bytes from {start}, got Content-Range \"{}\"", printable(text))
    })
}

fn parse_content_range(text: &str, start: u64) -> Option<(u64, Option<u64>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (span, total) = text.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = if total == "*" { None } else { Some(number(total)?) };
    if first != start || last < first || total.is_some_and(|total| last >= total) {
        return None;
    }
    Some(((last - first).checked_add(1)?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_used_when_the_end_is_known() {
        assert_eq!(range_header(ByteRange { start: 5, end: Some(10) }), "bytes=5-9");
        assert_eq!(range_header(ByteRange { start: 5, end: None }), "bytes=5-");
    }

    #[test]
    fn only_the_range_asked_for_is_believed() {
        assert_eq!(parse_content_range("bytes 5-9/10", 5), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-7/*", 5), Some((3, None)));
        for wrong in [
            "bytes 4-9/10",
            "bytes 5-4/10",
            "bytes 5-10/10",
            "5-9/10",
            "bytes 5-/10",
            "bytes */10",
            "bytes 5-18446744073709551615/*x",
            "bytes +5-9/10",
            "",
        ] {
            assert_eq!(parse_content_range(wrong, 5), None, "{wrong}");
        }
    }
}
