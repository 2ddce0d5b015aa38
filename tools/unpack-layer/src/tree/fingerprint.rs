// SPDX-License-Identifier: Apache-2.0
//! The fingerprint of a tree: shows whether any file in it was changed, added, removed, moved or
//! replaced since an earlier fingerprint was taken.
//!
//! It is made of names, inode numbers and change times (ctime). The kernel sets a change time with
//! every change of a file's content or attributes, and no program can set it. No content is read.
//! The top directory itself is not included, so renaming it does not change the fingerprint.

use std::os::fd::{AsFd, OwnedFd};

use common::digest::Algorithm;
use rustix::fs::{AtFlags, Dir, FileType, Stat};

use super::mounts::open_unmounted;

/// The maximum number of levels of directories below the top. Each level needs an open directory.
const MAX_LEVEL: usize = 128;

/// Takes the fingerprint of the tree in a directory. `None` if it cannot be taken: a directory
/// cannot be opened or is a mount point, or directories are nested deeper than [`MAX_LEVEL`].
pub(crate) fn fingerprint(top: impl AsFd) -> Option<String> {
    let inode = rustix::fs::fstat(&top).ok()?.st_ino;
    let mut sum = Sum::default();
    sum.add_content(top, inode, 0)?;
    Some(format!("{}:{:032x}", sum.files, sum.hashes))
}

/// The inode number and the change time of a file, which identify one state of it.
pub(crate) fn state(stat: &Stat) -> String {
    format!("{} {}.{:09}", stat.st_ino, stat.st_ctime, stat.st_ctime_nsec)
}

/// The number of files, and the sum of the hashes of their states. The order of the files does not
/// matter, because a file system may return them in any order.
#[derive(Default)]
struct Sum {
    files: u64,
    hashes: u128,
}

impl Sum {
    fn add_content(&mut self, directory: impl AsFd, inode: u64, level: usize) -> Option<()> {
        for entry in Dir::read_from(&directory).ok()? {
            let entry = entry.ok()?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            self.add(inode, name, &stat)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                if level == MAX_LEVEL {
                    return None;
                }
                let below: OwnedFd = open_unmounted(&directory, name).ok()?;
                self.add_content(below, stat.st_ino, level + 1)?;
            }
        }
        Some(())
    }

    fn add(&mut self, directory: u64, name: &[u8], stat: &Stat) -> Option<()> {
        let mut file = format!("{directory} {} ", state(stat)).into_bytes();
        file.extend_from_slice(name);
        let digest = Algorithm::Sha256.digest(&file);
        let start = u128::from_str_radix(digest.hex().get(..32)?, 16).ok()?;
        self.hashes = self.hashes.wrapping_add(start);
        self.files += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::path::PathBuf;

    #[test]
    fn the_tree_may_be_nested_up_to_the_limit() {
        let dir = std::env::temp_dir().join(format!("regutils-fingerprint-{}", std::process::id()));
        let nested = |levels| dir.join("d/".repeat(levels)).components().collect::<PathBuf>();
        fs::create_dir_all(nested(MAX_LEVEL)).unwrap();
        let of_tree = || fingerprint(File::open(&dir).unwrap());
        let first = of_tree().unwrap();
        assert_eq!(of_tree(), Some(first.clone()));
        assert_eq!(first.split(':').next(), Some("128"));
        fs::write(nested(MAX_LEVEL).join("file"), "").unwrap();
        assert_ne!(of_tree(), Some(first));
        fs::create_dir(nested(MAX_LEVEL + 1)).unwrap();
        assert_eq!(of_tree(), None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
