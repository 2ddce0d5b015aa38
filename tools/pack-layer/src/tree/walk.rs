// SPDX-License-Identifier: Apache-2.0
//! Walks a tree in the archive's order, together with the base tree that it is compared with.
//!
//! Every directory is opened relative to its parent, without following symbolic links. This works
//! for paths of any length, and the walk cannot leave the tree, even if another program changes the
//! tree meanwhile.
//!
//! The walk does not recurse. Only the deepest [`MAX_OPEN`] directories of the current path stay
//! open. A closed directory is opened again as `..` of its child, and must still be the same inode.
//! Memory holds only the names in the directories of the current path.

use std::os::fd::OwnedFd;
use std::path::Path;

use common::error::{Error, Result, Status, printable};
use common::notice;
use rustix::fs::{FileType, Mode, OFlags};

use super::failure::{changed, system_error};
use super::listing::{Listing, Name};
use super::node::{self, Inode, Node};
use crate::rules::Rules;

/// The largest number of directories that are open at a time, in each tree.
const MAX_OPEN: usize = 32;

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// One step of a walk.
pub(crate) enum Step {
    /// A file of the tree, and the file of the same name in the base tree.
    Here(Box<Node>, Option<Box<Node>>),
    /// A name that only the base tree has.
    Gone,
}

/// A directory of the current path, in one of the trees.
struct Level {
    inode: Inode,
    names: Listing,
    fd: Option<OwnedFd>,
}

/// A directory of the current path, with its counterpart in the base tree.
struct Frame {
    here: Level,
    base: Option<Level>,
    /// The number of the counterpart's names that were examined, in the search for removed names.
    next_gone: usize,
    /// The number of names that were visited.
    next: usize,
    /// The length of this directory's path.
    path: usize,
}

/// A walk through a tree.
pub(crate) struct Walk<'a> {
    rules: &'a Rules,
    /// The tree's name, for messages.
    root: &'a Path,
    path: Vec<u8>,
    frames: Vec<Frame>,
    /// The open roots, until the first step.
    start: Option<(OwnedFd, Option<OwnedFd>)>,
}

impl<'a> Walk<'a> {
    /// A walk that begins at the directory `root`.
    ///
    /// # Errors
    /// If a root cannot be opened: Absent if it does not exist, Usage if it is not a directory,
    /// else Local.
    pub(crate) fn new(root: &'a Path, base: Option<&Path>, rules: &'a Rules) -> Result<Walk<'a>> {
        let base = base.map(open_root).transpose()?;
        let start = Some((open_root(root)?, base));
        Ok(Walk { rules, root, path: Vec::new(), frames: Vec::new(), start })
    }

    /// The path of the current step, relative to the root; empty for the root itself.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The number of directories above the current step; 0 for the root itself.
    pub(crate) fn depth(&self) -> usize {
        let is_inside = self.frames.last().is_some_and(|frame| frame.path == self.path.len());
        self.frames.len() - usize::from(is_inside)
    }

    /// Adds the current path to an error.
    pub(crate) fn with_path(&self, error: Error) -> Error {
        error.context(shown(self.root, &self.path))
    }

    /// The next step; `None` at the end of the tree.
    pub(crate) fn next(&mut self) -> Result<Option<Step>> {
        self.step().map_err(|error| self.with_path(error))
    }

    fn step(&mut self) -> Result<Option<Step>> {
        if let Some((here, base)) = self.start.take() {
            let mut here = Node::of_open(here, FileType::Directory, self.rules)?;
            let mut base =
                base.map(|fd| Node::of_open(fd, FileType::Directory, self.rules)).transpose()?;
            self.enter(&mut here, base.as_mut())?;
            return Ok(Some(Step::Here(Box::new(here), base.map(Box::new))));
        }
        loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            self.path.truncate(frame.path);
            if let Some(name) = frame.gone() {
                push(&mut self.path, &name);
                return Ok(Some(Step::Gone));
            }
            let Some(name) = frame.here.names.nth(frame.next) else {
                self.leave()?;
                continue;
            };
            frame.next += 1;
            push(&mut self.path, name.bytes);
            let (mut here, mut base) = frame.open(&name, self.rules)?;
            if here.file_type == FileType::Directory {
                let device = frame.here.inode.device;
                if here.inode.device == device || self.crosses(&here)? {
                    let counterpart =
                        base.as_mut().filter(|base| base.file_type == FileType::Directory);
                    self.enter(&mut here, counterpart)?;
                }
            }
            return Ok(Some(Step::Here(Box::new(here), base.map(Box::new))));
        }
    }

    /// Whether the walk enters a directory that is on another file system.
    fn crosses(&self, directory: &Node) -> Result<bool> {
        let Some(fd) = &directory.fd else { return Ok(false) };
        let kind = rustix::fs::fstatfs(fd).map_err(system_error)?.f_type;
        if PSEUDO.contains(&(kind as u32)) {
            notice::warn("pseudo file system", || {
                let name = shown(self.root, &self.path);
                format!("{name}: a pseudo file system, its content left out")
            });
            return Ok(false);
        }
        Ok(!self.rules.one_file_system)
    }

    /// Enters a directory: the next steps are the files in it.
    fn enter(&mut self, here: &mut Node, base: Option<&mut Node>) -> Result<()> {
        let here = Level::new(here)?;
        let base = base.map(Level::new).transpose()?;
        self.frames.push(Frame { here, base, next_gone: 0, next: 0, path: self.path.len() });
        if let Some(far) = self.frames.len().checked_sub(MAX_OPEN + 1) {
            // The base tree's directory is closed only if its child directory is open too.
            // Otherwise it could not be opened again as `..` of that child.
            let child_has_base = self.frames[far + 1].base.is_some();
            let far = &mut self.frames[far];
            far.here.fd = None;
            if let Some(base) = far.base.as_mut().filter(|_| child_has_base) {
                base.fd = None;
            }
        }
        Ok(())
    }

    /// Returns to the parent directory.
    fn leave(&mut self) -> Result<()> {
        let Some(left) = self.frames.pop() else { return Ok(()) };
        let Some(above) = self.frames.last_mut() else { return Ok(()) };
        above.here.reopen(&left.here)?;
        match (&mut above.base, &left.base) {
            (Some(above), Some(left)) => above.reopen(left),
            _ => Ok(()),
        }
    }
}

