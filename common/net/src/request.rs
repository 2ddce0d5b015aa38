// SPDX-License-Identifier: Apache-2.0
//! A request: its method, where it goes, what it carries.

use std::io::{self, Read};
use std::time::Duration;

use common::error::Error;
use common::error::source_error;

use crate::url::Url;

/// The most redirects that are followed for one request.
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
    /// Its name on the wire.
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

    /// Whether it only reads, so that redirects may be followed.
    pub fn only_reads(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }
}

/// What a request is for, as far as that shows in how it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// Anything that a registry's API has under a name of its own.
    Api,
    /// Something about an upload that is open, at its secret address.
    Session,
    /// A blob at a place that is no registry.
    Elsewhere,
    /// A token, for which a [trace](crate::trace) has this variable.
    Token(&'a str),
}

/// A request, but for what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: &'a Url,
    /// Headers beside those that every request has.
    pub headers: &'a [(&'a str, &'a str)],
    /// How many redirects may be followed; with none a redirect is an answer like any other.
    pub redirects: usize,
    /// How long it may take in all, when that is less than usual.
    pub within: Option<Duration>,
    /// Whether the server has long work to do before it answers.
    pub commits: bool,
    /// What it is for.
    pub role: Role<'a>,
    /// Whether it only follows the redirect of another one.
    pub hop: bool,
}

impl<'a> Request<'a> {
    /// A request that follows redirects and takes its time.
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

/// What a request carries.
pub enum Payload<'a> {
    /// Nothing: a GET, HEAD or DELETE.
    None,
    /// Bytes in memory, none of them too: can be sent again.
    Bytes(&'a [u8]),
    /// Exactly so many bytes of a reader, once. What fails with a [`Error`] inside [`io::Error`]
    /// fails the request with that.
    Stream {
        /// Where they come from.
        reader: &'a mut dyn Read,
        /// How many.
        length: u64,
    },
}

impl Payload<'_> {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        match self {
            Payload::None => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Stream { length, .. } => *length,
        }
    }

    /// Whether it can be sent again.
    pub fn can_repeat(&self) -> bool {
        !matches!(self, Payload::Stream { .. })
    }
}

/// A reader of exactly so many bytes. One that ends early is an error: the library would wait for
/// more for ever.
pub struct Exactly<'a> {
    reader: &'a mut dyn Read,
    left: u64,
    /// Why it could not be read on.
    pub failed: Option<Error>,
}

impl<'a> Exactly<'a> {
    /// The first so many bytes of a reader.
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
