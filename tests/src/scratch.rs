// SPDX-License-Identifier: Apache-2.0
//! Directories that are removed at the end of a test, and a disk that is too small.
//!
//! They are readable by everyone, so that a tool can run in them as an unprivileged user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::peers::{must, peer};

/// A new, empty directory, removed with its contents when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    mounted: bool,
}

impl Scratch {
    /// Makes a directory in the system's temporary directory.
    #[expect(clippy::new_without_default, reason = "it touches the disk")]
    pub fn new() -> Scratch {
        Scratch::new_in(&std::env::temp_dir())
    }

    /// Makes a directory in this one, for tests that depend on the file system.
    pub fn new_in(above: &Path) -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("regutils-test-{}-{count}", std::process::id());
            let path = above.join(name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                    return Scratch { path, mounted: false };
                }
                // A killed run with the same process ID left this directory.
                Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(why) => panic!("{}: {why}", path.display()),
            }
        }
    }

    /// A directory with a separate file system that holds only `kib` KiB. Only root may mount.
    /// `None` if the machine does not allow it; the caller must then test in another way.
    pub fn small_disk(kib: u32) -> Option<Scratch> {
        let mut scratch = Scratch::new();
        let options = format!("size={kib}k,mode=0755");
        let mut mount = peer("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "regutils-test"]).arg(&scratch.path);
        scratch.mounted = mount.output().is_ok_and(|output| output.status.success());
        scratch.mounted.then_some(scratch)
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside it, creates the directories above it, and returns its path.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let file = self.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        file
    }

    /// Writes an executable sh script inside it.
    pub fn script(&self, name: impl AsRef<Path>, script: &str) {
        let file = self.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        // Another process writes the file. If this process did, a child of another thread could
        // inherit the open descriptor, and the script could not be executed meanwhile (ETXTBSY).
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        must(peer("sh").args(["-c", write]).arg(&file).arg(script));
    }

    /// All names inside it at any depth, relative and sorted; directories end in a slash.
    pub fn list(&self) -> Vec<String> {
        list(&self.path)
    }

    /// Sets the mode bits of a file or directory inside it, or of itself (".").
    pub fn chmod(&self, name: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.mounted {
            must(peer("umount").arg(&self.path));
        }
        if fs::remove_dir_all(&self.path).is_err() {
            // A test or a layer may make directories without permissions for their owner.
            let _ = peer("chmod").args(["-R", "u+rwX"]).arg(&self.path).output();
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// All names below a directory at any depth, relative and sorted; directories end in a slash. Empty
/// if the directory is missing.
pub fn list(top: &Path) -> Vec<String> {
    fn walk(top: &Path, dir: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.push(name + "/");
                walk(top, &path, names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk(top, top, &mut names);
    names.sort();
    names
}
