// SPDX-License-Identifier: Apache-2.0
//! The blobs to fetch: digests from the command line, or descriptor lines from standard input.

use std::io::BufReader;
use std::sync::mpsc::SyncSender;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::lines::Lines;
use common::stdio;

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
}

/// The only blob: the one digest, or the one descriptor line on standard input.
pub(crate) fn only_blob(digests: &[Digest]) -> Result<Wanted> {
    let too_many = || {
        Error::usage("several blobs, and only one can go to standard output or a file")
            .hint("--into oci:DIR takes many")
    };
    match digests {
        [digest] => return Ok(Wanted { index: 0, digest: digest.clone(), descriptor: None }),
        [] => {}
        _ => return Err(too_many()),
    }
    let mut lines = Lines::new(stdio::stdin()?);
    let descriptor = lines.next().unwrap_or_else(|| Err(Error::malformed("no line")))?;
    match lines.next() {
        Some(_) => Err(too_many()),
        None => {
            Ok(Wanted { index: 0, digest: descriptor.digest.clone(), descriptor: Some(descriptor) })
        }
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
            for (index, line) in Lines::new(BufReader::new(stdin)).enumerate() {
                let line = line.and_then(|descriptor| {
                    if index >= MAX_LINES {
                        return Err(Error::malformed(format_args!("more than {MAX_LINES} lines")));
                    }
                    Ok(descriptor)
                });
                let wanted = line.map(|descriptor| {
                    let digest = descriptor.digest.clone();
                    Wanted { index, digest, descriptor: Some(descriptor) }
                });
                if send.send(wanted).is_err() {
                    return;
                }
            }
        } else {
            for (index, digest) in digests.into_iter().enumerate() {
                let wanted = Wanted { index, digest, descriptor: None };
                if send.send(Ok(wanted)).is_err() {
                    return;
                }
            }
        }
    });
}
