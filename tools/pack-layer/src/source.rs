// SPDX-License-Identifier: Apache-2.0
//! The operand PATH: a directory, or a tar archive that is packed unchanged.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use archive::Check;
use common::error::{Error, Result};
use common::lines::{NO_INPUT, looks_like_descriptor};
use common::stdio;
use compress::Compressor;

use crate::destination;

/// The name of standard input in messages.
const STDIN: &str = "standard input";

/// The size of the input buffer. Its first bytes are checked before anything is written.
const BUFFER: usize = 64 << 10;

/// The source of a layer.
pub(crate) enum Source {
    /// A directory tree.
    Directory(PathBuf),
    /// A tar archive.
    Archive(Tarball),
}

/// An archive that is packed unchanged.
pub(crate) struct Tarball {
    name: String,
    input: Box<dyn BufRead>,
}

impl Source {
    /// Opens PATH; `-` is standard input. Waits for the first bytes of an archive.
    ///
    /// # Errors
    /// Absent if PATH does not exist. Malformed if the archive is empty or compressed. Usage if the
    /// input is a descriptor line or a terminal. Local if PATH cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Source> {
        if path.as_os_str() == "-" {
            if std::io::stdin().is_terminal() {
                let error = Error::usage(format_args!("{STDIN}: a terminal, not an archive"));
                return Err(
                    error.hint("give a directory, or pipe an archive: tar -c DIR | pack-layer -")
                );
            }
            let input = Box::new(BufReader::with_capacity(BUFFER, stdio::stdin()?));
            return Tarball::open(STDIN.to_owned(), input).map(Source::Archive);
        }
        if is_directory(path)? {
            return Ok(Source::Directory(path.to_owned()));
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|cause| unreadable(&name, &cause))?;
        let input = Box::new(BufReader::with_capacity(BUFFER, file));
        Tarball::open(name, input).map(Source::Archive)
    }
}

impl Tarball {
    fn open(name: String, mut input: Box<dyn BufRead>) -> Result<Tarball> {
        let start = input.fill_buf().map_err(|cause| unreadable(&name, &cause))?;
        let filter = match start {
            [] => return Err(Error::malformed(format_args!("{name}: {NO_INPUT}"))),
            _ if looks_like_descriptor(start) => {
                let what = format_args!("{name}: got a descriptor line, want an archive");
                return Err(Error::usage(what).hint("fetch-blob fetches the blob of a line"));
            }
            [0x1f, 0x8b, ..] => Some(("gzip", "gzip -dc")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("zstd", "zstd -dc")),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(("bzip2", "bzip2 -dc")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Some(("xz", "xz -dc")),
            _ => None,
        };
        match filter {
            Some((format, command)) => {
                let what = format_args!(
                    "{name}: got an archive compressed by {format}, want an uncompressed archive"
                );
                let hint =
                    format_args!("{command} ARCHIVE | pack-layer - packs the uncompressed archive");
                Err(Error::malformed(what).hint(hint))
            }
            None => Ok(Tarball { name, input }),
        }
    }

    /// Copies the archive into the compressor, unchanged.
    ///
    /// # Errors
    /// Malformed if the input is not one complete archive. Local if it cannot be read or the layer
    /// cannot be written.
    pub(crate) fn pass<W: Write + Send + 'static>(
        &mut self,
        output: &mut Compressor<W>,
    ) -> Result<()> {
        let mut check = Check::new();
        let with_name = |error: Error| error.context(&self.name);
        loop {
            let room = output.spare().map_err(|cause| destination::write_error(&cause))?;
            match self.input.read(room) {
                Ok(0) => return check.finish().map_err(with_name),
                Ok(count) => {
                    check.update(&room[..count]).map_err(with_name)?;
                    output.advance(count);
                }
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(unreadable(&self.name, &cause)),
            }
        }
    }
}

/// Checks that a path is a directory.
///
/// # Errors
/// Absent if the path does not exist. Usage if it is not a directory. Local if it cannot be read.
pub(crate) fn directory(path: &Path) -> Result<()> {
    if is_directory(path)? {
        Ok(())
    } else {
        Err(Error::usage(format_args!("{}: not a directory", path.display())))
    }
}

fn is_directory(path: &Path) -> Result<bool> {
    let name = path.display();
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            Err(Error::absent(format_args!("{name}: no such file or directory")))
        }
        Err(cause) => Err(Error::local(name, &cause)),
    }
}

fn unreadable(name: &str, cause: &std::io::Error) -> Error {
    Error::local(format_args!("read {name}"), cause)
}
