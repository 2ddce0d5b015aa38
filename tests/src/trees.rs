// SPDX-License-Identifier: Apache-2.0
//! Directory trees as lists of lines: two trees with equal lists are the same.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::images::sha256;

/// The tree's root and everything in it, sorted, one line each: name, type, mode, owner, time in
/// whole seconds, device numbers, link target, content, the name that it is a hard link of,
/// extended attributes.
pub fn snapshot(root: &Path) -> Vec<String> {
    lines_of(root, false)
}

/// Like [`snapshot`], with the nanoseconds of the times.
pub fn exactly(root: &Path) -> Vec<String> {
    lines_of(root, true)
}

fn lines_of(root: &Path, nanoseconds: bool) -> Vec<String> {
    let mut names = vec![root.to_owned()];
    let mut next = 0;
    while let Some(path) = names.get(next).cloned() {
        next += 1;
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            names.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    names.sort();
    let mut firsts: HashMap<u64, String> = HashMap::new();
    let lines = names.iter().map(|path| {
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii();
        line(path, &name.to_string(), nanoseconds, &mut firsts)
    });
    lines.collect()
}

fn line(path: &Path, name: &str, nanoseconds: bool, firsts: &mut HashMap<u64, String>) -> String {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = metadata.file_type();
    let kind_name = if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "link"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_char_device() {
        "character device"
    } else if kind.is_block_device() {
        "block device"
    } else if kind.is_socket() {
        "socket"
    } else {
        "file"
    };
    let (uid, gid) = (metadata.uid(), metadata.gid());
    let mut line = format!("{name} {kind_name} {uid}:{gid} @{}", metadata.mtime());
    if nanoseconds {
        write!(line, ".{:09}", metadata.mtime_nsec()).unwrap();
    }
    for (attribute, value) in xattrs(path) {
        write!(line, " {attribute}={}", value.escape_ascii()).unwrap();
    }
    if kind.is_symlink() {
        let target = fs::read_link(path).unwrap();
        write!(line, " -> {}", target.as_os_str().as_bytes().escape_ascii()).unwrap();
    } else {
        write!(line, " {:04o}", metadata.mode() & 0o7777).unwrap();
    }
    if kind.is_char_device() || kind.is_block_device() {
        write!(line, " {}", metadata.rdev()).unwrap();
    }
    if kind.is_file() {
        let digest = sha256(&fs::read(path).unwrap());
        write!(line, " {} bytes {digest}", metadata.len()).unwrap();
    }
    if !kind.is_dir() {
        let first = firsts.entry(metadata.ino()).or_insert_with(|| name.to_owned());
        if first != name {
            write!(line, " is {first}").unwrap();
        }
    }
    line
}

/// The extended attributes, sorted. Symbolic links are not followed.
pub fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else { return Vec::new() };
    let mut xattrs: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let name = OsStr::from_bytes(name);
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_string_lossy().into_owned(), value)
        })
        .collect();
    xattrs.sort();
    xattrs
}

/// Sets an extended attribute.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

/// Sets the time of everything in a tree, and of its root.
pub fn set_times(root: &Path, seconds: i64) {
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            set_times(&entry.path(), seconds);
        } else {
            set_time(&entry.path(), seconds);
        }
    }
    set_time(root, seconds);
}

/// Sets the time of a file; symbolic links are not followed.
pub fn set_time(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
}

/// Makes a file by mknod: a FIFO or a device.
pub fn make_node(path: &Path, kind: rustix::fs::FileType, device: (u32, u32)) {
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let device = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device).unwrap();
}
