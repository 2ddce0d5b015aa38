// SPDX-License-Identifier: Apache-2.0
//! A wrapper around each connection that corrects faults of ureq. It does not change the bytes.
//!
//! - It limits the size of a response's head, including the interim responses before it. ureq
//!   measures either too little (it allows endless interim responses) or too much (all bytes that
//!   are buffered after an interim response).
//! - It reads a response that arrives while a body is still being sent. If the server then closes
//!   the connection, ureq would report a broken connection and not read the response. This wrapper
//!   drops the rest of the body instead.
//! - It keeps the reason phrase, which ureq drops, for the thread that reads the response.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;

use ureq::Error;
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::timing;

/// The maximum number of bytes of a response's head, including interim responses.
pub(crate) const MAX_HEAD: usize = 64 << 10;

thread_local! {
    /// The reason phrase of the last response whose head this thread has read.
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes the reason phrase of the last response whose head this thread has read. `None` if it was
/// empty or taken before.
pub(crate) fn take_reason() -> Option<String> {
    REASON.take()
}

/// The reason phrase of the last status line in a number of heads.
fn reason_phrase(heads: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(heads);
    let mut lines = text.lines().filter(|line| line.starts_with("HTTP/1."));
    let phrase = lines.next_back()?.splitn(3, ' ').nth(2)?.trim();
    (!phrase.is_empty()).then(|| phrase.to_owned())
}

/// The maximum number of bytes of framing that may arrive between two bytes of a body, or after its
/// last byte: a chunk's size line, trailers. The limit is checked each time a connection's buffer
/// is empty, so up to one more buffer can be read.
pub(crate) const MAX_FRAMING: usize = 64 << 10;

thread_local! {
    /// The number of bytes that this thread's current read of a body has received.
    static RECEIVED: Cell<usize> = const { Cell::new(0) };
}

/// Called before a read of a body: starts counting the bytes that this read receives. A read
/// returns as soon as it has content, so a read that continues has received only framing.
pub(crate) fn begin_read() {
    RECEIVED.set(0);
}

/// Counts bytes that a read of a body received without finding content in them.
///
/// # Errors
/// [`Error::LargeResponseHeader`] beyond [`MAX_FRAMING`].
fn within_framing(received: usize) -> Result<(), Error> {
    if received > MAX_FRAMING {
        return Err(Error::LargeResponseHeader(received, MAX_FRAMING));
    }
    Ok(())
}

/// Wraps connections in [`Watched`].
#[derive(Debug)]
pub(crate) struct Watch;

impl<In: Transport> Connector<In> for Watch {
    type Out = Watched<In>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Watched<In>>, Error> {
        Ok(chained.map(|connection| {
            let facts = timing::is_measured()
                .then(|| timing::Connection::new(&connection, time_spent(details)));
            Watched { connection, received: Some(0), write_closed: false, facts }
        }))
    }
}

/// A connection with a limited response head that still reads after a failed write.
#[derive(Debug)]
pub(crate) struct Watched<In> {
    connection: In,
    /// The number of bytes received since the request was sent; `None` after the end of the head.
    received: Option<usize>,
    /// Whether the server closed its receiving side. Its response can still be read.
    write_closed: bool,
    /// The facts for the trace; `None` if there is no trace.
    facts: Option<timing::Connection>,
}

impl<In: Transport> Transport for Watched<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.received = Some(0);
        if let Some(facts) = self.facts {
            timing::sending(facts);
        }
        if self.write_closed {
            return Ok(());
        }
        match self.connection.transmit_output(amount, timeout) {
            Err(Error::Io(cause)) if is_closed(cause.kind()) => {
                self.write_closed = true;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let before = self.connection.buffers().input().len();
        if self.received.is_none() {
            // Buffered input that the read could not use is framing too: it may have arrived
            // together with the head.
            within_framing(RECEIVED.get().max(before))?;
        }
        let more = self.connection.await_input(timeout)?;
        let now = self.connection.buffers().input().len();
        RECEIVED.set(RECEIVED.get() + now.saturating_sub(before));
        if self.received == Some(0) && now > before && self.facts.is_some() {
            timing::received();
        }
        if let Some(received) = self.received {
            let input = self.connection.buffers().input();
            let received = received + input.len().saturating_sub(before);
            let end = end_of_head(input);
            // Bytes that are no longer in the buffer belonged to interim responses.
            let head = received - input.len().min(received) + end.unwrap_or(input.len());
            if head > MAX_HEAD {
                return Err(Error::LargeResponseHeader(head, MAX_HEAD));
            }
            self.received = end.is_none().then_some(received);
            if let Some(end) = end {
                self.facts = self.facts.map(timing::Connection::used);
                REASON.replace(reason_phrase(&input[..end]));
            }
        }
        Ok(more)
    }

    fn is_open(&mut self) -> bool {
        !self.write_closed && self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

/// The offset where the head of the final response ends; `None` if it is incomplete.
fn end_of_head(input: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let rest = &input[start..];
        start += empty_line(rest)?;
        // "HTTP/1.1 103 …"
        let is_interim = rest.get(9) == Some(&b'1') && rest.starts_with(b"HTTP/1.");
        if !is_interim {
            return Some(start);
        }
    }
}

/// The offset after the first empty line, which ends a head.
pub(crate) fn empty_line(input: &[u8]) -> Option<usize> {
    (0..input.len()).find_map(|i| match &input[i..] {
        [b'\n', b'\n', ..] => Some(i + 2),
        [b'\n', b'\r', b'\n', ..] => Some(i + 3),
        _ => None,
    })
}

/// The time that connecting has taken so far.
fn time_spent(details: &ConnectionDetails<'_>) -> std::time::Duration {
    match (details.now, (details.current_time)()) {
        (Instant::Exact(start), Instant::Exact(now)) => now.saturating_duration_since(start),
        _ => std::time::Duration::ZERO,
    }
}

/// The remaining time to connect. `details.timeout` is the limit for all steps of connecting
/// together, counted from `details.now`.
///
/// # Errors
/// [`Error::Timeout`] if no time remains.
pub(crate) fn time_left(details: &ConnectionDetails<'_>) -> Result<NextTimeout, Error> {
    let mut timeout = details.timeout;
    let times = (timeout.after, details.now, (details.current_time)());
    if let (Duration::Exact(limit), Instant::Exact(start), Instant::Exact(now)) = times {
        let left = limit.saturating_sub(now.saturating_duration_since(start));
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        timeout.after = Duration::Exact(left);
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_phrase_is_that_of_the_final_response() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        for (head, want) in [
            ("HTTP/1.1 403 Quota spent: ask ops\r\nA: b\r\n\r\n", Some("Quota spent: ask ops")),
            ("HTTP/1.1 200\r\n\r\n", None),
            ("HTTP/1.0 520 \n\n", None),
        ] {
            for heads in [head.to_owned(), format!("{interim}{head}")] {
                assert_eq!(reason_phrase(heads.as_bytes()).as_deref(), want, "{heads}");
            }
        }
        assert_eq!(reason_phrase(b""), None);
    }

    #[test]
    fn framing_is_received_up_to_the_limit() {
        assert!(within_framing(MAX_FRAMING).is_ok());
        assert!(within_framing(MAX_FRAMING + 1).is_err());
    }

    #[test]
    fn the_head_includes_interim_responses() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let whole = format!("{interim}{interim}{head}body\n\n");
        assert_eq!(end_of_head(whole.as_bytes()), Some(2 * interim.len() + head.len()));
        assert_eq!(end_of_head(interim.as_bytes()), None);
        assert_eq!(end_of_head(&head.as_bytes()[..head.len() - 1]), None);
        assert_eq!(end_of_head(b"HTTP/1.0 200 OK\nA: b\n\nbody"), Some(22));
        assert_eq!(end_of_head(b""), None);
    }
}
