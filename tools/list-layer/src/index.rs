// SPDX-License-Identifier: Apache-2.0
//! The names that were read from one layer, for a search from the top layer down.
//!
//! Not here: files that a layer names through a symbolic link of a lower layer.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use archive::names::{self, Meaning};
use archive::{Entry, EntryType, shown};
use common::error::Result;

use crate::path::Kept;

/// The file that a layer has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// A regular file.
    Regular,
    /// A symbolic link at the path or above it, and the path to which it leads.
    Symlink(Vec<u8>),
    /// A hard link to this path, in this layer or a lower one.
    Hardlink(Vec<u8>),
    /// No regular file, for this reason.
    Other(&'static str),
    /// No file, because the layer hides the path in lower layers.
    Hidden,
}

/// The reason why a directory is not written.
pub(crate) const DIRECTORY: &str = "a directory, not a regular file";

enum Seen {
    Regular,
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Special,
}

/// The names of a layer that were read so far.
#[derive(Default)]
pub(crate) struct Index {
    files: BTreeMap<Vec<u8>, Seen>,
    hidden: HashSet<Vec<u8>>,
    opaque: HashSet<Vec<u8>>,
    /// Whether the layer was read to its end.
    pub(crate) is_complete: bool,
}

impl Index {
    /// Adds an entry with its clean name. If the layer has the name already, the first entry stays.
    ///
    /// # Errors
    /// Malformed if too many bytes of names are kept.
    pub(crate) fn add(&mut self, entry: &Entry, clean: Vec<u8>, kept: &mut Kept) -> Result<()> {
        kept.add(clean.len() + entry.link.len())?;
        let (parent, _) = names::split(&clean);
        match names::meaning(&clean)? {
            Meaning::Whiteout(name) => {
                self.hidden.insert(names::join(parent.to_vec(), name));
            }
            Meaning::Opaque => {
                self.opaque.insert(parent.to_vec());
            }
            Meaning::Aufs => {}
            Meaning::Plain => {
                let seen = match entry.entry_type {
                    EntryType::Regular => Seen::Regular,
                    EntryType::Directory => Seen::Directory,
                    EntryType::Symlink => Seen::Symlink(entry.link.clone()),
                    EntryType::Hardlink => {
                        Seen::Hardlink(names::clean(&entry.link).map_err(|error| {
                            error.context(format_args!("hard link to {}", shown(&entry.link)))
                        })?)
                    }
                    _ => Seen::Special,
                };
                self.files.entry(clean).or_insert(seen);
            }
        }
        Ok(())
    }

    /// Whether the layer has a directory in place of a file of a lower layer. A directory without
    /// an entry replaces any file except a symbolic link, which is followed.
    pub(crate) fn replaces(&self, path: &[u8], is_link: bool) -> bool {
        if matches!(self.files.get(path), Some(Seen::Directory)) {
            return true;
        }
        let start = [path, b"/"].concat();
        let mut below = self.files.range::<[u8], _>((Bound::Included(&*start), Bound::Unbounded));
        !is_link && below.next().is_some_and(|(name, _)| name.starts_with(&start))
    }

    /// The file that the layer has at a clean path; `None` if the layer neither has the path nor
    /// hides it. Whiteouts count only after the complete layer was read, because they do not hide
    /// files of their own layer.
    ///
    /// `replaced` gets the path of a file of this layer, and whether it is a symbolic link. It
    /// returns whether a higher layer has a directory there.
    pub(crate) fn says(&self, path: &[u8], replaced: impl Fn(&[u8], bool) -> bool) -> Option<Says> {
        let file = self.files.get(path);
        if let Some(seen) = file
            && replaced(path, matches!(seen, Seen::Symlink(_)))
        {
            return Some(Says::Other(DIRECTORY));
        }
        match file {
            Some(Seen::Regular) => return Some(Says::Regular),
            Some(Seen::Directory) => return Some(Says::Other(DIRECTORY)),
            Some(Seen::Symlink(text)) => return Some(Says::Symlink(follow(path, text, b""))),
            Some(Seen::Hardlink(target)) => return Some(Says::Hardlink(target.clone())),
            Some(Seen::Special) => {
                return Some(Says::Other("a device or a named pipe, not a regular file"));
            }
            None => {}
        }
        for (i, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let (above, rest) = path.split_at(i);
            match self.files.get(above) {
                Some(Seen::Directory) | None => {}
                Some(Seen::Symlink(text)) if !replaced(above, true) => {
                    return Some(Says::Symlink(follow(above, text, rest)));
                }
                Some(_) => return Some(Says::Other("not in the image")),
            }
        }
        let hides = |above: &[u8]| self.opaque.contains(above) && above != path;
        let is_hidden = self.is_complete
            && (hides(b"")
                || prefixes(path).any(|above| hides(above) || self.hidden.contains(above)));
        is_hidden.then_some(Says::Hidden)
    }
}

/// The path and all paths above it, except the root.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(i, _)| i);
    slashes.chain([path.len()]).map(|end| &path[..end])
}

/// The path that a symbolic link leads to. `link` is its path, `text` its target, and `rest` the
/// path after the link. `..` does not lead above the root.
pub(crate) fn follow(link: &[u8], text: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let (parent, _) = names::split(link);
    let start = if text.first() == Some(&b'/') { b"" } else { parent };
    for part in [start, text, rest].into_iter().flat_map(|path| path.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_root() {
        assert_eq!(follow(b"etc/os-release", b"../usr/lib/os-release", b""), b"usr/lib/os-release");
        assert_eq!(follow(b"lib", b"usr/lib", b"/x/y"), b"usr/lib/x/y");
        assert_eq!(follow(b"a/b", b"/c", b"/d"), b"c/d");
        assert_eq!(follow(b"a", b"../../../b", b""), b"b");
    }
}
