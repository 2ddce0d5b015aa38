// SPDX-License-Identifier: Apache-2.0
//! Turns an error of ureq into a [`Failure`]: an error message, and whether a retry may succeed.
//!
//! If no connection can be made to a host that has not answered in this run, the failure is of a
//! special kind: most likely the name is wrong or the host is down, and a long wait would not help.
//!
//! All these failures happen before a response arrives. Not here: the meaning of a response's
//! status.

use std::io;

use common::error::{Error, os_message, printable};
use ureq::http::StatusCode;

use crate::advice::Options;
use crate::connection::MAX_HEAD;
use crate::failure::{Failure, Retry};
use crate::history;
use crate::proxy::tunnel::ProxyFailure;
use crate::proxy::{Kind, Proxy};
use crate::tls::failure::{Cause, ClientCert, Stage, TlsFailure};
use crate::url::Url;

/// Classifies a failure that precedes any response. Until the tunnel through a proxy is open, the
/// error message names the proxy as the cause. `options` are those for the URL's host.
pub(crate) fn classify(
    url: &Url,
    options: Options,
    proxy: Option<&Proxy>,
    error: ureq::Error,
) -> Failure {
    let is_new = !history::of(&url.host(), url.port()).answered;
    let failure_at = |place: &str, options, error| {
        let unreached = is_new.then(|| unreached(&error)).flatten();
        let failure = failure_at(place, options, error);
        match (failure.retry, unreached) {
            (Retry::Backoff, Some(retry)) => Failure { retry, ..failure },
            _ => failure,
        }
    };
    let Some(proxy) = proxy else { return failure_at(url.authority(), options, error) };
    let through = format!("{} through the proxy {proxy}", url.authority());
    let failure = match error {
        ureq::Error::Other(cause) => match cause.downcast::<ProxyFailure>() {
            Ok(failure) => *failure,
            Err(cause) => return failure_at(&through, options, ureq::Error::Other(cause)),
        },
        error => return failure_at(&through, options, error),
    };
    match failure {
        ProxyFailure::Refused { status, schemes } => proxy_refusal(url, proxy, status, &schemes),
        failure => {
            let place = format!("proxy {proxy}");
            let failure = match failure {
                ProxyFailure::Connection(ureq::Error::Io(cause))
                    if is_socks_refusal(proxy, &cause) =>
                {
                    Error::refused(format_args!("{place}: {cause}")).into()
                }
                ProxyFailure::Connection(error) => failure_at(&place, Options::None, error),
                _ => Error::malformed(format_args!("{place}: the response is not HTTP")).into(),
            };
            Failure { error: failure.error.hint(proxy.hint(&url.host())), ..failure }
        }
    }
}

/// Classifies a proxy's error response to CONNECT, or a 407 to a forwarded request. `schemes` are
/// the authentication schemes that it offers.
pub(crate) fn proxy_refusal(url: &Url, proxy: &Proxy, status: u16, schemes: &[String]) -> Failure {
    let words = match StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()) {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_string(),
    };
    let place = format!("proxy {proxy}");
    let is_basic = |scheme: &String| scheme.eq_ignore_ascii_case("basic");
    if status == 407 && !schemes.is_empty() && !schemes.iter().any(is_basic) {
        let schemes = printable(&schemes.join(", "));
        let text = format_args!(
            "{place}: it does not accept a name and password, only {schemes}: {words}"
        );
        return Error::refused(text).hint(proxy.hint(&url.host())).into();
    }
    if status == 407 {
        let wants = match proxy.login() {
            Some(_) => "it refused the name and password",
            None => "it requires a name and a password",
        };
        return Error::refused(format_args!("{place}: {wants}: {words}"))
            .hint(proxy.login_hint())
            .into();
    }
    let text = format_args!("{place}: CONNECT to {} failed: {words}", url.authority()).to_string();
    let hint = proxy.hint(&url.host());
    match status {
        401 | 403 | 451 => Error::refused(text).hint(hint).into(),
        408 | 425 | 429 | 500 | 502..=504 => {
            Failure::temporary(Error::unavailable(text).hint(hint))
        }
        _ => Error::malformed(text).hint(hint).into(),
    }
}

