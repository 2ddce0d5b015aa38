// SPDX-License-Identifier: Apache-2.0
//! Open upload sessions: their bytes, which are stored as they arrive, and their state. Each
//! response gives a new state, which the next request must return.

use std::collections::BTreeMap;

use super::Settings;
use crate::fake::{Reply, Request};
use crate::images::{sha256, sha512};

/// An open upload session.
struct Session {
    repository: String,
    bytes: Vec<u8>,
    /// Changes with every part of a body that is stored, and with every response.
    state: usize,
}

impl Session {
    /// The query of a Location. It has reserved and unreserved characters, encoded and plain, with
    /// hexadecimal digits in upper and lower case. A client that decodes it and encodes it again
    /// therefore returns another text.
    fn query(&self) -> String {
        format!("_state=aZ-{}%2f%2B+~.%7e==&empty=&part=%20x", self.state)
    }

    /// The state in the query, decoded.
    fn decoded(&self) -> String {
        format!("aZ-{}/+ ~.~==", self.state)
    }

    /// Whether a request returns the current state, as far as the settings require it.
    fn is_given_back(&self, request: &Request, settings: &Settings) -> bool {
        if settings.steady {
            return request.query.starts_with("_state=");
        }
        let query = self.query();
        match request.query.strip_prefix(&query) {
            Some(rest) => rest.is_empty() || rest.starts_with("&digest="),
            None => settings.any_spelling && request.param("_state") == Some(self.decoded()),
        }
    }

    fn range(&self) -> String {
        format!("0-{}", self.bytes.len().saturating_sub(1))
    }
}

/// The uploads of a registry.
#[derive(Default)]
pub(super) struct Uploads {
    begun: usize,
    open: BTreeMap<String, Session>,
    /// The requests whose bodies are arriving, by serial number, and the IDs of their sessions.
    taking: BTreeMap<usize, String>,
}

/// The result of an upload's last request.
pub(super) enum Closed {
    /// The blob is complete.
    Blob { repository: String, digest: String, bytes: Vec<u8> },
    /// The upload failed.
    Not(Reply),
}

impl Uploads {
    /// Starts an upload.
    pub(super) fn begin(&mut self, repository: &str, origin: &str) -> Reply {
        self.begun += 1;
        let id = format!("{:08x}-0000-4000-8000-00000000beef", self.begun);
        let session =
            Session { repository: repository.to_owned(), bytes: Vec::new(), state: self.begun };
        self.open.insert(id.clone(), session);
        self.accepted(&id, origin, 202)
    }

    /// The response to an accepted request: the next Location, and the bytes stored so far.
    fn accepted(&mut self, id: &str, origin: &str, status: u16) -> Reply {
        let Some(session) = self.open.get_mut(id) else { return unknown() };
        session.state += 1;
        let location =
            format!("{origin}/v2/{}/blobs/uploads/{id}?{}", session.repository, session.query());
        Reply::new(status)
            .header("Location", location)
            .header("Docker-Upload-UUID", id)
            .header("Range", session.range())
    }

    /// Checks a request for a session before its body arrives. No bytes of a refused request are
    /// stored.
    pub(super) fn admit(
        &mut self,
        request: &Request,
        id: &str,
        settings: &Settings,
    ) -> Option<Reply> {
        let Some(session) = self.open.get(id) else { return Some(unknown()) };
        if let Some(range) = request.header("content-range") {
            let from = range.split_once('-').and_then(|(from, to)| {
                let (from, to): (usize, u64) = (from.parse().ok()?, to.parse().ok()?);
                let length: u64 = request.header("content-length")?.parse().ok()?;
                (to + 1 == from as u64 + length).then_some(from)
            });
            let wrong = match from {
                None => return Some(Reply::error(400, "SIZE_INVALID", "Content-Range")),
                Some(from) => from != session.bytes.len(),
            };
            if wrong {
                return Some(Reply::error(416, "RANGE_INVALID", "invalid content range"));
            }
        }
        if !session.is_given_back(request, settings) {
            return Some(stale(settings));
        }
        self.taking.insert(request.serial, id.to_owned());
        None
    }

