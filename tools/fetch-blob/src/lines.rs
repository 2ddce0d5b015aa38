// SPDX-License-Identifier: Apache-2.0
//! The blobs to fetch: digests from the command line, or descriptor lines from standard input.

use std::io::BufReader;
use std::sync::mpsc::SyncSender;

use common::descriptor::{Descriptor, Line, Unsized};
use common::digest::Digest;
use common::error::{Error, Result};
use common::lines::Lines;
use common::{mediatype, stdio};

/// The maximum number of descriptor lines in one run.
const MAX_LINES: usize = 100_000;

/// A blob to fetch.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Its position in the input.
    pub(crate) index: usize,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its descriptor, if the input is a descriptor line.
    pub(crate) descriptor: Option<Descriptor>,
    /// Its line, if the input is a descriptor line without a size.
    pub(crate) line: Option<Unsized>,
}

impl Wanted {
    fn operand(index: usize, digest: Digest) -> Wanted {
        Wanted { index, digest, descriptor: None, line: None }
    }

    pub(crate) fn line(index: usize, line: Line) -> Wanted {
        match line {
            Line::Whole(descriptor) => {
                let digest = descriptor.digest.clone();
                Wanted { index, digest, descriptor: Some(descriptor), line: None }
            }
            Line::Unsized(line) => {
                Wanted { index, digest: line.digest().clone(), descriptor: None, line: Some(line) }
            }
        }
    }

    /// The descriptor to print, when the size of the blob is known.
    pub(crate) fn described(self, size: u64) -> Descriptor {
        match (self.descriptor, self.line) {
            (Some(descriptor), _) => descriptor,
            (None, Some(line)) => line.complete(size),
            (None, None) => Descriptor::new(mediatype::OCTETS, self.digest, size),
        }
    }
}

/// The only blob: the one digest, or the one descriptor line on standard input.
pub(crate) fn only_blob(digests: &[Digest]) -> Result<Wanted> {
    let too_many = || {
        Error::usage("several blobs, and only one can go to standard output or a file")
            .hint("--into oci:DIR stores any number of blobs")
    };
    match digests {
        [digest] => return Ok(Wanted::operand(0, digest.clone())),
        [] => {}
        _ => return Err(too_many()),
    }
    let mut lines = Lines::with_unsized(stdio::stdin()?);
    let line = lines.next().unwrap_or_else(|| Err(Error::malformed("no line")))?;
    match lines.next() {
        Some(_) => Err(too_many()),
        None => Ok(Wanted::line(0, line)),
    }
}

/// Starts a thread that reads the input. It has its own thread because standard input may block
/// while the previous program of the pipe works.
pub(crate) fn read(digests: &[Digest], send: SyncSender<Result<Wanted>>) {
    let digests = digests.to_vec();
    std::thread::spawn(move || {
        if digests.is_empty() {
            let stdin = match stdio::stdin() {
                Ok(stdin) => stdin,
                Err(error) => return drop(send.send(Err(error))),
            };
            for (index, line) in Lines::with_unsized(BufReader::new(stdin)).enumerate() {
                let line = line.and_then(|line| {
                    if index >= MAX_LINES {
                        return Err(Error::malformed(format_args!("more than {MAX_LINES} lines")));
                    }
                    Ok(Wanted::line(index, line))
                });
                if send.send(line).is_err() {
                    return;
                }
            }
        } else {
            for (index, digest) in digests.into_iter().enumerate() {
                if send.send(Ok(Wanted::operand(index, digest))).is_err() {
                    return;
                }
            }
        }
    });
}
