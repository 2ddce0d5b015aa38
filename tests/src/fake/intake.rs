// SPDX-License-Identifier: Apache-2.0
//! The handling of a request's body before the response: the server reads it, discards it, or reads
//! only part of it.
//!
//! The server chooses the handling as soon as the request's head has arrived. Faults of the
//! response itself are in [`Reply`].

use super::reply::{End, Reply};

/// An event at a position in a request's body.
#[derive(Clone, Debug)]
pub(super) enum Then {
    End(End),
    Stall,
    Answer(Box<Reply>, End),
}

/// The handling of a request whose head has arrived.
#[derive(Clone, Debug)]
pub struct Intake {
    /// A position in the body, and the event there.
    pub(super) event: Option<(u64, Then)>,
    /// The response after the body, if the server does not do what the request asks.
    pub(super) instead: Option<Box<Reply>>,
    /// Whether `Expect: 100-continue` is ignored.
    pub(super) silent: bool,
    /// Bytes sent before the body is read.
    pub(super) before: Vec<u8>,
}

impl Intake {
    /// The correct behaviour: the server reads the body, does what the request asks, and responds.
    pub fn whole() -> Intake {
        Intake { event: None, instead: None, silent: false, before: Vec::new() }
    }

    /// The server reads and discards the body, does nothing, and sends this response.
    pub fn instead(reply: Reply) -> Intake {
        Intake { instead: Some(Box::new(reply)), ..Intake::whole() }
    }

    /// The server takes this number of bytes of the body, then ends the connection.
    pub fn cut(after: u64, end: End) -> Intake {
        Intake { event: Some((after, Then::End(end))), ..Intake::whole() }
    }

    /// The server takes this number of bytes of the body, then reads nothing more until
    /// [`release`](super::Server::release).
    pub fn stall(after: u64) -> Intake {
        Intake { event: Some((after, Then::Stall)), ..Intake::whole() }
    }

    /// The server reads this number of bytes of the body, does nothing, and sends this response.
    /// Then it ends the connection. With `Fin` it reads and discards the rest of the body. With
    /// `Reset` it does not read the rest, so that sending it fails.
    pub fn early(after: u64, reply: Reply, end: End) -> Intake {
        Intake { event: Some((after, Then::Answer(Box::new(reply), end))), ..Intake::whole() }
    }

    /// The server ignores `Expect: 100-continue`.
    #[must_use]
    pub fn silent(mut self) -> Intake {
        self.silent = true;
        self
    }

    /// The server sends these bytes before it reads the body, for example
    /// `HTTP/1.1 102 Processing\r\n\r\n`.
    #[must_use]
    pub fn after(mut self, bytes: impl AsRef<[u8]>) -> Intake {
        self.before.extend_from_slice(bytes.as_ref());
        self
    }

    /// Whether the body is passed to [`Serve::take`](super::Serve::take) or kept with the request.
    /// Otherwise it is discarded.
    pub(crate) fn delivers(&self) -> bool {
        self.instead.is_none() && !matches!(self.event, Some((_, Then::Answer(..))))
    }

    /// Whether `Expect: 100-continue` is ignored.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }
}
