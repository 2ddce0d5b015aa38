// SPDX-License-Identifier: Apache-2.0
//! Where a result goes: stdout, a file that appears only when it is whole, or something that is
//! written as stdout is.
//!
//! A regular file is written under another name beside it and renamed; a symlink is followed first,
//! so that the file it names is replaced and not the link. A device or a fifo has no "whole": it is
//! written in place, as it comes.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Status};
use crate::stdio;
use crate::tempfile::TempFile;

/// An operand that names an output.
pub enum Output {
    /// Written as it comes: stdout, a device, a fifo.
    Stream(File),
    /// A regular file, there or not yet: replaced when its new content is whole.
    File(FilePlace),
}

/// A regular file to be, by its directory and its name.
#[derive(Clone, Debug)]
pub struct FilePlace {
    /// The final name, symlinks followed.
    pub path: PathBuf,
}

impl FilePlace {
    /// A hidden name beside the file: `.FILE.SUFFIX`.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".");
        name.push(suffix);
        self.path.with_file_name(name)
    }

    /// Puts `bytes` there: written beside it, synced, renamed.
    ///
    /// # Errors
    /// Local trouble; the name then has what it had before.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        write_whole(&self.path, dir.unwrap_or(Path::new(".")), bytes)
    }
}

impl Output {
    /// The output that an operand names: `-` is stdout.
    ///
    /// # Errors
    /// Local trouble: stdout is closed, the name is a directory or lies in none.
    pub fn open(operand: &Path) -> Result<Output> {
        if operand.as_os_str() == "-" {
            return stdio::stdout().map(Output::Stream);
        }
        let trouble = |cause: std::io::Error| Error::local(operand.display(), &cause);
        // What is there and no file, whatever its name looks like: /dev/stdout may lead to a pipe
        // that has none.
        if std::fs::metadata(operand).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            let file = OpenOptions::new().write(true).open(operand).map_err(trouble)?;
            return Ok(Output::Stream(file));
        }
        let path = follow(operand).map_err(trouble)?;
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Err(Error::new(
                Status::Local,
                format_args!("{}: is a directory", operand.display()),
            )),
            Ok(metadata) if metadata.is_file() => Ok(Output::File(FilePlace { path })),
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(&path).map_err(trouble)?;
                Ok(Output::Stream(file))
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let directory = std::fs::metadata(parent.unwrap_or(Path::new(".")));
                let named = path.file_name().is_some()
                    && !operand.as_os_str().as_encoded_bytes().ends_with(b"/");
                match directory.map_err(trouble)?.is_dir() && named {
                    true => Ok(Output::File(FilePlace { path })),
                    false => Err(trouble(ErrorKind::NotADirectory.into())),
                }
            }
            Err(cause) => Err(trouble(cause)),
        }
    }

    /// Writes a whole result that is in memory and verified.
    ///
    /// # Errors
    /// Local trouble.
    pub fn write(self, bytes: &[u8]) -> Result<()> {
        match self {
            Output::Stream(mut file) => {
                file.write_all(bytes).map_err(|cause| Error::local("write the output", &cause))
            }
            Output::File(place) => place.write(bytes),
        }
    }
}

/// The most symlinks that are followed, as the kernel's limit has it.
const MAX_LINKS: usize = 40;

/// Follows a chain of symlinks whose end need not exist.
fn follow(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = std::fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            Ok(_) => return Ok(path),
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(path),
            Err(cause) => return Err(cause),
        }
    }
    Err(std::io::Error::from(rustix::io::Errno::LOOP))
}

/// Writes `bytes` under `path` by way of a new file in `dir`, of the same file system: the name has
/// the old content or the new, never a part. The new content is on the disk before it has the name.
///
/// # Errors
/// Local trouble; nothing is left of the new file.
pub fn write_whole(path: &Path, dir: &Path, bytes: &[u8]) -> Result<()> {
    let written = (|| {
        let mut growing = TempFile::new(dir, path.file_name().unwrap_or_default())?;
        growing.file.write_all(bytes)?;
        growing.file.sync_data()?;
        growing.publish(path)
    })();
    written.map_err(|cause| Error::local(format_args!("write {}", path.display()), &cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hidden_name_is_beside_the_file() {
        let place = FilePlace { path: PathBuf::from("a/b.tar") };
        assert_eq!(place.beside("x.part"), PathBuf::from("a/.b.tar.x.part"));
    }

    #[test]
    fn a_chain_of_links_is_followed_to_its_end_and_a_loop_is_refused() {
        let dir = std::env::temp_dir().join(format!("regutils-output-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (link, target) in [("a", "b"), ("b", "missing"), ("c", "d"), ("d", "c")] {
            std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
        }
        assert_eq!(follow(&dir.join("a")).unwrap(), dir.join("missing"));
        assert!(follow(&dir.join("c")).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
