// SPDX-License-Identifier: Apache-2.0
//! Packs a tree: chooses the nodes that go into the layer. These are all nodes, or only those that
//! differ from a base tree.
//!
//! Not here: the walk through a tree and the comparison of nodes (`tree`), and the writing of
//! entries (`layer`).

use std::io::Write;
use std::path::Path;

use common::error::{Error, Result};
use common::notice;
use rustix::fs::FileType;

use crate::layer::{Archive, WHITEOUT};
use crate::rules::Rules;
use crate::tree::{FirstNames, Inode, LinkChanges, Node, Step, Walk};
use crate::tree::{is_same, may_have_others, shown};

/// The error for a file with the name of a whiteout.
const RESERVED_NAME: &str = "a name that begins with .wh. is reserved for whiteouts";

/// A tree to be packed.
pub(crate) struct Tree<'a> {
    /// The root directory; a symbolic link to it is followed.
    pub(crate) root: &'a Path,
    /// The base tree, if only the changes since it are packed.
    pub(crate) base: Option<&'a Path>,
    pub(crate) rules: &'a Rules,
    /// The files that are written while the tree is read.
    pub(crate) outputs: &'a [Inode],
    /// The ID of the user who runs the tool; `None` for root.
    pub(crate) own_id: Option<u32>,
}

