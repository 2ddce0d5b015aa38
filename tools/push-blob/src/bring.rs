// SPDX-License-Identifier: Apache-2.0
//! One thing to be pushed, from where its bytes are to a target that delivers them.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::descriptor::{Descriptor, UNCOMPRESSED};
use common::digest::Digest;
use common::error::source_error;
use common::error::{Error, Result, Status};
use common::lines::{NO_INPUT, looks_like_descriptor};
use common::manifest::Schema1;
use common::mediatype::{self, Kind};
use common::progress::{How, Progress};
use common::reference::{Repository, StoreName};
use common::verify::{BUFFER, Verifier};
use common::{notice, stdio};
use compress::{Compressor, Method};
use store::Remote;
use store::source::Source;
use store::{Asking, Store};

use crate::bytes::{Archive, Blob, FileBytes, Verified, copy};
use crate::input::Job;
use crate::target::{Manner, Sink, Target};
use crate::upload::rereadable::Rereadable as _;

/// How much of the bytes is looked at, to tell lines that were meant for `--from`.
const START: usize = 64 << 10;

/// How gzip and zstd begin.
const MAGICS: [&[u8]; 2] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];

/// What the whole run has in common.
pub(crate) struct Run {
    pub(crate) target: Target,
    /// What lines name blobs of, opened at the first of them.
    pub(crate) from: Option<(StoreName, Remote)>,
    pub(crate) source: OnceLock<Result<Source>>,
    /// Repositories to mount from.
    pub(crate) mount_from: Vec<Repository>,
    pub(crate) media_type: Option<String>,
    pub(crate) compress: Option<Method>,
    pub(crate) chunk: Option<u64>,
    pub(crate) allow_nondistributable: bool,
    pub(crate) progress: Progress,
    /// What came from a layout and is in a registry now.
    pub(crate) done: Mutex<Vec<Digest>>,
}

impl Run {
    /// Does one job; the line to print.
    ///
    /// # Errors
    /// The source's and the target's.
    pub(crate) fn bring(&self, job: Job) -> Result<String> {
        let descriptor = match job {
            Job::Stdin => self.stdin()?,
            Job::File(path) => self.file(&path)?,
            Job::Blob(descriptor) => self.blob(descriptor)?,
            Job::Manifest(descriptor) => self.manifest(descriptor)?,
            Job::Again(descriptor) => descriptor,
        };
        Ok(descriptor.line() + "\n")
    }

    /// The source layout remembers where its blobs are now too.
    pub(crate) fn remember(&self) {
        if let (Target::Registry(uploads), Some(Ok(source))) = (&self.target, self.source.get())
            && let Store::Layout(layout) = &source.store
            && layout.takes_notes()
        {
            layout.remember_source(uploads.registry().repository(), &self.done());
        }
    }

    fn stdin(&self) -> Result<Descriptor> {
        const NAME: &str = "standard input";
        let stdin = stdio::stdin()?;
        let trouble = |cause: std::io::Error| Error::local("read standard input", &cause);
        let file = File::from(stdin.as_fd().try_clone_to_owned().map_err(trouble)?);
        let mut bytes = FileBytes::new(file, NAME.to_owned())?;
        if bytes.is_rewound_file() {
            if bytes.size == 0 {
                return Err(Error::malformed(NO_INPUT));
            }
            return self.bytes(&mut bytes);
        }
        let mut stdin = BufReader::with_capacity(BUFFER, stdin);
        let start = stdin.fill_buf().map_err(trouble)?;
        if start.is_empty() {
            return Err(Error::malformed(NO_INPUT));
        }
        self.look_at(start)?;
        self.stream(&mut stdin, NAME)
    }

