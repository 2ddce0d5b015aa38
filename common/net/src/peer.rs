// SPDX-License-Identifier: Apache-2.0
//! What is known and sent for one origin alone: its scheme, how its certificate is checked, and
//! everything secret.
//!
//! The options of the command line make a peer of the operand's registry. Every other host (a
//! mirror, a token server, a redirect's target, the registry of `--from`) is [`Peer::unconfigured`],
//! which knows nothing and is sent nothing, until the machine's configuration says something about
//! that very host ([`Peer::at`]). So a new field cannot reach another origin: there is no list of
//! fields to reset.

use std::path::PathBuf;

use machine::credentials::Given;
use machine::mirrors::{Place, Scheme};

/// How one origin is spoken to, and as whom.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The scheme to use. `None`: https, or plain http where a loopback host, or one whose checks
    /// are [`Optional`](Verification::Optional), does not speak TLS.
    pub scheme: Option<Scheme>,
    /// How the certificate is checked.
    pub verification: Verification,
    /// The client certificate that the command line names.
    pub certificate: Option<ClientCertificate>,
    /// Client certificates that the machine's configuration names.
    pub configured_certificates: Vec<ClientCertificate>,
    /// Files with certificates to trust there, beside those that are trusted everywhere.
    pub authorities: Vec<PathBuf>,
    /// Headers to send there.
    pub headers: Vec<(String, String)>,
    /// The credential that the command line or the environment gives.
    pub login: Option<Given>,
}

/// How a certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// It must be trusted and be for this host.
    #[default]
    Required,
    /// Not at all (`--insecure`).
    Skipped,
    /// Not at all, and plain http may be spoken where there is no TLS: what the machine's
    /// configuration calls insecure.
    Optional,
}

/// A client certificate in a file, and its key, which may be in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file with the certificate.
    pub file: PathBuf,
    /// The file with its key; `None` when it is in the same file.
    pub key: Option<PathBuf>,
}

impl Peer {
    /// An origin that nothing is known of: https, checked, and sent no credential and no header.
    pub const fn unconfigured() -> Peer {
        Peer {
            scheme: None,
            verification: Verification::Required,
            certificate: None,
            configured_certificates: Vec::new(),
            authorities: Vec::new(),
            headers: Vec::new(),
            login: None,
        }
    }

    /// The same with what the machine's configuration says of the place where it is.
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

    /// Whether its certificate is not checked.
    pub(crate) fn skips_checks(&self) -> bool {
        self.verification != Verification::Required
    }

    /// Whether its headers have an Authorization, which then is the caller's own affair.
    pub fn authorizes(&self) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    }

    /// The client certificate to present: the command line's, or else the first that is configured.
    pub(crate) fn presented_certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref().or(self.configured_certificates.first())
    }
}
