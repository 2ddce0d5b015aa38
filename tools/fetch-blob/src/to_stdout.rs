// SPDX-License-Identifier: Apache-2.0
//! One blob to stdout, or to a file that cannot be replaced: verified on the way, its last block
//! held back.
//!
//! A single connection; after a break the rest is requested, and the hash goes on from memory.
//! Bytes that were written cannot be taken back, so wrong bytes are requested again only while none
//! of them were written.

use std::fs::File;

use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::progress::Progress;
use common::verify::{BUFFER, HeldBack, Verifier};
use store::Store;
use store::reading::Reading;

use crate::blob::{MAX_UNSAID_SIZE, check_size};
use crate::destination::refuse_size_of_nothing;

/// Streams a blob; the number of bytes.
///
/// # Errors
/// Content when size or digest differ: the last block has not been written then. Otherwise the
/// store's, and local trouble with the output.
pub(crate) fn stream(
    digest: &Digest,
    stated: Option<u64>,
    urls: &[String],
    max_size: Option<u64>,
    store: &Store,
    output: File,
    progress: &Progress,
) -> Result<u64> {
    check_size(stated, max_size, digest)?;
    if digest.is_of_nothing() {
        return refuse_size_of_nothing(digest, stated).map(|()| 0);
    }
    progress.announce(stated.unwrap_or(0));
    let limit = max_size.unwrap_or(MAX_UNSAID_SIZE);
    let mut output = HeldBack::new(output);
    let seen = loop {
        let mut reading = Reading::new(store, digest, stated, urls.to_vec(), 0);
        let verifier = Verifier::new(digest, stated);
        match pass(&mut reading, verifier, digest, limit, &mut output, progress) {
            Ok(seen) => break seen,
            Err(error) if is_a_mirrors(&error, &reading, store, digest) => {
                if !output.forget() {
                    let hint = "a mirror gave some of it: --mirror none asks the registry itself";
                    return Err(error.hint(hint));
                }
            }
            Err(error) => return Err(error),
        }
    };
    output.release().map_err(|cause| Error::local("write the output", &cause))?;
    Ok(seen)
}

/// Whether bytes were wrong that a mirror gave: another place may have the right ones.
fn is_a_mirrors(error: &Error, reading: &Reading<'_>, store: &Store, digest: &Digest) -> bool {
    match error.status() {
        Status::Content => store.leave_mirrors_of(digest, error) || reading.left_a_mirror(),
        // Larger than allowed.
        Status::Malformed => store.leave_mirrors_of(digest, error),
        _ => false,
    }
}

/// Passes all of a blob on; the number of bytes.
fn pass(
    reading: &mut Reading<'_>,
    mut verifier: Verifier,
    digest: &Digest,
    limit: u64,
    output: &mut HeldBack<File>,
    progress: &Progress,
) -> Result<u64> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = reading.next_bytes(&mut buffer)?;
        check_size(reading.size().or(Some(reading.at())), Some(limit), digest)?;
        if n == 0 {
            return verifier.finish().map_err(|e| e.context(digest));
        }
        verifier.update(&buffer[..n]).map_err(|e| e.context(digest))?;
        output.write(&buffer[..n]).map_err(|cause| Error::local("write the output", &cause))?;
        progress.add(n as u64);
    }
}
