// SPDX-License-Identifier: Apache-2.0
//! The layers of a run: of files, of standard input, or of descriptor lines and a store.
//!
//! A layer is read only when it is opened. The store is opened for the first line, not at the
//! start: all programs of a pipe start at the same time, and an earlier one may still have to
//! create the layout.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{Cursor, ErrorKind, IsTerminal, Read, StdinLock};
use std::path::PathBuf;
use std::vec;

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::layers::{DiffIds, LayerLine, MAX_CONFIG, second_config};
use common::lines::Lines;
use common::manifest::diff_ids;
use common::reference::StoreName;
use common::verify::BUFFER;
use common::{cli, stdio};
use store::{Remote, Store};

use crate::cli::Cli;
use crate::stream::{Budget, Stream, Verdict};

/// The maximum number of layers in a run.
const MAX_LAYERS: usize = 10_000;

/// The location of a layer's stored bytes.
#[derive(Clone)]
pub(crate) enum Place {
    /// Standard input, which can be read only once.
    Stdin,
    /// A file.
    File(PathBuf),
    /// A blob of the store.
    Blob(Descriptor),
}

/// A layer that can be opened.
#[derive(Clone)]
pub(crate) struct Layer {
    /// The name in messages.
    pub(crate) name: String,
    /// The location of the stored bytes.
    pub(crate) place: Place,
    /// The expected digest of the stored bytes, if known.
    pub(crate) digest: Option<Digest>,
    /// The expected diff ID, if known.
    pub(crate) diff_id: Option<Digest>,
}

impl Layer {
    fn of_file(path: PathBuf, cli: &Cli) -> Layer {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".into() } else { path.display().to_string() };
        let place = if is_stdin { Place::Stdin } else { Place::File(path) };
        Layer { name, place, digest: cli.digest.clone(), diff_id: cli.diff_id.clone() }
    }

    /// The expected number of stored bytes, if known.
    pub(crate) fn size(&self) -> Option<u64> {
        match &self.place {
            Place::Blob(descriptor) => Some(descriptor.size),
            _ => None,
        }
    }
}

/// The store of `--from`, and the files and streams of the operands.
pub(crate) struct Blobs {
    from: Option<StoreName>,
    remote: Remote,
    store: OnceCell<Store>,
}

impl Blobs {
    /// The blobs of a store, which is not opened yet.
    pub(crate) fn new(from: Option<StoreName>, remote: Remote) -> Blobs {
        Blobs { from, remote, store: OnceCell::new() }
    }

    /// Opens a layer and reads its first bytes.
    ///
    /// # Errors
    /// Absent if it does not exist, Usage if it is a terminal. Otherwise the errors of
    /// [`Stream::start`] and of the store.
    pub(crate) fn open<'a>(&'a self, layer: &Layer, budget: &'a Budget) -> Result<Stream<'a>> {
        let context = |error: Error| error.context(format_args!("layer {}", layer.name));
        let input = self.bytes(layer)?;
        // The store is open only if the layer is in it.
        let repair = self.store.get().and_then(Store::repair);
        Stream::start(layer.clone(), input, repair, budget).map_err(context)
    }

    /// Reads a layer in a regular file and returns its digest; `None` for any other layer.
    ///
    /// # Errors
    /// As for [`open`](Blobs::open).
    pub(crate) fn digest_of_file(&self, layer: &Layer) -> Result<Option<Digest>> {
        match &layer.place {
            Place::File(path) if path.is_file() => {}
            _ => return Ok(None),
        }
        let mut input = self.bytes(layer)?;
        let mut hasher = Algorithm::default().hasher();
        let mut buffer = vec![0; BUFFER];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(Some(hasher.finish())),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => {
                    return Err(Error::local(format_args!("read {}", layer.name), &cause));
                }
            }
        }
    }

    /// Adds a hint to the error of a layer whose bytes are wrong, if a mirror sent some of them.
    /// The layer is not fetched again, because some of the wrong entries may have been used
    /// already.
    pub(crate) fn blame_mirror(&self, layer: &Layer, error: Error) -> Error {
        let (Some(digest), Some(store)) = (&layer.digest, self.store.get()) else { return error };
        let error = store.blame(error);
        if error.status() == Status::Content && store.drop_mirrors_of(digest, &error) {
            return error
                .hint("a mirror sent some of the bytes: --mirror none uses only the registry");
        }
        error
    }

    fn bytes(&self, layer: &Layer) -> Result<Box<dyn Read + '_>> {
        let name = &layer.name;
        match &layer.place {
            Place::Stdin => {
                if std::io::stdin().is_terminal() {
                    let error = Error::usage("standard input: a terminal, not a layer");
                    return Err(error.hint("give a file, or descriptor lines with --from STORE"));
                }
                Ok(Box::new(stdio::stdin()?))
            }
            Place::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(cause) if cause.kind() == ErrorKind::NotFound => {
                    let error = Error::absent(format_args!("{name}: no such file"));
                    Err(cli::or_image(error, Some(path), |image, store| {
                        format!(
                            "fetch-manifest -p local {image} | list-blobs | \
                             list-layer --from {store}"
                        )
                    }))
                }
                Err(cause) => Err(Error::local(name, &cause)),
            },
            Place::Blob(descriptor) => self.blob(descriptor),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + '_>> {
        let store = self.store()?;
        Ok(match store.blob_at_once(descriptor)? {
            Some(bytes) => Box::new(Cursor::new(bytes)),
            None => Box::new(store.reader(descriptor, 0)),
        })
    }

    fn store(&self) -> Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let Some(from) = &self.from else { return Err(Error::usage("no store given")) };
        let store = Store::open(from, &self.remote)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// The diff IDs in an image config, whose bytes are verified.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<Digest>> {
        let digest = &descriptor.digest;
        let bytes = self.store()?.small_blob(descriptor, MAX_CONFIG);
        bytes
            .and_then(|bytes| diff_ids(&bytes))
            .map_err(|error| error.context(format_args!("image config {digest}")))
    }
}

