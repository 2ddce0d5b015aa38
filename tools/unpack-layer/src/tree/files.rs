// SPDX-License-Identifier: Apache-2.0
//! Makes regular files, links, devices and named pipes.
//!
//! A file is first created exclusively. If that fails because the name exists, the existing file is
//! examined and removed. In a new tree this saves system calls: a small regular file takes four
//! (open, write, set times, close).

use std::fs::File;
use std::io::{BufRead, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use common::error::{Error, Result, Status};
use common::notice;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes::{self, Target};
use super::directory::{self, Directory, os_error};
use super::rules::Whiteouts;
use super::workspace::Workspace;
use archive::walk::Missing;
use archive::{Entry, EntryType, Reader, names, shown};

/// The kind of the warning that a device was left out.
pub(crate) const DEVICE: &str = "device";

/// The set-user-ID and set-group-ID bits. The kernel clears them on a change of owner and on
/// writing.
const SET_ID: u32 = 0o6000;

/// The longest target of a symbolic link on Linux, in bytes.
const MAX_TARGET: usize = 4095;

/// The smallest size of a file in which zeros become holes, in bytes.
const HOLES_FROM: u64 = 1 << 20;

/// The size of a block of zeros that becomes a hole. With smaller blocks, more zeros would
/// become holes, but the file would be fragmented.
const HOLE: usize = 64 << 10;

static ZEROS: [u8; HOLE] = [0; HOLE];

/// The largest device numbers of Linux.
const MAX_MAJOR: u64 = (1 << 12) - 1;
const MAX_MINOR: u64 = (1 << 20) - 1;

impl Workspace {
    /// Makes a file of any type except directories and hard links. Returns false if it was left
    /// out.
    pub(super) fn file(
        &mut self,
        entry: &Entry,
        name: &[u8],
        reader: &mut Reader<impl BufRead>,
    ) -> Result<bool> {
        if entry.entry_type == EntryType::Regular {
            return self.regular(entry, name, reader).map(|()| true);
        }
        if !self.make_special(entry, name)? {
            return Ok(false);
        }
        self.walk.here().dirty = true;
        let (uid, gid) = self.state.rules.owner.of(entry.uid, entry.gid)?;
        let chowned = !self.is_created_as(uid, gid);
        let has_mode = entry.entry_type != EntryType::Symlink;
        let again = has_mode && (self.state.acls || (chowned && entry.mode & SET_ID != 0));
        let here = self.walk.here();
        let times = directory::times(entry);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if !self.state.onto && entry.xattrs.is_empty() && !again {
            // No other user can enter a new tree: the name still means the file that was made.
            if chowned {
                attributes::chown_at(&here.fd, name, uid, gid, flags)?;
            }
            rustix::fs::utimensat(&here.fd, name, &times, flags)
                .map_err(|e| os_error("set the times", e))?;
            return Ok(true);
        }
        // The owner is checked only before a change of owner, mode or attributes. Some file systems
        // give all files to one user. The check would fail there, but these changes are not
        // permitted there either.
        let user = self.state.rules.owner.caller.0;
        let changes = chowned || again || !entry.xattrs.is_empty();
        let fd = open_made(here, name, entry, changes.then_some(user))?;
        if chowned {
            attributes::chown_at(&fd, b"", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if !entry.xattrs.is_empty() || again {
            let path = attributes::by_descriptor(&fd);
            attributes::set(&Target::Path(&path), &entry.xattrs)?;
            if again {
                attributes::chmod(&fd, entry.mode).map_err(|e| os_error("set the mode", e))?;
            }
        }
        attributes::set_times(&fd, &times).map_err(|e| os_error("set the times", e))?;
        Ok(true)
    }

    /// Makes a regular file with its content and attributes.
    fn regular(
        &mut self,
        entry: &Entry,
        name: &[u8],
        reader: &mut Reader<impl BufRead>,
    ) -> Result<()> {
        self.state.counts.add_bytes(entry.size)?;
        let (uid, gid) = self.state.rules.owner.of(entry.uid, entry.gid)?;
        let chowned = !self.is_created_as(uid, gid);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & !SET_ID);
        let fd =
            self.make(name, &entry.name, |here| rustix::fs::openat(&here.fd, name, flags, mode))?;
        self.walk.here().dirty = true;
        let mut file = File::from(fd);
        write_content(&mut file, entry, reader)?;
        if chowned {
            attributes::chown(&file, uid, gid)?;
        }
        if self.state.acls {
            attributes::clear_acls(&file)?;
        }
        let mut has_acl = false;
        if !entry.xattrs.is_empty() {
            attributes::set(&Target::Open(file.as_fd()), &entry.xattrs)?;
            has_acl = entry.xattrs.iter().any(|(name, _)| name == attributes::ACCESS_ACL);
        }
        if entry.mode & SET_ID != 0 || has_acl || self.state.acls {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
                .map_err(|e| os_error("set the mode", e))?;
        }
        rustix::fs::futimens(&file, &directory::times(entry))
            .map_err(|e| os_error("set the times", e))
    }

    /// Makes a symbolic link, a device or a named pipe, without attributes. Returns false if it was
    /// left out.
    fn make_special(&mut self, entry: &Entry, name: &[u8]) -> Result<bool> {
        let mode = Mode::from_raw_mode(entry.mode);
        let kind = match entry.entry_type {
            EntryType::Symlink => {
                let target = entry.link.as_slice();
                if target.is_empty() || target.len() > MAX_TARGET {
                    return Err(Error::malformed(format_args!(
                        "symbolic link: got a target of {} bytes, want 1 to {MAX_TARGET}",
                        target.len()
                    )));
                }
                self.make(name, &entry.name, |here| rustix::fs::symlinkat(target, &here.fd, name))?;
                return Ok(true);
            }
            EntryType::Fifo => FileType::Fifo,
            EntryType::BlockDevice => FileType::BlockDevice,
            _ => FileType::CharacterDevice,
        };
        let (major, minor) = if kind == FileType::Fifo { (0, 0) } else { entry.device };
        if major > MAX_MAJOR || minor > MAX_MINOR {
            return Err(Error::malformed(format_args!(
                "device {major}:{minor}, the largest is {MAX_MAJOR}:{MAX_MINOR}"
            )));
        }
        if kind == FileType::CharacterDevice && (major, minor) == (0, 0) {
            return Err(Error::malformed(
                "character device 0:0: a whiteout of overlay file systems",
            ));
        }
        if kind != FileType::Fifo && self.state.rules.skip_devices {
            notice::warn(DEVICE, || format!("{}: device left out", shown(&entry.name)));
            return Ok(false);
        }
        // Both numbers were checked above: the casts do not truncate.
        let device = rustix::fs::makedev(major as u32, minor as u32);
        let made = self.make_or(name, &entry.name, |here| {
            rustix::fs::mknodat(&here.fd, name, kind, mode, device)
        })?;
        made.map_err(|cause| {
            let error = os_error("make the device", cause);
            match cause {
                Errno::PERM => {
                    error.hint("--skip-devices leaves out devices, which require privileges")
                }
                _ => error,
            }
        })?;
        Ok(true)
    }

    /// Makes a hard link. The attributes of the entry are ignored.
    pub(super) fn hardlink(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let to = |what: &str| {
            Error::malformed(format_args!("hard link to {}: {what}", shown(&entry.link)))
        };
        let clean = names::clean(&entry.link).map_err(|error| to(&error.to_string()))?;
        if self.state.rules.whiteouts != Whiteouts::Keep && names::is_whiteout(&clean) {
            return Err(to("a whiteout"));
        }
        let (parent, target) = names::split(&clean);
        if target.is_empty() {
            return Err(to("a directory"));
        }
        let missing =
            || to("missing (the target must be an earlier entry, or be in a lower layer)");
        if !self.side.enter(&mut self.state, parent, Missing::Stop)? {
            return Err(missing());
        }
        if self.side.here().inode == self.walk.here().inode && target == name {
            return Err(to("itself"));
        }
        loop {
            let from = self.side.here();
            let here = self.walk.here();
            match rustix::fs::linkat(&from.fd, target, &here.fd, name, AtFlags::empty()) {
                Ok(()) => break,
                Err(Errno::EXIST) => {
                    self.remove_existing(name, &entry.name)?;
                    if !self.side.enter(&mut self.state, parent, Missing::Stop)? {
                        return Err(missing());
                    }
                }
                Err(Errno::NOENT) => return Err(missing()),
                Err(cause) => {
                    let stat = directory::stat(from, target);
                    let is_directory =
                        |s: &Stat| FileType::from_raw_mode(s.st_mode) == FileType::Directory;
                    if stat.as_ref().is_ok_and(is_directory) {
                        return Err(to("a directory"));
                    }
                    if cause == Errno::XDEV {
                        let link = shown(&entry.link);
                        let what = format_args!("hard link to {link}");
                        return Err(Error::local(what, &cause.into()));
                    }
                    let error = os_error(&format!("hard link to {}", shown(&entry.link)), cause);
                    return Err(match cause {
                        Errno::PERM => error.hint(
                            "fs.protected_hardlinks forbids the link, \
                             or the file is immutable (lsattr)",
                        ),
                        _ => error,
                    });
                }
            }
        }
        self.walk.here().dirty = true;
        Ok(())
    }

    /// Makes a file with the function `make`. An existing file of that name is removed first.
    fn make<T>(
        &mut self,
        name: &[u8],
        entry_name: &[u8],
        make: impl Fn(&Directory) -> rustix::io::Result<T>,
    ) -> Result<T> {
        self.make_or(name, entry_name, make)?.map_err(|e| os_error("make the file", e))
    }

    /// Like `make`, but returns an error of the function `make` unchanged.
    fn make_or<T>(
        &mut self,
        name: &[u8],
        entry_name: &[u8],
        make: impl Fn(&Directory) -> rustix::io::Result<T>,
    ) -> Result<rustix::io::Result<T>> {
        match make(self.walk.here()) {
            Err(Errno::EXIST) => {
                self.remove_existing(name, entry_name)?;
                Ok(make(self.walk.here()))
            }
            outcome => Ok(outcome),
        }
    }

    /// Whether a new file here has this owner and group without a chown. If the directory has
    /// another group, the group of a new file depends on mount options and on the directory's mode.
    /// The result is false in this case, so that the owner is set.
    fn is_created_as(&mut self, uid: u32, gid: u32) -> bool {
        let caller = self.state.rules.owner.caller;
        (uid, gid) == caller && self.walk.here().gid == gid
    }
}

/// Opens a symbolic link, device or named pipe that was just made. In an existing tree, another
/// process may have replaced it by a different file, which must not get the entry's owner. If
/// `user` is given, the file must have this owner.
fn open_made(here: &Directory, name: &[u8], entry: &Entry, user: Option<u32>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&here.fd, name, flags, Mode::empty())
        .map_err(|e| os_error("open", e))?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| os_error("stat", e))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let is_same = match entry.entry_type {
        EntryType::Symlink => kind == FileType::Symlink,
        EntryType::Fifo => kind == FileType::Fifo,
        EntryType::BlockDevice => kind == FileType::BlockDevice && is_device(&stat, entry),
        _ => kind == FileType::CharacterDevice && is_device(&stat, entry),
    };
    // A replacement of this type and owner with a single link is harmless: changing it gives no
    // more rights than changing the file that was made.
    if !is_same || stat.st_nlink != 1 || user.is_some_and(|user| stat.st_uid != user) {
        return Err(Error::new(
            Status::Local,
            "another process replaced the file while it was being made",
        ));
    }
    Ok(fd)
}

