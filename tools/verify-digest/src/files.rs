// SPDX-License-Identifier: Apache-2.0
//! Verifies files against one digest.

use std::ffi::{OsStr, OsString};
use std::io::{BufReader, Read};

use common::digest::Digest;
use common::error::{Result, Status};
use common::parallel::{self, processors};
use common::verify::{Verifier, verify};

use crate::input::open;
use crate::signed;

/// Verifies several files at the same time.
///
/// # Errors
/// The error of [`verify_file`] for the first failing file, in the order of the operands.
pub(crate) fn verify_all(files: Vec<OsString>, digest: Digest, size: Option<u64>) -> Result<()> {
    if let [file] = files.as_slice() {
        // No threads for one file: starting them takes as long as hashing a small file.
        return verify_file(file, &digest, size);
    }
    let work = move |file: OsString| verify_file(&file, &digest, size);
    parallel::in_order(processors(), move || files.into_iter(), work, |verdict| verdict)
}

/// Verifies one file.
///
/// # Errors
/// Content if the digest or the size differs. Absent if the file does not exist. Local if it cannot
/// be read.
pub(crate) fn verify_file(file: &OsStr, digest: &Digest, size: Option<u64>) -> Result<()> {
    let name = file.display();
    let mut input = BufReader::new(open(file)?);
    let document = signed::read_document(&mut input, &name.to_string())?;
    if signed::is_verified(digest, size, &document) {
        return Ok(());
    }
    verify(document.chain(input), Verifier::new(digest, size), &name.to_string())
        .map(|_| ())
        .map_err(|e| if e.status() == Status::Content { e.context(name) } else { e })
}
