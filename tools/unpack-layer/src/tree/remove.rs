// SPDX-License-Identifier: Apache-2.0
//! Removes directory trees of any depth, with a bounded number of open directories and a bounded
//! stack.
//!
//! Symbolic links are not followed, and mounted file systems are not entered. Directories that are
//! nested deeper than a limit are first moved to the top of the tree that is being removed. A file
//! that another process has removed meanwhile is not an error.

use std::os::fd::{AsFd, OwnedFd};

use common::error::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, RawDir, RenameFlags, SeekFrom};
use rustix::io::Errno;

use super::directory::WORKABLE;
use super::mounts::open_unmounted;

/// The maximum number of levels of directories below the top that are open at a time.
const MAX_LEVEL: usize = 12;

/// The size of the buffer in which the names of a directory are read, in bytes.
const NAMES: usize = 8 << 10;

/// Removes a file or a directory tree from a directory. Returns whether it existed.
pub(crate) fn remove(parent: impl AsFd, name: &[u8]) -> Result<bool> {
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::ISDIR) => {}
        Err(cause @ (Errno::PERM | Errno::ACCESS)) => {
            let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW);
            if !stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory) {
                return Err(remove_error(name, cause));
            }
        }
        Err(cause) => return Err(remove_error(name, cause)),
    }
    let top = match open(&parent, name) {
        Err(Errno::NOENT) => return Ok(true),
        other => other.map_err(|cause| remove_error(name, cause))?,
    };
    let mut lifted = 0;
    loop {
        let before = lifted;
        // An earlier pass has read the directory to its end.
        rustix::fs::seek(&top, SeekFrom::Start(0)).map_err(|cause| remove_error(name, cause))?;
        empty(&top, &top, 0, &mut lifted)?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::NOTEMPTY) if lifted > before => {}
            Err(cause) => return Err(remove_error(name, cause)),
        }
    }
}

/// Removes the content of a directory. Directories that are too deep are moved to `top` and counted
/// in `lifted`.
///
/// The names are read through the given descriptor. With a second one for each directory, a run
/// that has too few descriptors could not remove its own tree.
fn empty(top: &OwnedFd, directory: &OwnedFd, level: usize, lifted: &mut u64) -> Result<()> {
    let mut names = Vec::with_capacity(NAMES);
    let mut entries = RawDir::new(directory, names.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            // The directory itself was removed.
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(|cause| remove_error(b"directory", cause))?,
        };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            unlink(directory, name, AtFlags::empty())?;
            continue;
        }
        if entry.file_type() == FileType::Unknown
            && rustix::fs::unlinkat(directory, name, AtFlags::empty()).is_ok()
        {
            continue;
        }
        if level == MAX_LEVEL {
            lift(top, directory, name, lifted)?;
            continue;
        }
        let child = match open(directory, name) {
            // No file descriptor is free. After the directory is moved to the top, fewer of its
            // parents must be open to empty it.
            Err(Errno::MFILE | Errno::NFILE) if level > 0 => {
                lift(top, directory, name, lifted)?;
                continue;
            }
            Err(Errno::NOENT) => continue,
            other => other.map_err(|cause| remove_error(name, cause))?,
        };
        empty(top, &child, level + 1, lifted)?;
        unlink(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes a file or an empty directory, which may be gone already.
fn unlink(directory: &OwnedFd, name: &[u8], flags: AtFlags) -> Result<()> {
    match rustix::fs::unlinkat(directory, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(cause) => Err(remove_error(name, cause)),
    }
}

/// Moves a directory to `top`, under an unused name.
fn lift(top: &OwnedFd, directory: &OwnedFd, name: &[u8], lifted: &mut u64) -> Result<()> {
    loop {
        *lifted += 1;
        let free = format!(".lifted-{lifted}");
        match rustix::fs::renameat_with(directory, name, top, &free, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(cause @ Errno::ACCESS) => {
                // Moving a directory to another parent needs write permission on the directory
                // itself: `open` adds it.
                drop(open(directory, name).map_err(|_| remove_error(name, cause))?);
                rustix::fs::renameat_with(directory, name, top, &free, RenameFlags::NOREPLACE)
                    .map_err(|cause| remove_error(name, cause))?;
                return Ok(());
            }
            Err(cause) => return Err(remove_error(name, cause)),
        }
    }
}

/// Opens a directory to empty it. If its mode does not permit that, the mode is changed first.
fn open(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let fd = match open_unmounted(&parent, name) {
        Err(Errno::XDEV) => return Err(Errno::BUSY),
        Err(Errno::ACCESS) => {
            use rustix::fs::OFlags;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
            super::attributes::chmod(&fd, WORKABLE).map_err(|cause| match cause {
                Errno::NOSYS => cause,
                _ => Errno::ACCESS,
            })?;
            open_unmounted(&parent, name)?
        }
        other => other?,
    };
    if !rustix::process::geteuid().is_root() {
        let mode = rustix::fs::fstat(&fd)?.st_mode;
        if mode & WORKABLE != WORKABLE {
            // Fails if another user owns the directory. The mode then stays, and removing files
            // from it may fail.
            let _ = rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode & 0o7777 | WORKABLE));
        }
    }
    Ok(fd)
}

/// The error for a file that cannot be removed.
pub(super) fn remove_error(name: &[u8], cause: Errno) -> Error {
    let error = Error::local(format_args!("remove {}", archive::shown(name)), &cause.into());
    match cause {
        Errno::NOSYS => error.hint("/proc must be mounted"),
        Errno::BUSY => error.hint("a file system is mounted there"),
        Errno::PERM => error.hint("the file may be immutable (lsattr)"),
        _ => error,
    }
}
