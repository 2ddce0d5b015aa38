// SPDX-License-Identifier: Apache-2.0
//! The requests of an upload session ("Pushing blobs" in the OCI distribution specification), and
//! the interpretation of their responses.
//!
//! Each call makes one attempt. [`setbacks`](super::setbacks) decides how the upload continues
//! after a refusal: retry, start over, or send in parts. The rules for the URL of a session are in
//! `registry::upload`.

use std::io::Read;
use std::time::Duration;

use common::digest::Digest;
use common::error::{Error, Status};
use net::failure::Failure;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::url::Purpose;
use registry::answer;
use registry::upload::{CANCEL_TIMEOUT, Commit, OpenedUpload, UploadUrl, differs, stored_digest};

use super::Uploads;
use super::open_sessions::{Sending, UploadSession};
use super::refused::{Refused, refused};

/// The waits before the attempts to cancel sessions. Together they are shorter than the time that
/// the end of a run may take after a signal.
const CANCEL_PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];

const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

/// The outcome of a mount request.
pub(crate) enum Mount {
    /// The blob is in the repository now.
    Mounted,
    /// The blob was not mounted. The registry opened an upload session for it.
    Session(UploadSession),
    /// The blob was not mounted.
    Refused {
        /// Whether a later attempt would fail in the same way.
        is_final: bool,
    },
}

impl Mount {
    /// A failed mount that a later run need not try again.
    const NEVER: Mount = Mount::Refused { is_final: true };

    /// A failed mount that does not show whether the source has the blob.
    const NOT_NOW: Mount = Mount::Refused { is_final: false };
}

impl Uploads {
    /// Asks the registry to mount a blob from the repository `source`. Every failure is
    /// [`Mount::Refused`]: the blob can still be uploaded. The refusal is final if the registry or
    /// its token server responded. It is not final if the reason may be an overload or a missing
    /// credential.
    pub(crate) fn mount(&self, digest: &Digest, source: &str) -> Mount {
        let text = digest.to_string();
        let url = self.registry.url("blobs/uploads/");
        let Ok(Ok(url)) = url.map(|url| url.with_query(&[("mount", &text), ("from", source)]))
        else {
            return Mount::NEVER;
        };
        let _opening = self.open.opening();
        // The mount requires permission to pull from the source, too. Without it the mount fails.
        let scope = self.registry.scope().and_pull(source);
        let post = Request::new(Method::Post, &url, &[]);
        match self.registry.session().send(&scope, post, &mut Payload::Bytes(&[])) {
            Ok(response) if response.status.as_u16() == 201 => {
                if stored_digest(&response).is_some_and(|stored| differs(&stored, digest)) {
                    Mount::NEVER
                } else {
                    Mount::Mounted
                }
            }
            Ok(response) if response.status.as_u16() == 202 => {
                self.opened(response).map_or(Mount::NOT_NOW, Mount::Session)
            }
            Ok(mut response) => {
                response.error_text();
                match response.status.as_u16() {
                    401 | 403 if self.registry.session().is_anonymous() => Mount::NOT_NOW,
                    408 | 425 | 429 | 500.. => Mount::NOT_NOW,
                    _ => Mount::NEVER,
                }
            }
            // The token server refused access to the source.
            Err(failure) if failure.error.status() == Status::Refused => {
                Mount::Refused { is_final: !self.registry.session().is_anonymous() }
            }
            Err(_) => Mount::NOT_NOW,
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// The failure, classified for a retry; malformed if the response is neither a session nor an
    /// error.
    pub(crate) fn begin(&self) -> Result<UploadSession, Failure> {
        let _opening = self.open.opening();
        Ok(self.track(self.registry.open_upload()?))
    }

    /// The session that a response opened.
    fn opened(&self, response: Response) -> Result<UploadSession, Error> {
        Ok(self.track(self.registry.opened_upload(response)?))
    }

    fn track(&self, opened: OpenedUpload) -> UploadSession {
        self.open.opened(opened.at, opened.min_chunk)
    }

    /// The session at `address`, which an earlier run saved.
    ///
    /// # Errors
    /// A message, if the rules for upload URLs do not allow that URL for this registry.
    pub(crate) fn reopen(&self, address: &str) -> Result<UploadSession, String> {
        let session = self.registry.session();
        let target = session.http().decide(Purpose::Upload, session.root(), address);
        let target = target.map_err(|refusal| refusal.why)?;
        let at = UploadUrl { url: target.url, at_registry: target.same_origin };
        let mut session = self.open.opened(at, None);
        session.reopened = true;
        Ok(session)
    }

    /// Sends the complete blob in one request, which closes the session.
    ///
    /// # Errors
    /// [`Refused`]. If the connection broke during the body, the number of bytes that the registry
    /// has is unknown.
    pub(crate) fn send_whole(
        &self,
        session: &UploadSession,
        digest: &Digest,
        reader: &mut dyn Read,
        length: u64,
    ) -> Result<(), Refused> {
        self.commit(session, digest, &mut Payload::Stream { reader, length })
    }

    /// Closes a session that has all the bytes.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn close(&self, session: &UploadSession, digest: &Digest) -> Result<(), Refused> {
        self.commit(session, digest, &mut Payload::Bytes(&[]))
    }

    /// Sends the request that closes a session.
    fn commit(
        &self,
        session: &UploadSession,
        digest: &Digest,
        payload: &mut Payload<'_>,
    ) -> Result<(), Refused> {
        let size = session.offset.max(payload.length());
        let sending = self.open.sending(session);
        let commit = |payload: &mut Payload<'_>| {
            self.registry.commit_upload(&session.at, digest, size, payload)
        };
        match while_sending(&sending, payload, commit)? {
            Commit::Stored => {
                self.open.closed(session);
                Ok(())
            }
            Commit::StoredOther(other) => {
                self.open.closed(session);
                Err(self.registry.stored_other(digest, &other).into())
            }
            Commit::Rejected(response) => Err(refused(*response, &self.registry.blob_name(digest))),
        }
    }

