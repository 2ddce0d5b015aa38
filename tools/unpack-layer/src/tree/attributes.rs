// SPDX-License-Identifier: Apache-2.0
//! Owners and extended attributes of what was made: set through descriptors, never through names that could
//! lead elsewhere meanwhile.
//!
//! The order matters: owner, extended attributes, mode, times. A change of owner clears set-user-ID bits
//! and capabilities, even for the superuser.

use std::os::fd::{AsFd, AsRawFd};

use common::error::{Error, Result, printable};
use common::notice;
use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::directory::trouble;

/// What a directory's files inherit.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// What says who may do what, beyond the mode.
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// A descriptor as a path: for system calls that take no descriptor of something that cannot be opened.
pub(super) fn by_descriptor(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Sets the mode of what a descriptor is of that is only a place. `ENOSYS` where /proc is not there to do it.
pub(super) fn chmod(fd: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::chmod(by_descriptor(fd), Mode::from_raw_mode(mode)).map_err(without_proc)
}

/// A descriptor is always there: what is not is /proc.
fn without_proc(cause: Errno) -> Errno {
    if cause == Errno::NOENT { Errno::NOSYS } else { cause }
}

/// Sets the owner of what a descriptor is of.
pub(super) fn chown(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|cause| owner_trouble(cause, uid, gid))
}

/// What a failed change of owner means.
pub(super) fn owner_trouble(cause: Errno, uid: u32, gid: u32) -> Error {
    let error = Error::local(format_args!("set the owner to {uid}:{gid}"), &cause.into());
    match cause {
        Errno::PERM => error.hint("--no-same-owner makes the files your own"),
        Errno::INVAL => error.hint(
            "this user namespace has no such ID: --uid-map and --gid-map, or --no-same-owner",
        ),
        _ => error,
    }
}

/// Where attributes are set.
pub(super) enum Target<'a> {
    /// What is open.
    Open(std::os::fd::BorrowedFd<'a>),
    /// What is only reachable through a path.
    Path(&'a str),
}

/// Sets extended attributes, as far as a layer may set them and the file system takes them.
pub(super) fn set(target: &Target<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    for (name, value) in xattrs {
        if !is_applied(name) {
            continue;
        }
        let (name, flags) = (name.as_slice(), XattrFlags::empty());
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
            Err(cause @ (Errno::TOOBIG | Errno::RANGE)) => {
                let words = common::error::os_words(&cause.into());
                return Err(Error::malformed(format_args!(
                    "extended attribute {}: {words}",
                    shown()
                )));
            }
            Err(cause) => {
                return Err(trouble(&format!("extended attribute {}", shown()), cause));
            }
        }
    }
    Ok(())
}

/// Whether a layer may set this attribute. Labels are the host's to give; `trusted` and overlay attributes steer
/// the kernel, and could show what no layer has.
fn is_applied(name: &[u8]) -> bool {
    if matches!(name, b"security.selinux" | b"system.nfs4_acl") {
        return false;
    }
    let refused = name.starts_with(b"trusted.") || name.starts_with(b"user.overlay.");
    if refused {
        notice::warn("xattr dropped", || {
            let name = printable(&String::from_utf8_lossy(name)).clone();
            format!("extended attribute {name}: not for a layer to set, left out")
        });
    }
    !refused
}

/// Takes all extended attributes away that a layer could have set, but for the mark that `keep` names.
pub(super) fn clear(fd: impl AsFd, keep: Option<&str>) -> Result<()> {
    let mut names = vec![0u8; 1024];
    let length = loop {
        match rustix::fs::flistxattr(&fd, &mut names[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) if names.len() < 1 << 17 => names.resize(names.len() * 4, 0),
            Err(Errno::NOTSUP) => return Ok(()),
            Err(cause) => return Err(trouble("list extended attributes", cause)),
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
            Err(cause) => return Err(trouble("remove an extended attribute", cause)),
        }
    }
    Ok(())
}

/// Takes away the access control lists that something made new has inherited.
pub(super) fn clear_acls(fd: impl AsFd) -> Result<()> {
    for name in [ACCESS_ACL, DEFAULT_ACL] {
        match rustix::fs::fremovexattr(&fd, name) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::ACCESS | Errno::INVAL) => {}
            Err(cause) => return Err(trouble("remove an access control list", cause)),
        }
    }
    Ok(())
}
