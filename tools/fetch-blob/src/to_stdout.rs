// SPDX-License-Identifier: Apache-2.0
//! One blob to standard output, or to a file that cannot be replaced, such as a device. The bytes
//! are verified while they are written, and the last block is held back until they are verified.
//!
//! There is only one connection. After an interruption the rest is requested, and the hash
//! continues in memory. Bytes that were written cannot be taken back. Wrong bytes are therefore
//! requested again only if none of them were written.

use std::fs::File;

use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::output::Stream;
use common::progress::Progress;
use common::terminal::TextOnly;
use common::verify::{BUFFER, HeldBack, Verifier};
use store::Store;
use store::reading::Reading;

use crate::blob::{MAX_UNSTATED_SIZE, check_size};
use crate::destination::check_empty_size;

/// Writes a blob to a stream, behind a guard. Returns the number of bytes.
///
/// # Errors
/// Content if size or digest differ: the last block is then not written. Usage if the guard refuses
/// the bytes. Local if the stream cannot be written. Otherwise the store's errors.
pub(crate) fn stream(
    digest: &Digest,
    stated: Option<u64>,
    urls: &[String],
    max_size: Option<u64>,
    store: &Store,
    to: (&Stream, TextOnly),
    progress: &Progress,
) -> Result<u64> {
    let (stream, guard) = to;
    check_size(stated, max_size, digest)?;
    if digest.is_of_empty() {
        return check_empty_size(digest, stated).map(|()| 0);
    }
    let limit = max_size.unwrap_or(MAX_UNSTATED_SIZE);
    let mut output = Passed { held: HeldBack::new(&stream.file), stream, guard };
    let count = loop {
        let mut reading = Reading::new(store, digest, stated, urls.to_vec(), 0);
        let verifier = Verifier::new(digest, stated);
        match pass(&mut reading, verifier, digest, limit, &mut output, progress) {
            Ok(count) => break count,
            Err(error) if is_from_mirror(&error, &reading, store, digest) => {
                if !output.held.forget() {
                    let hint =
                        "a mirror sent some of the bytes: --mirror none uses only the registry";
                    return Err(error.hint(hint));
                }
            }
            Err(error) => return Err(store.with_repair(error)),
        }
    };
    output.held.release().map_err(|cause| stream.write_error(&cause))?;
    Ok(count)
}

/// The bytes that were written to a stream, without the last block.
struct Passed<'a> {
    held: HeldBack<&'a File>,
    stream: &'a Stream,
    guard: TextOnly,
}

impl Passed<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.guard.check(bytes)?;
        self.held.write(bytes).map_err(|cause| self.stream.write_error(&cause))
    }
}

/// Whether a mirror served some of the wrong bytes. Another mirror or the registry may have the
/// right bytes.
fn is_from_mirror(error: &Error, reading: &Reading<'_>, store: &Store, digest: &Digest) -> bool {
    match error.status() {
        Status::Content => store.drop_mirrors_of(digest, error) || reading.has_dropped_mirror(),
        // The blob is larger than `--max-size`, or the response was invalid.
        Status::Malformed => store.drop_mirrors_of(digest, error),
        _ => false,
    }
}

/// Writes all bytes of a blob to `output`. Returns their number.
fn pass(
    reading: &mut Reading<'_>,
    mut verifier: Verifier,
    digest: &Digest,
    limit: u64,
    output: &mut Passed<'_>,
    progress: &Progress,
) -> Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let stated = reading.size();
    progress.begin(Some(digest), stated, 0);
    loop {
        let n = reading.next_bytes(&mut buffer)?;
        if stated.is_none()
            && let Some(size) = reading.size()
        {
            progress.learn(digest, size);
        }
        check_size(reading.size().or(Some(reading.at())), Some(limit), digest)?;
        if n == 0 {
            return verifier.finish().map_err(|e| e.context(reading.name()));
        }
        verifier.update(&buffer[..n]).map_err(|e| e.context(reading.name()))?;
        output.write(&buffer[..n])?;
        progress.add(Some(digest), n as u64);
    }
}
