// SPDX-License-Identifier: Apache-2.0
//! Upload sessions: each is opened, may get some bytes, and is cancelled, also if the run is
//! interrupted meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::error::{Error, Result};
use common::interrupt;
use net::request::{Method, Payload, Request, Role};
use net::response::Response;
use net::url::{Purpose, Url};
use registry::Registry;
use registry::auth::Scope;

use crate::answers;

/// The uploads into one repository. At most one session is open at a time.
pub(crate) struct Uploads {
    registry: Registry,
    /// The open session. Locked during a request that may open one, so that a cleanup waits for it.
    open: Mutex<Option<Session>>,
}

/// An open session.
#[derive(Clone)]
struct Session {
    url: Url,
    /// Whether the URL is at the registry itself. Only then are credentials sent.
    at_registry: bool,
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
                let _ = interrupted.cancel_session(&session);
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
        let session = self.located(&response)?;
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
        let response = self.send(&session, patch, &mut Payload::Bytes(bytes))?;
        if let Some(moved) = self.located(&response)? {
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
        let cancelled = self.cancel_session(&session);
        // Only now: if the run is interrupted during the request, the cleanup must find the
        // session.
        *self.open() = None;
        cancelled
    }

    /// Cancels a session. A registry that refused a part may have kept some of its bytes: the state
    /// in the URL is then old, and the registry refuses to cancel it. In this case, the new state
    /// is requested, and the session is cancelled with it.
    fn cancel_session(&self, session: &Session) -> Result<Response> {
        let refused = self.delete(session)?;
        if !matches!(refused.status.as_u16(), 400 | 404 | 416) {
            return Ok(refused);
        }
        let get = Request::new(Method::Get, &session.url, &[]);
        let state = self.send(session, get, &mut Payload::None)?;
        match self.located(&state)? {
            Some(moved) if state.status.is_success() => self.delete(&moved),
            _ => Ok(refused),
        }
    }

    fn delete(&self, session: &Session) -> Result<Response> {
        let delete = Request::new(Method::Delete, &session.url, &[]);
        self.send(session, delete, &mut Payload::None)
    }

    /// The session at the Location of a response; `None` if it has no Location.
    fn located(&self, response: &Response) -> Result<Option<Session>> {
        let location = response.header("location").filter(|text| !text.trim().is_empty());
        let Some(location) = location else { return Ok(None) };
        let http = self.registry.session().http();
        let target = http.decide(Purpose::Upload, &response.url, location);
        let target = target.map_err(|refusal| refusal.error("Location"))?;
        Ok(Some(Session { url: target.url, at_registry: target.same_origin }))
    }

    fn send(
        &self,
        session: &Session,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response> {
        let request = Request { role: Role::Session, ..request };
        if session.at_registry {
            return answers::send_once(&self.registry, self.registry.scope(), request, payload);
        }
        let http = self.registry.session().http();
        let sent = http.send(Request { redirects: 0, ..request }, payload);
        sent.map_err(|failure| failure.error)
    }

    fn open(&self) -> MutexGuard<'_, Option<Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_session() -> Error {
    Error::malformed("no upload is open")
}
