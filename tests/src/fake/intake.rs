// SPDX-License-Identifier: Apache-2.0
//! What is done with a request's body before it is answered: read, thrown away, read only so far.
//!
//! Decided when the head has come. [`Reply`] has what can be wrong with the answer itself.

use super::reply::{End, Reply};

/// What happens at a place in a request's body.
#[derive(Clone, Debug)]
pub(super) enum Then {
    End(End),
    Stall,
    Answer(Box<Reply>, End),
}

/// What is done with a request whose head has come.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Where in the body something happens.
    pub(super) event: Option<(u64, Then)>,
    /// Answered with this once the body is there, and nothing is done about it.
    pub(super) instead: Option<Box<Reply>>,
    /// Nothing is said to `Expect: 100-continue`.
    pub(super) silent: bool,
    /// Sent before the body is read, as it is.
    pub(super) before: Vec<u8>,
}

impl Intake {
    /// The right thing: the body is read, what was asked is done, and the answer sent.
    pub fn whole() -> Intake {
        Intake { event: None, instead: None, silent: false, before: Vec::new() }
    }

    /// The body is read and thrown away, nothing is done, and this is the answer.
    pub fn instead(reply: Reply) -> Intake {
        Intake { instead: Some(Box::new(reply)), ..Intake::whole() }
    }

    /// The connection ends when so many bytes of the body are read; they were taken.
    pub fn cut(after: u64, end: End) -> Intake {
        Intake { event: Some((after, Then::End(end))), ..Intake::whole() }
    }

    /// Nothing more is read after so many bytes of the body, which were taken, until
    /// [`release`](super::Server::release).
    pub fn stall(after: u64) -> Intake {
        Intake { event: Some((after, Then::Stall)), ..Intake::whole() }
    }

    /// This is answered when so many bytes of the body are read, and nothing is done. Then the
    /// connection ends: by `Fin` as with servers that read the rest and forget it, by `Reset` as
    /// with those that do not read it, so that sending the rest fails.
    pub fn early(after: u64, reply: Reply, end: End) -> Intake {
        Intake { event: Some((after, Then::Answer(Box::new(reply), end))), ..Intake::whole() }
    }

    /// `Expect: 100-continue` is ignored.
    #[must_use]
    pub fn silent(mut self) -> Intake {
        self.silent = true;
        self
    }

    /// These bytes go out before the body is read: `HTTP/1.1 102 Processing\r\n\r\n`, say.
    #[must_use]
    pub fn after(mut self, bytes: impl AsRef<[u8]>) -> Intake {
        self.before.extend_from_slice(bytes.as_ref());
        self
    }

    /// Whether the bytes of the body are given to whom they are for.
    pub(crate) fn delivers(&self) -> bool {
        self.instead.is_none() && !matches!(self.event, Some((_, Then::Answer(..))))
    }

    /// Whether `Expect: 100-continue` is ignored.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }
}
