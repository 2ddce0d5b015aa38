// SPDX-License-Identifier: Apache-2.0
//! Writes one file of the image to standard output. Reading stops at the end of that file.
//!
//! The layers are searched from the top down. Only the layers above the file's layer, and the part
//! of the file's layer up to the file, are read. The result is less certain than that of
//! [`verified`]:
//!
//! - The bytes of the file's layer are not verified, because the layer is not read to its end. If
//!   the layer's digest is known, a warning says that the layer is not verified.
//! - If a layer has two entries of the same name, the first one is used.
//! - Files and whiteouts that a higher layer names through a symbolic link of a lower layer are not
//!   found.
//! - In the path and in the targets of links, `..` removes the name before it, even if that name is
//!   a symbolic link.
//!
//! If a link leads to an earlier entry of the layer that is being read, that layer is read again
//! from its beginning.
//!
//! [`verified`]: crate::verified

use std::io::Write as _;

use archive::walk::MAX_LINKS;
use archive::{Ending, Entry, EntryType, Reader};
use common::error::{Error, Result, printable};
use common::terminal::TextOnly;
use common::{notice, stdio};

use crate::index::{DIRECTORY, Index, Says, follow};
use crate::output::{TO_A_TERMINAL, content, write_error};
use crate::path::{self, Count, Kept, MAX_KEPT};
use crate::source::{Blobs, Layer, Layers, Place};
use crate::stream::{Budget, Stream, skip_data};

/// Writes the file with this path.
///
/// # Errors
/// Absent if the image has no such regular file. Malformed if there are too many symbolic links in
/// its path. Usage if standard input would have to be read twice. Otherwise the errors of reading
/// and verifying the layers.
pub(crate) fn run(
    path: &[u8],
    mut layers: Layers<'_>,
    budget: &Budget,
    max_entries: u64,
) -> Result<()> {
    let shown = printable(&String::from_utf8_lossy(path));
    let target = follow(b"", path, b"");
    if target.is_empty() {
        return Err(Error::absent(format_args!("{shown}: {DIRECTORY}")));
    }
    let mut all = layers.all()?;
    all.reverse();
    let mut search = Search {
        blobs: layers.blobs,
        budget,
        indexes: all.iter().map(|_| Index::default()).collect(),
        layers: all,
        open: None,
        count: Count::new("entries", max_entries),
        kept: Kept::new(MAX_KEPT),
    };
    search.find(target).map_err(|missing| match missing {
        Missing::Failed(error) => error,
        Missing::Not(why) => Error::absent(format_args!("{shown}: {why}")),
        Missing::Links => {
            Error::malformed(format_args!("{shown}: too many levels of symbolic links"))
        }
    })
}

