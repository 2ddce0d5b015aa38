// SPDX-License-Identifier: Apache-2.0
//! Extended attributes: those that belong to a file wherever it is, sorted by name.
//!
//! Not packed: labels and measurements that a host gives (SELinux, IMA, EVM), NFS's access control
//! lists, and what overlay file systems keep for themselves, which would show or hide what no layer
//! has.

use std::os::fd::OwnedFd;

use common::error::{Error, Result, printable};
use common::notice;
use rustix::io::Errno;

use super::failure::trouble;

/// A file's extended attributes, each name once.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Room that is enough for nearly all.
const ROOM: usize = 256;

/// The kernel's own limit for a list of names, and for a value.
const MOST: usize = 64 << 10;

/// Those of an open file.
pub(super) fn of_open(fd: &OwnedFd) -> Result<Xattrs> {
    read(
        |list| rustix::fs::flistxattr(fd, list),
        |name, value| rustix::fs::fgetxattr(fd, name, value),
    )
}

/// Those of what cannot be opened, by a path through procfs whose last component is not followed.
pub(super) fn of_path(path: &[u8]) -> Result<Xattrs> {
    let outcome = read(
        |list| rustix::fs::llistxattr(path, list),
        |name, value| rustix::fs::lgetxattr(path, name, value),
    );
    match outcome {
        Err(_) if std::fs::symlink_metadata("/proc/self/fd").is_err() => {
            notice::warn("no procfs", || {
                "/proc is not there: extended attributes of links and devices are left out".into()
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
            larger.resize(MOST, 0);
            let length = list(&mut larger).map_err(trouble)?;
            &larger[..length]
        }
        Err(cause) => return Err(trouble(cause)),
    };
    let mut xattrs = Xattrs::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && is_packed(name)) {
        let mut value = vec![0; ROOM];
        let length = match get(name, &mut value) {
            Err(Errno::RANGE) => {
                value.resize(MOST, 0);
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
                xattrs.push((name.to_owned(), value));
            }
            // Removed meanwhile, or not for this user to see.
            Err(Errno::NODATA) => {}
            Err(cause) => {
                return Err(
                    trouble(cause).context(format_args!("extended attribute {}", shown(name)))
                );
            }
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

fn is_packed(name: &[u8]) -> bool {
    let is_overlays = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    if is_overlays {
        notice::warn("overlay's attribute", || {
            format!("{}: an overlay file system's own attribute, left out", shown(name))
        });
    }
    let is_hosts = matches!(
        name,
        b"security.selinux" | b"security.ima" | b"security.evm" | b"system.nfs4_acl"
    );
    !is_overlays && !is_hosts
}

fn shown(name: &[u8]) -> String {
    printable(&String::from_utf8_lossy(name))
}
