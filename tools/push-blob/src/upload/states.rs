// SPDX-License-Identifier: Apache-2.0
//! The states of one upload, and the step that is taken in each state.
//!
//! ```text
//! state         the registry has                     step                 next state
//! Unopened      no session                           POST opens one       Ready, Done
//! Ready         the session's bytes, to its offset   PATCH parts, PUT     Done
//! Unanswered    unknown: a part failed               GET the session      Ready, Unopened
//! Unconfirmed   unknown: the closing PUT failed      HEAD the blob, GET   Done, Ready, Unopened
//! Ended         no session any more                  HEAD the blob        Done, Unopened
//! EndedAtClose  no session after the closing PUT     HEAD, several times  Done, Unopened
//! Done          the blob
//! ```
//!
//! A failed step has a next state, too. In `Ready` it depends on the request: `Unanswered` after a
//! part, `Unconfirmed` after the closing request, and `Ready` again if the source failed. A step
//! that fails in any other state leads to the same state again. `Unconfirmed` has one exception: if
//! the session does not exist any more, the next state is `EndedAtClose`.
//!
//! After a failed step, [`adapt`](Upload::adapt) decides where the upload continues.

use common::error::{Error, Result, Status};
use net::failure::Failure;
use net::retry::Backoff;

use super::Uploads;
use super::hashed_once::HashedOnce;
use super::open_sessions::UploadSession;
use super::plan::{Budget, CHUNK, MAX_SESSIONS, Plan, Push};
use super::refused::Refused;
use super::rereadable::Rereadable;

/// The state of an upload.
#[derive(Debug)]
pub(super) enum State {
    /// No session is open.
    Unopened,
    /// The registry has the session's bytes up to its offset.
    Ready(UploadSession),
    /// A part was sent. There was no response, or the response was a refusal.
    Unanswered {
        /// The session.
        session: UploadSession,
        /// The end of the bytes that were sent. The registry cannot have more bytes.
        reach: u64,
    },
    /// The request that closes the session was sent. There was no response, or the response was a
    /// refusal.
    Unconfirmed(UploadSession),
    /// The session does not exist any more. Its closing request was not sent.
    Ended,
    /// The session does not exist any more. Its closing request was sent.
    EndedAtClose,
    /// The registry has the blob.
    Done,
}

impl State {
    /// The first state of an upload that begins with `session`, if given.
    pub(super) fn starting(session: Option<UploadSession>, size: u64) -> State {
        match session {
            None => State::Unopened,
            Some(session) if session.reopened => State::Unanswered { session, reach: size },
            Some(session) => State::Ready(session),
        }
    }

    /// The number of bytes that the registry is known to have.
    fn offset(&self) -> u64 {
        match self {
            State::Ready(session)
            | State::Unanswered { session, .. }
            | State::Unconfirmed(session) => session.offset,
            State::Unopened | State::Ended | State::EndedAtClose | State::Done => 0,
        }
    }

    /// The open session, if there is one.
    pub(super) fn into_session(self) -> Option<UploadSession> {
        match self {
            State::Ready(session)
            | State::Unanswered { session, .. }
            | State::Unconfirmed(session) => Some(session),
            State::Unopened | State::Ended | State::EndedAtClose | State::Done => None,
        }
    }
}

/// The result of a step: the next state, and the refusal if the step failed.
struct Step {
    next: State,
    refused: Option<Refused>,
}

impl Step {
    fn to(next: State) -> Step {
        Step { next, refused: None }
    }

    fn failed(next: State, why: impl Into<Refused>) -> Step {
        Step { next, refused: Some(why.into()) }
    }
}

/// A running upload.
pub(super) struct Upload<'a> {
    pub(super) uploads: &'a Uploads,
    pub(super) push: &'a Push<'a>,
    pub(super) state: State,
    pub(super) plan: Plan,
    pub(super) budget: Budget,
    /// Whether the last attempt failed without progress.
    pub(super) stalled: bool,
    hashed: HashedOnce<'a>,
}

