// SPDX-License-Identifier: Apache-2.0
//! Upload sessions ("Pushing blobs" in the OCI distribution specification): the requests that every
//! upload needs, and the rules for the URL of a session.
//!
//! The URL of a session is opaque: it is used exactly as the registry last sent it, including the
//! bytes of its query. It may be at another host. Credentials and the user's headers are not sent
//! to that host.
//!
//! [`put_blob`](Registry::put_blob) uploads a blob that is in memory. Not here: uploads in parts
//! and their recovery, which push-blob does.

use std::time::Duration;

use common::digest::Digest;
use common::error::{Error, Result};
use net::failure::Failure;
use net::request::{Method, Payload, Request, Role};
use net::response::Response;
use net::retry::with_attempts;
use net::url::{Purpose, Url};

use super::error_body::ErrorBody;
use super::{Registry, answer};

/// The time limit for cancelling a session. It is short: a user who pressed Ctrl-C waits for it.
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest `OCI-Chunk-Min-Length` that is obeyed, in bytes. A larger value is ignored.
const MAX_MIN_CHUNK: u64 = 1 << 30;

const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

/// The URL of an upload session.
#[derive(Clone, Debug)]
pub struct UploadUrl {
    /// The URL.
    pub url: Url,
    /// Whether it is at the registry itself. Only then are credentials sent.
    pub at_registry: bool,
}

/// A session that a registry opened.
#[derive(Debug)]
pub struct OpenedUpload {
    /// Its URL.
    pub at: UploadUrl,
    /// The minimum size of each part but the last, in bytes, if the registry requires one.
    pub min_chunk: Option<u64>,
}

/// The outcome of the request that closes a session.
pub enum Commit {
    /// The registry has the blob.
    Stored,
    /// The registry stored another blob, of this digest.
    StoredOther(Digest),
    /// The registry refused the request. The response has not been read.
    Rejected(Box<Response>),
}

/// The outcome of an attempt to cancel a session.
pub struct Cancelled {
    /// The last response to a DELETE.
    pub response: Response,
    /// Whether the registry refused even the latest state. More bytes have arrived since then, and
    /// a later attempt may succeed.
    pub has_changed: bool,
}

impl Registry {
    /// Opens an upload session: one attempt.
    ///
    /// # Errors
    /// The failure, classified for a retry; Malformed if the response is neither a session nor an
    /// error.
    pub fn open_upload(&self) -> std::result::Result<OpenedUpload, Failure> {
        let url = self.url("blobs/uploads/")?;
        let post = Request::new(Method::Post, &url, &[]);
        let what = format!("{}: start an upload", self.repository);
        let sent = self.session.send(&self.scope, post, &mut Payload::Bytes(&[]));
        let response = sent.map_err(|failure| failure.context(&what))?;
        match response.status.as_u16() {
            202 => Ok(self.opened_upload(response)?),
            status @ 200..=399 => {
                let what = format_args!("{what}: unexpected status {status}");
                Err(Error::malformed(what).into())
            }
            404 => {
                let Failure { error, retry } = answer::failure(response, &what);
                let hint = "some registries require that the repository is created first";
                Err(Failure { error: error.hint(hint), retry })
            }
            _ => Err(answer::failure(response, &what)),
        }
    }

    /// The session that a response opened.
    ///
    /// # Errors
    /// Malformed if the response has no usable Location.
    pub fn opened_upload(&self, mut response: Response) -> Result<OpenedUpload> {
        let at = self.upload_location(&response)?.ok_or_else(|| {
            let what = "start an upload: the response has no Location";
            Error::malformed(format_args!("{}: {what}", self.repository))
        })?;
        let least = response.header("oci-chunk-min-length").and_then(|l| l.trim().parse().ok());
        let min_chunk = least.filter(|least| (1..=MAX_MIN_CHUNK).contains(least));
        response.error_text();
        Ok(OpenedUpload { at, min_chunk })
    }

    /// The URL in the Location header of an upload's response; `None` if the header is absent.
    ///
    /// # Errors
    /// Malformed if the rules for upload URLs do not allow it.
    pub fn upload_location(&self, response: &Response) -> Result<Option<UploadUrl>> {
        let text = response.header("location").filter(|text| !text.trim().is_empty());
        let Some(text) = text else { return Ok(None) };
        let target = self.session.http().decide(Purpose::Upload, &response.url, text);
        let target = target.map_err(|refusal| {
            refusal.error(format_args!("{}: upload Location", self.repository))
        })?;
        Ok(Some(UploadUrl { url: target.url, at_registry: target.same_origin }))
    }

