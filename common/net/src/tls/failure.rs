// SPDX-License-Identifier: Apache-2.0
//! Why a TLS handshake or connection failed: error messages, and whether a retry may succeed.

use std::fmt;
use std::time::{Duration, SystemTime};

use common::error::{Error, os_message, printable};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use super::names;
use crate::advice::{Options, UNKNOWN_AUTHORITY};
use crate::failure::{Failure, Retry};

/// A failed TLS connection.
#[derive(Debug)]
pub(crate) struct TlsFailure {
    /// The error that was detected.
    pub(crate) cause: Cause,
    /// The stage of the connection at the failure.
    pub(crate) stage: Stage,
    /// Whether the server requested a client certificate, and whether one was presented.
    pub(crate) client_cert: ClientCert,
}

/// The error that was detected.
#[derive(Debug)]
pub(crate) enum Cause {
    /// A TLS error, detected by us or reported by the server in an alert.
    Tls(rustls::Error),
    /// The connection ended without a TLS alert.
    Ended(std::io::Error),
}

/// The stages of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The handshake is not complete.
    Handshake,
    /// The handshake is complete on our side, but no data was received since. In TLS 1.3 the server
    /// rejects a client certificate at this stage.
    Unanswered,
    /// Data was received after the handshake.
    Answered,
}

/// Whether the server requested a client certificate, and whether one was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCert {
    /// The server requested no client certificate.
    NotRequested,
    /// The server requested a client certificate, but none was configured.
    Missing,
    /// The server requested a client certificate, and one was presented.
    Presented,
}

impl std::error::Error for TlsFailure {}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure(Options::None).error.to_string())
    }
}

impl TlsFailure {
    /// The error message, and whether to retry. `options` are those for the server.
    pub(crate) fn failure(&self, options: Options) -> Failure {
        let lacking = |error: Error| error.hint(options.client_certificate());
        let answered = self.stage == Stage::Answered;
        match (&self.cause, self.client_cert) {
            (Cause::Ended(_), ClientCert::Missing) if !answered => {
                Failure::temporary(lacking(Error::unavailable(
                    "the connection ended before the response, after a request for a client certificate",
                )))
            }
            (Cause::Ended(cause), _) => match (cause.kind(), self.stage) {
                (std::io::ErrorKind::UnexpectedEof, Stage::Handshake) => Failure::temporary(
                    Error::unavailable("the connection ended in the TLS handshake"),
                ),
                _ => Failure::temporary(Error::unavailable(printable(&os_message(cause)))),
            },
            (Cause::Tls(rustls::Error::AlertReceived(alert)), client_cert)
                if !answered
                    && is_about_certificate(*alert)
                    && client_cert != ClientCert::NotRequested
                    || *alert == AlertDescription::CertificateRequired =>
            {
                match client_cert {
                    ClientCert::Presented => {
                        let why = alert_words(*alert);
                        Error::refused(format_args!("client certificate refused: {why}")).into()
                    }
                    _ => lacking(Error::refused("a client certificate is required")).into(),
                }
            }
            // TLS to this server works: a retry may succeed.
            (Cause::Tls(error), _) if answered => Failure::temporary(broken(error)),
            (Cause::Tls(error), _) => {
                Failure { error: tls_error(error, options), retry: Retry::Never }
            }
        }
    }
}

/// Whether a server may send this alert because of a client certificate, or because of its absence.
fn is_about_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::HandshakeFailure
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
    )
}

/// The error if rustls does not accept its configuration: a bug of this program, or a certificate
/// or key that rustls cannot use.
pub(crate) fn unusable(error: &rustls::Error) -> Error {
    Error::malformed(format_args!("TLS: {}", error_words(error)))
}

