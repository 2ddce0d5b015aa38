// SPDX-License-Identifier: Apache-2.0
//! The marks by which an overlay file system knows what a layer hides: whiteouts, which are
//! devices, and opaque directories, which have an attribute.

use common::error::{Error, Result};
use rustix::fs::{FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;

use super::directory::{self, Directory};
use super::rules::Whiteouts;

/// How directories are marked as opaque.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpaqueMark {
    /// The attribute; `None` where no marks are wanted.
    attribute: Option<&'static str>,
}

impl OpaqueMark {
    /// The mark that the rules ask for: an ordinary user has an attribute of his own.
    pub(super) fn new(whiteouts: Whiteouts, privileged: bool) -> OpaqueMark {
        let attribute = match (whiteouts, privileged) {
            (Whiteouts::Overlay, true) => Some("trusted.overlay.opaque"),
            (Whiteouts::Overlay, false) => Some("user.overlay.opaque"),
            _ => None,
        };
        OpaqueMark { attribute }
    }

    /// The attribute's name; `None` where no marks are wanted.
    pub(super) fn attribute(self) -> Option<&'static str> {
        self.attribute
    }

    /// Looks whether a directory that was just opened in `parent` is opaque, or in an opaque one.
    pub(super) fn read(self, directory: &mut Directory, parent: &Directory) {
        let Some(attribute) = self.attribute else { return };
        let mut value = [0u8; 8];
        let read = rustix::fs::fgetxattr(&directory.fd, attribute, &mut value[..]);
        directory.opaque = parent.opaque || (read == Ok(1) && value[0] == b'y');
    }

    /// Marks a directory as hiding everything below it, if marks are wanted.
    ///
    /// # Errors
    /// Local trouble.
    pub(super) fn set(self, directory: &mut Directory) -> Result<()> {
        let Some(name) = self.attribute else { return Ok(()) };
        rustix::fs::fsetxattr(&directory.fd, name, b"y", XattrFlags::empty()).map_err(|e| {
            Error::local(format_args!("mark a directory as opaque ({name})"), &e.into())
        })?;
        directory.opaque = true;
        Ok(())
    }
}

/// Whether this is a whiteout of an overlay file system.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a whiteout, where nothing has that name.
pub(super) fn make_whiteout(here: &Directory, name: &[u8]) -> rustix::io::Result<()> {
    match directory::stat(here, name) {
        Ok(_) => Err(Errno::EXIST),
        Err(_) => rustix::fs::mknodat(&here.fd, name, FileType::CharacterDevice, Mode::empty(), 0),
    }
}
