// SPDX-License-Identifier: Apache-2.0
//! Pushing bytes that can be read only once and whose digest is not known before their end: pipes,
//! and layers that are compressed while they are sent.

use std::io::Read;

use common::descriptor::{Descriptor, UNCOMPRESSED};
use common::digest::Digest;
use common::error::{Error, Result, source_error};
use common::mediatype;
use common::progress::{How, Progress};
use compress::{Compressor, Method};

use crate::checked_readers::Archive;
use crate::copy::copy;
use crate::run::Run;
use crate::target::Delivery;
use crate::target::sink::Sink;
use crate::upload::parts::Parts;
use crate::upload::stream::Finished;

impl Run {
    /// Pushes bytes that can be read only once, compressed if `--compress` is given. Messages call
    /// them `name`.
    ///
    /// # Errors
    /// The errors of the input and of the target; malformed if the bytes to compress are not a tar
    /// archive.
    pub(crate) fn push_stream(
        &self,
        mut input: impl Read + Send + 'static,
        name: &str,
    ) -> Result<Descriptor> {
        if let Some(method) = self.compress {
            return self.push_archive(&mut input, name, method);
        }
        let finished = match self.target.sink(self.chunk)? {
            Sink::Registry(stream) => {
                let parts = Parts::read(input, stream.part_size(), name, &self.progress)?;
                stream.send(parts)?
            }
            mut sink @ Sink::Layout(_) => {
                copy(&mut input, &mut sink, name, (&self.progress, None))?;
                sink.finish()?
            }
        };
        let (digest, size) = self.finish(finished)?;
        let media_type = self.media_type.as_deref().unwrap_or(mediatype::OCTETS);
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// Pushes the bytes of a tar archive, compressed by `method`.
    ///
    /// # Errors
    /// The same as [`push_stream`](Run::push_stream).
    pub(crate) fn push_archive(
        &self,
        input: &mut dyn Read,
        name: &str,
        method: Method,
    ) -> Result<Descriptor> {
        let sink = self.target.sink(self.chunk)?;
        let media_type = self.media_type.as_deref();
        let media_type = media_type.map_or_else(|| method.media_type(false), Ok)?.to_owned();
        self.push_compressed(input, name, sink, method, &media_type)
    }

    /// Pushes an uncompressed layer, compressed by `method`.
    ///
    /// # Errors
    /// The same as [`push_stream`](Run::push_stream).
    pub(crate) fn push_compressed(
        &self,
        input: &mut dyn Read,
        name: &str,
        sink: Sink,
        method: Method,
        media_type: &str,
    ) -> Result<Descriptor> {
        let write_error = |cause: std::io::Error| source_error(&cause);
        let start = |cause: std::io::Error| Error::local("start to compress", &cause);
        let mut compressor = Compressor::new(sink, method).map_err(start)?;
        let mut archive = Archive::new(input, name);
        copy(&mut archive, &mut compressor, name, (&self.progress, None))?;
        let finished = compressor.finish().map_err(write_error)?;
        let (digest, size) = self.finish(finished.output.finish()?)?;
        let descriptor = Descriptor::new(media_type, digest, size);
        Ok(descriptor.with_annotation(UNCOMPRESSED, &finished.diff_id.to_string()))
    }

    /// Ends the push of a blob that was written. If no byte was sent yet, the blob is delivered
    /// like a file. Returns its digest and size.
    fn finish(&self, finished: Finished) -> Result<(Digest, u64)> {
        match finished {
            Finished::Sent(digest, size) => {
                if let Some(target) = self.target.repository() {
                    self.memory.seen(&digest, target);
                }
                self.progress.done(&digest, size, How::Pushed);
                Ok((digest, size))
            }
            Finished::Unsent(digest, size, mut bytes) => {
                let descriptor = Descriptor::new(mediatype::OCTETS, digest, size);
                let delivery = Delivery { mount_named: self.mount_paths(), ..Delivery::default() };
                // Progress was already counted when the bytes arrived.
                self.deliver(&descriptor, &mut bytes, delivery, &Progress::silent())?;
                Ok((descriptor.digest, size))
            }
        }
    }
}