/// Describes an error of rustls. Most error texts of rustls are identifiers of its source code.
fn error_words(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::AlertReceived(alert) => alert_received(*alert),
        Tls::InvalidMessage(why) => format!("invalid message: {}", names::words(why)),
        Tls::PeerMisbehaved(why) => format!("the server violates TLS: {}", names::words(why)),
        Tls::PeerIncompatible(why) => format!("incompatible server: {}", names::words(why)),
        Tls::General(text) => printable(text),
        Tls::Other(other) => printable(&other.to_string()),
        other => names::words(other),
    }
}

/// Describes an alert by the name that RFC 8446, section 6, gives it.
fn alert_received(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::Unknown(number) => format!("received alert {number}"),
        alert => format!("received alert \"{}\"", names::words(&alert)),
    }
}

/// Describes why a server refused a client certificate.
fn alert_words(alert: AlertDescription) -> &'static str {
    use AlertDescription as Alert;
    match alert {
        Alert::UnknownCA => "its issuer is not trusted",
        Alert::CertificateExpired => "it has expired",
        Alert::CertificateRevoked => "it is revoked",
        Alert::UnsupportedCertificate => "unsupported type of certificate",
        Alert::AccessDenied => "access denied",
        _ => "no reason given",
    }
}

/// The error for a TLS connection that worked and then broke.
fn broken(error: &rustls::Error) -> Error {
    match error {
        rustls::Error::AlertReceived(alert) => {
            let what = alert_received(*alert);
            Error::unavailable(format_args!("TLS connection failed: {what}"))
        }
        other => {
            Error::unavailable(format_args!("the TLS connection broke: {}", error_words(other)))
        }
    }
}

/// The error for a failed handshake, with a hint for the user if there is one.
fn tls_error(error: &rustls::Error, options: Options) -> Error {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(reason) => distrusted(reason),
        Tls::InvalidMessage(_) => {
            Error::malformed("the response is not TLS").optional_hint(options.without_tls())
        }
        Tls::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        )
        | Tls::AlertReceived(AlertDescription::ProtocolVersion) => {
            Error::malformed("no common TLS version: expected 1.2 or 1.3")
        }
        Tls::PeerIncompatible(_)
        | Tls::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        ) => Error::malformed(
            "TLS handshake failed: no cipher suite, group or signature scheme in common",
        ),
        other => Error::malformed(format_args!("TLS handshake failed: {}", error_words(other))),
    }
}

/// The error for a server certificate that is not trusted.
fn distrusted(reason: &CertificateError) -> Error {
    use CertificateError as Certificate;
    let distrusted = |why: &str| Error::malformed(format_args!("certificate not trusted: {why}"));
    let clock = "is this machine's clock right?";
    match reason {
        Certificate::UnknownIssuer => distrusted("unknown issuer").hint(UNKNOWN_AUTHORITY),
        Certificate::Expired => distrusted("it has expired").hint(clock),
        Certificate::ExpiredContext { time, not_after } => {
            let end = date(*not_after);
            let now = date(*time);
            distrusted(&format!("it expired on {end}, and now it is {now}")).hint(clock)
        }
        Certificate::NotValidYet => distrusted("it is not valid yet").hint(clock),
        Certificate::NotValidYetContext { time, not_before } => {
            let start = date(*not_before);
            let now = date(*time);
            distrusted(&format!("it is not valid before {start}, and now it is {now}")).hint(clock)
        }
        Certificate::NotValidForNameContext { expected, presented } => {
            let expected = printable(&expected.to_str());
            if presented.is_empty() {
                return distrusted(&format!(
                    "it is not for {expected}: it has no subject alternative name, and its common \
                     name is not used"
                ));
            }
            let own = presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            distrusted(&format!("it is not for {expected}, but for {}", printable(&own)))
        }
        Certificate::BadEncoding => distrusted("it is not valid DER"),
        Certificate::BadSignature => distrusted("its signature is wrong"),
        Certificate::Revoked => distrusted("it is revoked"),
        Certificate::NotValidForName => distrusted("it is not for this host"),
        Certificate::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            let name = names::algorithm(signature_algorithm_id);
            distrusted(&format!("its chain has an unsupported signature: {name}"))
        }
        Certificate::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => {
            let signature = names::algorithm(signature_algorithm_id);
            let key = names::algorithm(public_key_algorithm_id);
            distrusted(&format!(
                "its chain has an unsupported signature: {signature}, by a key of type {key}"
            ))
        }
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
            distrusted("its extended key usage does not allow server authentication")
        }
        Certificate::UnhandledCriticalExtension => {
            distrusted("its chain has an unsupported critical extension")
        }
        Certificate::Other(other) => distrusted(&other_words(other)),
        other => distrusted(&names::words(other)),
    }
}

