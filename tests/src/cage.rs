// SPDX-License-Identifier: Apache-2.0
//! A place to unpack layers in: a directory `root`, which the tool creates, and canaries next to it
//! that no run may touch.
//!
//! In addition to the test's own assertions, [`Cage`] checks the following after every run. The
//! canaries are unchanged, including the change times of their inodes. Next to `root` there is no
//! new file, temporary file or mark; only a failed `--onto` leaves its mark, as documented. No lock
//! is held. The tool needs at most [`DESCRIPTORS`] file descriptors, so a tool that leaks a
//! descriptor per entry fails.
//!
//! Not here: the meaning of a layer. The tests assert that.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::layers::{Part, archive};
use crate::scratch::{Scratch, list};
use crate::tools::{Command, Run, tool};

/// The limit of open file descriptors in a run.
pub const DESCRIPTORS: u32 = 64;

/// A file system in memory, and a file system on disk.
pub const PLACES: [&str; 2] = ["/dev/shm", "/var/tmp"];

/// A place to unpack layers in.
#[derive(Debug)]
pub struct Cage {
    scratch: Scratch,
    options: Vec<String>,
    unprivileged: bool,
}

/// Runs a case in memory and on the disk.
pub fn everywhere(case: impl Fn(&mut Cage)) {
    for place in PLACES {
        case(&mut Cage::new(place));
    }
}

/// Runs a case in memory and on the disk: as the user who runs the suite, and as an unprivileged
/// user.
pub fn everywhere_and_unprivileged(case: impl Fn(&mut Cage)) {
    everywhere(&case);
    for place in PLACES {
        let mut cage = Cage::new(place);
        cage.unprivileged();
        case(&mut cage);
    }
}

impl Cage {
    /// A new cage in a directory of that file system.
    pub fn new(place: &str) -> Cage {
        let scratch = Scratch::new_in(Path::new(place));
        // Writable by everyone: only the tool itself protects the canaries.
        for (name, mode) in [("victim", 0o777), ("victim/below", 0o777), ("root-evil", 0o777)] {
            fs::create_dir_all(scratch.join("box").join(name)).unwrap();
            scratch.chmod(Path::new("box").join(name), mode);
        }
        for name in ["victim/hello", "victim/below/file", "root-evil/secret"] {
            let name = Path::new("box").join(name);
            scratch.write(&name, "canary");
            scratch.chmod(&name, 0o666);
        }
        std::os::unix::fs::symlink("hello", scratch.join("box/victim/link")).unwrap();
        Cage { scratch, options: Vec::new(), unprivileged: false }
    }

    /// From now on the tool runs as an unprivileged user.
    pub fn unprivileged(&mut self) -> &mut Cage {
        self.scratch.chmod("box", 0o777);
        self.unprivileged = true;
        self
    }

