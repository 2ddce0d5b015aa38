// SPDX-License-Identifier: Apache-2.0
//! A request: method, URL, headers, body.

use std::io::{self, Read};
use std::time::Duration;

use common::error::Error;
use common::error::source_error;

use crate::url::Url;

/// The maximum number of redirects that are followed for one request.
pub const MAX_REDIRECTS: usize = 10;

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Method {
    /// The method's name as HTTP sends it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    /// Whether the method only reads, so that any redirect may be followed.
    pub fn only_reads(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }
}

/// The purpose of a request. It decides how the [trace](crate::trace) shows the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// A request to a documented URL of the registry's API.
    Api,
    /// A request to the URL of an open upload session, which is secret.
    Session,
    /// A blob from a descriptor's `urls`, not from a registry.
    Elsewhere,
    /// A token from a token server. The trace stores the token in this shell variable.
    Token(&'a str),
}

/// A request without its body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: &'a Url,
    /// Headers in addition to those that every request has.
    pub headers: &'a [(&'a str, &'a str)],
    /// The maximum number of redirects to follow. If 0, a redirect is returned like any other
    /// response.
    pub redirects: usize,
    /// A time-out for the complete exchange; `None` means that only the usual time-outs apply. It
    /// has an effect only for a request without a body.
    pub within: Option<Duration>,
    /// Whether the server has long work to do before it responds, such as assembling a blob.
    pub commits: bool,
    /// The purpose.
    pub role: Role<'a>,
    /// Whether the request follows a redirect of an earlier request.
    pub hop: bool,
}

impl<'a> Request<'a> {
    /// A request that follows up to [`MAX_REDIRECTS`] redirects and has the usual time-outs.
    pub fn new(method: Method, url: &'a Url, headers: &'a [(&'a str, &'a str)]) -> Request<'a> {
        Request {
            method,
            url,
            headers,
            redirects: MAX_REDIRECTS,
            within: None,
            commits: false,
            role: Role::Api,
            hop: false,
        }
    }
}

/// The body of a request.
pub enum Payload<'a> {
    /// No body: a GET, HEAD or DELETE.
    None,
    /// Bytes in memory, possibly an empty body. They can be sent again.
    Bytes(&'a [u8]),
    /// Exactly `length` bytes from a reader, sent once. If the reader fails with an [`Error`]
    /// inside an [`io::Error`], the request fails with that [`Error`].
    Stream {
        /// The source of the bytes.
        reader: &'a mut dyn Read,
        /// The number of bytes.
        length: u64,
    },
}

impl Payload<'_> {
    /// The number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            Payload::None => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Stream { length, .. } => *length,
        }
    }

    /// Whether the body can be sent again.
    pub fn can_repeat(&self) -> bool {
        !matches!(self, Payload::Stream { .. })
    }
}

/// Reads exactly `length` bytes from a reader. It fails if the source ends early, because ureq
/// would then wait for more bytes for ever.
pub struct Exactly<'a> {
    reader: &'a mut dyn Read,
    left: u64,
    /// Why reading failed.
    pub failed: Option<Error>,
}

impl<'a> Exactly<'a> {
    /// The first `length` bytes of a reader.
    pub fn of(reader: &'a mut dyn Read, length: u64) -> Exactly<'a> {
        Exactly { reader, left: length, failed: None }
    }
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        loop {
            let error = match self.reader.read(&mut buffer[..want]) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => Error::content(format_args!("the source ended {} bytes early", self.left)),
                Ok(n) => {
                    self.left -= n as u64;
                    return Ok(n);
                }
                Err(cause) => source_error(&cause),
            };
            self.failed = Some(error);
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}
