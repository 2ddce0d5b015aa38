// SPDX-License-Identifier: Apache-2.0
//! A received request, kept completely, so that tests can check it.

use std::ops::Range;

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number of the request on this server, from 0.
    pub number: usize,
    /// The number of earlier requests with the same method and path.
    pub earlier: usize,
    /// The number of its connection, from 0.
    pub connection: usize,
    /// GET, HEAD, …
    pub method: String,
    /// Path and query, unchanged.
    pub target: String,
    /// The path alone.
    pub path: String,
    /// The query alone, without its question mark.
    pub query: String,
    /// The headers in order, including repeated ones.
    pub headers: Vec<(String, String)>,
    /// The body, without the bytes that the server [took](super::Serve::take).
    pub body: Vec<u8>,
    /// The number of bytes of the body that arrived, including those that the server took.
    pub received: u64,
    /// Whether the complete body arrived.
    pub whole: bool,
    /// The client certificate of its connection, in DER.
    pub client_certificate: Option<Vec<u8>>,
    /// Its number among all requests, including forgotten ones.
    pub(crate) serial: usize,
}

impl Request {
    /// Parses a request's head; `None` if it is not HTTP. The body and the numbers are filled in
    /// later.
    pub(super) fn parse(head: &[u8]) -> Option<Request> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.trim_end().split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if !version.starts_with("HTTP/1.") {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = lines
            .map(|line| line.split_once(':'))
            .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()?;
        Some(Request {
            number: 0,
            earlier: 0,
            connection: 0,
            method: method.to_owned(),
            target: target.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Vec::new(),
            received: 0,
            whole: false,
            client_certificate: None,
            serial: 0,
        })
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, percent-decoded.
    pub fn param(&self, name: &str) -> Option<String> {
        self.params(name).into_iter().next()
    }

    /// All parameters of this name, percent-decoded.
    pub fn params(&self, name: &str) -> Vec<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| unescaped(value, true)).collect()
    }

    /// The byte range that the Range header asks for; `None` without such a header.
    pub fn range(&self) -> Option<Range<u64>> {
        let (from, to) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let from = from.parse().ok()?;
        let to = if to.is_empty() { u64::MAX } else { to.parse::<u64>().ok()?.checked_add(1)? };
        Some(from..to)
    }

    /// Whether it is a GET or HEAD of a blob.
    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/") && !self.path.contains("/blobs/uploads/")
    }

    /// Whether it is for a manifest.
    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }

    /// Whether it starts an upload, or mounts a blob.
    pub fn is_start(&self) -> bool {
        self.method == "POST" && self.path.ends_with("/blobs/uploads/")
    }

    /// Whether it belongs to an upload session.
    pub fn is_session(&self) -> bool {
        self.path.rsplit_once("/blobs/uploads/").is_some_and(|(_, id)| !id.is_empty())
    }

    /// Whether it sends a part of an upload.
    pub fn is_patch(&self) -> bool {
        self.method == "PATCH" && self.is_session()
    }

    /// Whether it completes an upload.
    pub fn is_close(&self) -> bool {
        self.method == "PUT" && self.is_session()
    }

    /// The request in a short form: `HEAD blob`, `POST uploads`, `POST mount`. For PUT and PATCH
    /// the number of bytes received follows: `PATCH session 1048576`.
    pub fn step(&self) -> String {
        let what = if self.is_start() && self.param("mount").is_some() {
            "mount"
        } else if self.is_start() {
            "uploads"
        } else if self.is_session() {
            "session"
        } else if self.is_blob() {
            "blob"
        } else if self.is_manifest() {
            "manifest"
        } else if self.is_tags() {
            "tags"
        } else if self.path.contains("/referrers/") {
            "referrers"
        } else {
            &self.path
        };
        match self.method.as_str() {
            "PUT" | "PATCH" => format!("{} {what} {}", self.method, self.received),
            method => format!("{method} {what}"),
        }
    }

    /// Whether it is for the tag list.
    pub fn is_tags(&self) -> bool {
        self.path.ends_with("/tags/list")
    }
}

/// Decodes percent-encoding. In a form `+` also becomes a space.
pub(crate) fn unescaped(text: &str, is_form: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(if byte == b'+' && is_form { b' ' } else { byte });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
