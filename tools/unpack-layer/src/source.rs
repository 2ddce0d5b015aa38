// SPDX-License-Identifier: Apache-2.0
//! The sources of layers: files and stdin, or descriptor lines and the layout that has their blobs.
//!
//! Sources are created and used on a thread of their own. While it waits for a line, the other
//! threads continue.
//!
//! The layout is opened at the first line, not at the start: all programs of a pipe start at the
//! same time, and an earlier one may still have to create the layout.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::layers::{LayerLine, MAX_CONFIG, mismatch, second_config};
use common::lines::Lines;
use common::manifest::diff_ids;
use common::mediatype::{self, Kind};
use common::progress::{Expected, Progress};
use common::reference::StoreName;
use common::{cli, stdio};
use layout::Layout;

use crate::arriving::{self, Opened};
use crate::known_image::KnownImage;
use crate::stream::{LayerInput, LayerSource, SourceItem};

/// The buffer size to set for a pipe on stdin, in bytes. A large one means fewer context switches.
const PIPE_SIZE: usize = 1 << 20;

/// The layers in the given files. `-` means stdin, and so does an empty list. `dir` is the
/// directory to unpack to, for a hint.
pub(crate) fn files(
    layers: Vec<PathBuf>,
    dir: PathBuf,
    digest: Option<Digest>,
    diff_id: Option<Digest>,
    progress: &Progress,
) -> Result<LayerSource> {
    let layers = if layers.is_empty() { vec![PathBuf::from("-")] } else { layers };
    let regular = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        metadata.is_file().then_some(metadata.len())
    };
    if let Some(sizes) = layers.iter().map(regular).collect::<Option<Vec<u64>>>() {
        progress.add_expected(Expected::Bytes(sizes.iter().sum()));
        progress.all_expected();
    }
    let progress = progress.clone();
    Ok(Box::new(layers.into_iter().map(move |layer| {
        let (name, input) = open(&layer, &dir)?;
        let input = Box::new(progress.counting(digest.clone(), input));
        Ok(SourceItem::Layer(LayerInput {
            name,
            input,
            digest: digest.clone(),
            size: None,
            diff_id: diff_id.clone(),
            descriptor: None,
            repair: None,
            arriving: None,
        }))
    })))
}

/// The pipeline that unpacks an image of a store to `dir`.
fn pipeline(image: &str, store: &StoreName, dir: &Path) -> String {
    let dir = dir.display();
    match store {
        StoreName::Layout(_) => format!(
            "fetch-manifest -p local {image} | list-blobs | unpack-layer --from {store} {dir}"
        ),
        StoreName::Repository(_) => format!(
            "fetch-manifest -p local {image} --into oci:DIR | list-blobs | \
             fetch-blob {store} --into oci:DIR | unpack-layer --from oci:DIR {dir}"
        ),
    }
}

/// Opens a layer's file. `dir` is the directory to unpack to, for a hint.
fn open(layer: &Path, dir: &Path) -> Result<(String, Box<dyn Read + Send>)> {
    if layer.as_os_str() == "-" {
        drop(stdio::stdin()?);
        let stdin = rustix::stdio::stdin();
        if std::io::stdin().is_terminal() {
            let error = Error::usage("standard input: a terminal, not a layer");
            return Err(error.hint("give a file, or descriptor lines with --from oci:DIR"));
        }
        // Fails if stdin is not a pipe, or if the size is not permitted: the size is then
        // unchanged.
        let _ = rustix::pipe::fcntl_setpipe_size(stdin, PIPE_SIZE);
        let local = |cause: std::io::Error| Error::local("standard input", &cause);
        let file = stdin.try_clone_to_owned().map(File::from).map_err(local)?;
        return Ok(("standard input".to_owned(), Box::new(file)));
    }
    let name = layer.display().to_string();
    match File::open(layer) {
        Ok(file) => Ok((name, sequential(file))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            let error = Error::absent(format_args!("{name}: no such file"));
            Err(cli::or_image(error, Some(layer), |image, store| pipeline(image, store, dir)))
        }
        Err(cause) => Err(Error::local(name, &cause)),
    }
}

fn sequential(file: File) -> Box<dyn Read + Send> {
    // This is only advice to the kernel: a failure does not matter.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    Box::new(file)
}

