// SPDX-License-Identifier: Apache-2.0
//! DIR: its checks before the run, the staging directory, and the final rename.
//!
//! A new tree is built in the staging directory `.NAME.unpacking` beside DIR. It is renamed to DIR
//! when it is complete, verified and synced, so DIR never contains an incomplete tree. A staging
//! directory is locked while in use. An unlocked one was left by a killed run and is removed.
//!
//! With `--replace`, the staging directory is the old tree after the exchange. If it cannot be
//! removed completely, for example because a file is immutable, it is renamed to `.NAME.old`, with
//! a warning. The run still succeeds, and the next run can create its staging directory.
//!
//! With `--replace` and descriptor lines, the file `.NAME.image` beside DIR describes the image of
//! the new tree ([`known_image`]). All other runs remove it.
//!
//! Only `--onto` changes DIR itself. The file `.NAME.dirty` beside DIR marks it while the changes
//! are incomplete.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use archive::shown as shown_path;
use common::error::{Error, Result, Status};
use common::{exit, notice};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::known_image::{self, Image, KnownImage};
use crate::tree::fingerprint::{fingerprint, state};
use crate::tree::mounts;
use crate::tree::remove::remove;

const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The kind of the warning that a directory beside DIR could not be removed.
pub(crate) const REMAINS: &str = "remains";

/// The maximum number of directories beside DIR that could not be removed.
const MAX_ASIDE: usize = 1000;

/// The treatment of a DIR that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Refuse it.
    Refuse,
    /// Replace it by the new tree.
    Replace,
    /// Apply the layers to it.
    Onto,
}

/// DIR. Its path is resolved once, into an open parent directory and the name in it.
pub(crate) struct Destination {
    /// The path that the user gave, for messages.
    shown: String,
    parent: OwnedFd,
    name: OsString,
    /// DIR itself, if it exists.
    present: Option<OwnedFd>,
    existing: Existing,
    sync: bool,
    working: Option<Working>,
}

/// Unfinished work, which must be published or discarded.
enum Working {
    /// A tree is being built in the staging directory.
    Staging(OwnedFd),
    /// DIR itself is being changed and is marked.
    Marked,
}

