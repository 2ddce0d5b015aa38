// SPDX-License-Identifier: Apache-2.0
//! Blobs: checking whether a blob exists, requesting it (completely or a range), and interpreting
//! the response.
//!
//! Each call makes one attempt. Resuming, restarting and counting attempts are left to the caller,
//! because the caller knows which bytes it already has. Digests are not verified here. Only the
//! range in a response's headers is compared with the requested range.

use std::io::Read;

use common::digest::Digest;
use common::error::{Error, printable};
use common::notice;
use net::failure::Failure;
use net::redirect::follow_foreign;
use net::request::{Method, Payload, Request, Role};
use net::response::Response;
use net::url::Purpose;

use super::{Registry, answer};

/// A requested range of bytes: from `start` up to but not including `end`, or to the end of the
/// blob if `end` is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The offset after the last byte.
    pub end: Option<u64>,
}

/// The response to a request for a blob.
pub enum BlobAnswer {
    /// Bytes of the blob.
    Bytes(BlobBytes),
    /// 416: the blob has no bytes at this offset.
    Unsatisfiable {
        /// The size of the complete blob, if stated.
        total: Option<u64>,
    },
    /// A 206 whose Content-Range does not match the requested range. Holds the reason.
    WrongRange(String),
}

/// Bytes of a blob, still to be read from a connection or a file. They are not verified.
pub struct BlobBytes {
    /// The bytes.
    pub body: Box<dyn Read + Send>,
    /// The offset of the first byte: the requested offset, or 0 if the server ignores ranges.
    pub start: u64,
    /// The number of bytes that follow, if stated.
    pub length: Option<u64>,
    /// The size of the complete blob, if stated.
    pub total: Option<u64>,
}

impl Registry {
    /// Whether the repository has a blob. If `size` is known and the blob has another size, a
    /// warning is recorded and the blob counts as absent.
    ///
    /// # Errors
    /// The failure that the response reports, if the status does not show whether the blob exists.
    /// The caller may still upload the blob: some registries do not support HEAD.
    pub fn has_blob(&self, digest: &Digest, size: impl Into<Option<u64>>) -> Result<bool, Failure> {
        let size = size.into();
        let url = self.url(&format!("blobs/{digest}"))?;
        // Redirects are followed, because a redirect alone proves nothing: some servers redirect
        // every blob request, even for absent blobs.
        let head = Request::new(Method::Head, &url, &[]);
        let mut response = self.session.send(&self.scope, head, &mut Payload::None)?;
        let is_own = self.session.is_own(&response);
        if !is_own && matches!(response.status.as_u16(), 400 | 401 | 403 | 405 | 501) {
            // A storage URL that is signed for GET often refuses HEAD.
            let headers = [("Range", "bytes=0-0")];
            let get = Request::new(Method::Get, &url, &headers);
            response = self.session.send(&self.scope, get, &mut Payload::None)?;
        }
        let header = |name| response.header(name).map(str::trim);
        let length = match response.status.as_u16() {
            200 => header("content-length").and_then(|length| length.parse().ok()),
            206 => header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok()),
            // Byte 0 of an empty blob does not exist.
            416 => Some(0),
            404 => return Ok(false),
            _ => return Err(answer::failure(response, &self.blob_name(digest))),
        };
        let fits = length.is_none() || size.is_none() || length == size;
        if !fits {
            let size = size.unwrap_or_default();
            notice::warn("other size", || {
                let got = length.unwrap_or_default();
                format!(
                    "{digest}: size in the registry differs: got {got}, want {size}: treated as missing"
                )
            });
        }
        Ok(fits)
    }

    /// Requests a blob, or a range of it.
    ///
    /// # Errors
    /// Absent, and not retried, if the repository does not have the blob. Otherwise the status of
    /// the registry's error response or of the network failure.
    pub fn blob(&self, digest: &Digest, range: Option<ByteRange>) -> Result<BlobAnswer, Failure> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let value = range.map(range_header);
        let header = value.as_deref().map(|value| ("Range", value));
        let what = self.blob_name(digest);
        let response = self.request(Request::new(Method::Get, &url, header.as_slice()));
        self.interpret_blob(response.map_err(|failure| failure.context(&what))?, range, &what)
    }

    /// Requests a blob from one of its descriptor's `urls`, without credentials.
    ///
    /// # Errors
    /// As for [`blob`](Registry::blob). In addition, Malformed if the URL is invalid or not
    /// allowed.
    pub fn blob_elsewhere(
        &self,
        text: &str,
        range: Option<ByteRange>,
    ) -> Result<BlobAnswer, Failure> {
        let http = self.session.http();
        let target = http
            .decide(Purpose::Elsewhere, self.session.root(), text)
            .map_err(|refusal| refusal.error(self.repository()))?;
        let value = range.map(range_header);
        let header = value.as_deref().map(|value| ("Range", value));
        let response = follow_foreign(
            self.session.http(),
            &target.url,
            header.as_slice(),
            None,
            Role::Elsewhere,
        )?;
        self.interpret_blob(response, range, &target.url.to_string())
    }

    /// The name of a blob in messages.
    pub fn blob_name(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository())
    }

    fn interpret_blob(
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
                        let body = Box::new(response.body);
                        let length = Some(length);
                        Ok(BlobAnswer::Bytes(BlobBytes { body, start, length, total }))
                    }
                    Err(why) => Ok(BlobAnswer::WrongRange(why)),
                }
            }
            416 if range.is_some() => {
                let total = response.header("content-range").and_then(|text| {
                    after_unit(text)?.trim_start().strip_prefix("*/")?.parse().ok()
                });
                Ok(BlobAnswer::Unsatisfiable { total })
            }
            201..=399 => {
                let status = response.status.as_u16();
                Err(Error::malformed(format_args!("{what}: unexpected status {status}")).into())
            }
            _ => Err(answer::failure(response, what)),
        }
    }
}

/// The value of the Range header. It states the last byte if the end is known, because some servers
/// answer 416 to a range without it.
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

/// Reads the Content-Range of a 206: the number of bytes in the response and, if stated, the size
/// of the complete blob.
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

/// The part of a Content-Range after its unit, which must be bytes. Units are compared without case
/// (RFC 9110, section 14.1).
fn after_unit(text: &str) -> Option<&str> {
    const UNIT: &str = "bytes";
    let (unit, rest) = text.trim().split_at_checked(UNIT.len())?;
    unit.eq_ignore_ascii_case(UNIT).then_some(rest)
}

fn parse_content_range(text: &str, start: u64) -> Option<(u64, Option<u64>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (span, total) = after_unit(text)?.strip_prefix(' ')?.trim().split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let first = number(first)?;
    let last = number(last)?;
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
    fn a_known_end_is_part_of_the_range_header() {
        assert_eq!(range_header(ByteRange { start: 5, end: Some(10) }), "bytes=5-9");
        assert_eq!(range_header(ByteRange { start: 5, end: None }), "bytes=5-");
    }

    #[test]
    fn a_content_range_must_match_the_request() {
        assert_eq!(parse_content_range("bytes 5-9/10", 5), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-7/*", 5), Some((3, None)));
        assert_eq!(parse_content_range("Bytes 5-9/10", 5), Some((5, Some(10))));
        assert_eq!(parse_content_range(" BYTES  5-9/10 ", 5), Some((5, Some(10))));
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
