// SPDX-License-Identifier: Apache-2.0
//! A whole blob brought into a repository, whatever happens on the way.
//!
//! One request with a length, unless parts are asked for: by the caller, by the registry's word of a least part, or by
//! a refusal of large bodies. What broke is taken up where the registry says that it stands; where an answer got lost,
//! the registry is asked whether the blob is there before anything is sent again. Every byte is hashed once, in order,
//! and the last of them leave only when the digest agrees.
//!
//! Not here: whether the blob is there already or can be mounted, and what is pushed when. That is the caller's, who
//! knows what else there is.

use std::io::Read;

use common::digest::Digest;
use common::error::{Error, Result, Status};
use net::failure::{Failure, Retry};
use net::retry::Backoff;

use super::Uploads;
use super::hashed::Hashed;
use super::open::Session;
use super::requests::{Refused, Why};

/// How large parts are when a registry refuses large bodies, in bytes.
pub(crate) const CHUNK: u64 = 16 << 20;

/// How large they are when it refuses those too: the least that is known of any.
pub(crate) const SMALL_CHUNK: u64 = 4 << 20;

/// The most sessions that are opened for one blob.
pub(crate) const MAX_SESSIONS: u32 = 6;

/// How often a session that ended with its answer lost is looked for as a blob, before it is sent again: some
/// registries are slow to show what they took.
const MAX_LOOKS: u32 = 3;

/// Bytes that can be read again, from wherever they are wanted.
pub(crate) trait Source {
    /// The bytes from `offset` to the end.
    ///
    /// # Errors
    /// The source's own.
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>>;

    /// Whether they are still those that they were when this source was made.
    ///
    /// # Errors
    /// Content, when they changed.
    fn check_unchanged(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Bytes in memory.
impl Source for &[u8] {
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(Box::new(&self[start..]))
    }
}

/// Where an open session is remembered for another run, and who watches.
pub(crate) trait Watcher {
    /// Whether another run will come back to the session.
    fn remembers(&self) -> bool {
        false
    }

    /// The upload goes on in this session.
    fn session(&self, _: &Session) {}

    /// There is no session to come back to any more.
    fn forget(&self) {}

    /// So many more bytes were read to be sent.
    fn sent(&self, _: u64) {}
}

/// Nobody.
impl Watcher for () {}

/// What is pushed, and how.
pub(crate) struct Push<'a> {
    /// Its digest.
    pub(crate) digest: &'a Digest,
    /// Its size.
    pub(crate) size: u64,
    /// How large its parts are to be; nothing for one piece where the registry takes it.
    pub(crate) chunk: Option<u64>,
    /// A session that is open for it: of a mount that was none, or of an earlier run.
    pub(crate) session: Option<Session>,
    /// Who remembers and watches.
    pub(crate) watcher: &'a dyn Watcher,
}

impl Uploads {
    /// Brings a blob into the repository.
    ///
    /// On failure its session is cancelled, unless trying again later may help: then it is left for another run.
    ///
    /// # Errors
    /// Content when the source is not what its digest says; otherwise the source's own and the registry's.
    pub(crate) fn push(&self, push: Push<'_>, source: &mut dyn Source) -> Result<()> {
        if push.size == 0 && !push.digest.is_of_nothing() {
            let what = format_args!("{}: no bytes, and not the digest of none", push.digest);
            return Err(Error::content(what));
        }
        let mut upload = Upload::new(self, &push);
        // What cannot be read need not be begun.
        let readable = source.open(0).map(drop);
        let outcome = readable.and_then(|()| upload.run(source));
        let Some(mut session) = upload.session.take() else {
            push.watcher.forget();
            return outcome;
        };
        match &outcome {
            Ok(()) => self.leave_upload(&session),
            // What the registry has of it is worth coming back for.
            Err(error)
                if error.status() == Status::Later
                    && push.watcher.remembers()
                    && !matches!(self.ask_upload(&mut session), Ok(Some(0) | None)) =>
            {
                push.watcher.session(&session);
                self.leave_upload(&session);
                return outcome;
            }
            Err(_) => self.cancel_upload(&session),
        }
        push.watcher.forget();
        outcome
    }

    /// Brings bytes in memory into the repository, unless they are there.
    ///
    /// # Errors
    /// The registry's.
    pub(super) fn push_bytes(&self, digest: &Digest, mut bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        if matches!(self.registry.has_blob(digest, size), Ok(true)) {
            return Ok(());
        }
        let push = Push { digest, size, chunk: None, session: None, watcher: &() };
        self.push(push, &mut bytes)
    }
}

