// SPDX-License-Identifier: Apache-2.0
//! The complete run: applies one layer after the other and verifies each after its last byte. It
//! then compares the layers with the image config and publishes DIR.

use common::descriptor::{Descriptor, UNCOMPRESSED};
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::layers::DiffIds;
use common::line_output::LineOutput;
use common::notice;
use common::progress::{How, Progress};

use crate::destination::{Destination, REMAINS};
use crate::known_image::Image;
use crate::stream::{Layer, Step, Stream, Verdict};
use crate::tree::{DEVICE, Rules, Tree};
use archive::Reader;
use compress::decode;

/// The state of a run.
pub(crate) struct Unpacking {
    destination: Destination,
    rules: Rules,
    /// Whether the line of the image config is required.
    wants_config: bool,
    progress: Progress,
    /// `None` before the first entry.
    tree: Option<Tree>,
    diff_ids: DiffIds,
    /// The lines of the image, for the note about DIR.
    image: Image,
    /// The options of the note; `None` if there is no note.
    options: Option<String>,
    /// The next output line. It is printed when the next step begins; the last line of the run is
    /// printed after DIR was published.
    held: Option<Descriptor>,
}

impl Unpacking {
    /// The state before the first layer.
    pub(crate) fn new(
        destination: Destination,
        rules: Rules,
        wants_config: bool,
        options: Option<String>,
        progress: Progress,
    ) -> Unpacking {
        Unpacking {
            destination,
            rules,
            wants_config,
            progress,
            tree: None,
            diff_ids: DiffIds::default(),
            image: Image::default(),
            options,
            held: None,
        }
    }

    /// Unpacks all layers of the stream.
    pub(crate) fn run(mut self, stream: Stream) -> Result<()> {
        let outcome = self.all(stream);
        if outcome.is_err() {
            // Closes the tree's file descriptors: the removal may need them.
            self.tree = None;
            self.destination.discard();
        }
        outcome
    }

    fn all(&mut self, mut stream: Stream) -> Result<()> {
        while let Some(step) = stream.step()? {
            self.release_line()?;
            match step {
                Step::Same(lines) => {
                    for line in lines {
                        self.held = Some(line);
                        self.release_line()?;
                    }
                    self.destination.report_same();
                    return Ok(());
                }
                Step::Config(line, diff_ids) => {
                    self.image.add_config(&line);
                    self.held = Some(line);
                    self.diff_ids.set_wanted(diff_ids)?;
                }
                Step::Layer(layer) => {
                    let context = |e: Error| e.context(format_args!("layer {}", layer.name));
                    let verdict = self.layer(&layer, &mut stream).map_err(context)?;
                    if self.rules.strict {
                        no_warnings().map_err(context)?;
                    }
                    self.progress.done(&verdict.digest, verdict.size, How::Unpacked);
                    let line = line(&layer, &verdict);
                    self.image.add_layer(&line, &verdict.diff_id);
                    self.diff_ids.add(verdict.diff_id)?;
                    self.held = Some(line);
                }
            }
        }
        self.diff_ids.check_end(self.wants_config)?;
        self.tree()?;
        if let Some(tree) = self.tree.take() {
            tree.finish()?;
        }
        if self.rules.strict {
            no_warnings()?;
        }
        self.destination.publish(self.options.as_deref().map(|options| (options, &self.image)))?;
        self.release_line()?;
        if self.rules.strict { no_warnings() } else { Ok(()) }
    }

