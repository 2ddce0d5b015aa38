// SPDX-License-Identifier: Apache-2.0
//! An upload session that is opened, may get some bytes, and is cancelled.

use common::error::{Error, Result};
use net::request::{Method, Payload, Request, Role};
use net::response::Response;
use net::url::{Purpose, Url};
use registry::Registry;

use crate::answers;

/// An open upload session.
pub(crate) struct Upload {
    url: Url,
    /// Whether the URL is at the registry itself. Only then are credentials sent.
    at_registry: bool,
    /// The number of bytes sent.
    sent: u64,
}

impl Upload {
    /// The session that a response has opened.
    ///
    /// # Errors
    /// Malformed if the response has no Location, or one that is not allowed.
    pub(crate) fn opened(registry: &Registry, response: &Response) -> Result<Upload> {
        let location = response.header("location").filter(|text| !text.trim().is_empty());
        let location = location.ok_or_else(|| Error::malformed("202 without a Location"))?;
        let target = registry.session().http().decide(Purpose::Upload, &response.url, location);
        let target = target.map_err(|refusal| refusal.error("Location"))?;
        Ok(Upload { url: target.url, at_registry: target.same_origin, sent: 0 })
    }

    /// Sends a part of `length` zeros. Returns the response.
    ///
    /// # Errors
    /// The failure if there is no response, or if its Location is not allowed.
    pub(crate) fn send_part(&mut self, registry: &Registry, length: u64) -> Result<Response> {
        let range = format!("{}-{}", self.sent, self.sent + length - 1);
        let headers =
            [("Content-Type", "application/octet-stream"), ("Content-Range", range.as_str())];
        let url = self.url.clone();
        let patch = Request::new(Method::Patch, &url, &headers);
        let zeros =
            vec![0; usize::try_from(length).map_err(|_| Error::malformed("part too large"))?];
        let response = self.send(registry, patch, &mut Payload::Bytes(&zeros))?;
        if response.header("location").is_some() {
            let Upload { url, at_registry, .. } = Upload::opened(registry, &response)?;
            (self.url, self.at_registry) = (url, at_registry);
        }
        self.sent += length;
        Ok(response)
    }

    /// Cancels the session. Returns the response.
    ///
    /// # Errors
    /// The failure if there is no response.
    pub(crate) fn cancel(self, registry: &Registry) -> Result<Response> {
        let url = self.url.clone();
        self.send(registry, Request::new(Method::Delete, &url, &[]), &mut Payload::None)
    }

    fn send(
        &self,
        registry: &Registry,
        request: Request<'_>,
        payload: &mut Payload<'_>,
    ) -> Result<Response> {
        let request = Request { role: Role::Session, ..request };
        if self.at_registry {
            return answers::send_once(registry, registry.scope(), request, payload);
        }
        let sent = registry.session().http().send(Request { redirects: 0, ..request }, payload);
        sent.map_err(|failure| failure.error)
    }
}