/// How the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// All in the request that closes the session.
    Whole,
    /// In parts of so many bytes, then an empty request that closes the session.
    Parts(u64),
}

/// What is not known because an answer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nothing.
    No,
    /// How far the session is.
    Offset,
    /// Whether the session was closed, and the blob is there.
    Outcome,
}

/// An upload under way.
struct Upload<'a> {
    uploads: &'a Uploads,
    push: &'a Push<'a>,
    plan: Plan,
    doubt: Doubt,
    session: Option<Session>,
    /// How far bytes were sent in the session: the registry cannot have more.
    reach: u64,
    /// How many sessions were opened.
    sessions: u32,
    /// How often the blob was looked for after its session had ended.
    looks: u32,
    /// Failures in a row without progress.
    stalls: u32,
    /// How often the bytes were said to be out of order.
    disorders: u32,
    /// Whether the plan was changed because the registry did not understand it.
    switched: bool,
    /// Whether the registry found the whole to be another blob once.
    invalid: bool,
    /// What was read so far.
    hashed: Hashed<'a>,
}

impl<'a> Upload<'a> {
    fn new(uploads: &'a Uploads, push: &'a Push<'a>) -> Upload<'a> {
        let session = push.session.clone();
        let reopened = session.as_ref().is_some_and(|session| session.reopened);
        Upload {
            uploads,
            push,
            plan: push.chunk.map_or(Plan::Whole, Plan::Parts),
            doubt: if reopened { Doubt::Offset } else { Doubt::No },
            reach: if reopened { push.size } else { 0 },
            session,
            sessions: 0,
            looks: 0,
            stalls: 0,
            disorders: 0,
            switched: false,
            invalid: false,
            hashed: Hashed::new(push.digest, push.size, push.watcher),
        }
    }

    fn run(&mut self, source: &mut dyn Source) -> Result<()> {
        let mut backoff = Backoff::new(self.uploads.registry.client());
        loop {
            let before = self.offset();
            let refused = match self.attempt(source) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if self.offset() > before {
                backoff.progressed();
                self.stalls = 0;
            }
            if let Some(failure) = self.adapt(refused, source)? {
                self.stalls += 1;
                backoff.wait(failure)?;
            }
        }
    }

    fn offset(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.offset)
    }

    /// One way through: from wherever the upload stands to its end.
    fn attempt(&mut self, source: &mut dyn Source) -> Outcome {
        if self.doubt != Doubt::No && self.is_done_after_all()? {
            return Ok(());
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => match self.begin()? {
                Some(session) => session,
                None => return Ok(()),
            },
        };
        if self.push.watcher.remembers() {
            self.uploads.keep_upload(&mut session);
            self.push.watcher.session(&session);
        }
        let outcome = self.send(&mut session, source);
        self.session = Some(session);
        outcome
    }

    /// Clears up a doubt: whether the blob is there, and else how far its session is.
    fn is_done_after_all(&mut self) -> std::result::Result<bool, Refused> {
        let Push { digest, size, .. } = *self.push;
        let closing = self.doubt == Doubt::Outcome;
        if (closing || self.session.is_none())
            && matches!(self.uploads.registry.has_blob(digest, size), Ok(true))
        {
            return Ok(true);
        }
        if let Some(mut session) = self.session.take() {
            match self.uploads.ask_upload(&mut session) {
                Ok(Some(offset)) if offset <= self.reach => {
                    session.offset = offset;
                    self.session = Some(session);
                }
                Ok(Some(_)) => self.uploads.cancel_upload(&session),
                Ok(None) => self.uploads.leave_upload(&session),
                Err(failure) => {
                    self.session = Some(session);
                    return Err(failure.into());
                }
            }
        }
        // A session that ended may have ended well, and be slow to show it.
        let mut backoff = Backoff::new(self.uploads.registry.client());
        while closing && self.session.is_none() && self.looks < MAX_LOOKS {
            self.looks += 1;
            backoff.wait(self.gone())?;
            if matches!(self.uploads.registry.has_blob(digest, size), Ok(true)) {
                return Ok(true);
            }
        }
        self.doubt = Doubt::No;
        Ok(false)
    }

    /// A session ended, and the blob is not there, or not yet.
    fn gone(&self) -> Failure {
        let name = self.uploads.registry.blob_name(self.push.digest);
        Failure::temporary(Error::later(format_args!("{name}: its upload session is gone")))
    }

