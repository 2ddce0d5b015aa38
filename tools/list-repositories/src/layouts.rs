// SPDX-License-Identifier: Apache-2.0
//! The layouts in a directory and below it: the directories that have a file `oci-layout`.
//!
//! Symbolic links are not followed, except for the operand itself. Directories inside a layout are
//! not searched. The layouts are not opened, so a list does not wait for their locks.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::error::{Error, Result, needs_escape, printable};
use common::notice;
use rustix::fs::{AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// The maximum depth of a directory below the operand.
const MAX_DEPTH: usize = 32;

/// The maximum number of directories in one directory.
const MAX_DIRECTORIES: usize = 100_000;

/// A function that takes a layout's directory, and returns whether to continue.
type Each<'a> = &'a mut dyn FnMut(&Path) -> Result<bool>;

/// Passes the directory of each layout to `each`, sorted by the components of its path. `each`
/// returns whether to continue. A directory that disappears during the search is skipped.
///
/// # Errors
/// Absent if the directory does not exist. Local if it or a directory below cannot be read.
/// Malformed if a directory has more than [`MAX_DIRECTORIES`] directories. Otherwise the error of
/// `each`.
pub(crate) fn below(dir: &Path, mut each: impl FnMut(&Path) -> Result<bool>) -> Result<()> {
    let opened =
        openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|cause| match cause {
        Errno::NOENT => Error::absent(format_args!("oci:{}: no such directory", dir.display())),
        cause => local(dir, cause),
    })?;
    search(&opened, dir, 0, &mut each).map(|_| ())
}

/// The reference of a layout. `None`, with a warning, if no reference can name this directory, or
/// if the reference would not be a printable line.
pub(crate) fn reference(layout: &Path) -> Option<String> {
    let name = layout.to_str().filter(|name| !name.contains([':', '@']));
    let name = name.filter(|name| !name.chars().any(needs_escape));
    if name.is_none() {
        notice::warn("name", || {
            let shown = printable(&layout.to_string_lossy());
            format!("dropped the layout \"{shown}\": a reference cannot contain this name")
        });
    }
    name.map(|name| format!("oci:{name}"))
}

/// Searches one directory. Returns whether to continue.
fn search(dir: &OwnedFd, path: &Path, depth: usize, each: Each<'_>) -> Result<bool> {
    let marker = statat(dir, "oci-layout", AtFlags::SYMLINK_NOFOLLOW);
    if marker.is_ok_and(|marker| FileType::from_raw_mode(marker.st_mode) == FileType::RegularFile) {
        return each(path);
    }
    let children = directories(dir, path, MAX_DIRECTORIES)?;
    if depth == MAX_DEPTH && !children.is_empty() {
        notice::warn("depth", || {
            let shown = printable(&path.to_string_lossy());
            format!("{shown}: directories deeper than {MAX_DEPTH} levels are not searched")
        });
        return Ok(true);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for name in children {
        let path = path.join(&name);
        let child = match openat(dir, &name, flags, Mode::empty()) {
            Ok(child) => child,
            // The directory was removed or replaced after its name was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(cause) => return Err(local(&path, cause)),
        };
        if !search(&child, &path, depth + 1, each)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The names of the directories in a directory, sorted.
fn directories(dir: &OwnedFd, path: &Path, limit: usize) -> Result<Vec<OsString>> {
    let failed = |cause| local(path, cause);
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || !is_directory(dir, &entry) {
            continue;
        }
        if names.len() == limit {
            let shown = printable(&path.to_string_lossy());
            return Err(Error::malformed(format_args!("{shown}: more than {limit} directories")));
        }
        names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
    }
    names.sort();
    Ok(names)
}

/// Whether an entry is a directory. Some file systems do not state the type in the list of names.
fn is_directory(dir: &OwnedFd, entry: &DirEntry) -> bool {
    match entry.file_type() {
        FileType::Unknown => {
            let found = statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
        }
        kind => kind == FileType::Directory,
    }
}

fn local(path: &Path, cause: Errno) -> Error {
    let shown = printable(&path.to_string_lossy());
    Error::local(format_args!("read {shown}"), &cause.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_are_bounded_at_the_limit() {
        let top = std::env::temp_dir().join(format!("list-repositories-{}", std::process::id()));
        for name in ["b", "a"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        let dir = openat(CWD, &top, OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert_eq!(directories(&dir, &top, 2).unwrap(), ["a", "b"]);
        assert!(directories(&dir, &top, 1).unwrap_err().to_string().contains("more than 1"));
        std::fs::remove_dir_all(top).unwrap();
    }
}