    fn file(&self, path: &Path) -> Result<Descriptor> {
        let name = path.display().to_string();
        let mut file = File::open(path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => Error::absent(format_args!("{name}: no such file")),
            _ => Error::local(format_args!("read {name}"), &cause),
        })?;
        let metadata = file.metadata();
        let metadata =
            metadata.map_err(|cause| Error::local(format_args!("read {name}"), &cause))?;
        if metadata.is_dir() {
            return Err(Error::new(Status::Local, format_args!("{name}: is a directory"))
                .hint("pack-layer makes a layer of it"));
        }
        if metadata.is_file() {
            return self.bytes(&mut FileBytes::new(file, name)?);
        }
        self.stream(&mut file, &name)
    }

    /// A regular file's bytes.
    fn bytes(&self, bytes: &mut FileBytes) -> Result<Descriptor> {
        self.look_at(&bytes.start(START))?;
        if self.compress.is_some() {
            let name = bytes.name.clone();
            let done = self.stream(&mut bytes.open(0)?, &name)?;
            bytes.check_unchanged()?;
            return Ok(done);
        }
        let media_type = self.media_type.as_deref().unwrap_or(mediatype::OCTETS);
        let descriptor = Descriptor::new(media_type, bytes.digest()?, bytes.size);
        let named = self.mount_from.iter().map(|from| from.path().to_owned()).collect();
        let manner = Manner { chunk: self.chunk, named, resumable: true, ..Manner::default() };
        self.target.deliver(&descriptor, bytes, &manner, &self.progress)?;
        Ok(descriptor)
    }

    /// Lines where bytes are wanted were meant for `--from`, and what is compressed is not compressed again.
    fn look_at(&self, start: &[u8]) -> Result<()> {
        if self.media_type.is_none() && looks_like_descriptor(start) {
            let error = Error::usage("descriptor lines came, and bytes are wanted");
            return Err(
                error.hint("--from STORE brings what they name; --media-type takes them as bytes")
            );
        }
        if self.compress.is_some() && MAGICS.iter().any(|magic| start.starts_with(magic)) {
            let error = Error::malformed("--compress: the bytes are compressed already");
            return Err(error.hint("without it they are pushed as they are"));
        }
        Ok(())
    }

    /// Bytes that come once, compressed on the way if that is asked for.
    fn stream(&self, input: &mut dyn Read, name: &str) -> Result<Descriptor> {
        let sink = self.target.sink(self.chunk)?;
        let media_type = self.media_type.as_deref();
        let Some(method) = self.compress else {
            let mut sink = sink;
            copy(input, &mut sink, name, &self.progress)?;
            let (digest, size) = sink.finish()?;
            self.progress.done(&digest, size, How::Pushed);
            return Ok(Descriptor::new(media_type.unwrap_or(mediatype::OCTETS), digest, size));
        };
        let media_type = media_type.map_or_else(|| method.media_type(false), Ok)?.to_owned();
        self.compress(input, name, sink, method, &media_type)
    }

    fn compress(
        &self,
        input: &mut dyn Read,
        name: &str,
        sink: Sink,
        method: Method,
        media_type: &str,
    ) -> Result<Descriptor> {
        let trouble = |cause: std::io::Error| source_error(&cause);
        let start = |cause: std::io::Error| Error::local("start to compress", &cause);
        let mut compressor = Compressor::new(sink, method).map_err(start)?;
        let mut archive = Archive::new(input);
        copy(&mut archive, &mut compressor, name, &self.progress)?;
        let finished = compressor.finish().map_err(trouble)?;
        let (digest, size) = finished.output.finish()?;
        self.progress.done(&digest, size, How::Pushed);
        let descriptor = Descriptor::new(media_type, digest, size);
        Ok(descriptor.with_annotation(UNCOMPRESSED, &finished.diff_id.to_string()))
    }

    /// A blob of the source.
    fn blob(&self, descriptor: Descriptor) -> Result<Descriptor> {
        let kind = mediatype::kind(&descriptor.media_type);
        if matches!(kind, Kind::Layer { foreign: true, .. }) && !self.allow_nondistributable {
            notice::warn("foreign layer", || {
                format!("{}: a non-distributable layer: skipped", descriptor.digest)
            });
            return Ok(descriptor);
        }
        let source = self.source()?;
        let mut blob = Blob::of(source, &descriptor);
        if let (Kind::Layer { compression: None, .. }, Some(method)) = (kind, self.compress) {
            let media_type = method.media_type(mediatype::is_docker(&descriptor.media_type))?;
            let name = descriptor.digest.to_string();
            return right(source, &descriptor.digest, || {
                let verifier = Verifier::new(&descriptor.digest, Some(descriptor.size));
                let mut input = Verified::new(blob.open(0)?, verifier);
                let sink = self.target.sink(self.chunk)?;
                self.compress(&mut input, &name, sink, method, media_type)
            });
        }
        let mut manner = Manner { chunk: self.chunk, ..Manner::default() };
        manner.named = self.mount_from.iter().map(|from| from.path().to_owned()).collect();
        match (&source.store, &self.target) {
            (Store::Registry(from), Target::Registry(to)) => {
                if from.repository().api_host() == to.registry().repository().api_host() {
                    manner.named.push(from.repository().path().to_owned());
                }
            }
            (Store::Layout(layout), Target::Registry(to)) => {
                manner.remembered =
                    layout.sources(&descriptor.digest, to.registry().repository().host());
                manner.resumable = true;
            }
            (_, Target::Layout(..)) => {}
        }
        right(source, &descriptor.digest, || {
            self.target.deliver(&descriptor, &mut blob, &manner, &self.progress)
        })?;
        if manner.resumable {
            self.done().push(descriptor.digest.clone());
        }
        Ok(descriptor)
    }

    /// A manifest of the source; what it names came before it.
    fn manifest(&self, descriptor: Descriptor) -> Result<Descriptor> {
        let Descriptor { digest, size, .. } = &descriptor;
        if self.target.has_manifest(&descriptor)? {
            self.progress.done(digest, *size, How::Present);
            return Ok(descriptor);
        }
        let asking = Asking { accept: &[], schema1: Schema1::Refused, platform: None };
        let document = self.source()?.store.described(descriptor.clone(), asking)?;
        self.target.put_manifest(&document)?;
        self.progress.done(digest, *size, How::Pushed);
        Ok(descriptor)
    }

    fn source(&self) -> Result<&Source> {
        let open = || {
            let (name, remote) =
                self.from.as_ref().ok_or_else(|| Error::usage("lines without --from"))?;
            Ok(Source::new(Store::open(name, remote)?, remote.client.clone()))
        };
        self.source.get_or_init(open).as_ref().map_err(Error::clone)
    }

    fn done(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what takes a blob's bytes, again while they were wrong and a mirror's: only their last one tells.
fn right<T>(source: &Source, digest: &Digest, mut take: impl FnMut() -> Result<T>) -> Result<T> {
    let is_wrong = |error: &Error| matches!(error.status(), Status::Content | Status::Malformed);
    loop {
        match take() {
            Err(error) if is_wrong(&error) && source.leave_mirrors_of(digest, &error) => {}
            outcome => return outcome,
        }
    }
}
