// SPDX-License-Identifier: Apache-2.0
//! Where blobs go: each is looked for first, then mounted if another repository has it, then sent.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::progress::{How, Progress};
use layout::Layout;
use layout::ingest::NewBlob;
use store::Document;

use crate::bytes::copy;
use crate::candidates::candidates;
use crate::sessions::{self, Place};
use crate::turns;
use crate::upload::push::{Push, Watcher};
use crate::upload::requests::Mount;
use crate::upload::rereadable::Rereadable;
use crate::upload::stream::Stream;
use crate::upload::{Session, Uploads};

/// Where blobs go.
pub(crate) enum Target {
    /// Into a repository.
    Registry(Arc<Uploads>),
    /// Into a layout, made when the first blob comes.
    Layout(PathBuf, OnceLock<Result<Layout>>),
}

/// How one blob is to be brought.
#[derive(Default)]
pub(crate) struct Manner {
    /// How large its parts are to be.
    pub(crate) chunk: Option<u64>,
    /// Repositories to mount it from, by their paths: those that the user names.
    pub(crate) named: Vec<String>,
    /// And those that it was seen in.
    pub(crate) remembered: Vec<String>,
    /// Whether another run will find the same bytes.
    pub(crate) resumable: bool,
}

impl Target {
    /// Brings a blob, unless it is there.
    ///
    /// # Errors
    /// The source's, the target's, and content when the bytes are not what the descriptor says.
    pub(crate) fn deliver(
        &self,
        descriptor: &Descriptor,
        source: &mut dyn Rereadable,
        manner: &Manner,
        progress: &Progress,
    ) -> Result<()> {
        let Descriptor { digest, size, .. } = descriptor;
        let _turn = turns::turn(digest);
        progress.announce(*size);
        let outcome = match self {
            Target::Registry(uploads) => push(uploads, descriptor, source, manner, progress),
            Target::Layout(..) => store(self.layout()?, descriptor, source, progress),
        };
        let how = match outcome {
            // A file that changed is what is wrong then, not what it changed to.
            Err(error) if error.status() == Status::Content => {
                source.check_unchanged()?;
                return Err(error);
            }
            outcome => outcome?,
        };
        progress.done(digest, *size, how);
        Ok(())
    }

    /// Whether a manifest is there.
    ///
    /// # Errors
    /// The target's.
    pub(crate) fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool> {
        match self {
            Target::Registry(uploads) => uploads.registry().has_manifest(&descriptor.digest),
            Target::Layout(..) => Ok(self.layout()?.blob(descriptor)?.is_some()),
        }
    }

    /// Puts a manifest under its digest.
    ///
    /// # Errors
    /// The target's.
    pub(crate) fn put_manifest(&self, document: &Document) -> Result<()> {
        let Document { bytes, descriptor, manifest } = document;
        let digest = &descriptor.digest;
        match self {
            Target::Registry(uploads) => {
                uploads.registry().publish(&[digest.to_string()], bytes, digest, manifest)
            }
            Target::Layout(..) => self.layout()?.put_bytes(digest, bytes),
        }
    }

    /// Where bytes go whose digest is known only at their end.
    ///
    /// # Errors
    /// Local trouble with a layout.
    pub(crate) fn sink(&self, chunk: Option<u64>) -> Result<Sink> {
        Ok(match self {
            Target::Registry(uploads) => Sink::Registry(uploads.stream(chunk)),
            Target::Layout(..) => Sink::Layout(self.layout()?.new_blob(Algorithm::Sha256)?),
        })
    }

    /// The run failed: what is open at a registry and no other run will come back to is closed.
    pub(crate) fn close(&self) {
        if let Target::Registry(uploads) = self {
            uploads.cancel_all(true);
        }
    }

    fn layout(&self) -> Result<&Layout> {
        match self {
            Target::Layout(dir, layout) => {
                layout.get_or_init(|| Layout::create(dir)).as_ref().map_err(Error::clone)
            }
            Target::Registry(_) => Err(Error::usage("a registry is no layout")),
        }
    }
}