    /// Stores bytes of a body, if its request was accepted.
    pub(super) fn take(&mut self, request: &Request, bytes: &[u8]) -> bool {
        let id = self.taking.get(&request.serial);
        let session = id.and_then(|id| self.open.get_mut(id));
        session.is_some_and(|session| {
            session.bytes.extend_from_slice(bytes);
            session.state += 1;
            true
        })
    }

    /// Called when the rest of a body will not arrive.
    pub(super) fn broken(&mut self, request: &Request, settings: &Settings) {
        let Some(id) = self.taking.remove(&request.serial) else { return };
        if settings.forgets_broken {
            self.open.remove(&id);
        } else if let (Some(session), Some(kept)) =
            (self.open.get_mut(&id), settings.keeps_of_broken)
        {
            session.bytes.truncate(kept);
        }
    }

    /// Whether a request returns an old state.
    pub(super) fn is_stale(&self, request: &Request, id: &str, settings: &Settings) -> bool {
        let settings = Settings { any_spelling: true, ..settings.clone() };
        self.open.get(id).is_some_and(|session| !session.is_given_back(request, &settings))
    }

    /// Responds to an accepted PATCH.
    pub(super) fn patched(&mut self, request: &Request, id: &str, origin: &str) -> Reply {
        self.taking.remove(&request.serial);
        self.accepted(id, origin, 202)
    }

    /// Responds to a GET. An old state is accepted.
    pub(super) fn status(&mut self, id: &str, origin: &str) -> Reply {
        self.accepted(id, origin, 204)
    }

    /// Responds to an accepted DELETE.
    pub(super) fn cancel(&mut self, id: &str) -> Reply {
        let closed = || Reply::new(204).header("Docker-Upload-UUID", id);
        self.open.remove(id).map_or_else(unknown, |_| closed())
    }

    /// Completes an upload with an accepted PUT. Its digest must be that of all bytes; with a wrong
    /// digest, the upload stays open and keeps the bytes.
    pub(super) fn close(&mut self, request: &Request, id: &str) -> Closed {
        self.taking.remove(&request.serial);
        let Some(digest) = request.param("digest") else {
            return Closed::Not(Reply::error(400, "DIGEST_INVALID", "no digest"));
        };
        let Some(session) = self.open.remove(id) else { return Closed::Not(unknown()) };
        if digest_as(&digest, &session.bytes) == digest {
            return Closed::Blob { repository: session.repository, digest, bytes: session.bytes };
        }
        self.open.insert(id.to_owned(), session);
        Closed::Not(mismatch())
    }

    /// The repository and the number of bytes of each open session.
    pub(super) fn open(&self) -> Vec<(String, usize)> {
        self.open.values().map(|s| (s.repository.clone(), s.bytes.len())).collect()
    }

    /// Discards all sessions.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// Truncates all sessions to `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        for session in self.open.values_mut() {
            session.bytes.truncate(len);
            session.state += 1;
        }
    }
}

/// The result for a blob that arrived in one request, with its digest.
pub(super) fn of_one_request(repository: &str, digest: String, bytes: &[u8]) -> Closed {
    if digest_as(&digest, bytes) == digest {
        Closed::Blob { repository: repository.to_owned(), digest, bytes: bytes.to_vec() }
    } else {
        Closed::Not(mismatch())
    }
}

fn digest_as(digest: &str, bytes: &[u8]) -> String {
    if digest.starts_with("sha512:") { sha512(bytes) } else { sha256(bytes) }
}

fn mismatch() -> Reply {
    Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
}

/// The refusal of a state that is not the last one.
pub(super) fn stale(settings: &Settings) -> Reply {
    if settings.strict {
        Reply::error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid")
    } else {
        Reply::error(416, "RANGE_INVALID", "invalid content range")
    }
}

fn unknown() -> Reply {
    Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
}
