// SPDX-License-Identifier: Apache-2.0
//! Lists the entries of each layer, in the order of the archive.
//!
//! The last lines of a layer are held back until it is verified. If a layer is malformed, the lines
//! before the fault are printed, unless the digest shows that the bytes are not those of the layer.

use common::error::Result;

use crate::cli::Cli;
use crate::line::{Form, Line};
use crate::output::Output;
use crate::path::{self, Count};
use crate::source::{Layer, Layers};
use crate::stream::{Budget, read_whole};

/// Lists all layers.
///
/// # Errors
/// The errors of reading and verifying the layers; Local if standard output cannot be written.
pub(crate) fn run(cli: &Cli, mut layers: Layers<'_>, budget: &Budget) -> Result<()> {
    let mut form = Form::new(cli.json, false);
    while let Some(mut layer) = layers.next()? {
        if cli.json && layer.digest.is_none() {
            layer.digest = layers.blobs.digest_of_file(&layer)?;
        }
        one(cli, &layer, &mut layers, budget, &mut form)?;
    }
    layers.check_end()
}

fn one(
    cli: &Cli,
    layer: &Layer,
    layers: &mut Layers<'_>,
    budget: &Budget,
    form: &mut Form,
) -> Result<()> {
    let mut output = Output::new()?;
    let mut count = Count::new("entries", cli.max_entries);
    let outcome = read_whole(layers.blobs.open(layer, budget)?, |entry, _| {
        count.add().map_err(|error| path::in_entry(error, entry))?;
        let clean = path::clean(entry)?;
        let line = Line {
            whiteout: path::whiteout(&clean),
            layer: layer.digest.as_ref(),
            ..Line::of(entry)
        };
        output.bytes(&form.make(&line))
    });
    match outcome {
        Ok(verdict) => {
            layers.verified(&verdict)?;
            output.release()
        }
        Err(failed) => {
            if failed.is_genuine {
                output.release()?;
            }
            Err(layers.blobs.blame_mirror(layer, failed.error))
        }
    }
}
