// SPDX-License-Identifier: Apache-2.0
//! Files that should have a digest.

use std::ffi::{OsStr, OsString};

use common::digest::Digest;
use common::error::{Result, Status};
use common::parallel::{self, processors};
use common::verify::{Verifier, verify};

use crate::input::open;

/// Verifies files, several at once; the first in order that is wrong decides.
///
/// # Errors
/// Those of [`verify_file`].
pub(crate) fn verify_all(files: Vec<OsString>, digest: Digest, size: Option<u64>) -> Result<()> {
    let work = move |file: OsString| verify_file(&file, &digest, size);
    parallel::in_order(processors(), move || files.into_iter(), work, |verdict| verdict)
}

/// Verifies one file.
///
/// # Errors
/// Content: digest or size differ. Absent; local trouble.
pub(crate) fn verify_file(file: &OsStr, digest: &Digest, size: Option<u64>) -> Result<()> {
    let name = file.display();
    verify(open(file)?, Verifier::new(digest, size), &name.to_string())
        .map(|_| ())
        .map_err(|e| if e.status() == Status::Content { e.context(name) } else { e })
}
