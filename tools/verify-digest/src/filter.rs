// SPDX-License-Identifier: Apache-2.0
//! Verifies standard input while it is copied to standard output.

use std::io::{Read, Write};

use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::lines::NO_INPUT;
use common::stdio;
use common::terminal::TextOnly;
use common::verify::{Verifier, copy};

use crate::input::{STDIN, is_empty_input};
use crate::signed;

/// The hint for binary data on a terminal.
const TO_A_TERMINAL: &str = "redirect standard output, or pipe it to a program";

/// Copies standard input to standard output. The last block is written only if the digest and the
/// size are right.
///
/// # Errors
/// Content if the digest or the size differs. Malformed if there is no input. Usage if the input is
/// a descriptor line, or binary and standard output is a terminal. Local if a stream cannot be read
/// or written.
pub(crate) fn filter(digest: &Digest, size: Option<u64>) -> Result<()> {
    let mut input = stdio::stdin()?;
    if is_empty_input(&mut input)? && !digest.is_of_empty() {
        return Err(Error::malformed(NO_INPUT));
    }
    let document = signed::read_document(&mut input, STDIN)?;
    if signed::is_verified(digest, size, &document) {
        let write_error = |cause: std::io::Error| Error::local("standard output", &cause);
        return stdio::stdout()?.write_all(&document).map_err(write_error);
    }
    let guard = TextOnly::on_stdout(TO_A_TERMINAL);
    copy(document.chain(input), stdio::stdout()?, Verifier::new(digest, size), guard, STDIN)
        .map_err(|e| if e.status() == Status::Content { e.context(STDIN) } else { e })?;
    Ok(())
}
