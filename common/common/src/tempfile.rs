// SPDX-License-Identifier: Apache-2.0
//! A file that grows without a name and gets it when it is whole.
//!
//! Where the file system can do that, so that whatever stops a run leaves nothing behind; elsewhere
//! under a hidden name. For what comes once and in order: what a later run may take up must have a
//! name from the start.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};

/// A file that grows, and is gone when it is dropped before it was published.
pub struct TempFile {
    /// To be written to.
    pub file: File,
    /// The hidden name, free or in use.
    hidden: PathBuf,
    is_named: bool,
}

impl TempFile {
    /// In a directory; `name` is for people who find it there.
    ///
    /// # Errors
    /// The system's.
    pub fn new(dir: &Path, name: &OsStr) -> io::Result<TempFile> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        // Process IDs tell nothing apart where several machines or containers share a directory.
        let random = std::hash::RandomState::new().build_hasher().finish();
        hidden.push(format!(".{random:016x}.part"));
        let hidden = dir.join(hidden);
        if let Some(file) = nameless(dir) {
            return Ok(TempFile { file, hidden, is_named: false });
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&hidden)?;
        Ok(TempFile { file, hidden, is_named: true })
    }

    /// Gives it its name, of the same file system, in the place of what has it.
    ///
    /// # Errors
    /// The system's; the name has then what it had before.
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

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.is_named {
            let _ = std::fs::remove_file(&self.hidden);
        }
    }
}

/// A file without a name, that can be given one; nothing where that does not work.
fn nameless(dir: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).mode(0o666).open(dir).ok()?;
    // Its name is given through procfs.
    std::fs::symlink_metadata(by_descriptor(&file)).is_ok().then_some(file)
}

fn by_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where files without names do not work, they have a hidden one until the end.
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