    /// From now on the tool runs with these options too.
    pub fn options(&mut self, options: &[&str]) -> &mut Cage {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// From now on the tool runs with these options and no others.
    pub fn only_options(&mut self, options: &[&str]) -> &mut Cage {
        self.options.clear();
        self.options(options)
    }

    /// The directory that `root` and the canaries are in.
    pub fn dir(&self) -> PathBuf {
        self.scratch.join("box")
    }

    /// A directory out of the tool's reach, for the files that a test needs.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The path of a name in `root`.
    pub fn root(&self, name: &str) -> PathBuf {
        self.dir().join("root").join(name.trim_start_matches('/'))
    }

    /// The tool with its options; the caller adds the layers. `--no-sync` is set, because a
    /// separate test covers syncing.
    pub fn command(&self) -> Command {
        let command = tool("unpack-layer").dir(self.dir()).args(["root", "--no-sync"]);
        let command = command.args(&self.options);
        let command = command.under(&["prlimit", &format!("--nofile={DESCRIPTORS}"), "--"]);
        if self.unprivileged { command.as_unprivileged() } else { command }
    }

    /// Writes layers, each given by its parts, to files that the tool can read, and returns their
    /// paths.
    pub fn write(&self, layers: &[&[Part]]) -> Vec<PathBuf> {
        let write = |(i, parts): (usize, &&[Part])| {
            self.scratch.write(format!("in/layer{i}"), archive(parts))
        };
        layers.iter().enumerate().map(write).collect()
    }

    /// Unpacks layers, each given by its parts.
    #[track_caller]
    pub fn unpack(&self, layers: &[&[Part]]) -> Run {
        let names = self.write(layers);
        self.judged(self.command().args(names))
    }

    /// Unpacks one layer given by its bytes.
    #[track_caller]
    pub fn stream(&self, bytes: impl Into<Vec<u8>>) -> Run {
        self.judged(self.command().stdin(bytes))
    }

    /// Runs a command and checks the files that it left next to `root`.
    #[track_caller]
    pub fn judged(&self, command: Command) -> Run {
        let before = self.surroundings();
        let run = command.run();
        self.is_untouched(&before, &run);
        let onto_failed = self.options.iter().any(|o| o == "--onto") && run.code() != Some(0);
        let beside: Vec<_> = list(&self.dir())
            .into_iter()
            .filter(|name| !name.trim_end_matches('/').contains('/'))
            .filter(|name| !matches!(name.as_str(), "root/" | "victim/" | "root-evil/"))
            .filter(|name| !(onto_failed && name == ".root.dirty"))
            .collect();
        assert!(beside.is_empty(), "left beside root: {beside:?} by {run}");
        if let Ok(root) = fs::File::open(self.root("")) {
            assert!(root.try_lock().is_ok(), "a lock was left by {run}");
            // Closing the file is not enough: a process that another test starts at this moment has
            // a copy of the descriptor until it executes its program.
            assert!(root.unlock().is_ok());
        }
        run
    }

    /// Checks that the canaries are unchanged.
    #[track_caller]
    fn is_untouched(&self, before: &[String], run: &Run) {
        let after = self.surroundings();
        assert!(before == after, "outside root: {before:#?} became {after:#?} by {run}");
    }

    /// The canaries' contents and attributes. Every change of an attribute changes the inode's
    /// change time.
    fn surroundings(&self) -> Vec<String> {
        let mut all = vec![format!("{:o}", fs::metadata(self.dir()).unwrap().mode())];
        for top in ["victim", "root-evil"] {
            let top = self.dir().join(top);
            for name in std::iter::once(String::new()).chain(list(&top)) {
                let path = top.join(&name);
                let stat = fs::symlink_metadata(&path).unwrap();
                let times = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
                let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                let (owner, links) = ((stat.uid(), stat.gid()), (stat.ino(), stat.nlink()));
                let mode = stat.mode();
                all.push(format!("{path:?} {mode:o} {owner:?} {links:?} {times:?} {content:?}"));
            }
        }
        all
    }

    /// Checks that `root` does not exist.
    #[track_caller]
    pub fn nothing(&self) {
        assert!(fs::symlink_metadata(self.root("")).is_err(), "root exists");
    }

    /// All names in `root`, sorted; directories end in a slash.
    pub fn tree(&self) -> Vec<String> {
        list(&self.root(""))
    }

    /// Checks that `root` has exactly these names.
    #[track_caller]
    pub fn has(&self, names: &[&str]) {
        assert_eq!(self.tree(), names);
    }

    /// A file's content.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.root(name)).unwrap()).into_owned()
    }

    /// The attributes of a file in `root`; symbolic links are not followed.
    #[track_caller]
    pub fn stat(&self, name: &str) -> fs::Metadata {
        let path = self.root(name);
        let path = path.to_str().unwrap().trim_end_matches('/').to_owned();
        fs::symlink_metadata(&path).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// The permission bits of a file in `root`.
    #[track_caller]
    pub fn mode(&self, name: &str) -> u32 {
        self.stat(name).mode() & 0o7777
    }

    /// The target of a symbolic link.
    #[track_caller]
    pub fn link(&self, name: &str) -> String {
        fs::read_link(self.root(name)).unwrap().to_string_lossy().into_owned()
    }
}

/// The file type as a letter, as `find -printf %y` prints it.
pub fn letter(stat: &fs::Metadata) -> char {
    let kind = stat.file_type();
    if kind.is_dir() {
        'd'
    } else if kind.is_symlink() {
        'l'
    } else if kind.is_fifo() {
        'p'
    } else if kind.is_char_device() {
        'c'
    } else if kind.is_block_device() {
        'b'
    } else if kind.is_socket() {
        's'
    } else {
        'f'
    }
}

/// A tree as text: type, mode, owner, times, link count, device, extended attributes and content of
/// each name. Two trees with equal portraits are the same.
pub fn portrait(top: &Path) -> Vec<String> {
    let attributes = crate::peers::must(
        crate::peers::peer("getfattr")
            .args(["-R", "-P", "-h", "-m", "-", "-d", "-e", "hex", "--absolute-names", "."])
            .current_dir(top),
    );
    let mut all = vec![String::from_utf8_lossy(&attributes).into_owned()];
    for name in std::iter::once(String::new()).chain(list(top)) {
        let path = top.join(name.trim_end_matches('/'));
        let stat = fs::symlink_metadata(&path).unwrap();
        let what = letter(&stat);
        let content = match what {
            'f' => crate::images::sha256(&fs::read(&path).unwrap()),
            'l' => fs::read_link(&path).unwrap().to_string_lossy().into_owned(),
            'c' | 'b' => stat.rdev().to_string(),
            _ => String::new(),
        };
        let links = if what == 'd' { 1 } else { stat.nlink() };
        let (mode, owner) = (stat.mode() & 0o7777, (stat.uid(), stat.gid()));
        let time = (stat.mtime(), stat.mtime_nsec());
        all.push(format!("{name} {what} {mode:o} {owner:?} {links} {time:?} {content}"));
    }
    all
}