impl Tree<'_> {
    /// Packs the tree.
    ///
    /// # Errors
    /// Content if the tree changes while it is read. Malformed if the tree has a file that a layer
    /// cannot hold. Usage if the output is inside the tree. Local if a file cannot be read or the
    /// layer cannot be written.
    pub(crate) fn pack<W: Write + Send + 'static>(&self, archive: &mut Archive<W>) -> Result<()> {
        match self.base {
            None => self.pack_all(archive),
            Some(base) => self.pack_changes(base, archive),
        }
    }

    fn pack_all<W: Write + Send + 'static>(&self, archive: &mut Archive<W>) -> Result<()> {
        let mut firsts = FirstNames::default();
        let mut walk = Walk::new(self.root, None, self.rules)?;
        while let Some(step) = walk.next()? {
            let Step::Here(node, _) = step else { continue };
            let path = walk.path();
            if path.is_empty() {
                self.warn_of_closed_root(&node);
            }
            if self.is_packed(path, &node).map_err(|error| walk.with_path(error))? {
                let first = firsts.record(&node, path);
                self.warn_of_own_id(path, &node);
                archive
                    .node(path, &node, first.as_deref())
                    .map_err(|error| of_entry(error, &walk, archive))?;
            }
        }
        Ok(())
    }

    fn pack_changes<W: Write + Send + 'static>(
        &self,
        base: &Path,
        archive: &mut Archive<W>,
    ) -> Result<()> {
        let links = self.link_changes(base)?;
        let mut firsts = FirstNames::default();
        // The unchanged directories on the path to the current node, with their depths. They are
        // packed when the first change below them is found.
        let mut unchanged: Vec<(usize, Vec<u8>, Box<Node>)> = Vec::new();
        let mut walk = Walk::new(self.root, Some(base), self.rules)?;
        while let Some(step) = walk.next()? {
            let path = walk.path();
            let depth = walk.depth();
            let with_path = |error: Error| walk.with_path(error);
            while unchanged.last().is_some_and(|(above, ..)| *above >= depth) {
                unchanged.pop();
            }
            let packed = match &step {
                Step::Gone if has_whiteouts_name(path) => {
                    return Err(with_path(Error::malformed(RESERVED_NAME)));
                }
                Step::Gone => None,
                Step::Here(node, before) => {
                    let is_packed = self.is_packed(path, node).map_err(with_path)?;
                    let hides =
                        before.as_ref().is_some_and(|old| old.file_type != FileType::Socket);
                    if !is_packed && (path.is_empty() || !hides) {
                        continue;
                    }
                    is_packed.then_some((node, before))
                }
            };
            if let Some((node, Some(before))) = packed
                && !links.is_changed(path, node)
                // `link_changes` has already compared the files that have several names.
                && (may_have_others(node)
                    || is_same(node, before).map_err(with_path)?)
            {
                if let (FileType::Directory, Step::Here(node, _)) = (node.file_type, step) {
                    unchanged.push((depth, path.to_owned(), node));
                }
                continue;
            }
            // If a parent directory has no entry, some unpackers do not keep the attributes that it
            // has in the lower layers.
            for (_, path, directory) in unchanged.drain(..) {
                if !path.is_empty() || !self.rules.no_root {
                    self.warn_of_own_id(&path, &directory);
                    archive
                        .node(&path, &directory, None)
                        .map_err(|error| of_entry(error, &walk, archive))?;
                }
            }
            match packed {
                Some((node, _)) => {
                    let first = firsts.record(node, path);
                    self.warn_of_own_id(path, node);
                    archive
                        .node(path, node, first.as_deref())
                        .map_err(|error| of_entry(error, &walk, archive))?;
                }
                None => archive.whiteout(path).map_err(|error| of_entry(error, &walk, archive))?,
            }
        }
        Ok(())
    }

    /// Finds the changed hard links in a separate walk, before the one that packs.
    fn link_changes(&self, base: &Path) -> Result<LinkChanges> {
        let mut links = LinkChanges::default();
        let mut walk = Walk::new(self.root, Some(base), self.rules)?;
        while let Some(step) = walk.next()? {
            let Step::Here(here, base) = step else { continue };
            let linked = |node: &Node| may_have_others(node);
            if !linked(&here) && !base.as_deref().is_some_and(linked) {
                continue;
            }
            let differs = match base.as_deref() {
                None => true,
                // A file with a single name is compared later, in `pack_changes`.
                Some(_) if !linked(&here) => false,
                Some(base) => !is_same(&here, base).map_err(|error| walk.with_path(error))?,
            };
            links.record(walk.path(), &here, base.as_deref(), differs);
        }
        Ok(links)
    }

    /// Whether a node goes into the layer.
    fn is_packed(&self, path: &[u8], node: &Node) -> Result<bool> {
        if path.is_empty() && self.rules.no_root {
            return Ok(false);
        }
        if self.outputs.contains(&node.inode) {
            return Err(Error::usage("the output is in the tree that is packed"));
        }
        if has_whiteouts_name(path)
            && !(self.rules.keep_whiteouts && node.file_type == FileType::RegularFile)
        {
            let error = Error::malformed(RESERVED_NAME);
            return Err(match node.file_type {
                FileType::RegularFile => {
                    error.hint("--whiteouts keep packs the file as a whiteout")
                }
                _ => error,
            });
        }
        match node.file_type {
            FileType::Socket => {
                notice::warn("socket", || {
                    format!("{}: a socket, left out", shown(self.root, path))
                });
                Ok(false)
            }
            FileType::CharacterDevice if node.device == (0, 0) => {
                let what = "character device 0:0, a whiteout of an overlay file system";
                let hint = "--base packs the difference between two complete trees";
                Err(Error::malformed(what).hint(hint))
            }
            _ => Ok(true),
        }
    }

    /// Warns if the packed root directory is not readable by other users. A directory that mktemp
    /// made has mode 0700, and the root directory of every image with this layer would get that
    /// mode.
    fn warn_of_closed_root(&self, node: &Node) {
        if !self.rules.no_root && node.mode & 0o005 != 0o005 {
            notice::warn("closed root", || {
                format!(
                    "{}: mode {:04o} becomes the mode of the image's root \
                     (--no-root leaves its entry out)",
                    self.root.display(),
                    node.mode
                )
            });
        }
    }

    /// Warns if an entry gets the user ID of the ordinary user who packs the tree. On the machine
    /// where the layer is unpacked, that ID often belongs to another user.
    fn warn_of_own_id(&self, path: &[u8], node: &Node) {
        if self.rules.owner.is_none() && self.own_id == Some(node.uid) {
            notice::warn("own ID", || {
                format!(
                    "{}: owner {}:{} is the user who packs \
                     (--owner 0:0 makes root the owner of all entries)",
                    shown(self.root, path),
                    node.uid,
                    node.gid
                )
            });
        }
    }
}

/// The error of an entry, with the path of its file unless writing the layer failed.
fn of_entry<W: Write + Send + 'static>(
    error: Error,
    walk: &Walk<'_>,
    archive: &Archive<W>,
) -> Error {
    if archive.has_failed() { error } else { walk.with_path(error) }
}

/// Whether unpackers treat a path as a whiteout because of its name.
fn has_whiteouts_name(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(WHITEOUT))
}
