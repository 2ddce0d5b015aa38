// SPDX-License-Identifier: Apache-2.0
//! A stream on its way through a pipe.

use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::lines::NO_INPUT;
use common::stdio;
use common::verify::{Verifier, copy};

use crate::input::{STDIN, is_empty_input};

/// Copies stdin to stdout. The last block only follows when digest and size are right.
///
/// # Errors
/// Content: they are not. Malformed: no input. Usage: a descriptor line. Local trouble.
pub(crate) fn filter(digest: &Digest, size: Option<u64>) -> Result<()> {
    let mut input = stdio::stdin()?;
    if is_empty_input(&mut input)? && !digest.is_of_nothing() {
        return Err(Error::malformed(NO_INPUT));
    }
    copy(input, stdio::stdout()?, Verifier::new(digest, size), STDIN)
        .map_err(|e| if e.status() == Status::Content { e.context(STDIN) } else { e })?;
    Ok(())
}
