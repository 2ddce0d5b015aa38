// SPDX-License-Identifier: Apache-2.0
//! Settings and secrets of one origin: its scheme, how its certificate is checked, credentials,
//! headers, client certificates.
//!
//! The peer of the operand's registry has the settings of the command line. Every other host (a
//! mirror, a token server, a redirect's target, the registry of `--from`) starts as
//! [`Peer::unconfigured`], which has default settings and no secrets. [`Peer::at`] then adds the
//! settings that the machine's configuration has for that host. With this rule, a field that is
//! added to the struct cannot be sent to another origin by mistake, because no code copies a peer
//! and resets single fields.

use std::path::PathBuf;

use machine::allowed::AllowedHost;
use machine::credentials::Given;
use machine::mirrors::{Place, Scheme};

use crate::advice::Options;

/// Settings and secrets of one origin.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The options of the command line that apply to this origin, for hints.
    pub options: Options,
    /// The scheme to use. `None` means https, with one exception: if the host does not use TLS,
    /// http is used for a loopback host, or if the verification is
    /// [`Optional`](Verification::Optional).
    pub scheme: Option<Scheme>,
    /// How the server's certificate is checked.
    pub verification: Verification,
    /// The client certificate that the command line names.
    pub certificate: Option<ClientCertificate>,
    /// Client certificates that the machine's configuration names.
    pub configured_certificates: Vec<ClientCertificate>,
    /// Files with certificates to trust for this origin, in addition to those trusted everywhere.
    pub authorities: Vec<PathBuf>,
    /// Headers to send to this origin.
    pub headers: Vec<(String, String)>,
    /// The credential from the command line or the environment.
    pub login: Option<Given>,
    /// Hosts that are allowed in URLs from this origin, in spite of the rules for such URLs.
    pub allowed: Vec<AllowedHost>,
}

/// How a server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// It must be trusted and valid for this host.
    #[default]
    Required,
    /// It is not checked (`--insecure`).
    Skipped,
    /// It is not checked, and plain HTTP is used if the host does not use TLS: for a host that the
    /// machine's configuration marks as insecure.
    Optional,
}

/// A client certificate in a file, and its key, which may be in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file with the certificate.
    pub file: PathBuf,
    /// The file with its key; `None` when it is in the same file.
    pub key: Option<PathBuf>,
}

impl Peer {
    /// The peer for a host without any configuration: https, certificate checked, anonymous, no
    /// extra headers.
    pub const fn unconfigured() -> Peer {
        Peer {
            options: Options::None,
            scheme: None,
            verification: Verification::Required,
            certificate: None,
            configured_certificates: Vec::new(),
            authorities: Vec::new(),
            headers: Vec::new(),
            login: None,
            allowed: Vec::new(),
        }
    }

    /// Adds the settings that the machine's configuration has for `place`.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Peer {
        self.scheme = self.scheme.or(place.scheme);
        if place.insecure {
            self.verification = Verification::Optional;
        }
        self.authorities.extend(place.ca.iter().cloned());
        let certificate = |(file, key): &(PathBuf, _)| ClientCertificate {
            file: file.clone(),
            key: Option::clone(key),
        };
        self.configured_certificates.extend(place.client.iter().map(certificate));
        self.headers.extend(place.headers.iter().cloned());
        self
    }

    /// Whether the server's certificate is not checked.
    pub(crate) fn skips_checks(&self) -> bool {
        self.verification != Verification::Required
    }

    /// Whether the headers include an Authorization. If so, a 401 is final: no token is fetched.
    pub fn authorizes(&self) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    }

    /// The client certificate to present: the one of the command line, else the first configured
    /// one.
    pub(crate) fn presented_certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref().or(self.configured_certificates.first())
    }
}
