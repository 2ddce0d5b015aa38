// SPDX-License-Identifier: Apache-2.0
//! File systems that are mounted in a tree. Their files are never removed, because they do not
//! belong to the layers.
//!
//! A bind mount can have the same device number as the directories around it. It is then recognised
//! only by the kernel's ID of the mount. Mounts in other mount namespaces do not matter: the kernel
//! detaches them when their directory is removed.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::attributes::by_descriptor;
use super::directory::OPEN;

/// Opens a directory. Fails with `EXDEV` if another file system is mounted there.
///
/// If openat2 is missing or forbidden by a system call filter, the IDs of the mounts are compared.
/// If these IDs are unknown (Linux before 5.8 without /proc), the device numbers are compared. A
/// bind mount of the same file system is then not detected.
pub(super) fn open_unmounted(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::openat2(&parent, name, OPEN, Mode::empty(), ResolveFlags::NO_XDEV) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        outcome => return outcome,
    }
    let fd = rustix::fs::openat(&parent, name, OPEN, Mode::empty())?;
    let same = match (id(&fd), id(&parent)) {
        (Some(inner), Some(outer)) => inner == outer,
        _ => rustix::fs::fstat(&fd)?.st_dev == rustix::fs::fstat(&parent)?.st_dev,
    };
    if same { Ok(fd) } else { Err(Errno::XDEV) }
}

/// The kernel's ID of the mount that an open file is in; `None` if it is unknown.
fn id(fd: impl AsFd) -> Option<u64> {
    let statx = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    if let Ok(statx) = statx
        && statx.stx_mask & StatxFlags::MNT_ID.bits() != 0
    {
        return Some(statx.stx_mnt_id);
    }
    let info = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(info).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// The mount points at an open directory and below it, relative to it: the empty path is the
/// directory itself. Empty if /proc is not mounted.
pub(crate) fn below(directory: impl AsFd) -> Vec<PathBuf> {
    let top = std::fs::read_link(by_descriptor(directory));
    let info = std::fs::File::open("/proc/self/mountinfo");
    let (Ok(top), Ok(info)) = (top, info) else { return Vec::new() };
    let lines = BufReader::new(info).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| relative(&line, &top)).collect()
}

/// The mount point of a line of mountinfo, if it is at `top` or below it.
fn relative(line: &[u8], top: &Path) -> Option<PathBuf> {
    let point = line.split(|byte| *byte == b' ').nth(4)?;
    let point = unescaped(point);
    Path::new(OsStr::from_bytes(&point)).strip_prefix(top).ok().map(Path::to_owned)
}

/// A path of mountinfo, in which spaces, tabs, line feeds and backslashes are escaped as octal
/// numbers.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) =
            (first, after)
        {
            plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_relative_to_the_tree() {
        let line = |point: &str| format!("22 27 0:21 / {point} rw,relatime - proc proc rw");
        let found = |point: &str| relative(line(point).as_bytes(), Path::new("/srv/my root"));
        assert_eq!(found("/srv/my\\040root/a\\134b"), Some(PathBuf::from("a\\b")));
        assert_eq!(found("/srv/my\\040root"), Some(PathBuf::new()));
        assert_eq!(found("/srv/my\\040rooted"), None);
        assert_eq!(found("/srv"), None);
        assert_eq!(relative(b"22 27", Path::new("/")), None);
        assert_eq!(unescaped(b"\\04\\9\\400x\\"), b"\\04\\9\\400x\\");
    }

    #[test]
    fn the_identity_of_a_mount_is_known_in_both_ways() {
        let fd = std::fs::File::open("/").unwrap();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
        let id = id(&fd).unwrap();
        assert!(info.unwrap().lines().any(|line| {
            line.strip_prefix("mnt_id:").is_some_and(|text| text.trim() == id.to_string())
        }));
    }
}
