// SPDX-License-Identifier: Apache-2.0
//! Directories that go away with the test, and a disk that is too small.
//!
//! Readable by everybody, so that a tool may be run in one as an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::peers::{must, peer};

/// A new, empty directory, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    mounted: bool,
}

impl Scratch {
    /// Makes one under the system's temporary directory.
    #[expect(clippy::new_without_default, reason = "it touches the disk")]
    pub fn new() -> Scratch {
        Scratch::new_in(&std::env::temp_dir())
    }

    /// Makes one under that directory: for what depends on the file system.
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
                // Left by a killed run with the same process id.
                Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(why) => panic!("{}: {why}", path.display()),
            }
        }
    }

    /// One that holds only so many KiB, a file system of its own. Only root may mount; nothing
    /// comes back where the machine does not allow it, and the caller has to make its point
    /// otherwise.
    pub fn small_disk(kib: u32) -> Option<Scratch> {
        let mut scratch = Scratch::new();
        let options = format!("size={kib}k,mode=0755");
        let mut mount = peer("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "regutils-test"]).arg(&scratch.path);
        scratch.mounted = mount.output().is_ok_and(|output| output.status.success());
        scratch.mounted.then_some(scratch)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside it, with the directories above, and returns where it is.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let file = self.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        file
    }

    /// Writes a script for sh inside it that can be run.
    pub fn script(&self, name: impl AsRef<Path>, script: &str) {
        let file = self.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        // By another process: what a thread of this one has open for writing, others' children
        // inherit, and then it cannot be run.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        must(peer("sh").args(["-c", write]).arg(&file).arg(script));
    }

    /// All that is in it, at any depth, as sorted relative names; directories end in a slash.
    pub fn list(&self) -> Vec<String> {
        list(&self.path)
    }

    /// Gives a directory inside it (or itself, by ".") the mode bits.
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
            // Directories without their owner's permissions, made by the test or by a layer.
            let _ = peer("chmod").args(["-R", "u+rwX"]).arg(&self.path).output();
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// All that is under a directory, as sorted relative names; directories end in a slash. Of a
/// directory that is not there, nothing.
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
