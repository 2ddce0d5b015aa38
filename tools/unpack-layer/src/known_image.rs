// SPDX-License-Identifier: Apache-2.0
//! The image that DIR was made of, so that `--replace` can leave a DIR of the same image unchanged.
//!
//! A run with `--replace` and `--from` writes the file `.NAME.image` beside DIR. It holds the
//! image's descriptor lines with the diff IDs, the options of the run, and the state of the tree.
//! The next such run compares each input line with the file, as the line arrives.
//!
//! The file is only a note. If anything in it does not match, the image is unpacked. An incomplete
//! file never matches, so the file needs no temporary name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use common::descriptor::{Descriptor, UNCOMPRESSED};
use common::digest::Digest;
use common::mediatype::{Kind, kind};
use common::workfile;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::tree::fingerprint::{fingerprint, state};

/// The maximum size of a note, in bytes. If an image needs a larger note, none is written.
pub(crate) const MAX_NOTE: usize = 256 << 10;

/// The maximum size of the input lines that are compared, in bytes. They are kept in memory.
pub(crate) const MAX_LINES: usize = 16 << 20;

/// The start of every note.
const TITLE: &str = "unpack-layer note ";

/// The first line of a note. The version is included because another version may make another tree.
const FIRST_LINE: &str = concat!("unpack-layer note 1 ", env!("CARGO_PKG_VERSION"));

/// The last line of a note. Without it, the note is incomplete.
const LAST_LINE: &str = "end";

/// The descriptors of an image, in their order, and the diff IDs of its layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Image {
    /// The line of the config, if there was one.
    config: Option<Descriptor>,
    /// The lines of the layers, with the annotation [`UNCOMPRESSED`].
    layers: Vec<Descriptor>,
}

impl Image {
    /// Adds the line of the config.
    pub(crate) fn add_config(&mut self, line: &Descriptor) {
        self.config = Some(required(line));
    }

    /// Adds the line of a layer.
    pub(crate) fn add_layer(&mut self, line: &Descriptor, diff_id: &Digest) {
        self.layers.push(required(line).with_annotation(UNCOMPRESSED, &diff_id.to_string()));
    }
}

/// The three required fields of a descriptor.
fn required(line: &Descriptor) -> Descriptor {
    Descriptor::new(&line.media_type, line.digest.clone(), line.size)
}

/// The text of a note. `options` is one line, and so is `tree`. `None` if it would be too large.
pub(crate) fn note(options: &str, tree: &str, image: &Image) -> Option<String> {
    let mut text = format!("{FIRST_LINE}\n{options}\n{tree}\n");
    for line in image.config.iter().chain(&image.layers) {
        text.push_str(&line.line());
        text.push('\n');
        if text.len() > MAX_NOTE {
            return None;
        }
    }
    text.push_str(LAST_LINE);
    text.push('\n');
    (text.len() <= MAX_NOTE).then_some(text)
}

/// The state of the tree and the image in a note. `None` if it is about other options, or is not a
/// complete note of this version.
fn parse<'a>(text: &'a str, options: &str) -> Option<(&'a str, Image)> {
    let text = text.strip_suffix('\n')?.strip_suffix(LAST_LINE)?.strip_suffix('\n')?;
    let mut lines = text.split('\n');
    if lines.next() != Some(FIRST_LINE) || lines.next() != Some(options) {
        return None;
    }
    let tree = lines.next()?;
    let mut image = Image::default();
    for line in lines {
        let line = Descriptor::from_line(line.as_bytes()).ok()?;
        if kind(&line.media_type) == Kind::Config {
            image.config = Some(line);
        } else {
            image.layers.push(line);
        }
    }
    Some((tree, image))
}

/// Reads a note, if this user wrote it.
pub(crate) fn read(parent: &OwnedFd, name: &OsStr) -> Option<String> {
    let file = open(parent, name)?;
    if !workfile::is_ours(&file.metadata().ok()?) {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_NOTE as u64 + 1).read_to_string(&mut text).ok()?;
    (text.len() <= MAX_NOTE).then_some(text)
}

/// Writes a note. If that fails, or if another file has its name, no note exists, and the next run
/// unpacks.
pub(crate) fn write(parent: &OwnedFd, name: &OsStr, text: &str) {
    remove(parent, name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)) else {
        return;
    };
    let _ = File::from(file).write_all(text.as_bytes());
}

/// Removes a note, also that of another user, but no other file. A failure does not matter: an old
/// note does not match any more.
pub(crate) fn remove(parent: &OwnedFd, name: &OsStr) {
    let Some(file) = open(parent, name) else { return };
    let mut start = Vec::new();
    let is_read = file.take(TITLE.len() as u64).read_to_end(&mut start).is_ok();
    // The start of an incomplete note is enough.
    if is_read && TITLE.as_bytes().starts_with(&start) {
        let _ = rustix::fs::unlinkat(parent, name, AtFlags::empty());
    }
}

/// Opens a regular file for reading.
fn open(parent: &OwnedFd, name: &OsStr) -> Option<File> {
    // NONBLOCK: opening a fifo must not wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(parent, name, flags, Mode::empty()).ok()?);
    file.metadata().ok()?.is_file().then_some(file)
}

/// An existing DIR.
pub(crate) struct Existing {
    pub(crate) parent: OwnedFd,
    /// Its name in `parent`.
    pub(crate) name: OsString,
    /// The name of its dirty mark in `parent`.
    pub(crate) dirty_name: OsString,
    pub(crate) fd: OwnedFd,
}

