// SPDX-License-Identifier: Apache-2.0
//! How to speak to a registry, as whoever runs a tool wants it.

use std::path::PathBuf;
use std::time::Duration;

use machine::credentials::Given;
use machine::mirrors::{Place, Scheme};

use crate::trace::Trace;

/// How to speak to a registry.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Plain http instead of https.
    pub plain_http: bool,
    /// Do not check the certificate of the registry's own host.
    pub insecure: bool,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate for the registry's own scheme, host and port.
    pub cert_file: Option<PathBuf>,
    /// Its key, unless that is in the same file.
    pub key_file: Option<PathBuf>,
    /// Certificates to trust too, at the registry's own scheme, host and port.
    pub own_authorities: Vec<PathBuf>,
    /// Client certificates that a machine's configuration names for it, each with its key if that is in another file.
    pub own_pairs: Vec<(PathBuf, Option<PathBuf>)>,
    /// The credential that the command line gives for this registry.
    pub given: Option<Given>,
    /// The file with credentials that is to be read instead of those that are there by custom.
    pub authfile: Option<PathBuf>,
    /// Where else it may be read.
    pub mirrors: Mirrors,
    /// Whether a machine's configuration lets plain http be spoken where there is no TLS, and TLS without a check.
    pub lax: bool,
    /// Https alone, also where a host may speak plain http: one that is loopback, or marked insecure.
    pub https_only: bool,
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
    /// Where the conversation is told.
    pub trace: Option<Trace>,
}

/// Where a repository may be read beside its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirrors {
    /// Where the machine's configuration says.
    Configured,
    /// Nowhere: the registry is read where its name says.
    None,
    /// At these, in order.
    Named(Vec<String>),
}

impl Settings {
    /// The same for another host: what is given for the registry is not for it.
    #[must_use]
    pub fn of_another_host(&self) -> Settings {
        let (plain_http, insecure, lax, https_only) = (false, false, false, false);
        let (headers, given) = (Vec::new(), None);
        let own = Settings { cert_file: None, key_file: None, ..self.clone() };
        let own = Settings { own_authorities: Vec::new(), own_pairs: Vec::new(), ..own };
        Settings { plain_http, insecure, lax, https_only, headers, given, ..own }
    }

    /// The same with what is said of a place.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Settings {
        self.plain_http |= place.scheme == Some(Scheme::Http);
        self.https_only |= place.scheme == Some(Scheme::Https);
        self.lax |= place.insecure;
        self.own_authorities.extend(place.ca.iter().cloned());
        self.own_pairs.extend(place.client.iter().cloned());
        self.headers.extend(place.headers.iter().cloned());
        self
    }

    /// Tells a trace something beside the exchanges.
    pub fn comment(&self, text: impl std::fmt::Display) {
        if let Some(trace) = &self.trace {
            trace.comment(text);
        }
    }

    /// Whether the certificate of the registry's own host is not looked at.
    pub fn skips_checks(&self) -> bool {
        self.insecure || self.lax
    }

    /// Whether the headers have an Authorization of their own.
    pub fn authorizes(&self) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    }
}