    /// Sends the next part, from the session's offset on, and advances the offset. `what` names the
    /// upload in messages, because the digest may not be known yet.
    ///
    /// # Errors
    /// [`Refused`]; malformed if the registry reports more bytes than were sent.
    pub(crate) fn send_part(
        &self,
        session: &mut UploadSession,
        what: &str,
        reader: &mut dyn Read,
        length: u64,
    ) -> Result<(), Refused> {
        let end = session.offset + length;
        let range = format!("{}-{}", session.offset, end.saturating_sub(1));
        let headers = [OCTETS, ("Content-Range", range.as_str())];
        let url = session.at.url.clone();
        let patch = Request::new(Method::Patch, &url, &headers);
        let payload = &mut Payload::Stream { reader, length };
        // Until the new state is stored, the session cannot be cancelled.
        let sending = self.open.sending(session);
        let send =
            |payload: &mut Payload<'_>| self.registry.send_in_upload(&session.at, patch, payload);
        let response = while_sending(&sending, payload, send)?;
        match response.status.as_u16() {
            201 | 202 | 204 => {}
            _ => return Err(refused(response, what)),
        }
        self.follow_session(session, &response)?;
        // Some registries count differently and report fewer bytes. The response to the next part
        // shows whether bytes are missing.
        if reported_offset(&response).is_some_and(|reported| reported > end) {
            let what = format_args!("{what}: the registry reports more bytes than were sent");
            return Err(Error::malformed(what).into());
        }
        session.offset = end;
        self.open.moved(session);
        Ok(())
    }

    /// Requests a session's offset. `None` if the session does not exist any more.
    ///
    /// # Errors
    /// The failure, classified for a retry.
    pub(crate) fn ask(&self, session: &mut UploadSession) -> Result<Option<u64>, Failure> {
        let url = session.at.url.clone();
        let get = Request { redirects: 0, ..Request::new(Method::Get, &url, &[]) };
        let response = self.registry.send_in_upload(&session.at, get, &mut Payload::None)?;
        match response.status.as_u16() {
            200 | 202 | 204 => {
                self.follow_session(session, &response)?;
                self.open.moved(session);
                Ok(Some(reported_offset(&response).unwrap_or(0)))
            }
            // Some registries send 400 or 416 if the state in the session's URL is out of date.
            400 | 404 | 405 | 410 | 416 | 501 => Ok(None),
            _ => Err(answer::failure(response, &format!("{}: upload", self.registry.repository()))),
        }
    }

