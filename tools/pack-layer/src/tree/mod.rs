// SPDX-License-Identifier: Apache-2.0
//! From a tree to an archive's entries: all of it, or what differs from another tree.
//!
//! `walk` goes through, `entry` and `xattrs` look at things, `links` knows which names are one file, `changes`
//! compares.

mod changes;
mod entry;
mod links;
mod listing;
mod walk;
mod xattrs;

use std::io::Write;
use std::path::Path;

use common::error::{Error, Result, printable};
use common::notice;

use crate::archive::{Archive, WHITEOUT};
use crate::rules::Rules;
pub(crate) use entry::{Entry, Inode, Kind, changed, changed_from};
use links::{Firsts, LinkChanges};
use walk::{Step, Walk};

/// A tree to be packed.
pub(crate) struct Tree<'a> {
    /// Its root; a symbolic link is followed.
    pub(crate) root: &'a Path,
    /// The tree whose differences are wanted.
    pub(crate) base: Option<&'a Path>,
    pub(crate) rules: &'a Rules,
    /// The files that are written meanwhile.
    pub(crate) outputs: &'a [Inode],
}

impl Tree<'_> {
    /// Packs it.
    ///
    /// # Errors
    /// Content when the tree changes meanwhile; malformed when it has what no layer may have; usage when it has
    /// the output in it; local trouble.
    pub(crate) fn pack<W: Write + Send + 'static>(&self, archive: &mut Archive<W>) -> Result<()> {
        match self.base {
            None => self.pack_all(archive),
            Some(base) => self.pack_changes(base, archive),
        }
    }

    fn pack_all<W: Write + Send + 'static>(&self, archive: &mut Archive<W>) -> Result<()> {
        let mut firsts = Firsts::default();
        let mut walk = Walk::new(self.root, None, self.rules)?;
        while let Some(step) = walk.next()? {
            let Step::Here(entry, _) = step else { continue };
            let path = walk.path();
            if path.is_empty() {
                self.warn_of_closed_root(&entry);
            }
            if self.is_packed(path, &entry).map_err(|error| walk.place(error))? {
                let first = firsts.meet(&entry, path);
                archive.entry(path, &entry, first.as_deref()).map_err(|error| walk.place(error))?;
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
        let mut firsts = Firsts::default();
        // The directories that lead here and are not packed yet.
        let mut unchanged: Vec<(usize, Vec<u8>, Box<Entry>)> = Vec::new();
        let mut walk = Walk::new(self.root, Some(base), self.rules)?;
        while let Some(step) = walk.next()? {
            let (path, depth) = (walk.path(), walk.depth());
            let place = |error: Error| walk.place(error);
            while unchanged.last().is_some_and(|(above, ..)| *above >= depth) {
                unchanged.pop();
            }
            let packed = match &step {
                Step::Gone if has_whiteouts_name(path) => {
                    return Err(place(Error::malformed("a name that layers have for whiteouts")));
                }
                Step::Gone => None,
                Step::Here(entry, before) => {
                    let is_packed = self.is_packed(path, entry).map_err(place)?;
                    let hides = before.as_ref().is_some_and(|old| old.kind != Kind::Socket);
                    if !is_packed && (path.is_empty() || !hides) {
                        continue;
                    }
                    is_packed.then_some((entry, before))
                }
            };
            if let Some((entry, Some(before))) = packed
                && !links.is_changed(path, entry)
                // What has several names was compared with them.
                && (links::may_have_others(entry)
                    || changes::is_same(entry, before).map_err(place)?)
            {
                if let (Kind::Directory, Step::Here(entry, _)) = (entry.kind, step) {
                    unchanged.push((depth, path.to_owned(), entry));
                }
                continue;
            }
            // Not every unpacker gives a parent that has no entry the attributes that it has below.
            for (_, path, directory) in unchanged.drain(..) {
                if !path.is_empty() || !self.rules.no_root {
                    archive.entry(&path, &directory, None).map_err(place)?;
                }
            }
            match packed {
                Some((entry, _)) => {
                    let first = firsts.meet(entry, path);
                    archive.entry(path, entry, first.as_deref()).map_err(place)?;
                }
                None => archive.whiteout(path).map_err(place)?,
            }
        }
        Ok(())
    }

    /// The walk before: what is to be known of links.
    fn link_changes(&self, base: &Path) -> Result<LinkChanges> {
        let mut links = LinkChanges::default();
        let mut walk = Walk::new(self.root, Some(base), self.rules)?;
        while let Some(step) = walk.next()? {
            let Step::Here(here, base) = step else { continue };
            let linked = |entry: &Entry| links::may_have_others(entry);
            if !linked(&here) && !base.as_deref().is_some_and(linked) {
                continue;
            }
            let differs = match base.as_deref() {
                None => true,
                // What has one name now is compared when it is packed.
                Some(_) if !linked(&here) => false,
                Some(base) => !changes::is_same(&here, base).map_err(|error| walk.place(error))?,
            };
            links.meet(walk.path(), &here, base.as_deref(), differs);
        }
        Ok(links)
    }

    /// Whether something goes into the layer.
    fn is_packed(&self, path: &[u8], entry: &Entry) -> Result<bool> {
        if path.is_empty() && self.rules.no_root {
            return Ok(false);
        }
        if self.outputs.contains(&entry.inode) {
            return Err(Error::usage("the output is in the tree that is packed"));
        }
        if has_whiteouts_name(path) && !(self.rules.keep_whiteouts && entry.kind == Kind::Regular) {
            let error = Error::malformed("a name that layers have for whiteouts");
            return Err(match entry.kind {
                Kind::Regular => error.hint("--whiteouts keep packs it as the whiteout it is"),
                _ => error,
            });
        }
        match entry.kind {
            Kind::Socket => {
                notice::warn("socket", || {
                    format!("{}: a socket, left out", shown(self.root, path))
                });
                Ok(false)
            }
            Kind::CharacterDevice if entry.device == (0, 0) => {
                let what = "character device 0:0, an overlay's whiteout";
                Err(Error::malformed(what).hint("--base packs the difference of two whole trees"))
            }
            _ => Ok(true),
        }
    }

    /// A directory made by mktemp is closed to others, and so would be the root of all that has this layer.
    fn warn_of_closed_root(&self, entry: &Entry) {
        if !self.rules.no_root && entry.mode & 0o005 != 0o005 {
            notice::warn("closed root", || {
                format!(
                    "{}: mode {:04o} becomes that of the image's root (--no-root leaves it out)",
                    self.root.display(),
                    entry.mode
                )
            });
        }
    }
}

/// Whether unpackers take something for a whiteout by its name.
fn has_whiteouts_name(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(WHITEOUT))
}

/// A path of the tree for messages.
fn shown(root: &Path, path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let slash = if path.is_empty() || root.as_os_str().as_encoded_bytes().ends_with(b"/") {
        ""
    } else {
        "/"
    };
    printable(&format!("{}{slash}{path}", root.display()))
}
