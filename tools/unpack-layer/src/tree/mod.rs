// SPDX-License-Identifier: Apache-2.0
//! A root file system in the making: takes entries of layers and makes them true, under one directory.
//!
//! [`walk`] finds the directory of an entry, [`files`] makes what is no directory, [`whiteouts`] hides what lower
//! layers have. An entry replaces whatever stood in its place; only a directory over a directory keeps
//! what is in it and gets the entry's attributes. Nothing is ever written through a link,
//! nor into a file that was there before.
//!
//! Not here: bytes of archives, and whether any of this is true to a digest. The tree is to be thrown away
//! when it turns out not to be.

mod attributes;
mod directory;
mod files;
mod names;
mod owner;
pub(crate) mod remove;
mod shared;
mod upper;
mod walk;
mod whiteouts;

use std::io::BufRead;
use std::os::fd::OwnedFd;

use common::error::{Error, Result};
use common::notice;
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use crate::reader::{Entry, Kind, Reader, shown};
use directory::{Directory, trouble};
use names::Meaning;
pub(crate) use owner::{IdRange, Owner};
use shared::Shared;
pub(crate) use shared::{Rules, Whiteouts};
use walk::{Missing, Walk};

/// The kind of the warning that a device was left out.
pub(crate) const DEVICE: &str = "device";

/// A tree, by its root directory.
pub(crate) struct Tree {
    shared: Shared,
    /// The way to where entries are made.
    walk: Walk,
    /// A second way, to the targets of hard links and through what whiteouts hide.
    side: Walk,
    /// The root's mode, when it is to be set at the end.
    root_mode: Option<u32>,
}

impl Tree {
    /// A tree in a new and empty directory, closed to others until the end.
    pub(crate) fn fresh(root: OwnedFd, rules: Rules) -> Result<Tree> {
        let mut tree = Tree::open(root, rules, false)?;
        // The directory may have inherited from the one it was made in.
        let (uid, gid) = tree.shared.rules.owner.implied()?;
        let root = tree.walk.root();
        attributes::clear_acls(&root.fd)?;
        if (root.uid, root.gid) != (uid, gid) {
            attributes::chown(&root.fd, uid, gid)?;
            (root.uid, root.gid) = (uid, gid);
        }
        rustix::fs::fchmod(&root.fd, Mode::from_raw_mode(0o700))
            .map_err(|e| trouble("set the root directory's mode", e))?;
        root.mode = 0o700;
        root.times = directory::epoch();
        root.dirty = true;
        tree.root_mode = Some(0o755);
        Ok(tree)
    }

    /// A tree over what is in a directory.
    pub(crate) fn onto(root: OwnedFd, rules: Rules) -> Result<Tree> {
        let mut tree = Tree::open(root, rules, true)?;
        let Tree { shared, walk, .. } = &mut tree;
        shared.unlock(walk.root(), Vec::new).map_err(|e| trouble("open the root directory", e))?;
        Ok(tree)
    }

    fn open(root: OwnedFd, rules: Rules, over_lower: bool) -> Result<Tree> {
        // Modes are given whole, whatever the caller's shell says.
        rustix::process::umask(Mode::empty());
        let again = rustix::fs::openat(&root, ".", directory::OPEN, Mode::empty())
            .map_err(|e| trouble("open the root directory", e))?;
        let directory = |fd| Directory::new(fd).map_err(|e| trouble("stat the root directory", e));
        Ok(Tree {
            shared: Shared::new(rules, over_lower),
            walk: Walk::new(directory(root)?),
            side: Walk::new(directory(again)?),
            root_mode: None,
        })
    }

    /// Begins the next layer, over what there is.
    pub(crate) fn next_layer(&mut self) -> Result<()> {
        self.walk.reset()?;
        self.side.reset()?;
        self.shared.next_layer();
        Ok(())
    }