impl Existing {
    /// The state of the directory itself. `None` if it has another name now, or is dirty.
    fn state(&self) -> Option<String> {
        let named = |name| rustix::fs::statat(&self.parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let (opened, found) = (rustix::fs::fstat(&self.fd).ok()?, named(&self.name).ok()?);
        let is_same = (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino);
        let is_clean = matches!(named(&self.dirty_name), Err(Errno::NOENT));
        (is_same && is_clean).then(|| state(&opened))
    }
}

/// The image of an existing DIR, with which input lines are compared.
pub(crate) struct KnownImage {
    image: Image,
    directory: Existing,
    /// The state of the directory itself.
    state: String,
    /// The fingerprint of its content.
    fingerprint: String,
    /// The input lines that arrived so far. All of them match the image.
    lines: Vec<Descriptor>,
    /// Their size, in bytes.
    size: usize,
    has_config: bool,
}

impl KnownImage {
    /// The image of the note `text`. `None` if the note is about another directory or other
    /// options.
    pub(crate) fn new(text: &str, options: &str, directory: Existing) -> Option<KnownImage> {
        let (tree, image) = parse(text, options)?;
        let (state, fingerprint) = tree.rsplit_once(' ')?;
        (directory.state()? == state).then(|| KnownImage {
            image,
            directory,
            state: state.to_owned(),
            fingerprint: fingerprint.to_owned(),
            lines: Vec::new(),
            size: 0,
            has_config: false,
        })
    }

    /// Takes the next input line. Returns whether it matches the next line of the image.
    pub(crate) fn take(&mut self, line: Descriptor) -> bool {
        let is_config = kind(&line.media_type) == Kind::Config;
        let known = if is_config {
            self.image.config.as_ref().filter(|_| !self.has_config)
        } else {
            self.image.layers.get(self.lines.len() - usize::from(self.has_config))
        };
        let is_same = known.is_some_and(|known| {
            (&known.media_type, &known.digest, known.size)
                == (&line.media_type, &line.digest, line.size)
        });
        self.has_config |= is_config;
        self.size += line.line().len();
        self.lines.push(line);
        is_same && self.size <= MAX_LINES
    }

    /// The lines that were taken.
    pub(crate) fn into_lines(self) -> Vec<Descriptor> {
        self.lines
    }

    /// Whether all lines of the image were taken, and DIR has not changed since the note.
    pub(crate) fn is_whole(&self) -> bool {
        let number = self.image.layers.len() + usize::from(self.image.config.is_some());
        let is_in_place = || self.directory.state().as_ref() == Some(&self.state);
        self.lines.len() == number
            && is_in_place()
            && fingerprint(&self.directory.fd).as_ref() == Some(&self.fingerprint)
            && is_in_place()
    }

    /// The lines that were taken, those of layers with their diff IDs.
    pub(crate) fn into_output(self) -> Vec<Descriptor> {
        let mut layers = self.image.layers.iter();
        let output = self.lines.into_iter().map(|line| {
            if kind(&line.media_type) == Kind::Config {
                return line;
            }
            let diff_id = layers.next().and_then(|layer| layer.annotation(UNCOMPRESSED));
            line.with_annotation(UNCOMPRESSED, diff_id.unwrap_or_default())
        });
        output.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::digest::Algorithm;

    fn layer(number: usize) -> Descriptor {
        let digest = Algorithm::Sha256.digest(&number.to_le_bytes());
        Descriptor::new("application/vnd.oci.image.layer.v1.tar", digest, 1)
    }

    fn image(layers: usize) -> Image {
        let mut image = Image::default();
        let config = "application/vnd.oci.image.config.v1+json";
        image.add_config(&Descriptor::new(config, layer(0).digest, 2));
        (0..layers).for_each(|n| image.add_layer(&layer(n), &layer(n + 1).digest));
        image
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let text = note("options", "1 2.3 4:5", &image(3)).unwrap();
        assert_eq!(parse(&text, "options"), Some(("1 2.3 4:5", image(3))));
        assert_eq!(parse(&text, "other options"), None);
        assert_eq!(parse(&text.replace("note 1", "note 2"), "options"), None);
    }

    #[test]
    fn no_part_of_a_note_is_read_as_a_note() {
        let text = note("options", "1 2.3 4:5", &image(3)).unwrap();
        for length in 0..text.len() {
            assert_eq!(parse(&text[..length], "options"), None, "{length}");
        }
    }

    #[test]
    fn input_lines_are_compared_up_to_the_limit() {
        let name = format!("regutils-known-image-{}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let open = |path: &std::path::Path| OwnedFd::from(File::open(path).unwrap());
        let taken = |size: usize| {
            let directory = Existing {
                parent: open(dir.parent().unwrap()),
                name: OsString::from(&name),
                dirty_name: ".no-such-mark.dirty".into(),
                fd: open(&dir),
            };
            let state = format!("{} 0:0", directory.state().unwrap());
            let mut image = Image::default();
            image.add_layer(&layer(0), &layer(1).digest);
            let note = note("", &state, &image).unwrap();
            let line = layer(0).with_annotation("k", "");
            let filling = size - line.line().len();
            let line = line.with_annotation("k", &"v".repeat(filling));
            assert_eq!(line.line().len(), size);
            KnownImage::new(&note, "", directory).unwrap().take(line)
        };
        assert!(taken(MAX_LINES));
        assert!(!taken(MAX_LINES + 1));
        std::fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn a_note_is_at_most_as_large_as_the_limit() {
        let size = |options: &str| note(options, "1 2.3 4:5", &image(700)).map(|text| text.len());
        let rest = MAX_NOTE - size("").unwrap();
        assert_eq!(size(&"o".repeat(rest)), Some(MAX_NOTE));
        assert_eq!(size(&"o".repeat(rest + 1)), None);
    }
}