    /// Opens a session; nothing when the registry wants no bytes, because it has them.
    fn begin(&mut self) -> std::result::Result<Option<Session>, Refused> {
        let Push { digest, size, .. } = *self.push;
        self.sessions += 1;
        self.reach = 0;
        if self.sessions > MAX_SESSIONS {
            let name = self.uploads.registry.blob_name(digest);
            let what = format_args!("{name}: {MAX_SESSIONS} upload sessions, and none ended well");
            return Err(Error::later(what).into());
        }
        match self.uploads.begin_upload() {
            Ok(session) => Ok(Some(session)),
            Err(failure) if failure.error.status() == Status::Malformed => {
                match self.uploads.registry.has_blob(digest, size) {
                    Ok(true) => Ok(None),
                    _ => Err(failure.into()),
                }
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn send(&mut self, session: &mut Session, source: &mut dyn Source) -> Outcome {
        let Push { digest, size, .. } = *self.push;
        if self.plan == Plan::Whole && session.min_chunk.is_some_and(|least| least < size) {
            // Who names a least part wants parts.
            self.plan = Plan::Parts(CHUNK);
        }
        self.hashed.catch_up(session.offset, source)?;
        if self.plan == Plan::Whole && session.offset == 0 {
            (self.doubt, self.reach) = (Doubt::Outcome, size);
            let mut reader = self.hashed.reader(0, source)?;
            return self.uploads.send_whole(session, digest, &mut reader, size);
        }
        let part = match self.plan {
            Plan::Whole => u64::MAX,
            Plan::Parts(bytes) => bytes.max(session.min_chunk.unwrap_or(1)),
        };
        let what = self.uploads.registry.blob_name(digest);
        let mut reader = self.hashed.reader(session.offset, source)?;
        while session.offset < size {
            let length = part.min(size - session.offset);
            (self.doubt, self.reach) = (Doubt::Offset, session.offset + length);
            self.uploads.send_part(session, &what, &mut reader, length)?;
            self.doubt = Doubt::No;
            self.push.watcher.session(session);
        }
        drop(reader);
        source.check_unchanged()?;
        self.doubt = Doubt::Outcome;
        self.uploads.close_upload(session, digest)
    }

    /// What to do about a refusal: what is returned is waited for, and then it is tried again.
    fn adapt(&mut self, refused: Refused, source: &mut dyn Source) -> Result<Option<Failure>> {
        let Refused { why, mut failure } = refused;
        if self.push.size == 0 {
            failure = failure.context("the empty blob, which some registries do not take");
        }
        match why {
            Why::Gone => {
                if let Some(session) = self.session.take() {
                    self.uploads.leave_upload(&session);
                }
                if self.doubt == Doubt::No {
                    self.doubt = Doubt::Offset;
                }
            }
            Why::OutOfOrder => {
                self.disorders += 1;
                self.doubt = Doubt::Offset;
                if self.disorders > 2 {
                    self.begin_anew(Plan::Whole);
                }
            }
            Why::TooLarge => {
                self.doubt = Doubt::Offset;
                let sent = match self.plan {
                    Plan::Whole => self.push.size,
                    Plan::Parts(part) => part.min(self.push.size),
                };
                self.plan = match sent {
                    _ if sent > CHUNK => Plan::Parts(CHUNK),
                    _ if sent > SMALL_CHUNK => Plan::Parts(SMALL_CHUNK),
                    _ => {
                        let hint = "a proxy may limit it: --chunk SIZE sends smaller parts";
                        return Err(failure.error.hint(hint));
                    }
                };
            }
            Why::Invalid => {
                source.check_unchanged()?;
                if std::mem::replace(&mut self.invalid, true) {
                    return Err(failure.error);
                }
                self.begin_anew(self.plan);
            }
            Why::Unsupported => {
                if std::mem::replace(&mut self.switched, true) {
                    return Err(failure.error);
                }
                self.begin_anew(match self.plan {
                    Plan::Whole => Plan::Parts(u64::MAX),
                    Plan::Parts(_) => Plan::Whole,
                });
            }
            Why::Failed => {
                let again_and_again = self.stalls > 0 && failure.retry != Retry::Never;
                match self.plan {
                    // A proxy's limit may show as nothing but a connection that ends.
                    Plan::Whole if again_and_again && self.push.size > CHUNK => {
                        self.plan = Plan::Parts(CHUNK);
                    }
                    // Some registries fail on an end without bytes.
                    Plan::Parts(_) if again_and_again && self.doubt == Doubt::Outcome => {
                        self.begin_anew(Plan::Whole);
                        self.doubt = Doubt::Outcome;
                    }
                    _ => {}
                }
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }

    fn begin_anew(&mut self, plan: Plan) {
        if let Some(session) = self.session.take() {
            self.uploads.cancel_upload(&session);
        }
        (self.plan, self.doubt) = (plan, Doubt::No);
    }
}

type Outcome = std::result::Result<(), Refused>;
