// SPDX-License-Identifier: Apache-2.0
//! The destination of a result: stdout, a regular file, or another file such as a device or a fifo.
//!
//! A regular file is written through a temporary file in the same directory, which is then renamed.
//! The file therefore appears only when it is complete. A symlink is followed first: the file that
//! it names is replaced, and the link is kept. A device or a fifo is written directly, as stdout
//! is.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::descriptor::Descriptor;
use crate::error::{Error, Result, Status};
use crate::line_output::LineForm;
use crate::stdio;
use crate::tempfile::{TempFile, start_of};

/// An output, opened from an operand.
pub enum Output {
    /// stdout, a device or a fifo: written directly.
    Stream(Stream),
    /// A regular file that may not exist yet: it is replaced when its new content is complete.
    File(FilePlace),
}

/// An output that is written directly.
pub struct Stream {
    /// The open file.
    pub file: File,
    /// Its name in messages.
    pub name: String,
}

impl Stream {
    /// The error for a failed write to it.
    pub fn write_error(&self, cause: &std::io::Error) -> Error {
        Error::local(format_args!("write {}", self.name), cause)
    }
}

/// The path of a regular file to write.
#[derive(Clone, Debug)]
pub struct FilePlace {
    /// The final name, after following symlinks.
    pub path: PathBuf,
}

impl FilePlace {
    /// A hidden name in the same directory: `.FILE.SUFFIX`. A long FILE is cut, so that the name is
    /// not too long.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(start_of(self.path.file_name().unwrap_or_default()));
        name.push(".");
        name.push(suffix);
        self.path.with_file_name(name)
    }

    /// Writes `bytes` through a temporary file in the same directory, which is synced and renamed.
    ///
    /// # Errors
    /// Local if writing, syncing or renaming fails. The file then keeps its old content.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        write_whole(&self.path, dir.unwrap_or(Path::new(".")), bytes)
    }
}

impl Output {
    /// Opens the output that an operand names. `-` means stdout.
    ///
    /// # Errors
    /// Local if stdout is closed, if the path is a directory, if its parent is missing or not a
    /// directory, or if the path cannot be opened.
    pub fn open(operand: &Path) -> Result<Output> {
        if operand.as_os_str() == "-" {
            let name = "standard output".to_owned();
            return stdio::stdout().map(|file| Output::Stream(Stream { file, name }));
        }
        let local_error = |cause: std::io::Error| Error::local(operand.display(), &cause);
        let stream = |path: &Path| {
            let file = OpenOptions::new().write(true).open(path).map_err(local_error)?;
            Ok(Output::Stream(Stream { file, name: operand.display().to_string() }))
        };
        // Open an existing device or fifo by the operand itself and do not follow links by name:
        // /dev/stdout may link to a pipe, which has no path.
        if std::fs::metadata(operand).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            return stream(operand);
        }
        let path = follow(operand).map_err(local_error)?;
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Err(Error::new(
                Status::Local,
                format_args!("{}: is a directory", operand.display()),
            )),
            Ok(metadata) if metadata.is_file() => Ok(Output::File(FilePlace { path })),
            Ok(_) => stream(&path),
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let directory = std::fs::metadata(parent.unwrap_or(Path::new(".")));
                let named = path.file_name().is_some()
                    && !operand.as_os_str().as_encoded_bytes().ends_with(b"/");
                if directory.map_err(local_error)?.is_dir() && named {
                    Ok(Output::File(FilePlace { path }))
                } else {
                    Err(local_error(ErrorKind::NotADirectory.into()))
                }
            }
            Err(cause) => Err(local_error(cause)),
        }
    }

    /// Writes a descriptor line, in the form for this output.
    ///
    /// # Errors
    /// Local if the output cannot be written.
    pub fn write_line(self, descriptor: &Descriptor) -> Result<()> {
        let line = match &self {
            Output::Stream(stream) => LineForm::of(&stream.file).line(descriptor),
            Output::File(_) => descriptor.line() + "\n",
        };
        self.write(line.as_bytes())
    }

    /// Writes a complete, verified result from memory.
    ///
    /// # Errors
    /// Local if the output cannot be written.
    pub fn write(self, bytes: &[u8]) -> Result<()> {
        match self {
            Output::Stream(mut stream) => {
                stream.file.write_all(bytes).map_err(|cause| stream.write_error(&cause))
            }
            Output::File(place) => place.write(bytes),
        }
    }
}

/// The maximum number of symlinks that are followed: the kernel's limit.
const MAX_LINKS: usize = 40;

/// Follows a chain of symlinks. The last target need not exist.
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

/// Writes `bytes` to `path` through a temporary file in `dir`, which must be on the same file
/// system. At any moment `path` has the old content or the new content, never a part. The new
/// content is synced before the rename.
///
/// # Errors
/// Local if the file cannot be written. The temporary file is removed.
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