/// The reason why no file was written.
enum Missing {
    /// The run failed.
    Failed(Error),
    /// The image has no such file. The text says why.
    Not(&'static str),
    /// There are too many links.
    Links,
}

impl From<Error> for Missing {
    fn from(error: Error) -> Missing {
        Missing::Failed(error)
    }
}

/// A search from the top layer down.
struct Search<'a> {
    blobs: &'a Blobs,
    budget: &'a Budget,
    /// The top layer first.
    layers: Vec<Layer>,
    indexes: Vec<Index>,
    /// The layer that was read in part. All layers above it were read to their end.
    open: Option<(usize, Reader<Stream<'a>>)>,
    count: Count,
    kept: Kept,
}

/// The result of reading the next entry of a layer.
enum Step {
    /// The file was written.
    Written,
    /// The names read from the layer now include the path, or a part of it.
    Look,
    /// The entry does not concern the path.
    Next,
    /// The layer has ended.
    End(Ending),
}

impl Search<'_> {
    /// Finds and writes the file.
    fn find(&mut self, mut path: Vec<u8>) -> std::result::Result<(), Missing> {
        let mut links = 0;
        let mut at = 0;
        while at < self.layers.len() {
            let says = match self.says(at, &path) {
                None if !self.indexes[at].is_complete => {
                    if self.read_on(at, &path)? {
                        return Ok(());
                    }
                    self.says(at, &path)
                }
                says => says,
            };
            match says {
                None => {
                    at += 1;
                    continue;
                }
                Some(Says::Hidden) => return Err(Missing::Not("not in the image")),
                Some(Says::Other(why)) => return Err(Missing::Not(why)),
                Some(Says::Regular) => return Ok(self.read_again(at, &path)?),
                Some(Says::Symlink(target)) => (path, at) = (target, 0),
                // A hard link leads to a file of this layer or of a lower one.
                Some(Says::Hardlink(target)) => path = target,
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Missing::Links);
            }
        }
        Err(Missing::Not("not in the image"))
    }

    /// The file that a layer has at a path, unless a layer above it has the path or hides it.
    fn says(&self, at: usize, path: &[u8]) -> Option<Says> {
        let (above, rest) = self.indexes.split_at(at);
        rest.first()?.says(path, |path, is_link| above.iter().any(|i| i.replaces(path, is_link)))
    }

    /// Continues to read a layer until the names read include the path, or to the end of the layer,
    /// which is then verified. Returns whether the file was found and written.
    fn read_on(&mut self, at: usize, path: &[u8]) -> Result<bool> {
        let mut reader = match self.open.take() {
            Some((open, reader)) if open == at => reader,
            _ => Reader::new(self.blobs.open(&self.layers[at], self.budget)?),
        };
        loop {
            let step = match self.step(at, path, &mut reader) {
                Ok(Step::End(ending)) => {
                    self.indexes[at].is_complete = true;
                    let stream = reader.into_inner();
                    let accepted = ending.accept(stream.is_verifiable());
                    let verified = accepted.and_then(|()| stream.verdict());
                    return verified.map(|_| false).map_err(|error| self.in_layer(at, error));
                }
                Ok(step) => step,
                Err(error) => {
                    let (error, _) = reader.into_inner().blame(error);
                    return Err(self.in_layer(at, error));
                }
            };
            match step {
                Step::Written => return Ok(true),
                Step::Look => {
                    self.open = Some((at, reader));
                    return Ok(false);
                }
                Step::Next | Step::End(_) => {}
            }
        }
    }

    /// Reads the next entry of a layer. If it is the file, writes it.
    fn step(&mut self, at: usize, path: &[u8], reader: &mut Reader<Stream<'_>>) -> Result<Step> {
        let Some(entry) = reader.next()? else { return Ok(Step::End(reader.finish()?)) };
        self.count.add().map_err(|error| path::in_entry(error, &entry))?;
        let clean = path::clean(&entry)?;
        let is_file = clean == path;
        let below = path.strip_prefix(clean.as_slice());
        let matters = is_file || below.is_some_and(|rest| rest.first() == Some(&b'/'));
        self.indexes[at]
            .add(&entry, clean, &mut self.kept)
            .map_err(|error| path::in_entry(error, &entry))?;
        if !matters {
            skip_data(&entry, reader)?;
            return Ok(Step::Next);
        }
        match self.says(at, path) {
            Some(Says::Regular) if is_file => {
                self.write(&entry, reader)?;
                Ok(Step::Written)
            }
            Some(_) => Ok(Step::Look),
            None => Ok(Step::Next),
        }
    }

    /// Reads a layer again up to a file whose name was read before, and writes the file.
    fn read_again(&mut self, at: usize, path: &[u8]) -> Result<()> {
        let layer = &self.layers[at];
        if matches!(layer.place, Place::Stdin) {
            let error = Error::usage(
                "standard input: a link leads to an earlier file of the layer, which cannot be \
                 read again",
            );
            return Err(error.hint("store the layer in a file, or use --from"));
        }
        self.open = None;
        let mut reader = Reader::new(self.blobs.open(layer, self.budget)?);
        let outcome = self.write_first(path, &mut reader);
        outcome.map_err(|error| self.in_layer(at, reader.into_inner().blame(error).0))
    }

    fn write_first(&self, path: &[u8], reader: &mut Reader<Stream<'_>>) -> Result<()> {
        while let Some(entry) = reader.next()? {
            if entry.entry_type == EntryType::Regular && path::clean(&entry)? == path {
                return self.write(&entry, reader);
            }
        }
        Err(Error::content("the layer changed while it was read"))
    }

    fn write(&self, entry: &Entry, reader: &mut Reader<Stream<'_>>) -> Result<()> {
        let mut output = stdio::stdout()?;
        let guard = TextOnly::on_stdout(TO_A_TERMINAL);
        content(entry, reader, self.budget.limit(), |bytes| {
            guard.check(bytes)?;
            output.write_all(bytes).map_err(write_error)
        })?;
        let stream = reader.get_ref();
        if !stream.is_verifiable() {
            return Ok(());
        }
        let layer = &stream.layer().name;
        let bytes = stream.bytes_read();
        notice::warn("not verified", || {
            format!("not verified: layer {layer} was read only up to byte {bytes}")
        });
        Ok(())
    }

    fn in_layer(&self, at: usize, error: Error) -> Error {
        let layer = &self.layers[at];
        self.blobs.blame_mirror(layer, error.context(format_args!("layer {}", layer.name)))
    }
}
