// SPDX-License-Identifier: Apache-2.0
//! Copying bytes from a reader to a writer, with progress.

use std::io::{self, Read, Write};

use common::digest::Digest;
use common::error::{Error, Result, source_error};
use common::progress::Progress;
use common::verify::BUFFER;

/// Copies `input` to its end and reports progress for the blob with this digest, if it is known.
/// Messages call the input `name`.
///
/// # Errors
/// An [`Error`] that the reader or the writer carries in its I/O error is returned unchanged. Local
/// if `input` cannot be read or `output` cannot be written for another reason.
pub(crate) fn copy(
    input: &mut dyn Read,
    output: &mut dyn Write,
    name: &str,
    progress: (&Progress, Option<&Digest>),
) -> Result<()> {
    let (progress, digest) = progress;
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) if cause.get_ref().is_some() => return Err(source_error(&cause)),
            Err(cause) => return Err(Error::local(format_args!("read {name}"), &cause)),
        };
        output.write_all(&buffer[..n]).map_err(|cause| source_error(&cause))?;
        progress.add(digest, n as u64);
    }
}
