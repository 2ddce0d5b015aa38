// SPDX-License-Identifier: Apache-2.0
//! The marks with which an overlay file system hides files of lower layers: whiteouts, which are
//! character devices 0:0, and opaque directories, which have an extended attribute.

use common::error::{Error, Result};
use rustix::fs::{FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;

use super::directory::{self, Directory};
use super::rules::Whiteouts;

/// The mark of opaque directories.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpaqueMark {
    /// The attribute's name; `None` without `--whiteouts overlay`.
    attribute: Option<&'static str>,
}

impl OpaqueMark {
    /// The mark for the given rules. Only root may set `trusted` attributes; other users set a
    /// `user` attribute.
    pub(super) fn new(whiteouts: Whiteouts, privileged: bool) -> OpaqueMark {
        let name = if privileged { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        OpaqueMark { attribute: (whiteouts == Whiteouts::Overlay).then_some(name) }
    }

    /// The attribute's name; `None` without `--whiteouts overlay`.
    pub(super) fn attribute(self) -> Option<&'static str> {
        self.attribute
    }

    /// Sets `directory.opaque` of a directory that was just opened in `parent`: true if it has the
    /// mark, or if `parent` is opaque.
    pub(super) fn read(self, directory: &mut Directory, parent: &Directory) {
        let Some(attribute) = self.attribute else { return };
        let mut value = [0u8; 8];
        let read = rustix::fs::fgetxattr(&directory.fd, attribute, &mut value[..]);
        directory.opaque = parent.opaque || (read == Ok(1) && value[0] == b'y');
    }

    /// Marks a directory as opaque, with `--whiteouts overlay`.
    ///
    /// # Errors
    /// Local if the attribute cannot be set.
    pub(super) fn set(self, directory: &mut Directory) -> Result<()> {
        let Some(name) = self.attribute else { return Ok(()) };
        rustix::fs::fsetxattr(&directory.fd, name, b"y", XattrFlags::empty()).map_err(|e| {
            Error::local(format_args!("mark a directory as opaque ({name})"), &e.into())
        })?;
        directory.opaque = true;
        Ok(())
    }
}

/// Whether a file is a whiteout of an overlay file system.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a whiteout of an overlay file system. Fails with `EEXIST` if the name exists.
pub(super) fn make_whiteout(here: &Directory, name: &[u8]) -> rustix::io::Result<()> {
    match directory::stat(here, name) {
        Ok(_) => Err(Errno::EXIST),
        Err(_) => rustix::fs::mknodat(&here.fd, name, FileType::CharacterDevice, Mode::empty(), 0),
    }
}
