// SPDX-License-Identifier: Apache-2.0
//! A work file: a file with a fixed name that a later run of this user continues.
//!
//! In a shared directory, other users can guess the name and use it first. They can create a link
//! to another file, a fifo, or a regular file that they own and that would become the result. A
//! work file is therefore used only if it is a regular file that this user owns and that has no
//! other hard link. Any other file with the name is removed, and a new work file is created.
//!
//! Not here: locks. A [`TempFile`](crate::tempfile::TempFile) is for content that no later run
//! continues.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The maximum number of attempts to open the file: other processes may create and remove it
/// meanwhile.
const MAX_ATTEMPTS: usize = 16;

/// Opens a work file for reading and writing, and creates it with `mode` if it is missing. Another
/// run may rename or remove it meanwhile, so the caller must lock it and then check [`is_still`].
///
/// # Errors
/// The error of the system, if the file cannot be opened or created, or if another file has the
/// name and cannot be removed. A directory is removed only if it is empty.
pub fn open(path: &Path, mode: u32) -> io::Result<File> {
    for _ in 0..MAX_ATTEMPTS {
        // NONBLOCK: opening a fifo or a device must not wait.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
            Ok(file) => {
                let opened = file.metadata()?;
                if is_ours(&opened) {
                    return Ok(file);
                }
                // Another run may have removed the opened file meanwhile, and a new file may have
                // its name.
                if is_same(&std::fs::symlink_metadata(path), &opened) {
                    remove(path)?;
                }
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                let mut create = OpenOptions::new();
                create.read(true).write(true).create_new(true).mode(mode);
                match create.open(path) {
                    Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                    created => return created,
                }
            }
            Err(cause) if is_in_the_way(&cause) => remove(path)?,
            Err(cause) => return Err(cause),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Whether `path` still names the opened file.
///
/// # Errors
/// The error of the system, if the file or the path cannot be examined.
pub fn is_still(path: &Path, file: &File) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
        named => Ok(is_same(&named, &opened)),
    }
}

fn is_same(named: &io::Result<Metadata>, opened: &Metadata) -> bool {
    let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    named.as_ref().is_ok_and(|named| identity(named) == identity(opened))
}

/// Whether a file may be a work file of this user: a regular file that this user owns and that has
/// no other hard link.
pub fn is_ours(metadata: &Metadata) -> bool {
    let user = rustix::process::geteuid().as_raw();
    // If the number of links is 0, the file was removed meanwhile: `is_still` detects that.
    metadata.is_file() && metadata.uid() == user && metadata.nlink() <= 1
}

/// Whether the file could not be opened because it is of the wrong kind (a symlink, a directory, a
/// socket), or because this user may not write it.
fn is_in_the_way(cause: &io::Error) -> bool {
    const IN_THE_WAY: [Errno; 5] =
        [Errno::LOOP, Errno::ISDIR, Errno::NXIO, Errno::ACCESS, Errno::PERM];
    Errno::from_io_error(cause).is_some_and(|errno| IN_THE_WAY.contains(&errno))
}

fn remove(path: &Path) -> io::Result<()> {
    let is_directory = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_plain_file_with_one_link_is_continued() {
        let dir = std::env::temp_dir().join(format!("regutils-workfile-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (work, other) = (dir.join("work"), dir.join("other"));
        let content = || std::fs::read_to_string(&work).unwrap();
        open(&work, 0o600).unwrap().write_all(b"begun").unwrap();
        open(&work, 0o600).unwrap();
        assert_eq!(content(), "begun");
        std::fs::write(&other, "precious").unwrap();
        let in_the_way: [fn(&Path, &Path); 4] = [
            |other, work| std::fs::hard_link(other, work).unwrap(),
            |other, work| symlink(other, work).unwrap(),
            |_, work| symlink("missing", work).unwrap(),
            |_, work| std::fs::create_dir(work).unwrap(),
        ];
        for put in in_the_way {
            std::fs::remove_file(&work).unwrap();
            put(&other, &work);
            open(&work, 0o600).unwrap().write_all(b"new").unwrap();
            assert_eq!(content(), "new");
            assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious");
        }
        std::fs::remove_file(&work).unwrap();
        std::fs::create_dir_all(work.join("full")).unwrap();
        assert!(open(&work, 0o600).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
