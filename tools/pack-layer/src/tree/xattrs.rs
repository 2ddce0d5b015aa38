// SPDX-License-Identifier: Apache-2.0
//! Reads the extended attributes of a file that are valid on every machine, sorted by name.
//!
//! Labels and measurements that belong to one host (SELinux, Smack, AppArmor, IMA, EVM) are not
//! packed, and neither are the access control lists of NFS. The attributes of overlay file systems
//! are not packed either: they could show files that no layer has, or hide files of lower layers.
//!
//! A capability that was set in a user namespace is packed without the root ID of that namespace.
//! The same tree then gives the same layer, and the capability works where it is unpacked.

use std::os::fd::OwnedFd;

use archive::capability::{CAPABILITY, drop_root_id};
use common::error::{Error, Result, printable};
use common::notice;
use rustix::io::Errno;

use super::failure::system_error;

/// The extended attributes of a file: names and values.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The size of the first buffer, in bytes: enough for most lists of names and most values.
const ROOM: usize = 256;

/// The kernel's limit for a list of names and for a value, in bytes.
const LARGEST: usize = 64 << 10;

/// The extended attributes of an open file.
pub(super) fn of_open(fd: &OwnedFd) -> Result<Xattrs> {
    read(
        |list| rustix::fs::flistxattr(fd, list),
        |name, value| rustix::fs::fgetxattr(fd, name, value),
    )
}

/// The extended attributes of a file that must not be opened. The path leads through procfs; a
/// symbolic link as its last component is not followed.
pub(super) fn of_path(path: &[u8]) -> Result<Xattrs> {
    let outcome = read(
        |list| rustix::fs::llistxattr(path, list),
        |name, value| rustix::fs::lgetxattr(path, name, value),
    );
    match outcome {
        Err(_) if std::fs::symlink_metadata("/proc/self/fd").is_err() => {
            notice::warn("no procfs", || {
                "/proc is not available: extended attributes of links and devices are left out"
                    .into()
            });
            Ok(Xattrs::new())
        }
        outcome => outcome,
    }
}

fn read(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> Result<Xattrs> {
    let mut room = [0; ROOM];
    let mut larger = Vec::new();
    let names = match list(&mut room) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Xattrs::new()),
        Ok(length) => &room[..length],
        Err(Errno::RANGE) => {
            larger.resize(LARGEST, 0);
            let length = list(&mut larger).map_err(system_error)?;
            &larger[..length]
        }
        Err(cause) => return Err(system_error(cause)),
    };
    let mut xattrs = Xattrs::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && is_packed(name)) {
        let mut value = vec![0; ROOM];
        let length = match get(name, &mut value) {
            Err(Errno::RANGE) => {
                value.resize(LARGEST, 0);
                get(name, &mut value)
            }
            length => length,
        };
        match length {
            Ok(length) => {
                value.truncate(length);
                value.shrink_to_fit();
                if name.contains(&b'=') {
                    return Err(Error::malformed(format_args!(
                        "extended attribute {}: a name with = cannot be archived",
                        shown(name)
                    )));
                }
                if name == CAPABILITY {
                    drop_root_id(&mut value);
                }
                xattrs.push((name.to_owned(), value));
            }
            // The attribute was removed meanwhile, or this user may not read it.
            Err(Errno::NODATA) => {}
            Err(cause) => {
                return Err(
                    system_error(cause).context(format_args!("extended attribute {}", shown(name)))
                );
            }
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

fn is_packed(name: &[u8]) -> bool {
    let is_of_overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    if is_of_overlay {
        notice::warn("overlay's attribute", || {
            format!("{}: an overlay file system's own attribute, left out", shown(name))
        });
    }
    let is_of_host = matches!(
        name,
        b"security.selinux"
            | b"security.apparmor"
            | b"security.ima"
            | b"security.evm"
            | b"system.nfs4_acl"
            | b"system.nfs4_dacl"
            | b"system.nfs4_sacl"
    ) || name.starts_with(b"security.SMACK64");
    !is_of_overlay && !is_of_host
}

fn shown(name: &[u8]) -> String {
    printable(&String::from_utf8_lossy(name))
}