impl<'a> Upload<'a> {
    /// A new upload.
    pub(super) fn new(uploads: &'a Uploads, push: &'a Push<'a>) -> Upload<'a> {
        Upload {
            uploads,
            push,
            state: State::starting(push.session.clone(), push.size),
            plan: push.chunk.map_or(Plan::Whole, Plan::Parts),
            budget: Budget::default(),
            stalled: false,
            hashed: HashedOnce::new(push.digest, push.size, push.watcher),
        }
    }

    /// Runs the upload until [`State::Done`].
    ///
    /// # Errors
    /// The last error of the source or the registry, if it is final or all attempts are used up.
    /// The session may still be open.
    pub(super) fn run(&mut self, source: &mut dyn Rereadable) -> Result<()> {
        let mut backoff = Backoff::new(self.uploads.registry().client());
        loop {
            let before = self.state.offset();
            let Err(refused) = self.attempt(source) else { return Ok(()) };
            if self.state.offset() > before {
                backoff.progressed();
                self.stalled = false;
            }
            if let Some(failure) = self.adapt(refused, source)? {
                self.stalled = true;
                backoff.wait(failure)?;
            }
        }
    }

    /// Takes steps until the registry has the blob or a step fails.
    fn attempt(&mut self, source: &mut dyn Rereadable) -> std::result::Result<(), Refused> {
        loop {
            let step = match std::mem::replace(&mut self.state, State::Unopened) {
                State::Unopened => self.open(),
                State::Ready(session) => self.send(session, source),
                State::Unanswered { session, reach } => self.ask(session, reach),
                State::Unconfirmed(session) => self.confirm(session),
                State::Ended if self.is_there() => Step::to(State::Done),
                State::Ended => Step::to(State::Unopened),
                State::EndedAtClose if self.is_there() => Step::to(State::Done),
                State::EndedAtClose => self.wait_for_blob(),
                State::Done => {
                    self.state = State::Done;
                    return Ok(());
                }
            };
            self.state = step.next;
            if let Some(refused) = step.refused {
                return Err(refused);
            }
        }
    }

    /// `Unopened`: opens a session.
    fn open(&mut self) -> Step {
        if !self.budget.may_open_session() {
            let name = self.name();
            let what = format_args!("{name}: gave up after {MAX_SESSIONS} upload sessions");
            return Step::failed(State::Unopened, Error::unavailable(what));
        }
        match self.uploads.begin() {
            Ok(session) => Step::to(State::Ready(session)),
            // The registry refused to open a session, perhaps because it has the blob.
            Err(failure) if failure.error.status() == Status::Malformed && self.is_there() => {
                Step::to(State::Done)
            }
            Err(failure) => Step::failed(State::Unopened, failure),
        }
    }

    /// `Ready`: sends the missing bytes, and closes the session.
    fn send(&mut self, mut session: UploadSession, source: &mut dyn Rereadable) -> Step {
        if self.push.watcher.remembers() {
            self.uploads.keep(&mut session);
            self.push.watcher.session(&session);
        }
        if self.plan == Plan::Whole && session.min_chunk.is_some_and(|min| min < self.push.size) {
            // A registry that has a minimum part size expects parts.
            self.plan = Plan::Parts(CHUNK);
        }
        self.push.watcher.begins(session.offset);
        if let Err(error) = self.hashed.catch_up(session.offset, source) {
            return Step::failed(State::Ready(session), error);
        }
        if self.plan == Plan::Whole && session.offset == 0 {
            return self.send_whole(session, source);
        }
        self.send_parts(session, source)
    }

    /// Sends all bytes in the request that closes the session.
    fn send_whole(&mut self, session: UploadSession, source: &mut dyn Rereadable) -> Step {
        let Push { digest, size, .. } = *self.push;
        let mut reader = match self.hashed.reader(0, source) {
            Ok(reader) => reader,
            Err(error) => return Step::failed(State::Ready(session), error),
        };
        match self.uploads.send_whole(&session, digest, &mut reader, size) {
            Ok(()) => Step::to(State::Done),
            Err(refused) => Step::failed(State::Unconfirmed(session), refused),
        }
    }

    /// Sends the missing bytes in parts, and closes the session.
    fn send_parts(&mut self, mut session: UploadSession, source: &mut dyn Rereadable) -> Step {
        let part = match self.plan {
            Plan::Whole => u64::MAX,
            Plan::Parts(bytes) => bytes.max(session.min_chunk.unwrap_or(1)),
        };
        let size = self.push.size;
        let name = self.name();
        let mut reader = match self.hashed.reader(session.offset, source) {
            Ok(reader) => reader,
            Err(error) => return Step::failed(State::Ready(session), error),
        };
        while session.offset < size {
            let length = part.min(size - session.offset);
            let reach = session.offset + length;
            let sent = self.uploads.send_part(&mut session, &name, &mut reader, length);
            if let Err(refused) = sent {
                return Step::failed(State::Unanswered { session, reach }, refused);
            }
            self.push.watcher.session(&session);
        }
        drop(reader);
        if let Err(error) = source.check_unchanged() {
            return Step::failed(State::Ready(session), error);
        }
        match self.uploads.close(&session, self.push.digest) {
            Ok(()) => Step::to(State::Done),
            Err(refused) => Step::failed(State::Unconfirmed(session), refused),
        }
    }

    /// `Unanswered`: requests the session's offset.
    fn ask(&self, mut session: UploadSession, reach: u64) -> Step {
        match self.continues(&mut session, reach) {
            Ok(true) => Step::to(State::Ready(session)),
            Ok(false) => Step::to(State::Unopened),
            Err(failure) => Step::failed(State::Unanswered { session, reach }, failure),
        }
    }

    /// `Unconfirmed`: asks whether the registry has the blob, then requests the session's offset.
    fn confirm(&mut self, mut session: UploadSession) -> Step {
        if self.is_there() {
            self.uploads.leave(&session);
            return Step::to(State::Done);
        }
        match self.continues(&mut session, self.push.size) {
            Ok(true) => Step::to(State::Ready(session)),
            Ok(false) => self.wait_for_blob(),
            Err(failure) => Step::failed(State::Unconfirmed(session), failure),
        }
    }

    /// Sets the session's offset to the offset that the registry reports. False if the session does
    /// not exist any more. Also false if the reported offset is beyond `reach`, which cannot be
    /// right: the session is then cancelled.
    fn continues(
        &self,
        session: &mut UploadSession,
        reach: u64,
    ) -> std::result::Result<bool, Failure> {
        match self.uploads.ask(session)? {
            Some(offset) if offset <= reach => {
                session.offset = offset;
                Ok(true)
            }
            Some(_) => {
                self.uploads.cancel(session);
                Ok(false)
            }
            None => {
                self.uploads.leave(session);
                Ok(false)
            }
        }
    }

    /// `EndedAtClose`: asks several times whether the registry has the blob. The close may have
    /// succeeded, and some registries take a while to show the blob.
    fn wait_for_blob(&mut self) -> Step {
        let mut backoff = Backoff::new(self.uploads.registry().client());
        while self.budget.may_look() {
            let name = self.name();
            let what = format_args!("{name}: the upload session does not exist any more");
            if let Err(error) = backoff.wait(Failure::temporary(Error::unavailable(what))) {
                return Step::failed(State::EndedAtClose, error);
            }
            if self.is_there() {
                return Step::to(State::Done);
            }
        }
        Step::to(State::Unopened)
    }

    /// Whether the registry reports that it has the blob. Also false if the request fails.
    fn is_there(&self) -> bool {
        let Push { digest, size, .. } = *self.push;
        matches!(self.uploads.registry().has_blob(digest, size), Ok(true))
    }

    /// The name of the blob in messages.
    fn name(&self) -> String {
        self.uploads.registry().blob_name(self.push.digest)
    }
}