fn is_device(stat: &Stat, entry: &Entry) -> bool {
    let (major, minor) = entry.device;
    (u64::from(rustix::fs::major(stat.st_rdev)), u64::from(rustix::fs::minor(stat.st_rdev)))
        == (major, minor)
}

/// Appends bytes to a file whose final size is `size`. In a large file, blocks of zeros become
/// holes: otherwise a small layer with a huge file of zeros could fill the disk.
fn write_or_skip(file: &mut File, bytes: &[u8], size: u64) -> std::io::Result<()> {
    if size < HOLES_FROM {
        return file.write_all(bytes);
    }
    let is_hole = |block: &&[u8]| **block == ZEROS[..block.len()];
    let length = |blocks: &mut dyn Iterator<Item = &[u8]>| blocks.map(<[u8]>::len).sum::<usize>();
    let mut rest = bytes;
    while !rest.is_empty() {
        let zeros = length(&mut rest.chunks(HOLE).take_while(is_hole));
        if zeros > 0 {
            file.seek_relative(zeros as i64)?;
        }
        rest = &rest[zeros..];
        let (data, after) =
            rest.split_at(length(&mut rest.chunks(HOLE).take_while(|block| !is_hole(block))));
        file.write_all(data)?;
        rest = after;
    }
    Ok(())
}

/// Writes a file's content from the archive's buffers, without copying them.
fn write_content(file: &mut File, entry: &Entry, reader: &mut Reader<impl BufRead>) -> Result<()> {
    let local = |cause: std::io::Error| Error::local("write the file", &cause);
    let Some(segments) = &entry.sparse else {
        loop {
            let bytes = reader.data()?;
            let count = bytes.len();
            if count == 0 {
                if entry.size >= HOLES_FROM {
                    // A hole at the end was only skipped: set the final size.
                    file.set_len(entry.size).map_err(local)?;
                }
                return Ok(());
            }
            write_or_skip(file, bytes, entry.size).map_err(local)?;
            reader.consume(count);
        }
    };
    file.set_len(entry.size).map_err(local)?;
    for segment in segments {
        let mut at = segment.offset;
        let mut left = segment.length;
        while left > 0 {
            let bytes = reader.data()?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            if count == 0 {
                return Err(Error::malformed(
                    "sparse map: its segments are longer than the data in the archive",
                ));
            }
            file.write_all_at(&bytes[..count], at).map_err(local)?;
            reader.consume(count);
            at += count as u64;
            left -= count as u64;
        }
    }
    Ok(())
}