/// Bytes on their way to where they go.
pub(crate) enum Sink {
    /// To a repository.
    Registry(Stream),
    /// Into a layout.
    Layout(NewBlob),
}

impl Sink {
    /// That was all: the blob is there.
    ///
    /// # Errors
    /// The target's.
    pub(crate) fn finish(self) -> Result<(Digest, u64)> {
        match self {
            Sink::Registry(stream) => stream.finish(),
            Sink::Layout(blob) => blob.finish(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Registry(stream) => stream.write(bytes),
            Sink::Layout(blob) => blob.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Into a layout.
fn store(
    layout: &Layout,
    descriptor: &Descriptor,
    source: &mut dyn Rereadable,
    progress: &Progress,
) -> Result<How> {
    if layout.blob(descriptor)?.is_some() {
        return Ok(How::Present);
    }
    let mut blob = layout.new_blob(descriptor.digest.algorithm())?;
    copy(&mut source.open(0)?, &mut blob, &descriptor.digest.to_string(), progress)?;
    source.check_unchanged()?;
    blob.finish_as(descriptor)?;
    Ok(How::Pushed)
}

/// Into a repository.
fn push(
    uploads: &Uploads,
    descriptor: &Descriptor,
    source: &mut dyn Rereadable,
    manner: &Manner,
    progress: &Progress,
) -> Result<How> {
    let Descriptor { digest, size, .. } = descriptor;
    // A registry that does not say may still take it: what is wrong shows then.
    if matches!(uploads.registry().has_blob(digest, *size), Ok(true)) {
        return Ok(How::Present);
    }
    let worth_it = manner.resumable && *size >= sessions::WORTH_IT;
    let place = worth_it.then(|| Place::of(uploads.registry().repository(), digest)).flatten();
    let left = place.as_ref().and_then(Place::recall);
    let session = match left.and_then(|address| uploads.reopen(&address).ok()) {
        Some(session) => Some(session),
        None => match mount(uploads, descriptor, manner) {
            Mount::Mounted => return Ok(How::Mounted),
            Mount::Session(session) => Some(session),
            Mount::Refused => None,
        },
    };
    let watch = Watch { place, progress };
    let push = Push { digest, size: *size, chunk: manner.chunk, session, watcher: &watch };
    uploads.push(push, source)?;
    Ok(How::Pushed)
}

/// Asks for the blob of other repositories, one after the other. Of the sessions that are opened where it is not had, the
/// last is kept to be used and the others are closed.
fn mount(uploads: &Uploads, descriptor: &Descriptor, manner: &Manner) -> Mount {
    let Descriptor { digest, size, .. } = descriptor;
    let mut kept: Option<Session> = None;
    let target = uploads.registry().repository().path();
    for path in candidates(target, &manner.named, &manner.remembered, *size) {
        let session = match uploads.mount(digest, &path) {
            Mount::Refused => continue,
            Mount::Session(session) => Some(session),
            Mount::Mounted => None,
        };
        let mounted = session.is_none();
        if let Some(unused) = std::mem::replace(&mut kept, session) {
            uploads.cancel(&unused);
        }
        if mounted {
            return Mount::Mounted;
        }
    }
    kept.map_or(Mount::Refused, Mount::Session)
}

/// Remembers the upload, and shows how far it is.
struct Watch<'a> {
    place: Option<Place>,
    progress: &'a Progress,
}

impl Watcher for Watch<'_> {
    fn remembers(&self) -> bool {
        self.place.is_some()
    }

    fn session(&self, session: &Session) {
        if let Some(place) = &self.place {
            place.keep(&session.address());
        }
    }

    fn forget(&self) {
        if let Some(place) = &self.place {
            place.forget();
        }
    }

    fn sent(&self, bytes: u64) {
        self.progress.add(bytes);
    }
}