impl Frame {
    /// The next name that only the counterpart has; `None` if there are no more.
    fn gone(&mut self) -> Option<Vec<u8>> {
        let base = self.base.as_ref()?;
        while let Some(name) = base.names.nth(self.next_gone) {
            self.next_gone += 1;
            if !self.here.names.has(name.bytes) {
                return Some(name.bytes.to_owned());
            }
        }
        None
    }

    /// Opens the file of a name, and its counterpart in the base tree.
    fn open(&self, name: &Name<'_>, rules: &Rules) -> Result<(Node, Option<Node>)> {
        let here = self.here.fd.as_ref().ok_or_else(changed)?;
        let here = Node::open(here, name, rules)?;
        let base = match &self.base {
            Some(Level { names, fd: Some(fd), .. }) => match names.find(name.bytes) {
                Some(found) => Some(Node::open(fd, &found, rules)?),
                None => None,
            },
            _ => None,
        };
        Ok((here, base))
    }
}

impl Level {
    fn new(node: &mut Node) -> Result<Level> {
        let fd = node.fd.take().ok_or_else(changed)?;
        let names = Listing::read(&fd).map_err(system_error)?;
        Ok(Level { inode: node.inode, names, fd: Some(fd) })
    }

    /// Opens the directory again, if it was closed, as the parent of its child `below`.
    fn reopen(&mut self, below: &Level) -> Result<()> {
        if self.fd.is_some() {
            return Ok(());
        }
        let below = below.fd.as_ref().ok_or_else(changed)?;
        let fd =
            rustix::fs::openat(below, "..", OPEN_DIRECTORY, Mode::empty()).map_err(system_error)?;
        let stat = rustix::fs::fstat(&fd).map_err(system_error)?;
        if node::inode(&stat) != self.inode {
            return Err(changed());
        }
        self.fd = Some(fd);
        Ok(())
    }
}

/// Opens the root of a tree; a symbolic link to it is followed.
fn open_root(root: &Path) -> Result<OwnedFd> {
    rustix::fs::open(root, OPEN_DIRECTORY, Mode::empty()).map_err(|cause| {
        let name = root.display();
        match cause {
            rustix::io::Errno::NOENT => Error::absent(format_args!("{name}: no such directory")),
            rustix::io::Errno::NOTDIR => {
                Error::new(Status::Usage, format_args!("{name}: not a directory"))
            }
            _ => Error::local(name, &cause.into()),
        }
    })
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The magic numbers of pseudo file systems, which show the kernel's state, from Linux's magic.h:
/// proc, sysfs, devpts, cgroup, cgroup2, debugfs, tracefs, securityfs, bpf, pstore, configfs,
/// efivarfs, selinuxfs, binfmt_misc, nsfs.
const PSEUDO: [u32; 15] = [
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
    0x6165_676c,
    0x6265_6570,
    0xde5e_81e4,
    0xf97c_ff8c,
    0x4249_4e4d,
    0x6e73_6673,
];

/// A path of the tree, for messages.
pub(crate) fn shown(root: &Path, path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let slash = if path.is_empty() || root.as_os_str().as_encoded_bytes().ends_with(b"/") {
        ""
    } else {
        "/"
    };
    printable(&format!("{}{slash}{path}", root.display()))
}