    /// Applies a layer and verifies its digests.
    fn layer(&mut self, layer: &Layer, stream: &mut Stream) -> Result<Verdict> {
        if let Some(descriptor) = &layer.descriptor {
            decode::warn_of_label(&layer.name, layer.compression, &descriptor.media_type);
        }
        let verifiable = layer.digest.is_some() || layer.diff_id.is_some();
        match self.apply(stream, verifiable) {
            Ok(()) => {
                let verdict = stream.verdict()?;
                check_digest(layer, &verdict)?;
                // With an image config, `DiffIds` compares the diff IDs instead.
                if self.diff_ids.wanted().is_none() {
                    check("diff ID", &verdict.diff_id, layer.diff_id.as_ref())?;
                }
                Ok(verdict)
            }
            // If the layer's bytes do not have the expected digest, they are probably malformed for
            // that reason: report the digest.
            Err(error) if layer.digest.is_some() => match stream.verdict_after(&error) {
                Some(verdict) => check_digest(layer, &verdict).and(Err(error)),
                None => Err(stream.no_verdict().unwrap_or(error)),
            },
            Err(error) => Err(error),
        }
    }

    fn apply(&mut self, stream: &mut Stream, verifiable: bool) -> Result<()> {
        let mut reader = Reader::new(stream);
        let Some(first) = reader.next()? else {
            return reader.finish()?.accept(verifiable);
        };
        let is_first = self.tree.is_none();
        let tree = self.tree()?;
        if !is_first {
            tree.next_layer()?;
        }
        tree.apply(&first, &mut reader)?;
        while let Some(entry) = reader.next()? {
            tree.apply(&entry, &mut reader)?;
        }
        tree.end_layer()?;
        reader.finish()?.accept(verifiable)
    }

    /// The tree, which is created when it is first needed.
    fn tree(&mut self) -> Result<&mut Tree> {
        match self.tree.take() {
            Some(tree) => Ok(self.tree.insert(tree)),
            None => {
                let onto = self.destination.is_onto();
                let root = self.destination.begin()?;
                let rules = self.rules.clone();
                let tree = if onto { Tree::onto(root, rules) } else { Tree::fresh(root, rules) };
                Ok(self.tree.insert(tree?))
            }
        }
    }

    fn release_line(&mut self) -> Result<()> {
        match self.held.take() {
            Some(line) => {
                let printed = LineOutput::stdout()?.print(&line);
                printed.map_err(|cause| Error::local("standard output", &cause))
            }
            None => Ok(()),
        }
    }
}

/// With `--strict`, returns the first warning as an error. Warnings about devices stay warnings,
/// because the user asked for them with `--skip-devices`.
fn no_warnings() -> Result<()> {
    let (expected, others): (Vec<_>, Vec<_>) =
        notice::take().into_iter().partition(|notice| notice.kind == DEVICE);
    if let Some(first) = others.into_iter().next() {
        let status = if first.kind == REMAINS { Status::Local } else { Status::Malformed };
        return Err(Error::new(status, format_args!("{} (--strict)", first.text)));
    }
    for device in expected {
        (0..device.count).for_each(|_| notice::warn(DEVICE, || device.text.clone()));
    }
    Ok(())
}

/// Checks the digest of the stored bytes. If they were read while they arrived, fetch-blob may have
/// replaced some of them meanwhile.
fn check_digest(layer: &Layer, verdict: &Verdict) -> Result<()> {
    let checked = check("digest", &verdict.digest, layer.digest.as_ref());
    match &layer.arriving {
        Some(arriving) => checked.map_err(|error| arriving.verdict().unwrap_or(error)),
        None => checked.map_err(|error| error.optional_hint(layer.repair.as_ref())),
    }
}

fn check(what: &str, got: &Digest, want: Option<&Digest>) -> Result<()> {
    match want {
        Some(want) if got != want => {
            Err(Error::content(format_args!("{what} differs: got {got}, want {want}")))
        }
        _ => Ok(()),
    }
}

/// The output line of a layer, with its diff ID: the input line if there was one, else a new one.
fn line(layer: &Layer, verdict: &Verdict) -> Descriptor {
    let descriptor = layer.descriptor.clone().unwrap_or_else(|| {
        let media_type = decode::media_type(layer.compression);
        Descriptor::new(media_type, verdict.digest.clone(), verdict.size)
    });
    descriptor.with_annotation(UNCOMPRESSED, &verdict.diff_id.to_string())
}