impl Destination {
    /// Checks DIR without changing anything.
    ///
    /// # Errors
    /// Local if DIR is not a directory, if it is not empty and neither `--replace` nor `--onto` is
    /// given, if it cannot be replaced, or if `--onto` is given and it is missing or dirty.
    pub(crate) fn new(dir: &Path, existing: Existing, sync: bool) -> Result<Destination> {
        let shown = dir.display().to_string();
        let local = |cause: std::io::Error| Error::local(&shown, &cause);
        let whole = match std::fs::canonicalize(dir) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                path_of_missing(dir, &shown)?
            }
            other => other.map_err(local)?,
        };
        let (Some(above), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(local_error(format!("{shown}: cannot be the root of the file system")));
        };
        let parent = rustix::fs::open(above, OPEN, Mode::empty()).map_err(|e| local(e.into()))?;
        let present = match rustix::fs::openat(&parent, name, OPEN, Mode::empty()) {
            Ok(fd) => Some(fd),
            Err(Errno::NOENT) => None,
            Err(Errno::NOTDIR) => return Err(local_error(format!("{shown}: not a directory"))),
            Err(cause) => return Err(local(cause.into())),
        };
        let name = name.to_owned();
        let destination =
            Destination { shown, parent, name, present, existing, sync, working: None };
        destination.check(&whole)?;
        Ok(destination)
    }

    fn check(&self, whole: &Path) -> Result<()> {
        let shown = &self.shown;
        let Some(present) = &self.present else {
            return match self.existing {
                Existing::Onto => Err(local_error(format!("{shown}: does not exist"))
                    .hint("without --onto, the directory is created")),
                _ => Ok(()),
            };
        };
        if self.existing == Existing::Onto {
            return match rustix::fs::statat(
                &self.parent,
                self.dirty_name(),
                AtFlags::SYMLINK_NOFOLLOW,
            ) {
                Err(Errno::NOENT) => Ok(()),
                Err(cause) => Err(Error::local(shown, &cause.into())),
                Ok(_) => Err(local_error(format!(
                    "{shown}: dirty: a run with --onto did not finish ({} exists)",
                    self.dirty_name().to_string_lossy()
                ))
                .hint("start again from a clean tree")),
            };
        }
        if self.existing == Existing::Refuse && !self.is_empty(present)? {
            return Err(local_error(format!("{shown}: not empty")).hint(
                "use --replace to replace the directory, or --onto to apply the layers to it",
            ));
        }
        let device = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| stat.st_dev);
        if device(present) != device(&self.parent) {
            return Err(local_error(format!("{shown}: a mount point, which cannot be replaced"))
                .hint("--onto applies the layers to the directory"));
        }
        self.refuse_mounts(present)?;
        if std::env::current_dir().is_ok_and(|here| here.starts_with(whole)) {
            return Err(local_error(format!(
                "{shown}: the working directory, which would be replaced"
            ))
            .hint("--onto applies the layers to the directory"));
        }
        Ok(())
    }

    /// Refuses to replace a DIR that is a mount point or contains one: the mount would stay with
    /// the old tree.
    fn refuse_mounts(&self, present: &OwnedFd) -> Result<()> {
        let shown = &self.shown;
        match mounts::below(present).first() {
            None => Ok(()),
            Some(mount) if mount.as_os_str().is_empty() => {
                Err(local_error(format!("{shown}: a mount point, which cannot be replaced"))
                    .hint("--onto applies the layers to the directory"))
            }
            Some(mount) => {
                let mount = shown_path(mount.as_os_str().as_bytes());
                Err(local_error(format!("{shown}: cannot be replaced: {mount} is a mount point"))
                    .hint("unmount that file system, or use --onto"))
            }
        }
    }

    fn is_empty(&self, directory: &OwnedFd) -> Result<bool> {
        let local = |cause: Errno| Error::local(&self.shown, &cause.into());
        for entry in Dir::read_from(directory).map_err(local)? {
            if !matches!(entry.map_err(local)?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The image that DIR was made of, if `--replace` may leave DIR unchanged. `options` is the
    /// line that a note about DIR must have.
    pub(crate) fn known_image(&self, options: &str) -> Option<KnownImage> {
        let present = self.present.as_ref().filter(|_| self.existing == Existing::Replace)?;
        let text = known_image::read(&self.parent, &self.image_name())?;
        let directory = known_image::Existing {
            parent: self.parent.try_clone().ok()?,
            name: self.name.clone(),
            dirty_name: self.dirty_name(),
            fd: present.try_clone().ok()?,
        };
        KnownImage::new(&text, options, directory)
    }

    /// Reports that DIR is left unchanged, because it was made of the same image.
    pub(crate) fn report_same(&self) {
        exit::inform(format_args!("{}: already this image", self.shown));
    }

    /// The fingerprint of the tree in the staging directory, if a note about it will be written. No
    /// note is written with `--no-sync`: after a power loss, it could describe a damaged tree.
    fn fingerprint(&self) -> Option<String> {
        match &self.working {
            Some(Working::Staging(fd)) if self.existing == Existing::Replace && self.sync => {
                fingerprint(fd)
            }
            _ => None,
        }
    }

    /// Whether the layers are applied to the existing DIR.
    pub(crate) fn is_onto(&self) -> bool {
        self.existing == Existing::Onto
    }

    /// Returns the directory in which to build the tree, locked: the staging directory, or DIR
    /// itself with `--onto`.
    ///
    /// # Errors
    /// Local if another run has locked the directory, if its file system ignores case, or if a
    /// system call fails.
    pub(crate) fn begin(&mut self) -> Result<OwnedFd> {
        if self.is_onto() {
            return self.mark();
        }
        let fd = self.stage()?;
        let root = fd.try_clone();
        self.working = Some(Working::Staging(fd));
        root.map_err(|cause| Error::local(&self.shown, &cause))
    }

    /// Locks DIR and marks it.
    fn mark(&mut self) -> Result<OwnedFd> {
        let local = |cause: Errno| Error::local(&self.shown, &cause.into());
        let Some(present) = &self.present else { return Err(local(Errno::NOENT)) };
        self.lock(present)?;
        if ignores_case(present) {
            return Err(self.case_error());
        }
        known_image::remove(&self.parent, &self.image_name());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let marker = rustix::fs::openat(&self.parent, self.dirty_name(), flags, mode)
            .map_err(|cause| Error::local(self.dirty_name().to_string_lossy(), &cause.into()))?;
        if self.sync {
            rustix::fs::fsync(&marker).map_err(local)?;
            rustix::fs::fsync(&self.parent).map_err(local)?;
        }
        let fd = present.try_clone().map_err(|cause| Error::local(&self.shown, &cause));
        self.working = Some(Working::Marked);
        fd
    }

    /// Creates the staging directory and locks it. A staging directory that an earlier run left is
    /// removed first.
    fn stage(&self) -> Result<OwnedFd> {
        let name = self.staging_name();
        let local = |cause: Errno| Error::local(name.to_string_lossy(), &cause.into());
        loop {
            let made = rustix::fs::mkdirat(&self.parent, &name, Mode::from_raw_mode(0o700));
            if !matches!(made, Ok(()) | Err(Errno::EXIST)) {
                made.map_err(local)?;
            }
            let locked = match rustix::fs::openat(&self.parent, &name, OPEN, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                // This is a file, a fifo or a symbolic link, which no run has created.
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    remove(&self.parent, name.as_bytes())?;
                    continue;
                }
                Err(cause) => Err(local(cause)),
                Ok(fd) => self.lock(&fd).map(|()| fd),
            };
            let fd = locked.inspect_err(|_| {
                if made.is_ok() {
                    // This fails if the directory is not empty: another run may have locked it and
                    // be using it.
                    let flags = AtFlags::REMOVEDIR;
                    let _ = rustix::fs::unlinkat(&self.parent, &name, flags);
                }
            })?;
            // Another run may have removed or renamed the directory before it was locked.
            let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
            let locked = rustix::fs::fstat(&fd).map(identity);
            let named = rustix::fs::statat(&self.parent, &name, AtFlags::SYMLINK_NOFOLLOW);
            if locked != named.map(identity) {
                continue;
            }
            if made.is_ok() {
                self.refuse_ignored_case(&name, locked)?;
                return Ok(fd);
            }
            if let Err(why) = remove(&self.parent, name.as_bytes()) {
                let Some(aside) = self.set_aside() else { return Err(why) };
                warn_of_remains(&aside, &why);
            }
        }
    }

    /// Renames a staging directory that cannot be removed, so that a new one can be created.
    /// Returns its new name, or `None` if that fails too.
    fn set_aside(&self) -> Option<OsString> {
        let staging = self.staging_name();
        (0..MAX_ASIDE).find_map(|number| {
            let suffix = if number == 0 { ".old".to_owned() } else { format!(".old.{number}") };
            let aside = wrap(&self.name, &suffix);
            let flags = RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(&self.parent, &staging, &self.parent, &aside, flags).ok()?;
            Some(aside)
        })
    }

    /// Refuses a file system that ignores case: "a" and "A" would be the same file there, and one
    /// of two such entries would be lost without an error.
    fn refuse_ignored_case(
        &self,
        name: &OsStr,
        identity: rustix::io::Result<(u64, u64)>,
    ) -> Result<()> {
        let other = name.to_ascii_uppercase();
        let found = rustix::fs::statat(&self.parent, &other, AtFlags::SYMLINK_NOFOLLOW);
        if found.map(|stat| (stat.st_dev, stat.st_ino)) == identity {
            let _ = remove(&self.parent, name.as_bytes());
            return Err(self.case_error());
        }
        Ok(())
    }

    fn case_error(&self) -> Error {
        local_error(format!("{}: the directory ignores case", self.shown))
    }

    fn lock(&self, fd: &OwnedFd) -> Result<()> {
        match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(Errno::WOULDBLOCK) => {
                Err(local_error(format!("{}: another run is unpacking there", self.shown)))
            }
            Err(cause) => Err(Error::local(format_args!("lock {}", self.shown), &cause.into())),
        }
    }

    /// Ends a successful run: syncs, and renames the staging directory to DIR or removes the dirty
    /// mark. If `image` is given, also writes a note that has the image and the options.
    ///
    /// # Errors
    /// Local if a system call fails. Without `--onto`, a failure before the rename leaves DIR
    /// unchanged.
    pub(crate) fn publish(&mut self, image: Option<(&str, &Image)>) -> Result<()> {
        // The tree does not have its final name yet, so no other program changes it.
        let described = image.and_then(|image| Some((image, self.fingerprint()?)));
        let local = |cause: Errno| Error::local(&self.shown, &cause.into());
        match &self.working {
            None => Ok(()),
            Some(Working::Marked) => {
                if self.sync
                    && let Some(present) = &self.present
                {
                    rustix::fs::syncfs(present).map_err(local)?;
                }
                rustix::fs::unlinkat(&self.parent, self.dirty_name(), AtFlags::empty())
                    .map_err(local)?;
                self.working = None;
                Ok(())
            }
            Some(Working::Staging(fd)) => {
                if self.sync {
                    rustix::fs::syncfs(fd).map_err(local)?;
                }
                self.put_in_place()?;
                // A dirty mark belongs to the tree that was replaced.
                let _ = rustix::fs::unlinkat(&self.parent, self.dirty_name(), AtFlags::empty());
                match described {
                    Some((image, fingerprint)) => self.describe(fd, image, &fingerprint),
                    None => known_image::remove(&self.parent, &self.image_name()),
                }
                if self.sync {
                    rustix::fs::fsync(&self.parent).map_err(local)?;
                }
                self.working = None;
                Ok(())
            }
        }
    }

    /// Writes the note about the image of the new DIR.
    fn describe(&self, fd: &OwnedFd, (options, image): (&str, &Image), fingerprint: &str) {
        let tree = rustix::fs::fstat(fd).map(|stat| format!("{} {fingerprint}", state(&stat)));
        match tree.ok().and_then(|tree| known_image::note(options, &tree, image)) {
            Some(text) => known_image::write(&self.parent, &self.image_name(), &text),
            None => known_image::remove(&self.parent, &self.image_name()),
        }
    }

    /// Renames the staging directory to DIR. With `--replace` the two are exchanged, and then the
    /// old tree is removed.
    fn put_in_place(&self) -> Result<()> {
        let staging = self.staging_name();
        let local = |cause: Errno| Error::local(&self.shown, &cause.into());
        let rename = |flags| {
            rustix::fs::renameat_with(&self.parent, &staging, &self.parent, &self.name, flags)
        };
        match (&self.present, self.existing) {
            (Some(old), Existing::Replace) => {
                self.lock(old)?;
                self.refuse_mounts(old)?;
                rename(RenameFlags::EXCHANGE).map_err(local)?;
                // The new tree is in place: the run has succeeded, even if the old one stays.
                if let Err(why) = remove(&self.parent, staging.as_bytes()) {
                    let aside = self.set_aside().unwrap_or(staging);
                    warn_of_remains(&aside, &why);
                }
                Ok(())
            }
            // rename(2) replaces a directory only if it is empty.
            (Some(_), _) => rename(RenameFlags::empty()).map_err(local),
            (None, _) => match rename(RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS) => rename(RenameFlags::empty()).map_err(local),
                other => other.map_err(local),
            },
        }
    }

    /// Ends a failed run: removes the staging directory. With `--onto`, DIR stays marked as dirty.
    pub(crate) fn discard(&mut self) {
        if let Some(Working::Staging(fd)) = self.working.take() {
            let name = self.staging_name();
            if remove(&self.parent, name.as_bytes()).is_ok() {
                return;
            }
            // The removal may have failed because no file descriptor was free: close one and try
            // again. If it fails again, the next run removes the directory.
            drop(fd);
            let _ = rustix::fs::unlinkat(&self.parent, &name, AtFlags::REMOVEDIR).or_else(|_| {
                remove(&self.parent, name.as_bytes()).map(drop).map_err(|_| Errno::IO)
            });
        }
    }

    fn staging_name(&self) -> OsString {
        wrap(&self.name, ".unpacking")
    }

    fn image_name(&self) -> OsString {
        wrap(&self.name, ".image")
    }

    fn dirty_name(&self) -> OsString {
        wrap(&self.name, ".dirty")
    }
}