/// The layers of the descriptor lines on stdin, whose blobs are in a layout. If an image `known` is
/// given, the lines are compared with its lines.
pub(crate) fn lines(
    layout: PathBuf,
    any_type: bool,
    known: Option<KnownImage>,
    progress: &Progress,
) -> Result<LayerSource> {
    let source = LineSource {
        dir: layout,
        layout: None,
        any_type,
        diff_ids: None,
        layers: 0,
        progress: progress.clone(),
    };
    let lines = || -> Box<dyn Iterator<Item = Result<Descriptor>>> {
        match stdio::stdin() {
            Ok(stdin) => Box::new(Lines::new(stdin)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    };
    let expected = |line: &Result<Descriptor>| match line {
        Ok(line) if mediatype::kind(&line.media_type) != Kind::Config => Expected::Bytes(line.size),
        _ => Expected::Nothing,
    };
    let lines = progress.ahead(lines, expected);
    Ok(Box::new(ComparedLines { lines, source, known, waiting: VecDeque::new(), error: None }))
}

/// The items of descriptor lines. The lines are held back while all of them are equal to those of a
/// known image. The first line that differs, or a changed DIR, ends the comparison, and the lines
/// are then used.
struct ComparedLines<L> {
    lines: L,
    source: LineSource,
    /// `None` if the lines are not compared any more.
    known: Option<KnownImage>,
    /// The lines that were held back.
    waiting: VecDeque<Descriptor>,
    /// The error of the invalid line that ended the comparison.
    error: Option<Error>,
}

impl<L: Iterator<Item = Result<Descriptor>>> ComparedLines<L> {
    /// Compares lines as they arrive. `None` if the image is another one.
    fn compare(&mut self, mut known: KnownImage) -> Option<SourceItem> {
        loop {
            match self.lines.next() {
                Some(Ok(line)) => {
                    if !known.take(line) {
                        break;
                    }
                }
                Some(Err(error)) => {
                    self.error = Some(error);
                    break;
                }
                None if known.is_whole() => return Some(SourceItem::Same(known.into_output())),
                None => break,
            }
        }
        self.waiting = known.into_lines().into();
        None
    }
}

impl<L: Iterator<Item = Result<Descriptor>>> Iterator for ComparedLines<L> {
    type Item = Result<SourceItem>;

    fn next(&mut self) -> Option<Result<SourceItem>> {
        if let Some(known) = self.known.take()
            && let Some(same) = self.compare(known)
        {
            return Some(Ok(same));
        }
        let line = match self.waiting.pop_front() {
            Some(line) => line,
            None => match self.error.take().map(Err).or_else(|| self.lines.next())? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            },
        };
        Some(self.source.item(line))
    }
}

/// Checks descriptor lines and opens their blobs.
struct LineSource {
    dir: PathBuf,
    /// `None` before the first line.
    layout: Option<Layout>,
    any_type: bool,
    /// The diff IDs in the image config; `None` before its line was read.
    diff_ids: Option<Vec<Digest>>,
    /// The number of layers so far.
    layers: usize,
    progress: Progress,
}

impl LineSource {
    fn item(&mut self, descriptor: Descriptor) -> Result<SourceItem> {
        match LayerLine::of(&descriptor, self.any_type)? {
            LayerLine::Config => self.config(descriptor),
            LayerLine::Layer => self.layer(descriptor),
        }
    }

    fn layer(&mut self, descriptor: Descriptor) -> Result<SourceItem> {
        let diff_id = match &self.diff_ids {
            None => None,
            Some(ids) => match ids.get(self.layers) {
                Some(id) => Some(id.clone()),
                None => return Err(mismatch(format_args!("got more than {} layers", ids.len()))),
            },
        };
        self.layers += 1;
        let digest = descriptor.digest.clone();
        let size = descriptor.size;
        let name = format!("oci:{}: {digest}", self.dir.display());
        let repair = self.layout()?.repair();
        let (input, arriving): (Box<dyn Read + Send>, _) = match self.open(&descriptor)? {
            Opened::Whole(_, got) if got != size => {
                let what = format_args!("{name}: size differs: got {got}, want {size}");
                return Err(Error::content(what).hint(repair));
            }
            Opened::Whole(blob, _) => (sequential(blob), None),
            Opened::Arriving(arriving) => (Box::new(arriving.reader()), Some(arriving)),
        };
        self.progress.begin(Some(&digest), Some(size), 0);
        let input = self.progress.counting(Some(digest.clone()), input);
        Ok(SourceItem::Layer(LayerInput {
            name,
            input: Box::new(input),
            digest: Some(digest),
            size: Some(size),
            diff_id,
            descriptor: Some(descriptor),
            repair: Some(repair),
            arriving,
        }))
    }

    fn open(&mut self, descriptor: &Descriptor) -> Result<Opened> {
        let layout = self.layout()?;
        if descriptor.early {
            return arriving::open(layout, descriptor);
        }
        let found = layout.open_blob(&descriptor.digest)?;
        let (blob, size) = found.ok_or_else(|| layout.absent(&descriptor.digest))?;
        Ok(Opened::Whole(blob, size))
    }

    fn config(&mut self, descriptor: Descriptor) -> Result<SourceItem> {
        if self.diff_ids.is_some() {
            return Err(second_config());
        }
        let digest = &descriptor.digest;
        let layout = self.layout()?;
        if descriptor.early
            && let Opened::Arriving(arriving) = arriving::open(layout, &descriptor)?
        {
            arriving
                .wait_until_whole()
                .map_err(|e| e.context(format_args!("image config {digest}")))?;
        }
        let bytes = layout.read_blob(digest, MAX_CONFIG)?;
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::content(format_args!(
                "image config {digest}: size differs: got {}, want {}",
                bytes.len(),
                descriptor.size
            ))
            .hint(layout.repair()));
        }
        let ids = diff_ids(&bytes).map_err(|e| e.context(format_args!("image config {digest}")))?;
        self.diff_ids = Some(ids.clone());
        Ok(SourceItem::Config(descriptor, ids))
    }

    fn layout(&mut self) -> Result<&Layout> {
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => Layout::open(&self.dir)?,
        };
        Ok(self.layout.insert(layout))
    }
}
