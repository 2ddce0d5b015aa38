// SPDX-License-Identifier: Apache-2.0
//! A temporary file that gets its final name when it is complete.
//!
//! Where the file system allows it, the file has no name until then, so an interrupted run leaves
//! nothing behind. Elsewhere it has a hidden name. Use it only for content that is written in order
//! by one run: a file that a later run continues needs a name from the start.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};

/// A temporary file. Dropping it before [`publish`](TempFile::publish) removes it.
pub struct TempFile {
    /// The open file, for reading and writing.
    pub file: File,
    /// The hidden name; not in use while the file is unnamed.
    hidden: PathBuf,
    is_named: bool,
}

impl TempFile {
    /// Creates a temporary file in `dir`. A hidden name contains `name`, so that people can
    /// recognise a leftover file.
    ///
    /// # Errors
    /// The error of the system, if the file cannot be created.
    pub fn new(dir: &Path, name: &OsStr) -> io::Result<TempFile> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let mut hidden = OsString::from(".");
        hidden.push(start_of(name));
        // A process ID would not be unique where several machines or containers share a directory.
        let random = std::hash::RandomState::new().build_hasher().finish();
        hidden.push(format!(".{random:016x}.part"));
        let hidden = dir.join(hidden);
        if let Some(file) = nameless(dir) {
            return Ok(TempFile { file, hidden, is_named: false });
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&hidden)?;
        Ok(TempFile { file, hidden, is_named: true })
    }

    /// Gives the file its final name, replacing any existing file. `path` must be on the same file
    /// system.
    ///
    /// # Errors
    /// The error of the system. `path` then keeps its old content.
    pub fn publish(mut self, path: &Path) -> io::Result<()> {
        if !self.is_named {
            let nameless = by_descriptor(&self.file);
            rustix::fs::linkat(CWD, nameless, CWD, &self.hidden, AtFlags::SYMLINK_FOLLOW)?;
            self.is_named = true;
        }
        std::fs::rename(&self.hidden, path)?;
        self.is_named = false;
        Ok(())
    }
}

/// The maximum number of bytes that a longer name takes from a file's name. The longer name, with
/// its prefix and suffix, must have at most 255 bytes.
const MAX_NAME: usize = 200;

/// The start of a file's name, for a longer name in the same directory.
pub(crate) fn start_of(name: &OsStr) -> &OsStr {
    let bytes = name.as_bytes();
    OsStr::from_bytes(&bytes[..bytes.len().min(MAX_NAME)])
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.is_named {
            let _ = std::fs::remove_file(&self.hidden);
        }
    }
}

/// Opens an unnamed file that can be named later; `None` if that is not possible here.
fn nameless(dir: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(flags).mode(0o666).open(dir).ok()?;
    // Naming the file needs procfs.
    std::fs::symlink_metadata(by_descriptor(&file)).is_ok().then_some(file)
}

fn by_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hidden name is the fallback for file systems without unnamed files.
    #[test]
    fn a_hidden_name_is_renamed_or_removed() {
        let dir = std::env::temp_dir().join(format!("regutils-growing-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let named = || {
            let hidden = dir.join(".layer.0.part");
            let file = OpenOptions::new().write(true).create_new(true).open(&hidden).unwrap();
            TempFile { file, hidden, is_named: true }
        };
        drop(named());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        named().publish(&dir.join("layer")).unwrap();
        assert!(dir.join("layer").is_file());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
