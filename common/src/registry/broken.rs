// SPDX-License-Identifier: Apache-2.0
//! Why there was no answer to a request: in words, and whether another attempt may have one.

use std::io;

use super::connection::MAX_HEAD;
use super::retry::{Failure, Retry};
use super::tls::{Cause, Identity, Stage, Trouble};
use super::url::Url;
use crate::error::{Error, os_words, printable};

/// Sorts a failure before an answer.
pub(super) fn sort(url: &Url, error: ureq::Error) -> Failure {
    let place = url.authority();
    let later = |what: String| Failure::temporary(Error::later(format_args!("{place}: {what}")));
    let never = |error: Error| Failure { error: error.context(place), retry: Retry::Never };
    match error {
        ureq::Error::HostNotFound => never(Error::later("cannot resolve the host's name")),
        ureq::Error::ConnectionFailed => later("cannot connect".to_owned()),
        ureq::Error::Timeout(which) => later(match which {
            ureq::Timeout::Resolve => "resolving its name took too long".to_owned(),
            ureq::Timeout::Connect => "timed out connecting".to_owned(),
            _ => "no answer in time".to_owned(),
        }),
        ureq::Error::Rustls(error) => {
            let (stage, identity) = (Stage::Handshake, Identity::Unasked);
            Trouble { cause: Cause::Tls(error), stage, identity }.failure().context(place)
        }
        ureq::Error::Other(other) => match other.downcast::<Trouble>() {
            Ok(trouble) => trouble.failure().context(place),
            Err(other) => never(Error::malformed(printable(&other.to_string()))),
        },
        ureq::Error::Io(cause) => match cause.kind() {
            _ if lookup_failure(&cause).is_some() => Failure {
                error: Error::later(format_args!("{place}: cannot resolve the host's name")),
                retry: lookup_failure(&cause).unwrap_or(Retry::Never),
            },
            io::ErrorKind::UnexpectedEof => {
                later("the connection ended before the answer".to_owned())
            }
            _ => later(printable(&os_words(&cause))),
        },
        ureq::Error::LargeResponseHeader(..) => never(Error::malformed(format_args!(
            "an answer's header of more than {MAX_HEAD} bytes"
        ))),
        ureq::Error::Protocol(error) => {
            let why = printable(&error.to_string());
            never(Error::malformed(format_args!("it does not speak HTTP as it should: {why}")))
        }
        other => never(Error::malformed(printable(&other.to_string()))),
    }
}

/// Whether resolving a host's name failed, and whether that may pass. std has only words for it, the
/// resolver's own, which are the same in every language setting.
fn lookup_failure(cause: &io::Error) -> Option<Retry> {
    let words = cause.to_string();
    let why = words.strip_prefix("failed to lookup address information: ")?;
    Some(if why.starts_with("Temporary") { Retry::Backoff } else { Retry::Never })
}

/// A kept connection that turned out to be closed.
pub(super) fn is_broken(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(cause) => {
            matches!(cause.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        _ => false,
    }
}