    /// Leaves all directories, and gives the last attributes that had to wait.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.walk.reset()?;
        self.side.reset()?;
        for (inode, path, mode) in self.shared.take_locked() {
            if self.side.enter(&mut self.shared, &path, Missing::Stop)?
                && self.side.here().inode == inode
            {
                rustix::fs::fchmod(&self.side.here().fd, Mode::from_raw_mode(mode))
                    .map_err(|e| trouble("set a directory's mode", e))?;
            }
        }
        self.side.reset()?;
        let root = self.walk.root();
        root.leave()?;
        if let Some(mode) = self.root_mode {
            rustix::fs::fchmod(&root.fd, Mode::from_raw_mode(mode))
                .map_err(|e| trouble("set the root directory's mode", e))?;
        }
        Ok(())
    }

    /// Makes an entry true; a regular file's content comes from the reader.
    pub(crate) fn apply(&mut self, entry: &Entry, reader: &mut Reader<impl BufRead>) -> Result<()> {
        self.apply_named(entry, reader)
            .map_err(|error| error.context(format_args!("entry {}", shown(&entry.name))))
    }

    fn apply_named(&mut self, entry: &Entry, reader: &mut Reader<impl BufRead>) -> Result<()> {
        self.shared.count_entry()?;
        if entry.foreign_attributes {
            notice::warn("foreign attributes", || {
                "SCHILY.acl and LIBARCHIVE.xattr attributes are left out, as container engines do"
                    .to_owned()
            });
        }
        let clean = names::clean(&entry.name)?;
        let (parent, name) = names::split(&clean);
        if self.shared.rules.whiteouts != Whiteouts::Keep {
            match names::meaning(&clean)? {
                Meaning::Plain => {}
                Meaning::Aufs => {
                    notice::warn("aufs", || {
                        "AUFS's own entries (.wh..wh.*) are left out".to_owned()
                    });
                    return Ok(());
                }
                meaning => return self.whiteout(entry, parent, &meaning),
            }
        }
        if name.is_empty() {
            return self.root_entry(entry);
        }
        self.walk.enter(&mut self.shared, parent, Missing::Make)?;
        self.walk.mark(&mut self.shared);
        let made = match entry.kind {
            Kind::Directory => self.directory(entry, name).map(|()| true),
            Kind::Hardlink => self.hardlink(entry, name).map(|()| true),
            _ => self.file(entry, name, reader),
        }?;
        if made {
            // A directory is entered at once: its place is in the one above.
            let inode = match entry.kind {
                Kind::Directory => self.walk.above(),
                _ => self.walk.here().inode,
            };
            self.shared.upper.add(inode, name);
        }
        Ok(())
    }

    /// An entry for the root itself: only its attributes.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::malformed("the root is a directory and stays one"));
        }
        self.walk.reset()?;
        self.side.reset()?;
        let Tree { shared, walk, root_mode, .. } = self;
        let root = walk.root();
        match root_mode {
            // Closed to others until the end.
            Some(mode) => {
                set_attributes(shared, root, entry, 0o700, true, Vec::new)?;
                *mode = entry.mode;
            }
            None => set_attributes(shared, root, entry, entry.mode, true, Vec::new)?,
        }
        Ok(())
    }

    /// A directory: made, or given new attributes.
    fn directory(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let make = |shared: &Shared, here: &Directory| {
            let locked_out = if shared.privileged { 0 } else { directory::WORKABLE };
            let mode = Mode::from_raw_mode(entry.mode & 0o1777 | locked_out);
            rustix::fs::mkdirat(&here.fd, name, mode)
        };
        let mut made = make(&self.shared, self.walk.here());
        let mut opaque = false;
        if made == Err(Errno::EXIST) {
            let stat = directory::stat(self.walk.here(), name).map_err(|e| trouble("stat", e))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                opaque = self.is_overlay_whiteout(&stat);
                if self.shared.rules.keep_dirlinks
                    && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
                    && self.behind_link(entry, name)?
                {
                    return Ok(());
                }
                self.clear_way(name, &entry.name)?;
                made = make(&self.shared, self.walk.here());
            }
        }
        let existed = made == Err(Errno::EXIST);
        if !existed {
            made.map_err(|e| trouble("make the directory", e))?;
            self.walk.here().dirty = true;
        }
        let Tree { shared, walk, .. } = self;
        let path = walk.real_path();
        let mut directory =
            shared.open(walk.here(), name, || path.clone()).map_err(|e| trouble("open", e))?;
        let path = || shared::join(path.clone(), name);
        set_attributes(shared, &mut directory, entry, entry.mode, existed, path)?;
        if opaque {
            shared.make_opaque(&mut directory)?;
        }
        for same in walk.alike(directory.inode) {
            (same.uid, same.gid, same.mode) = (directory.uid, directory.gid, directory.mode);
            (same.times, same.dirty) = (directory.times.clone(), true);
        }
        walk.push(name, directory)
    }

    /// Gives the directory that a link leads to the entry's attributes; whether it leads to one. Else the way
    /// is back where it was.
    fn behind_link(&mut self, entry: &Entry, name: &[u8]) -> Result<bool> {
        let parent = self.walk.real_path();
        let path = shared::join(parent.clone(), name);
        match self.walk.enter(&mut self.shared, &path, Missing::Stop) {
            Ok(true) => {}
            Err(error) if error.status() != common::error::Status::Malformed => return Err(error),
            _ => {
                self.walk.enter(&mut self.shared, &parent, Missing::Stop)?;
                return Ok(false);
            }
        }
        if self.walk.depth() == 0 {
            self.root_entry(entry)?;
            return Ok(true);
        }
        self.walk.mark(&mut self.shared);
        let path = self.walk.real_path();
        let Tree { shared, walk, .. } = self;
        let here = walk.here();
        set_attributes(shared, here, entry, entry.mode, true, || path)?;
        let (inode, like) = (here.inode, (here.uid, here.gid, here.mode));
        let times = here.times.clone();
        for same in walk.alike(inode) {
            (same.uid, same.gid, same.mode) = like;
            (same.times, same.dirty) = (times.clone(), true);
        }
        Ok(true)
    }

    /// Removes what stands in an entry's way.
    fn clear_way(&mut self, name: &[u8], entry_name: &[u8]) -> Result<()> {
        let here = self.walk.here();
        let stat = match directory::stat(here, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(|e| trouble("stat", e))?,
        };
        let duplicate = self.shared.upper.has_entry(here.inode, name);
        if duplicate && !(self.shared.rules.whiteouts == Whiteouts::Overlay && stat.st_rdev == 0) {
            self.shared.warn_duplicate(entry_name);
        }
        here.dirty = true;
        remove::remove(&here.fd, name)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.walk.forget_links();
                self.side.reset()
            }
            FileType::Symlink => {
                self.walk.forget_links();
                self.side.forget_links();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Gives a directory its entry's attributes; its times when it is left.
fn set_attributes(
    shared: &mut Shared,
    directory: &mut Directory,
    entry: &Entry,
    mode: u32,
    had_attributes: bool,
    path: impl FnOnce() -> Vec<u8>,
) -> Result<()> {
    let (uid, gid) = shared.rules.owner.of(entry.uid, entry.gid)?;
    shared.set_directory(directory, uid, gid, mode, had_attributes, path)?;
    if !entry.xattrs.is_empty() {
        use std::os::fd::AsFd;
        attributes::set(&attributes::Target::Open(directory.fd.as_fd()), &entry.xattrs)?;
        shared.acls |= entry.xattrs.iter().any(|(name, _)| name == attributes::DEFAULT_ACL);
        if entry.xattrs.iter().any(|(name, _)| name == attributes::ACCESS_ACL) {
            rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(directory.mode))
                .map_err(|e| trouble("set the mode", e))?;
        }
    }
    directory.times = directory::times(entry);
    directory.dirty = true;
    Ok(())
}
