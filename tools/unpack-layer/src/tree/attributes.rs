// SPDX-License-Identifier: Apache-2.0
//! Sets owners and extended attributes through file descriptors, because another process could make
//! a name refer to another file.
//!
//! They must be set in this order: owner, extended attributes, mode, times. A change of owner
//! clears the set-user-ID bit and file capabilities, even for root.

use std::os::fd::{AsFd, AsRawFd};

use archive::capability::{CAPABILITY, has_root_id};
use common::error::{Error, Result, printable};
use common::notice;
use rustix::fs::{AtFlags, Gid, Mode, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::directory::os_error;

/// The attribute with the access control list that new files in a directory inherit.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// The attribute with a file's own access control list.
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// A path for a descriptor, for system calls that do not accept descriptors opened with `O_PATH`.
pub(super) fn by_descriptor(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Sets the mode of a file by a descriptor that was opened with `O_PATH`. `ENOSYS` if /proc is not
/// mounted.
pub(super) fn chmod(fd: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::chmod(by_descriptor(fd), Mode::from_raw_mode(mode)).map_err(without_proc)
}

/// Changes `ENOENT` to `ENOSYS`: a path of [`by_descriptor`] can only be missing if /proc is not
/// mounted.
fn without_proc(cause: Errno) -> Errno {
    if cause == Errno::NOENT { Errno::NOSYS } else { cause }
}

/// Sets the owner and group of an open file.
pub(super) fn chown(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|cause| owner_error(cause, uid, gid))
}

/// Sets the owner and group of the file with this name in a directory. With the flag `EMPTY_PATH`
/// and an empty name, sets those of a descriptor that was opened with `O_PATH`.
pub(super) fn chown_at(
    fd: impl AsFd,
    name: &[u8],
    uid: u32,
    gid: u32,
    flags: AtFlags,
) -> Result<()> {
    rustix::fs::chownat(fd, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)
        .map_err(|cause| owner_error(cause, uid, gid))
}

/// Sets the times of a file by a descriptor that was opened with `O_PATH`.
pub(super) fn set_times(fd: impl AsFd, times: &Timestamps) -> rustix::io::Result<()> {
    match rustix::fs::utimensat(&fd, c"", times, AtFlags::EMPTY_PATH) {
        // Linux before 5.8 does not support this.
        Err(Errno::INVAL | Errno::NOENT) => {
            let path = by_descriptor(fd);
            rustix::fs::utimensat(rustix::fs::CWD, path, times, AtFlags::empty())
                .map_err(without_proc)
        }
        outcome => outcome,
    }
}

/// The error for a failed change of owner.
fn owner_error(cause: Errno, uid: u32, gid: u32) -> Error {
    let error = Error::local(format_args!("set the owner to {uid}:{gid}"), &cause.into());
    match cause {
        Errno::PERM => error.hint("--no-same-owner makes you the owner of all files"),
        Errno::INVAL => error.hint(
            "this user namespace has no such ID: use --uid-map and --gid-map, or --no-same-owner",
        ),
        _ => error,
    }
}

/// A file whose attributes are set.
pub(super) enum Target<'a> {
    /// An open file.
    Open(std::os::fd::BorrowedFd<'a>),
    /// A file that cannot be opened, by a path of [`by_descriptor`].
    Path(&'a str),
}

/// Sets extended attributes. Attributes that a layer may not set, or that the file system does not
/// support or permit, are left out with a warning.
pub(super) fn set(target: &Target<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    for (name, value) in xattrs {
        if !is_applied(name) {
            continue;
        }
        let name = name.as_slice();
        let flags = XattrFlags::empty();
        let outcome = match target {
            Target::Open(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
            Target::Path(path) => {
                rustix::fs::setxattr(*path, name, value, flags).map_err(without_proc)
            }
        };
        let shown = || printable(&String::from_utf8_lossy(name));
        match outcome {
            Ok(()) => {}
            Err(Errno::NOTSUP) => notice::warn("xattr unsupported", || {
                format!(
                    "extended attribute {}: not supported by the file system, left out",
                    shown()
                )
            }),
            Err(Errno::PERM | Errno::ACCESS) => notice::warn("xattr refused", || {
                format!("extended attribute {}: no permission, left out", shown())
            }),
            Err(Errno::INVAL) if has_ids(name, value) => notice::warn("xattr's ID", || {
                format!(
                    "extended attribute {}: invalid, or with an ID that is not in this user \
                     namespace, left out",
                    shown()
                )
            }),
            Err(cause @ (Errno::TOOBIG | Errno::RANGE)) => {
                let words = common::error::os_message(&cause.into());
                return Err(Error::malformed(format_args!(
                    "extended attribute {}: {words}",
                    shown()
                )));
            }
            Err(cause) => {
                return Err(os_error(&format!("extended attribute {}", shown()), cause));
            }
        }
    }
    Ok(())
}

/// Whether a value has user IDs or group IDs. The kernel refuses a value with an ID that has no
/// mapping in this user namespace.
fn has_ids(name: &[u8], value: &[u8]) -> bool {
    match name {
        CAPABILITY => has_root_id(value),
        _ => [ACCESS_ACL, DEFAULT_ACL].contains(&name),
    }
}

/// Whether a layer may set this attribute. SELinux labels and NFSv4 access control lists belong to
/// the host. `trusted` and overlay attributes control the kernel's overlay file system, and could
/// show files that no layer has.
fn is_applied(name: &[u8]) -> bool {
    if matches!(name, b"security.selinux" | b"system.nfs4_acl") {
        return false;
    }
    let refused = name.starts_with(b"trusted.") || name.starts_with(b"user.overlay.");
    if refused {
        notice::warn("xattr dropped", || {
            let name = printable(&String::from_utf8_lossy(name)).clone();
            format!("extended attribute {name}: a layer may not set it, left out")
        });
    }
    !refused
}

/// Removes all extended attributes that a layer could have set, except the one named `keep`.
pub(super) fn clear(fd: impl AsFd, keep: Option<&str>) -> Result<()> {
    let mut names = vec![0u8; 1024];
    let length = loop {
        match rustix::fs::flistxattr(&fd, &mut names[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) if names.len() < 1 << 17 => names.resize(names.len() * 4, 0),
            Err(Errno::NOTSUP) => return Ok(()),
            Err(cause) => return Err(os_error("list extended attributes", cause)),
        }
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if matches!(name, b"security.selinux" | b"system.nfs4_acl" | b"security.ima")
            || keep.is_some_and(|keep| keep.as_bytes() == name)
        {
            continue;
        }
        match rustix::fs::fremovexattr(&fd, name) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => {}
            Err(cause) => return Err(os_error("remove an extended attribute", cause)),
        }
    }
    Ok(())
}

/// Removes the access control lists that a new file has inherited.
pub(super) fn clear_acls(fd: impl AsFd) -> Result<()> {
    for name in [ACCESS_ACL, DEFAULT_ACL] {
        match rustix::fs::fremovexattr(&fd, name) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::ACCESS | Errno::INVAL) => {}
            Err(cause) => return Err(os_error("remove an access control list", cause)),
        }
    }
    Ok(())
}
