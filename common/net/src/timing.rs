// SPDX-License-Identifier: Apache-2.0
//! Measures for the trace how long the current exchange of this thread takes, and records its
//! connection.
//!
//! The parts of a connection report to the thread that uses it: an exchange runs on one thread
//! until the head of its response has arrived. Uses the monotonic clock only.

use std::cell::RefCell;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::ProtocolVersion;

thread_local! {
    static CURRENT: RefCell<Option<Timing>> = const { RefCell::new(None) };
}

/// The times of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The start of the exchange.
    pub(crate) start: Instant,
    /// The TLS version of a handshake in this exchange.
    handshake: Option<ProtocolVersion>,
    connection: Option<Connection>,
    /// The time from the start until the first byte of the response.
    first_byte: Option<Duration>,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// The address of the server or the proxy.
    address: Option<SocketAddr>,
    tls: Option<ProtocolVersion>,
    /// How long connecting took, with the TLS handshake. `None` if the connection was used before.
    connecting: Option<Duration>,
}

impl Connection {
    /// The facts about a connection that was just made. ureq shows a connection's address in its
    /// debug output only.
    pub(crate) fn new(transport: &impl Debug, connecting: Duration) -> Connection {
        let shown = format!("{transport:?}");
        let address = shown.split_once("addr: Some(").and_then(|(_, rest)| rest.split_once(')'));
        let address = address.and_then(|(address, _)| address.parse().ok());
        let tls = CURRENT.with_borrow(|timing| timing.as_ref()?.handshake);
        Connection { address, tls, connecting: Some(connecting) }
    }

    /// The same connection, in its next exchange.
    pub(crate) fn used(self) -> Connection {
        Connection { connecting: None, ..self }
    }
}

/// Starts to measure an exchange of this thread. Returns the exchange that was measured so far: the
/// body of a request may be read from another registry while it is sent.
pub(crate) fn begin() -> Option<Timing> {
    let start = Instant::now();
    let timing = Timing { start, handshake: None, connection: None, first_byte: None };
    CURRENT.replace(Some(timing))
}

/// Whether this thread's exchange is measured.
pub(crate) fn is_measured() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Ends the measurement, and returns what was measured. `outer` is the exchange to continue with.
pub(crate) fn end(outer: Option<Timing>) -> Option<Timing> {
    CURRENT.replace(outer)
}

/// Records the TLS version of a handshake.
pub(crate) fn handshake(version: Option<ProtocolVersion>) {
    change(|timing| timing.handshake = version);
}

/// Records that a request is sent over this connection.
pub(crate) fn sending(connection: Connection) {
    change(|timing| {
        timing.connection = Some(connection);
        timing.first_byte = None;
    });
}

/// Records that a byte of the response was received.
pub(crate) fn received() {
    change(|timing| {
        timing.first_byte.get_or_insert_with(|| timing.start.elapsed());
    });
}

fn change(change: impl FnOnce(&mut Timing)) {
    CURRENT.with_borrow_mut(|timing| timing.as_mut().map(change));
}

impl Timing {
    /// The times in words; `None` if no request was sent.
    pub(crate) fn words(&self) -> Option<String> {
        let Connection { address, tls, connecting } = self.connection?;
        let address = address.map_or_else(|| "unknown address".to_owned(), |a| a.to_string());
        let tls = match tls {
            None => "no TLS",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(_) => "TLS",
        };
        let connecting = match connecting {
            Some(time) => format!("connect {}", seconds(time)),
            None => "connection reused".to_owned(),
        };
        let first = self.first_byte.map(|time| format!(", first byte {}", seconds(time)));
        Some(format!("{address}, {tls}: {connecting}{}", first.unwrap_or_default()))
    }
}

/// A time in words.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_what_is_known() {
        let connection = Connection {
            address: "[::1]:443".parse().ok(),
            tls: Some(ProtocolVersion::TLSv1_3),
            connecting: Some(Duration::from_millis(12)),
        };
        let timing = Timing {
            start: Instant::now(),
            handshake: None,
            connection: Some(connection),
            first_byte: Some(Duration::from_micros(34_500)),
        };
        let words = timing.words().unwrap();
        assert_eq!(words, "[::1]:443, TLS 1.3: connect 0.012 s, first byte 0.035 s");
        let used = Connection { tls: None, ..connection.used() };
        let timing = Timing { connection: Some(used), first_byte: None, ..timing };
        assert_eq!(timing.words().unwrap(), "[::1]:443, no TLS: connection reused");
        assert_eq!(Timing { connection: None, ..timing }.words(), None);
    }
}