    /// Cancels a session. A failure is ignored, because registries remove old sessions themselves.
    pub(crate) fn cancel(&self, session: &UploadSession) {
        self.cancel_each(vec![session.clone()]);
    }

    /// Cancels sessions. A request that was stopped or broke left bytes in its session, and its
    /// last bytes may still be arriving. They change the state of the session, and many registries
    /// refuse to cancel it with an old state. Several attempts are therefore made.
    fn cancel_each(&self, sessions: Vec<UploadSession>) {
        let mut left = sessions.clone();
        for pause in CANCEL_PAUSES {
            std::thread::sleep(pause);
            left.retain_mut(|session| !self.try_cancel(session));
            if left.is_empty() {
                break;
            }
        }
        // Remove the sessions only now: if the run ends during a request, the cleanup must find
        // them.
        sessions.iter().for_each(|session| self.open.closed(session));
    }

    /// Makes one attempt to cancel a session. Returns false if a later attempt may succeed.
    fn try_cancel(&self, session: &mut UploadSession) -> bool {
        let cancelled = self.registry.cancel_upload(&mut session.at, Some(CANCEL_TIMEOUT));
        !cancelled.is_ok_and(|cancelled| cancelled.has_changed)
    }

    /// Marks a session that a later run may continue.
    pub(crate) fn keep(&self, session: &mut UploadSession) {
        session.kept = true;
        self.open.moved(session);
    }

    /// Stops tracking a session. It stays open for a later run, or does not exist any more.
    pub(crate) fn leave(&self, session: &UploadSession) {
        self.open.closed(session);
    }

    /// Ends the uploads of this run: prevents new sessions and cancels the open ones. With `keep`,
    /// sessions that a later run may continue stay open.
    pub(crate) fn cancel_all(&self, keep: bool) {
        self.cancel_each(self.open.close(|session| !(keep && session.kept)));
    }

    /// Moves a session to the URL in a response's Location header, if there is one.
    fn follow_session(
        &self,
        session: &mut UploadSession,
        response: &Response,
    ) -> Result<(), Error> {
        if let Some(at) = self.registry.upload_location(response)? {
            session.at = at;
        }
        Ok(())
    }
}

/// Sends a request that has a body. If the run is ending, the request is stopped, and this function
/// does not return.
fn while_sending<T>(
    sending: &Sending<'_>,
    payload: &mut Payload<'_>,
    send: impl FnOnce(&mut Payload<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let outcome = match payload {
        Payload::Stream { reader, length } => {
            let mut reader = sending.stoppable(*reader);
            send(&mut Payload::Stream { reader: &mut reader, length: *length })
        }
        payload => send(payload),
    };
    outcome.inspect_err(|_| sending.failed())
}

/// The number of bytes that the registry reports: `Range: 0-LAST`, with or without `bytes=`.
///
/// `0-0` can mean no bytes or one byte. It is read as no bytes: if one byte is sent twice, the
/// registry refuses it, but if one byte is skipped, the registry does not notice.
fn reported_offset(response: &Response) -> Option<u64> {
    parse_offset(response.header("range")?)
}

fn parse_offset(text: &str) -> Option<u64> {
    let text = text.trim();
    let (first, last) = text.strip_prefix("bytes=").unwrap_or(text).split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    match (number(first)?, number(last)?) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_header_gives_the_number_of_bytes() {
        assert_eq!(parse_offset("0-0"), Some(0));
        assert_eq!(parse_offset("0-9"), Some(10));
        assert_eq!(parse_offset(" bytes=0-9 "), Some(10));
        for wrong in ["", "-", "5-9", "0-", "-9", "0-x", "0-18446744073709551615", "0--1"] {
            assert_eq!(parse_offset(wrong), None, "{wrong}");
        }
    }
}
