// SPDX-License-Identifier: Apache-2.0
//! How to speak to a registry, as whoever runs a tool wants it.

use std::path::PathBuf;
use std::time::Duration;

use super::credentials::Given;

/// How to speak to a registry.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Plain http instead of https.
    pub plain_http: bool,
    /// Do not check the certificate of the registry's own host.
    pub insecure: bool,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The credential that the command line gives for this registry.
    pub given: Option<Given>,
    /// The file with credentials that is to be read instead of those that are there by custom.
    pub authfile: Option<PathBuf>,
    /// Headers for the registry's own scheme, host and port.
    pub headers: Vec<(String, String)>,
    /// Attempts without progress before giving up, at least 1.
    pub attempts: u32,
    /// The longest wait between two attempts.
    pub max_wait: Duration,
    /// How long an answer may stand still.
    pub idle_timeout: Duration,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
}

impl Settings {
    /// Whether the headers have an Authorization of their own.
    pub(super) fn authorizes(&self) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    }
}