/// The layers of the run, base first, as they become known.
pub(crate) struct Layers<'a> {
    /// The store and the files.
    pub(crate) blobs: &'a Blobs,
    files: vec::IntoIter<Layer>,
    lines: Option<Lines<StdinLock<'static>>>,
    any_type: bool,
    /// Whether the line of the image config is required.
    wants_config: bool,
    diff_ids: DiffIds,
    count: usize,
}

impl<'a> Layers<'a> {
    /// The layers that the command line names.
    ///
    /// # Errors
    /// Malformed if descriptor lines are expected and standard input is closed.
    pub(crate) fn new(cli: &Cli, blobs: &'a Blobs) -> Result<Layers<'a>> {
        let mut files = Vec::new();
        let mut lines = None;
        if cli.from.is_some() {
            lines = Some(Lines::new(stdio::stdin()?));
        } else if cli.layers.is_empty() {
            files.push(Layer::of_file("-".into(), cli));
        } else {
            files.extend(cli.layers.iter().map(|path| Layer::of_file(path.clone(), cli)));
        }
        Ok(Layers {
            blobs,
            files: files.into_iter(),
            lines,
            any_type: cli.any_type,
            wants_config: cli.from.is_some() && cli.is_of_image() && !cli.no_config,
            diff_ids: DiffIds::default(),
            count: 0,
        })
    }

    /// The next layer; `None` after the last one. If the line of the image config is next, reads
    /// the config and continues with the line after it.
    ///
    /// # Errors
    /// Malformed if a line is invalid, or after too many layers. Otherwise the errors of reading
    /// the image config.
    pub(crate) fn next(&mut self) -> Result<Option<Layer>> {
        let layer = self.take()?;
        if layer.is_some() {
            self.count += 1;
        }
        if self.count > MAX_LAYERS {
            return Err(Error::malformed(format_args!("more than {MAX_LAYERS} layers")));
        }
        Ok(layer)
    }

    fn take(&mut self) -> Result<Option<Layer>> {
        let Some(lines) = &mut self.lines else { return Ok(self.files.next()) };
        for line in lines {
            let descriptor = line?;
            match LayerLine::of(&descriptor, self.any_type)? {
                LayerLine::Config if self.diff_ids.wanted().is_some() => {
                    return Err(second_config());
                }
                LayerLine::Config => self.diff_ids.set_wanted(self.blobs.config(&descriptor)?)?,
                LayerLine::Layer => {
                    return Ok(Some(Layer {
                        name: descriptor.digest.to_string(),
                        digest: Some(descriptor.digest.clone()),
                        diff_id: None,
                        place: Place::Blob(descriptor),
                    }));
                }
            }
        }
        Ok(None)
    }

    /// Compares a layer that was verified with the image config.
    ///
    /// # Errors
    /// Content if its diff ID differs.
    pub(crate) fn verified(&mut self, verdict: &Verdict) -> Result<()> {
        self.diff_ids.add(verdict.diff_id.clone())
    }

    /// Compares the number of layers with the image config, after the last layer.
    ///
    /// # Errors
    /// As for [`DiffIds::check_end`].
    pub(crate) fn check_end(&self) -> Result<()> {
        self.diff_ids.check_end(self.wants_config)
    }

    /// All layers of the run; none of them is read. Each has its diff ID if the image config is
    /// known.
    ///
    /// # Errors
    /// As for [`next`](Layers::next) and [`DiffIds::check_number`]. Content if there are more
    /// layers than the image config has.
    pub(crate) fn all(&mut self) -> Result<Vec<Layer>> {
        let mut all = Vec::new();
        while let Some(layer) = self.next()? {
            all.push(layer);
        }
        self.diff_ids.check_number(all.len(), self.wants_config)?;
        if let Some(wanted) = self.diff_ids.wanted() {
            if all.len() > wanted.len() {
                let how = format_args!("got {} layers, want {}", all.len(), wanted.len());
                return Err(common::layers::mismatch(how));
            }
            for (layer, want) in all.iter_mut().zip(wanted) {
                layer.diff_id = Some(want.clone());
            }
        }
        Ok(all)
    }
}
