// SPDX-License-Identifier: Apache-2.0
//! The registry API that a session uses.

use common::reference::Repository;
use net::exchange::Http;
use net::response::Response;
use net::url::Url;

/// A registry's API and the connection to it.
pub(super) struct Api {
    pub(super) http: Http,
    /// The URL of the API's root.
    pub(super) root: Url,
    /// The repository, for messages and for finding its credential.
    pub(super) repository: Repository,
}

impl Api {
    /// Whether a response is from the registry itself, not from the target of a redirect.
    pub(super) fn is_own(&self, response: &Response) -> bool {
        response.url.origin() == *self.http.origin()
    }
}
