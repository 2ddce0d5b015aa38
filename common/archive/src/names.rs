// SPDX-License-Identifier: Apache-2.0
//! Names of entries: their components, and the meaning of whiteout names.
//!
//! Not here: finding the file of a name in the tree, through symbolic links
//! ([`walk`](crate::walk)).

use common::error::{Error, Result};

/// The maximum number of components of a name.
pub const MAX_DEPTH: usize = 16_384;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The names of the files and directories that AUFS keeps at the root of a layer. Docker wrote them
/// into layers.
const AUFS: [&[u8]; 3] = [b".wh..wh.plnk", b".wh..wh.orph", b".wh..wh.aufs"];

/// Cleans a name: resolves `.` and `..`, and removes empty components. The result is the components
/// from the root, joined by `/`. It is empty for the root itself.
///
/// # Errors
/// Malformed if `..` leads out of the root, or if there are more than [`MAX_DEPTH`] components.
pub fn clean(name: &[u8]) -> Result<Vec<u8>> {
    let mut clean: Vec<u8> = Vec::with_capacity(name.len());
    let mut depth = 0usize;
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if depth == 0 => {
                return Err(Error::malformed("leads out of the root directory"));
            }
            b".." => {
                depth -= 1;
                clean.truncate(clean.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            }
            _ => {
                depth += 1;
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(component);
            }
        }
        if depth > MAX_DEPTH {
            return Err(Error::malformed(format_args!("deeper than {MAX_DEPTH} directories")));
        }
    }
    Ok(clean)
}

/// The directory part and the last component of a clean name.
pub fn split(clean: &[u8]) -> (&[u8], &[u8]) {
    match clean.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&clean[..slash], &clean[slash + 1..]),
        None => (b"", clean),
    }
}

/// Appends a component to a clean name.
pub fn join(mut path: Vec<u8>, name: &[u8]) -> Vec<u8> {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The number of components of a clean name.
pub fn depth(clean: &[u8]) -> usize {
    match clean {
        [] => 0,
        _ => 1 + clean.iter().filter(|byte| **byte == b'/').count(),
    }
}

/// The meaning of a clean name.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The name of a file.
    Plain,
    /// A whiteout: hides the file with this name that lower layers have in the same directory.
    Whiteout(&'a [u8]),
    /// An opaque whiteout: hides all files that lower layers have in the same directory.
    Opaque,
    /// A file of AUFS itself, which is ignored.
    Aufs,
}

/// The meaning of a clean name. The type of the entry does not matter.
///
/// # Errors
/// Malformed for a whiteout of an empty name, of `.` or of `..`, for unknown names that begin with
/// `.wh..wh.`, and if a component before the last is a whiteout.
pub fn meaning(clean: &[u8]) -> Result<Meaning<'_>> {
    let (parent, last) = split(clean);
    let first = clean.split(|byte| *byte == b'/').next().unwrap_or_default();
    if AUFS.contains(&first) {
        return Ok(Meaning::Aufs);
    }
    if parent.split(|byte| *byte == b'/').any(|component| component.starts_with(WHITEOUT)) {
        return Err(Error::malformed("below a whiteout"));
    }
    match last.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Plain),
        Some(_) if last == OPAQUE => Ok(Meaning::Opaque),
        Some(b"" | b"." | b"..") => Err(Error::malformed("a whiteout without a valid file name")),
        Some(hidden) if hidden.starts_with(WHITEOUT) => {
            Err(Error::malformed("an unknown .wh..wh. name"))
        }
        Some(hidden) => Ok(Meaning::Whiteout(hidden)),
    }
}

/// Whether a component of a clean name begins with `.wh.`, as whiteouts do.
pub fn is_whiteout(clean: &[u8]) -> bool {
    clean.split(|byte| *byte == b'/').any(|component| component.starts_with(WHITEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (name, want) in [
            ("etc/x", "etc/x"),
            ("./etc//x/.", "etc/x"),
            ("//etc///x/./y/", "etc/x/y"),
            ("a/../b", "b"),
            ("dne/../.wh.etc", ".wh.etc"),
            ("localetc/sub/..", "localetc"),
            ("...", "..."),
            ("..foo/foo..", "..foo/foo.."),
            (".", ""),
            ("/", ""),
            ("a/..", ""),
        ] {
            assert_eq!(clean(name.as_bytes()).unwrap(), want.as_bytes(), "{name}");
        }
    }

    #[test]
    fn names_out_of_the_root_are_refused() {
        for name in ["..", "../x", "/../x", "a/../../x", "../../x"] {
            assert!(clean(name.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn depth_is_bounded_at_the_limit() {
        assert!(clean("d/".repeat(MAX_DEPTH).as_bytes()).is_ok());
        assert!(clean("d/".repeat(MAX_DEPTH + 1).as_bytes()).is_err());
    }

    #[test]
    fn whiteouts_are_recognised_by_name() {
        assert_eq!(meaning(b"a/b").unwrap(), Meaning::Plain);
        assert_eq!(meaning(b"a/.wh.b").unwrap(), Meaning::Whiteout(b"b"));
        assert_eq!(meaning(b".wh.....").unwrap(), Meaning::Whiteout(b"...."));
        assert_eq!(meaning(b"a/.wh..wh..opq").unwrap(), Meaning::Opaque);
        assert_eq!(meaning(b".wh..wh.plnk/12.34").unwrap(), Meaning::Aufs);
        for wrong in [
            ".wh.",
            ".wh..",
            ".wh...",
            "etc/.wh...",
            ".wh.etc/f",
            ".wh..wh.opq",
            "a/.wh..wh..opqx",
            "a/.wh..wh.plnk",
            ".wh..wh.",
        ] {
            assert!(meaning(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
