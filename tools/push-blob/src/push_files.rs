// SPDX-License-Identifier: Apache-2.0
//! Pushing the bytes of standard input and of files.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::fd::AsFd;
use std::path::Path;

use common::descriptor::Descriptor;
use common::error::{Error, Result, Status};
use common::lines::{NO_INPUT, looks_like_descriptor};
use common::verify::BUFFER;
use common::{cli, mediatype, stdio};

use crate::file_bytes::FileBytes;
use crate::run::Run;
use crate::target::Delivery;
use crate::upload::rereadable::Rereadable as _;

/// The number of bytes at the start of the input that are searched for a descriptor line.
const START: usize = 64 << 10;

/// The magic numbers of gzip and zstd.
const MAGICS: [&[u8]; 2] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];

impl Run {
    /// Pushes the bytes of standard input.
    ///
    /// # Errors
    /// Malformed if there are no bytes; local if standard input cannot be read; the target's
    /// errors.
    pub(crate) fn push_stdin(&self) -> Result<Descriptor> {
        const NAME: &str = "standard input";
        let stdin = stdio::stdin()?;
        let read_error = |cause: std::io::Error| Error::local("read standard input", &cause);
        let file = File::from(stdin.as_fd().try_clone_to_owned().map_err(read_error)?);
        let mut bytes = FileBytes::new(file, NAME.to_owned())?;
        if bytes.is_rewound_file() {
            if bytes.size == 0 {
                return Err(Error::malformed(NO_INPUT));
            }
            return self.push_regular(&mut bytes);
        }
        let mut stdin = BufReader::with_capacity(BUFFER, bytes.into_file());
        let start = stdin.fill_buf().map_err(read_error)?;
        if start.is_empty() {
            return Err(Error::malformed(NO_INPUT));
        }
        self.refuse_by_start(start, NAME)?;
        self.push_stream(stdin, NAME)
    }

    /// Pushes the bytes of a file.
    ///
    /// # Errors
    /// Absent if there is no such file; local if it cannot be read; the target's errors.
    pub(crate) fn push_file(&self, path: &Path) -> Result<Descriptor> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => {
                let error = Error::absent(format_args!("{name}: no such file"));
                cli::or_image(error, Some(path), |image, store| {
                    format!("fetch-manifest {image} | list-blobs | push-blob REPO --from {store}")
                })
            }
            _ => Error::local(format_args!("read {name}"), &cause),
        })?;
        let metadata = file.metadata();
        let metadata =
            metadata.map_err(|cause| Error::local(format_args!("read {name}"), &cause))?;
        if metadata.is_dir() {
            return Err(Error::new(Status::Local, format_args!("{name}: is a directory"))
                .hint("pack-layer makes a layer from a directory"));
        }
        if metadata.is_file() {
            return self.push_regular(&mut FileBytes::new(file, name)?);
        }
        self.push_stream(file, &name)
    }

    /// Pushes a regular file. It is read twice: to compute its digest, then to send it. Before it
    /// is sent, the target is asked whether it has the blob.
    fn push_regular(&self, bytes: &mut FileBytes) -> Result<Descriptor> {
        self.refuse_by_start(&bytes.start(START), &bytes.name)?;
        if let Some(method) = self.compress {
            let name = bytes.name.clone();
            let done = self.push_archive(&mut bytes.open(0)?, &name, method)?;
            bytes.check_unchanged()?;
            return Ok(done);
        }
        let media_type = self.media_type.as_deref().unwrap_or(mediatype::OCTETS);
        let descriptor = Descriptor::new(media_type, bytes.digest()?, bytes.size);
        let delivery = Delivery {
            chunk: self.chunk,
            mount_named: self.mount_paths(),
            resumable: true,
            hash_present: true,
            ..Delivery::default()
        };
        self.deliver(&descriptor, bytes, delivery, &self.progress)?;
        Ok(descriptor)
    }

    /// Refuses input by its first bytes: descriptor lines without `--from`, and compressed bytes
    /// with `--compress`. Messages call the input `name`.
    fn refuse_by_start(&self, start: &[u8], name: &str) -> Result<()> {
        if self.media_type.is_none() && looks_like_descriptor(start) {
            let what = format_args!("{name}: got descriptor lines, want the bytes of a blob");
            let hint = "use --from STORE to push the blobs that the lines name, or \
                        --media-type TYPE to push the lines themselves";
            return Err(Error::usage(what).hint(hint));
        }
        if self.compress.is_some() && MAGICS.iter().any(|magic| start.starts_with(magic)) {
            let what = format_args!("{name}: --compress: the bytes are compressed already");
            return Err(
                Error::malformed(what).hint("without --compress, the bytes are pushed unchanged")
            );
        }
        Ok(())
    }
}
