// SPDX-License-Identifier: Apache-2.0
//! Upload sessions. Each session is opened, may get some bytes, and is cancelled, even if the run
//! is interrupted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::error::{Error, Result};
use common::interrupt;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::url::Url;
use registry::Registry;
use registry::auth::Scope;
use registry::upload::UploadUrl;

use crate::answers;

/// The uploads into one repository. At most one session is open at a time.
pub(crate) struct Uploads {
    registry: Registry,
    /// The open session. Locked during a request that may open one, so that a cleanup waits for the
    /// request.
    open: Mutex<Option<UploadUrl>>,
}

/// The result of a request that may open a session.
pub(crate) enum Started {
    /// The registry opened a session with this response.
    Open(Response),
    /// Any other response.
    Other(Response),
}

impl Uploads {
    /// The uploads into the repository of `registry`, which must be opened for pushing. If the run
    /// is interrupted, the open session is cancelled.
    ///
    /// # Errors
    /// Local if the signal handlers cannot be installed.
    pub(crate) fn new(registry: Registry) -> Result<Arc<Uploads>> {
        let uploads = Arc::new(Uploads { registry, open: Mutex::new(None) });
        let interrupted = Arc::clone(&uploads);
        interrupt::before_dying(move || {
            let mut open = interrupted.open();
            if let Some(session) = open.take() {
                // The run ends, so the result of this request does not matter.
                let _ = interrupted.cancel_session(session);
            }
            // No other session is opened from now on.
            std::mem::forget(open);
        })?;
        Ok(uploads)
    }

    /// The registry.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Sends a POST without a body, which may open a session.
    ///
    /// # Errors
    /// The failure if there is no response. Malformed if the Location of a session is missing or
    /// not allowed.
    pub(crate) fn start(&self, scope: &Scope, url: &Url) -> Result<Started> {
        let post = Request::new(Method::Post, url, &[]);
        let mut open = self.open();
        let response = answers::send_once(&self.registry, scope, post, &mut Payload::Bytes(&[]))?;
        if response.status.as_u16() != 202 {
            return Ok(Started::Other(response));
        }
        let session = self.registry.upload_location(&response)?;
        let session = session.ok_or_else(|| Error::malformed("202 without a Location"))?;
        *open = Some(session);
        Ok(Started::Open(response))
    }

    /// Sends the bytes from `offset` on to the open session. Returns the response.
    ///
    /// # Errors
    /// The failure if there is no response, or if its Location is not allowed.
    pub(crate) fn send_part(&self, offset: u64, bytes: &[u8]) -> Result<Response> {
        let session = self.open().clone().ok_or_else(no_session)?;
        let range = format!("{offset}-{}", offset + bytes.len() as u64 - 1);
        let headers =
            [("Content-Type", "application/octet-stream"), ("Content-Range", range.as_str())];
        let patch = Request::new(Method::Patch, &session.url, &headers);
        let sent = self.registry.send_in_upload(&session, patch, &mut Payload::Bytes(bytes));
        let response = sent.map_err(|failure| failure.error)?;
        if let Some(moved) = self.registry.upload_location(&response)? {
            *self.open() = Some(moved);
        }
        Ok(response)
    }

    /// Cancels the open session. Returns the response.
    ///
    /// # Errors
    /// The failure if there is no response.
    pub(crate) fn cancel(&self) -> Result<Response> {
        let session = self.open().clone().ok_or_else(no_session)?;
        let cancelled = self.cancel_session(session);
        // The session is removed only now: if the run is interrupted during the request, the
        // cleanup must find it.
        *self.open() = None;
        cancelled
    }

    fn cancel_session(&self, mut session: UploadUrl) -> Result<Response> {
        let cancelled = self.registry.cancel_upload(&mut session, None);
        cancelled.map(|cancelled| cancelled.response).map_err(|failure| failure.error)
    }

    fn open(&self) -> MutexGuard<'_, Option<UploadUrl>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_session() -> Error {
    Error::malformed("no upload is open")
}