/// Describes an error of webpki for which rustls has no variant, or the reason that our verifier
/// found.
fn other_words(other: &OtherError) -> String {
    use webpki::Error as Pki;
    let Some(error) = other.0.downcast_ref::<Pki>() else {
        return printable(&other.to_string());
    };
    let words = match error {
        Pki::CaUsedAsEndEntity => "it is the certificate of an authority, not of a server",
        Pki::EndEntityUsedAsCa => "a certificate that signed it is not an authority's",
        Pki::UnsupportedCertVersion => "its version is not 3",
        Pki::UnsupportedCriticalExtension => "its chain has an unsupported critical extension",
        Pki::NameConstraintViolation => "its authority may not sign for this name",
        Pki::PathLenConstraintViolated => "its chain is longer than its authority allows",
        Pki::MaximumPathDepthExceeded => "its chain is too long",
        Pki::SignatureAlgorithmMismatch => "it states two different signature algorithms",
        Pki::InvalidSerialNumber => "its serial number is invalid",
        other => return names::words(other),
    };
    words.to_owned()
}

/// The name inside rustls's debug form of a name, such as `DnsName("a.example")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// A time in HTTP's date format. A time after the year 9999 is shown in seconds.
fn date(time: UnixTime) -> String {
    /// The end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    match time.as_secs() {
        seconds @ 0..=LAST => {
            httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        }
        seconds => format!("second {seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::error::Status;

    fn failure(alert: AlertDescription, stage: Stage, client_cert: ClientCert) -> (Status, Retry) {
        let cause = Cause::Tls(rustls::Error::AlertReceived(alert));
        let failure = TlsFailure { cause, stage, client_cert }.failure(Options::None);
        (failure.error.status(), failure.retry)
    }

    #[test]
    fn an_alert_means_the_client_certificate_if_one_was_requested() {
        use AlertDescription::{
            BadCertificate, BadRecordMac, CertificateRequired, HandshakeFailure,
        };
        let refused = (Status::Refused, Retry::Never);
        for stage in [Stage::Handshake, Stage::Unanswered] {
            for client_cert in [ClientCert::Missing, ClientCert::Presented] {
                assert_eq!(failure(BadCertificate, stage, client_cert), refused);
                assert_eq!(failure(HandshakeFailure, stage, client_cert), refused);
            }
            let malformed = (Status::Malformed, Retry::Never);
            assert_eq!(failure(HandshakeFailure, stage, ClientCert::NotRequested), malformed);
        }
        assert_eq!(
            failure(CertificateRequired, Stage::Unanswered, ClientCert::NotRequested),
            refused
        );
        let later = (Status::Unavailable, Retry::Backoff);
        assert_eq!(failure(BadRecordMac, Stage::Answered, ClientCert::Missing), later);
    }

    #[test]
    fn a_time_after_the_year_9999_does_not_panic() {
        let at = |seconds| date(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(at(253_402_300_799), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(at(253_402_300_800), "second 253402300800");
    }

    #[test]
    fn names_are_shown_without_their_debug_form() {
        assert_eq!(bare("DnsName(\"a.example\")"), "a.example");
        assert_eq!(bare("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(bare("what else"), "what else");
    }
}