    /// Sends a request of a session. Credentials and the user's headers are sent only if the
    /// session's URL is at the registry itself.
    ///
    /// # Errors
    /// The failure, classified for a retry. Malformed if another host redirects the request or
    /// requires a credential.
    pub fn send_in_upload(
        &self,
        at: &UploadUrl,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> std::result::Result<Response, Failure> {
        let request = Request { role: Role::Session, ..request };
        if at.at_registry {
            return self.session.send(&self.scope, request, payload);
        }
        let response = self.session.http().send(Request { redirects: 0, ..request }, payload)?;
        match response.status.as_u16() {
            status @ (301..=303 | 307 | 308 | 401) => {
                let host = at.url.authority();
                let what = format_args!("{}: upload at {host}: {status}", self.repository);
                Err(Error::malformed(what).into())
            }
            _ => Ok(response),
        }
    }

    /// Sends the request that closes a session, with the bytes that the registry does not have yet:
    /// one attempt. `size` is the size of the complete blob, in bytes.
    ///
    /// # Errors
    /// The failure, classified for a retry. Malformed if the response claims success, but the
    /// registry does not have the blob.
    pub fn commit_upload(
        &self,
        at: &UploadUrl,
        digest: &Digest,
        size: u64,
        payload: &mut Payload<'_>,
    ) -> std::result::Result<Commit, Failure> {
        let url = at.url.with_query(&[("digest", &digest.to_string())]);
        let url = url.map_err(Error::malformed)?;
        let put = Request { commits: true, ..Request::new(Method::Put, &url, &[OCTETS]) };
        let response = self.send_in_upload(at, put, payload)?;
        let status = response.status.as_u16();
        match status {
            201 | 204 if at.at_registry => {}
            // Ask the registry whether it has the blob. Any web server can send a 200, and another
            // host does not know which blobs the registry has.
            200..=202 | 204 => {
                if !matches!(self.has_blob(digest, size), Ok(true)) {
                    let what = self.blob_name(digest);
                    let what = format_args!("{what}: {status}, but the registry does not have it");
                    return Err(Error::malformed(what).into());
                }
            }
            _ => return Ok(Commit::Rejected(Box::new(response))),
        }
        Ok(match stored_digest(&response) {
            Some(other) if differs(&other, digest) => Commit::StoredOther(other),
            _ => Commit::Stored,
        })
    }

    /// Cancels a session: one attempt. Each request of the attempt takes at most `within`. A
    /// request that failed earlier may have changed the state of the session, and many registries
    /// refuse to cancel it if the URL has an old state. In that case, the URL with the latest state
    /// is requested and stored in `at`.
    ///
    /// # Errors
    /// The failure if there is no response. Malformed if the rules for upload URLs do not allow the
    /// latest state.
    pub fn cancel_upload(
        &self,
        at: &mut UploadUrl,
        within: Option<Duration>,
    ) -> std::result::Result<Cancelled, Failure> {
        let mut response = self.delete_upload(at, within)?;
        if !is_old_state(&mut response) {
            return Ok(Cancelled { response, has_changed: false });
        }
        let get = Request { redirects: 0, within, ..Request::new(Method::Get, &at.url, &[]) };
        let state = self.send_in_upload(at, get, &mut Payload::None)?;
        if !state.status.is_success() {
            return Ok(Cancelled { response, has_changed: false });
        }
        if let Some(latest) = self.upload_location(&state)? {
            *at = latest;
        }
        let mut response = self.delete_upload(at, within)?;
        let has_changed = is_old_state(&mut response);
        Ok(Cancelled { response, has_changed })
    }

    fn delete_upload(
        &self,
        at: &UploadUrl,
        within: Option<Duration>,
    ) -> std::result::Result<Response, Failure> {
        let delete = Request { within, ..Request::new(Method::Delete, &at.url, &[]) };
        self.send_in_upload(at, delete, &mut Payload::None)
    }

    /// Uploads a blob that is in memory, unless the repository has it. All bytes are sent in one
    /// request, so the blob should be small.
    ///
    /// # Errors
    /// The failure that the registry's response reports. Content if the registry stored another
    /// blob.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        with_attempts(&self.client().clone(), || {
            // The check may fail where an upload succeeds: some registries do not support HEAD. It
            // also finds a blob that an earlier attempt stored, if the response was lost.
            if matches!(self.has_blob(digest, size), Ok(true)) {
                return Ok(());
            }
            let mut at = self.open_upload()?.at;
            let failure = match self.commit_upload(&at, digest, size, &mut Payload::Bytes(bytes)) {
                Ok(Commit::Stored) => return Ok(()),
                Ok(Commit::StoredOther(other)) => {
                    return Err(self.stored_other(digest, &other).into());
                }
                Ok(Commit::Rejected(response)) => {
                    answer::failure(*response, &self.blob_name(digest))
                }
                Err(failure) => failure,
            };
            // Registries remove old sessions themselves, so a failure does not matter.
            let _ = self.cancel_upload(&mut at, Some(CANCEL_TIMEOUT));
            Err(failure)
        })
    }

    /// The error that the registry stored another blob.
    pub fn stored_other(&self, digest: &Digest, other: &Digest) -> Error {
        Error::content(format_args!("{}: the registry stored {other}", self.blob_name(digest)))
    }
}

/// Whether a registry may have refused to cancel a session because the state is old. The body of
/// the response can still be read.
fn is_old_state(response: &mut Response) -> bool {
    matches!(response.status.as_u16(), 400 | 404 | 416)
        && ErrorBody::parse(&response.hold()).code != "BLOB_UPLOAD_UNKNOWN"
}

/// The digest that a response reports as stored.
pub fn stored_digest(response: &Response) -> Option<Digest> {
    response.header("docker-content-digest")?.trim().parse().ok()
}

/// Whether two digests are of different blobs. False if the algorithms differ, because the digests
/// cannot be compared then.
pub fn differs(stored: &Digest, digest: &Digest) -> bool {
    stored.algorithm() == digest.algorithm() && stored != digest
}
