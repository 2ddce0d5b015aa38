// SPDX-License-Identifier: Apache-2.0
//! Lists the files of all layers together, sorted by path, or the entries that a higher layer
//! hides, in the order of the layers.

use archive::{Entry, EntryType, Time, names};
use common::error::Result;

use crate::cli::Cli;
use crate::line::{Form, Line};
use crate::output::Output;
use crate::source::{Layer, Layers};
use crate::stream::{Budget, read_whole};
use crate::tree::{Tree, Visible};

/// Reads and verifies all layers, and makes the tree of their files. Returns the layers with their
/// digests.
///
/// # Errors
/// The errors of reading and verifying the layers.
pub(crate) fn read(
    mut layers: Layers<'_>,
    budget: &Budget,
    max_entries: u64,
) -> Result<(Tree, Vec<Layer>)> {
    let mut tree = Tree::new(max_entries);
    let mut all = Vec::new();
    while let Some(mut layer) = layers.next()? {
        tree.next_layer();
        let stream = layers.blobs.open(&layer, budget)?;
        let verdict = read_whole(stream, |entry, _| tree.apply(entry))
            .map_err(|failed| layers.blobs.blame_mirror(&layer, failed.error))?;
        tree.end_layer().map_err(|error| error.context(format_args!("layer {}", layer.name)))?;
        layers.verified(&verdict)?;
        layer.digest = Some(verdict.digest);
        layer.diff_id = Some(verdict.diff_id);
        all.push(layer);
    }
    layers.check_end()?;
    Ok((tree, all))
}

/// Lists the image.
///
/// # Errors
/// As for [`read`]; Local if standard output cannot be written.
pub(crate) fn run(cli: &Cli, layers: Layers<'_>, budget: &Budget) -> Result<()> {
    let (tree, all) = read(layers, budget, cli.max_entries)?;
    let mut form = Form::new(cli.json, true);
    let mut output = Output::new()?;
    let digest = |layer: usize| all.get(layer).and_then(|layer| layer.digest.as_ref());
    if cli.hidden {
        for (entry, layer, hidden_by) in tree.hidden() {
            let name = shown_name(names::clean(&entry.name)?, entry.entry_type);
            let line = Line {
                name: &name,
                layer: digest(layer),
                hidden_by: digest(hidden_by),
                ..Line::of(entry)
            };
            output.bytes(&form.make(&line))?;
        }
    } else {
        let implied = implied_directory();
        tree.visit(|path, file| {
            let (entry, layer, link) = match &file {
                Visible::Implied { layer } => (&implied, *layer, None),
                Visible::Entry { entry, layer } => (*entry, *layer, None),
                Visible::Link { entry, layer, link } => (*entry, *layer, Some(link.as_slice())),
            };
            let entry_type = if link.is_some() { EntryType::Hardlink } else { entry.entry_type };
            let line = Line {
                entry_type,
                name: &shown_name(path.to_vec(), entry_type),
                link: link.unwrap_or(&entry.link),
                layer: digest(layer),
                implied: matches!(file, Visible::Implied { .. }),
                ..Line::of(entry)
            };
            output.bytes(&form.make(&line))
        })?;
    }
    output.release()
}

/// The attributes that unpack-layer gives to a directory without an entry.
fn implied_directory() -> Entry {
    Entry {
        name: Vec::new(),
        entry_type: EntryType::Directory,
        link: Vec::new(),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: 0, nanoseconds: 0 },
        atime: None,
        device: (0, 0),
        size: 0,
        sparse: None,
        xattrs: Vec::new(),
        foreign_attributes: false,
    }
}

/// The printed form of a path from the root: a directory's ends in a slash, and the root is `./`.
fn shown_name(mut path: Vec<u8>, entry_type: EntryType) -> Vec<u8> {
    if path.is_empty() {
        path.push(b'.');
    }
    if entry_type == EntryType::Directory {
        path.push(b'/');
    }
    path
}
