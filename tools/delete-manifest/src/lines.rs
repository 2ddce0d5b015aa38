// SPDX-License-Identifier: Apache-2.0
//! The manifests that descriptor lines name.

use std::collections::HashSet;
use std::io::BufRead;

use common::digest::Digest;
use common::error::{Error, Result};
use common::lines::Lines;
use common::mediatype;

/// The maximum number of descriptor lines in one run.
const MAX_LINES: usize = 100_000;

/// Calls `remove` with the target and the digest of each line, once for each digest. Stops at the
/// first error. `open` opens the target at the first line: the program that writes the lines may
/// create the layout. Returns the target, if it was opened, even after an error.
///
/// # Errors
/// Malformed if there are no lines or too many, or if a line is invalid or names a blob. The errors
/// of `open` and `remove`.
pub(crate) fn for_each<T>(
    input: impl BufRead,
    open: impl Fn() -> Result<T>,
    remove: impl FnMut(&T, Digest) -> Result<()>,
) -> (Option<T>, Result<()>) {
    let mut target = None;
    let outcome = read(input, &mut target, open, remove);
    (target, outcome)
}

fn read<T>(
    input: impl BufRead,
    target: &mut Option<T>,
    open: impl Fn() -> Result<T>,
    mut remove: impl FnMut(&T, Digest) -> Result<()>,
) -> Result<()> {
    let mut done = HashSet::new();
    for (index, line) in Lines::new(input).enumerate() {
        let descriptor = line?;
        if index >= MAX_LINES {
            return Err(Error::malformed(format_args!("more than {MAX_LINES} lines")));
        }
        if !mediatype::is_manifest(&descriptor.media_type) {
            let digest = &descriptor.digest;
            let what = format_args!("line {}: {digest}: not a manifest", index + 1);
            return Err(
                Error::malformed(what).hint("blobs are not deleted: see delete-manifest(1)")
            );
        }
        if !done.insert(descriptor.digest.clone()) {
            continue;
        }
        let target = match &*target {
            Some(target) => target,
            None => &*target.insert(open()?),
        };
        remove(target, descriptor.digest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::descriptor::Descriptor;
    use common::digest::Algorithm;

    #[test]
    fn the_lines_are_bounded_at_the_limit() {
        let line = |content: &[u8]| {
            let digest = Algorithm::Sha256.digest(content);
            Descriptor::new(mediatype::OCI_MANIFEST, digest, 0).line() + "\n"
        };
        let text = line(b"a").repeat(MAX_LINES - 1) + &line(b"the last") + &line(b"one more");
        let mut removed = 0;
        let remove = |(): &(), _| {
            removed += 1;
            Ok(())
        };
        assert!(for_each(text.as_bytes(), || Ok(()), remove).1.is_err());
        assert_eq!(removed, 2);
    }
}
