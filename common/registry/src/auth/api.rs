// SPDX-License-Identifier: Apache-2.0
//! Which API a session is with.

use common::reference::Repository;
use net::exchange::Http;
use net::response::Response;
use net::url::Url;

/// A registry's API, and how it is reached.
pub(super) struct Api {
    pub(super) http: Http,
    /// The URL of the API's root.
    pub(super) root: Url,
    /// What messages name, and credentials are kept for.
    pub(super) repository: Repository,
}

impl Api {
    /// Whether an answer is the registry's own, and not that of a place where it redirected to.
    pub(super) fn is_own(&self, response: &Response) -> bool {
        response.url.origin() == *self.http.origin()
    }
}