/// The kind of retry if the error means that no connection could be made.
fn unreached(error: &ureq::Error) -> Option<Retry> {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    let (is_unreached, timed_out) = match error {
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => (true, true),
        ureq::Error::ConnectionFailed => (true, false),
        ureq::Error::Io(cause) => {
            let is_refused = matches!(
                cause.kind(),
                ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable
            );
            let timed_out = cause.kind() == TimedOut;
            (is_refused || timed_out || lookup_failure(cause).is_some(), timed_out)
        }
        _ => (false, false),
    };
    is_unreached.then_some(Retry::Unreached { timed_out })
}

/// Whether a SOCKS proxy refused the connection. ureq reports this only as text.
fn is_socks_refusal(proxy: &Proxy, cause: &io::Error) -> bool {
    let words = cause.to_string();
    let is_word = ["not allowed by ruleset", "acceptable auth", "unknown auth", "authentication"];
    proxy.kind() == Kind::Socks && is_word.iter().any(|word| words.contains(word))
}

/// Classifies a failure of a server or a proxy. `place` is its name for messages, and `options` are
/// those that apply to it.
fn failure_at(place: &str, options: Options, error: ureq::Error) -> Failure {
    let later =
        |what: String| Failure::temporary(Error::unavailable(format_args!("{place}: {what}")));
    let never = |error: Error| Failure { error: error.context(place), retry: Retry::Never };
    match error {
        ureq::Error::HostNotFound => never(Error::unavailable("cannot resolve the host's name")),
        ureq::Error::ConnectionFailed => later("cannot connect".to_owned()),
        ureq::Error::Timeout(which) => later(match which {
            ureq::Timeout::Resolve => "timed out resolving the host's name".to_owned(),
            ureq::Timeout::Connect => "timed out connecting".to_owned(),
            _ => "timed out waiting for the response".to_owned(),
        }),
        ureq::Error::Rustls(error) => {
            let failure = TlsFailure {
                cause: Cause::Tls(error),
                stage: Stage::Handshake,
                client_cert: ClientCert::NotRequested,
            };
            failure.failure(options).context(place)
        }
        ureq::Error::Other(other) => match other.downcast::<TlsFailure>() {
            Ok(trouble) => trouble.failure(options).context(place),
            Err(other) => never(Error::malformed(printable(&other.to_string()))),
        },
        ureq::Error::Io(cause) => match cause.kind() {
            _ if lookup_failure(&cause).is_some() => Failure {
                error: Error::unavailable(format_args!("{place}: cannot resolve the host's name")),
                retry: lookup_failure(&cause).unwrap_or(Retry::Never),
            },
            io::ErrorKind::UnexpectedEof => {
                later("the connection ended before the response".to_owned())
            }
            _ => later(printable(&os_message(&cause))),
        },
        ureq::Error::LargeResponseHeader(..) => never(Error::malformed(format_args!(
            "the response's header is larger than {MAX_HEAD} bytes"
        ))),
        ureq::Error::Protocol(error) => {
            let why = printable(&error.to_string());
            never(Error::malformed(format_args!("invalid HTTP: {why}")))
        }
        other => never(Error::malformed(printable(&other.to_string()))),
    }
}

/// Whether to retry, if the error means that a host name could not be resolved; else `None`. std
/// reports this only as text. The compared part is the resolver's message, which is the same in
/// every locale.
fn lookup_failure(cause: &io::Error) -> Option<Retry> {
    let words = cause.to_string();
    let why = words.strip_prefix("failed to lookup address information: ")?;
    Some(if why.starts_with("Temporary") { Retry::Backoff } else { Retry::Never })
}

/// Whether the error may mean that the server had closed a reused connection.
pub(crate) fn is_broken(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(cause) => {
            matches!(cause.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        _ => false,
    }
}
