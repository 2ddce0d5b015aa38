// SPDX-License-Identifier: Apache-2.0
//! The manifests that descriptor lines name.

use std::collections::HashSet;
use std::io::BufRead;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::lines::Lines;
use common::mediatype;

/// The maximum number of descriptor lines in one run.
const MAX_LINES: usize = 100_000;

/// The digests of the manifests in descriptor lines, each digest once. The caller stops at the
/// first error. It is malformed input if there are no lines or too many, or if a line is invalid or
/// names a blob.
pub(crate) fn manifests(input: impl BufRead) -> impl Iterator<Item = Result<Digest>> {
    let mut seen = HashSet::new();
    let lines = Lines::new(input).zip(1..);
    let digests = lines.map(|(line, number)| manifest(line?, number));
    digests.filter(move |digest| digest.as_ref().map_or(true, |digest| seen.insert(digest.clone())))
}

/// The digest of line `number`, counted from 1.
fn manifest(line: Descriptor, number: usize) -> Result<Digest> {
    if number > MAX_LINES {
        return Err(Error::malformed(format_args!("more than {MAX_LINES} lines")));
    }
    if !mediatype::is_manifest(&line.media_type) {
        let what = format_args!("line {number}: {}: not a manifest", line.digest);
        return Err(Error::malformed(what).hint("blobs are not deleted: see delete-manifest(1)"));
    }
    Ok(line.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::digest::Algorithm;

    #[test]
    fn the_lines_are_bounded_at_the_limit() {
        let line = |content: &[u8]| {
            let digest = Algorithm::Sha256.digest(content);
            Descriptor::new(mediatype::OCI_MANIFEST, digest, 0).line() + "\n"
        };
        let text = line(b"a").repeat(MAX_LINES - 1) + &line(b"the last") + &line(b"one more");
        let read: Vec<_> = manifests(text.as_bytes()).map(|digest| digest.is_ok()).collect();
        assert_eq!(read, [true, true, false]);
    }
}
