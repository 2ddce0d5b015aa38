// SPDX-License-Identifier: Apache-2.0
//! Writes one file of the image to standard output, verified.
//!
//! All layers are first read and verified, to find the layer that has the file. A higher layer may
//! replace the file, also under another name, through a symbolic link of a lower layer. The layer
//! that has the file is then read again, to its end. The last 64 KiB of the file are held back
//! until the layer is verified for the second time.

use archive::EntryType;
use common::error::{Error, Result, Status};
use common::terminal::TextOnly;

use crate::merged;
use crate::output::{Output, TO_A_TERMINAL, content};
use crate::source::Layers;
use crate::stream::{Budget, read_whole};

/// Writes the file with this path.
///
/// # Errors
/// As for [`merged::read`]. Absent if the image has no such regular file. Local if standard output
/// cannot be written.
pub(crate) fn run(
    path: &[u8],
    layers: Layers<'_>,
    budget: &Budget,
    max_entries: u64,
) -> Result<()> {
    let blobs = layers.blobs;
    let (mut tree, all) = merged::read(layers, budget, max_entries)?;
    let (layer, position) = tree.find(path)?;
    let Some(layer) = all.get(layer) else { return Err(changed()) };
    drop(tree);
    budget.reset();
    let mut output = Output::new()?;
    let guard = TextOnly::on_stdout(TO_A_TERMINAL);
    let mut number = 0;
    let mut is_written = false;
    let verdict = read_whole(blobs.open(layer, budget)?, |entry, reader| {
        if number == position && entry.entry_type == EntryType::Regular {
            is_written = true;
            content(entry, reader, budget.limit(), |bytes| {
                guard.check(bytes)?;
                output.bytes(bytes)
            })?;
        }
        number += 1;
        Ok(())
    });
    verdict.map_err(|failed| blobs.blame_mirror(layer, failed.error))?;
    if is_written { output.release() } else { Err(changed()) }
}

/// The error if a layer has other entries when it is read for the second time. Changed bytes would
/// have another digest, so this error is a fault of this program.
fn changed() -> Error {
    Error::new(Status::Local, "the layers changed while they were read")
}
