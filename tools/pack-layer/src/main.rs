// SPDX-License-Identifier: Apache-2.0
//! pack-layer: packs a directory or an archive into an image layer.
//!
//! The main thread walks the tree and reads files into blocks. Other threads hash the blocks,
//! compress them, then hash and write the compressed bytes. The layer gets its final name only when
//! it is complete. Not here: network access, and changes to the bytes of a given archive.

mod cli;
mod destination;
mod layer;
mod pack;
mod rules;
mod source;
mod time;
mod tree;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use common::descriptor::{Descriptor, UNCOMPRESSED};
use common::error::{Error, Result};
use common::line_output::LineOutput;
use common::progress::{How, Progress, Work};
use common::{exit, stdio};
use compress::{Compressor, Finished, Method};

use cli::Cli;
use destination::{Destination, DestinationName};
use layer::Archive;
use pack::Tree;
use source::{Source, Tarball};
use tree::Inode;

fn main() -> ExitCode {
    exit::run("pack-layer", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    let destination = cli.destination()?;
    let (method, media_type) = cli.method()?;
    // Standard output is opened before the layer is written. If it is closed, the run must fail
    // before it stores a layer whose descriptor line cannot be printed.
    let mut stdout = LineOutput::stdout()?;
    let progress = Progress::start(cli.progress, cli.quiet, Work::Local)?;
    let finished = match Source::open(&cli.path)? {
        Source::Directory(root) => pack(&cli, (destination, &progress), &root, method)?,
        Source::Archive(tarball) => pass(&cli, (destination, &progress), tarball, method)?,
    };
    let Finished { output, diff_id, digest, size } = finished;
    output.finish(&digest, size)?;
    progress.done(&digest, size, How::Packed);
    if destination.path().is_none() {
        // The layer itself was written to standard output.
        return Ok(());
    }
    let layer = Descriptor::new(media_type, digest, size);
    let layer = layer.with_annotation(UNCOMPRESSED, &diff_id.to_string());
    stdout.print(&layer).map_err(|cause| Error::local("standard output", &cause))
}

/// Packs a directory tree.
fn pack(
    cli: &Cli,
    (name, progress): (DestinationName<'_>, &Progress),
    root: &Path,
    method: Method,
) -> Result<Finished<Destination>> {
    let rules = cli.rules()?;
    refuse_inside(root, name)?;
    if let Some(base) = &cli.base {
        source::directory(base)?;
    }
    let destination = Destination::open(name, progress.clone())?;
    let outputs = outputs(&destination);
    let user = rustix::process::geteuid();
    let own_id = (!user.is_root()).then(|| user.as_raw());
    let base = cli.base.as_deref();
    let tree = Tree { root, base, rules: &rules, outputs: &outputs, own_id };
    let mut archive = Archive::new(compressor(destination, method)?);
    tree.pack(&mut archive)?;
    archive.finish()
}

/// Packs an archive, unchanged.
fn pass(
    cli: &Cli,
    (name, progress): (DestinationName<'_>, &Progress),
    mut tarball: Tarball,
    method: Method,
) -> Result<Finished<Destination>> {
    if let Some(option) = cli.shaping_option() {
        let what = format_args!("{option} does not apply to an archive, which is packed unchanged");
        return Err(Error::usage(what).hint("unpack-layer unpacks an archive to a directory"));
    }
    let mut output = compressor(Destination::open(name, progress.clone())?, method)?;
    tarball.pass(&mut output)?;
    output.finish().map_err(|cause| destination::write_error(&cause))
}

fn compressor(destination: Destination, method: Method) -> Result<Compressor<Destination>> {
    Compressor::new(destination, method).map_err(|cause| Error::local("start a thread", &cause))
}

/// The regular files that are written while the tree is read: the destination, and the file that
/// standard output is redirected to.
fn outputs(destination: &Destination) -> Vec<Inode> {
    let stdout = stdio::stdout().ok();
    let files = destination.stream().into_iter().chain(&stdout);
    let metadata = files.filter_map(|file| file.metadata().ok()).filter(|m| m.is_file());
    metadata.map(|m| Inode { device: m.dev(), number: m.ino() }).collect()
}

/// Refuses an output inside the tree that is packed: the layer would contain itself.
fn refuse_inside(root: &Path, destination: DestinationName<'_>) -> Result<()> {
    let Some(output) = destination.path() else { return Ok(()) };
    // A path that does not exist yet is resolved by its nearest existing ancestor. Other errors are
    // reported when the output is opened.
    let mut ancestor = std::path::absolute(output).unwrap_or_else(|_| output.to_owned());
    let resolved = loop {
        match (ancestor.canonicalize(), ancestor.parent()) {
            (Ok(path), _) => break path,
            (Err(_), Some(parent)) => ancestor = parent.to_owned(),
            (Err(_), None) => return Ok(()),
        }
    };
    let is_inside = root.canonicalize().is_ok_and(|root| resolved.starts_with(root));
    if is_inside {
        let tree = root.display();
        let what = format_args!("{destination}: the output is in the tree that is packed, {tree}");
        return Err(Error::usage(what));
    }
    Ok(())
}
