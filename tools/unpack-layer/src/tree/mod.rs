// SPDX-License-Identifier: Apache-2.0
//! The root file system that is being unpacked: applies entries of layers below one directory.
//!
//! [`walk`] finds the directory of an entry, [`entry_directories`] makes directories, [`files`]
//! makes all other files, and [`whiteouts`] removes files of lower layers. They work on a
//! [`workspace`], which contains the [`state`] of the tree.
//!
//! An entry replaces an existing file of the same name. But if both are directories, the existing
//! directory keeps its content and gets the entry's attributes. Existing files are never written
//! to. A symbolic link that has the name of an entry is replaced and not followed, except with
//! `--keep-dirlinks`.
//!
//! Not here: the archive format, and the check of digests. If a digest differs, the caller must
//! discard the tree.

mod attributes;
mod counts;
mod directories;
mod directory;
mod entry_directories;
mod files;
pub(crate) mod fingerprint;
mod image_archive;
mod implied;
pub(crate) mod mounts;
mod overlay;
mod owner;
mod pending_modes;
pub(crate) mod remove;
mod rules;
mod state;
mod upper;
mod walk;
mod whiteouts;
mod workspace;

use std::io::BufRead;
use std::os::fd::OwnedFd;

use common::error::{Error, Result};
use common::notice;
use rustix::fs::Mode;

use archive::names::Meaning;
use archive::walk::Missing;
use archive::{Entry, EntryType, Reader, names, shown};
use directory::{Directory, os_error};
use entry_directories::Place;
pub(crate) use files::DEVICE;
pub(crate) use owner::{IdRange, Owner};
pub(crate) use rules::{Rules, Whiteouts};
use state::TreeState;
use walk::Walk;
use workspace::Workspace;

/// A tree that is being unpacked.
pub(crate) struct Tree {
    workspace: Workspace,
    /// The final mode of the root directory, if it must be set at the end.
    root_mode: Option<u32>,
}

impl Tree {
    /// A tree in a new and empty directory, which other users cannot enter until the end.
    pub(crate) fn fresh(root: OwnedFd, rules: Rules) -> Result<Tree> {
        let mut tree = Tree::open(root, rules, false)?;
        // The directory may have inherited a group or access control lists from its parent.
        let (uid, gid) = tree.workspace.state.rules.owner.implied()?;
        let root = tree.workspace.walk.root();
        attributes::clear_acls(&root.fd)?;
        if (root.uid, root.gid) != (uid, gid) {
            attributes::chown(&root.fd, uid, gid)?;
            (root.uid, root.gid) = (uid, gid);
        }
        rustix::fs::fchmod(&root.fd, Mode::from_raw_mode(0o700))
            .map_err(|e| os_error("set the root directory's mode", e))?;
        root.mode = 0o700;
        root.times = directory::epoch();
        root.dirty = true;
        tree.root_mode = Some(0o755);
        Ok(tree)
    }

    /// A tree in an existing directory, whose content is treated as a lower layer.
    pub(crate) fn onto(root: OwnedFd, rules: Rules) -> Result<Tree> {
        let mut tree = Tree::open(root, rules, true)?;
        let Workspace { state, walk, .. } = &mut tree.workspace;
        state.mounts = mounts::below(&walk.root().fd);
        state.unlock(walk.root(), Vec::new).map_err(|e| os_error("open the root directory", e))?;
        Ok(tree)
    }

    fn open(root: OwnedFd, rules: Rules, over_lower: bool) -> Result<Tree> {
        // System calls that create files then set the exact mode.
        rustix::process::umask(Mode::empty());
        let again = rustix::fs::openat(&root, ".", directory::OPEN, Mode::empty())
            .map_err(|e| os_error("open the root directory", e))?;
        let directory = |fd| Directory::new(fd).map_err(|e| os_error("stat the root directory", e));
        let workspace = Workspace {
            state: TreeState::new(rules, over_lower),
            walk: Walk::new(directory(root)?),
            side: Walk::new(directory(again)?),
        };
        Ok(Tree { workspace, root_mode: None })
    }

