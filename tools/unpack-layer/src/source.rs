// SPDX-License-Identifier: Apache-2.0
//! Where layers come from: files and stdin, or descriptor lines and the layout that has their
//! blobs.
//!
//! Sources are made and used on the reading thread, so that waiting for a line holds nobody up, and
//! a layer is read while the one before it is still being written. The layout is opened at the
//! first line: all programs of a pipe start at once, and the one that makes it may be later.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::lines::Lines;
use common::manifest::diff_ids;
use common::mediatype::{Kind, kind};
use common::stdio;
use layout::Layout;

use crate::stream::{LayerInput, LayerSource, SourceItem};

/// The largest image config that is read, in bytes.
pub(crate) const MAX_CONFIG: u64 = 4 << 20;

/// The size that a pipe on stdin is given: fewer changes between the programs of a pipe.
const PIPE_SIZE: usize = 1 << 20;

/// Layers of files; `-` is stdin, and so is none at all.
pub(crate) fn files(
    layers: Vec<PathBuf>,
    digest: Option<Digest>,
    diff_id: Option<Digest>,
) -> Result<LayerSource> {
    let layers = if layers.is_empty() { vec![PathBuf::from("-")] } else { layers };
    Ok(Box::new(layers.into_iter().map(move |layer| {
        let (name, input) = open(&layer)?;
        Ok(SourceItem::Layer(LayerInput {
            name,
            input,
            digest: digest.clone(),
            size: None,
            diff_id: diff_id.clone(),
            descriptor: None,
        }))
    })))
}

fn open(layer: &Path) -> Result<(String, Box<dyn Read + Send>)> {
    if layer.as_os_str() == "-" {
        drop(stdio::stdin()?);
        let stdin = rustix::stdio::stdin();
        if std::io::stdin().is_terminal() {
            let error = Error::usage("standard input: a terminal, from which no layer is read");
            return Err(error.hint("name a file, or --from oci:DIR with descriptor lines"));
        }
        // No pipe, or no right to a large one: then as it is.
        let _ = rustix::pipe::fcntl_setpipe_size(stdin, PIPE_SIZE);
        let trouble = |cause: std::io::Error| Error::local("standard input", &cause);
        let file = stdin.try_clone_to_owned().map(File::from).map_err(trouble)?;
        return Ok(("standard input".to_owned(), Box::new(file)));
    }
    let name = layer.display().to_string();
    match File::open(layer) {
        Ok(file) => Ok((name, sequential(file))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::absent(format_args!("{name}: no such file")))
        }
        Err(cause) => Err(Error::local(name, &cause)),
    }
}

fn sequential(file: File) -> Box<dyn Read + Send> {
    // Advice; a file that takes none is read all the same.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    Box::new(file)
}

/// Layers by descriptor lines on stdin, their blobs in a layout.
pub(crate) fn lines(layout: PathBuf, any_type: bool) -> Result<LayerSource> {
    let mut judge = Judge { dir: layout, layout: None, any_type, diff_ids: None, layers: 0 };
    let lines = Lines::new(stdio::stdin()?);
    Ok(Box::new(lines.map(move |line| line.and_then(|descriptor| judge.item(descriptor)))))
}

/// What decides about each line as it comes.
struct Judge {
    dir: PathBuf,
    layout: Option<Layout>,
    any_type: bool,
    /// The image config's diff IDs, once its line came.
    diff_ids: Option<Vec<Digest>>,
    /// The layers that came so far.
    layers: usize,
}

impl Judge {
    fn item(&mut self, descriptor: Descriptor) -> Result<SourceItem> {
        let foreign = match kind(&descriptor.media_type) {
            Kind::Config => return self.config(descriptor),
            Kind::Layer { foreign, .. } => foreign,
            Kind::Index | Kind::Manifest | Kind::Schema1 => {
                return Err(Error::malformed(format_args!(
                    "{}: a manifest, not a layer",
                    descriptor.digest
                ))
                .hint("fetch-manifest -p OS/ARCH picks one image of an index, list-blobs lists its layers"));
            }
            _ if self.any_type => false,
            _ => {
                return Err(Error::malformed(format_args!(
                    "{}: {} is no layer's media type",
                    descriptor.digest, descriptor.media_type
                ))
                .hint("--any-type takes it for a layer"));
            }
        };
        self.layer(descriptor, foreign)
    }

    fn layer(&mut self, descriptor: Descriptor, foreign: bool) -> Result<SourceItem> {
        let diff_id = match &self.diff_ids {
            None => None,
            Some(ids) => match ids.get(self.layers) {
                Some(id) => Some(id.clone()),
                None => return Err(mismatch(&format!("got more than {} layers", ids.len()))),
            },
        };
        self.layers += 1;
        let layout = self.layout()?;
        let Some((blob, size)) = layout.open_blob(&descriptor.digest)? else {
            let absent = Error::absent(format_args!(
                "oci:{}: no blob {}",
                layout.dir().display(),
                descriptor.digest
            ));
            return Err(match foreign {
                true => absent.hint(
                    "it is non-distributable: its bytes must be brought there by other means",
                ),
                false => absent.hint("fetch-blob REPO --into brings it there"),
            });
        };
        if size != descriptor.size {
            let torn = Error::content(format_args!(
                "{}: size differs: got {size}, want {}",
                descriptor.digest, descriptor.size
            ));
            return Err(torn.hint("fetch-blob REPO --into fetches it again"));
        }
        Ok(SourceItem::Layer(LayerInput {
            name: descriptor.digest.to_string(),
            input: sequential(blob),
            digest: Some(descriptor.digest.clone()),
            size: Some(descriptor.size),
            diff_id,
            descriptor: Some(descriptor),
        }))
    }

    fn config(&mut self, descriptor: Descriptor) -> Result<SourceItem> {
        if self.diff_ids.is_some() {
            return Err(Error::malformed("a second image config: layers of one image are wanted"));
        }
        let digest = &descriptor.digest;
        let bytes = self.layout()?.read_blob(digest, MAX_CONFIG)?;
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::content(format_args!(
                "image config {digest}: size differs: got {}, want {}",
                bytes.len(),
                descriptor.size
            )));
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

/// An image whose parts contradict each other.
pub(crate) fn mismatch(how: &str) -> Error {
    Error::content(format_args!("layers from manifest don't match image configuration: {how}"))
}