/// Warns of a directory beside DIR that could not be removed completely.
fn warn_of_remains(name: &OsStr, why: &Error) {
    notice::warn(REMAINS, || {
        let name = shown_path(name.as_bytes());
        format!("{name}, which is not needed any more, cannot be removed: {why}")
    });
}

/// Whether a directory has the attribute with which it ignores case ("a" and "A" are the same).
fn ignores_case(directory: &OwnedFd) -> bool {
    // FS_CASEFOLD_FL of <linux/fs.h>.
    const CASEFOLD: u32 = 0x4000_0000;
    rustix::fs::ioctl_getflags(directory).is_ok_and(|flags| flags.bits() & CASEFOLD != 0)
}

/// `.NAME.SUFFIX`.
fn wrap(name: &OsStr, suffix: &str) -> OsString {
    let mut wrapped = OsString::from(".");
    wrapped.push(name);
    wrapped.push(suffix);
    wrapped
}

/// The absolute path of a DIR that does not exist. Its parent directory must exist.
fn path_of_missing(dir: &Path, shown: &str) -> Result<PathBuf> {
    if dir.symlink_metadata().is_ok() {
        return Err(local_error(format!("{shown}: a symbolic link to a missing file")));
    }
    let Some(name) = dir.file_name() else {
        return Err(Error::local(shown, &std::io::Error::from(std::io::ErrorKind::NotFound)));
    };
    let above = match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let above =
        std::fs::canonicalize(above).map_err(|cause| Error::local(above.display(), &cause))?;
    Ok(above.join(name))
}

fn local_error(what: String) -> Error {
    Error::new(Status::Local, what)
}