    /// Ends a layer: applies the markers that waited for it.
    pub(crate) fn end_layer(&mut self) -> Result<()> {
        self.workspace.apply_waiting()?;
        self.workspace.warn_of_implied()?;
        let Workspace { state, walk, .. } = &mut self.workspace;
        std::mem::take(&mut state.image_files).warn(&walk.root().fd);
        Ok(())
    }

    /// Begins the next layer.
    pub(crate) fn next_layer(&mut self) -> Result<()> {
        self.workspace.reset()?;
        self.workspace.state.next_layer();
        Ok(())
    }

    /// Leaves all directories, and sets the modes that had to wait for the end.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.workspace.reset()?;
        let Workspace { state, walk, side } = &mut self.workspace;
        let pending = state.pending_modes.take();
        state.counts.begin_pass(pending.len());
        for (inode, path, mode) in pending {
            if side.enter(state, &path, Missing::Stop)? && side.here().inode == inode {
                rustix::fs::fchmod(&side.here().fd, Mode::from_raw_mode(mode))
                    .map_err(|e| os_error("set a directory's mode", e))?;
            }
        }
        side.reset()?;
        let root = walk.root();
        root.leave()?;
        if let Some(mode) = self.root_mode {
            rustix::fs::fchmod(&root.fd, Mode::from_raw_mode(mode))
                .map_err(|e| os_error("set the root directory's mode", e))?;
        }
        Ok(())
    }

    /// Applies an entry. The content of a regular file is read from `reader`.
    pub(crate) fn apply(&mut self, entry: &Entry, reader: &mut Reader<impl BufRead>) -> Result<()> {
        self.apply_named(entry, reader)
            .map_err(|error| error.context(format_args!("entry {}", shown(&entry.name))))
    }

    fn apply_named(&mut self, entry: &Entry, reader: &mut Reader<impl BufRead>) -> Result<()> {
        self.workspace.state.counts.add_entry()?;
        if entry.foreign_attributes {
            notice::warn("foreign attributes", || {
                "SCHILY.acl and LIBARCHIVE.xattr attributes are left out, as by container engines"
                    .to_owned()
            });
        }
        let clean = names::clean(&entry.name)?;
        let (parent, name) = names::split(&clean);
        if self.workspace.state.rules.whiteouts != Whiteouts::Keep {
            match names::meaning(&clean)? {
                Meaning::Plain => {}
                Meaning::Aufs => {
                    notice::warn("aufs", || {
                        "AUFS's own entries (.wh..wh.*) are left out".to_owned()
                    });
                    return Ok(());
                }
                meaning => return self.workspace.whiteout(entry, parent, &meaning),
            }
        }
        if name.is_empty() {
            return self.root_entry(entry);
        }
        let Workspace { state, walk, .. } = &mut self.workspace;
        walk.enter(state, parent, Missing::Make)?;
        walk.mark(state);
        match entry.entry_type {
            EntryType::Directory => {
                if self.workspace.directory(entry, name)? == Place::Root {
                    return self.root_entry(entry);
                }
                // The walk has entered the directory. A link that was kept may have led to another
                // name.
                let Workspace { state, walk, .. } = &mut self.workspace;
                let (above, name) = (walk.above(), walk.real_name().unwrap_or(name));
                state.add_entry(above, name);
                return Ok(());
            }
            EntryType::Hardlink => self.workspace.hardlink(entry, name)?,
            _ => {
                if !self.workspace.file(entry, name, reader)? {
                    return Ok(());
                }
                if parent.is_empty() && entry.entry_type == EntryType::Regular {
                    self.workspace.state.image_files.note(name);
                }
            }
        }
        let Workspace { state, walk, .. } = &mut self.workspace;
        state.add_entry(walk.here().inode, name);
        Ok(())
    }

    /// Applies an entry for the root directory itself, which only has attributes.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.entry_type != EntryType::Directory {
            return Err(Error::malformed("the root is a directory and cannot be replaced"));
        }
        self.workspace.reset()?;
        let Workspace { state, walk, .. } = &mut self.workspace;
        let root = walk.root();
        match &mut self.root_mode {
            // Other users cannot enter the directory until the end.
            Some(mode) => {
                state.set_attributes(root, entry, 0o700, true, Vec::new)?;
                *mode = entry.mode;
            }
            None => state.set_attributes(root, entry, entry.mode, true, Vec::new)?,
        }
        Ok(())
    }
}
