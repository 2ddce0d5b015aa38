// SPDX-License-Identifier: Apache-2.0
//! The hashing thread: computes the digest of a layer's stored bytes and the digest of its archive.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use common::digest::{Algorithm, Digest};

use super::buffer::Buffer;

/// A message from the reading thread.
pub(super) enum Task {
    /// A layer begins. If it is not compressed, its stored bytes are its archive. They are then
    /// hashed only once, unless the two algorithms differ.
    Begin { stored: Algorithm, archive: Algorithm, compressed: bool },
    /// Stored bytes.
    Stored(Arc<Buffer>),
    /// Bytes of the archive of a compressed layer.
    Archive(Arc<Buffer>),
    /// The end of the layer.
    End,
}

/// The computed digests and size of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// The digest of the stored bytes.
    pub(crate) digest: Digest,
    /// The number of stored bytes.
    pub(crate) size: u64,
    /// The digest of the archive.
    pub(crate) diff_id: Digest,
}

/// Hashes until the reading thread ends.
pub(super) fn run(tasks: &Receiver<Task>, back: &Sender<Arc<Buffer>>, verdicts: &Sender<Verdict>) {
    let mut stored = Algorithm::default().hasher();
    let mut archive = None;
    let mut same = false;
    let mut size = 0;
    while let Ok(task) = tasks.recv() {
        match task {
            Task::Begin { stored: of_stored, archive: of_archive, compressed } => {
                stored = of_stored.hasher();
                same = !compressed;
                archive = (compressed || of_archive != of_stored).then(|| of_archive.hasher());
                size = 0;
            }
            Task::Stored(buffer) => {
                stored.update(buffer.filled());
                size += buffer.filled().len() as u64;
                if same && let Some(archive) = &mut archive {
                    archive.update(buffer.filled());
                }
                let _ = back.send(buffer);
            }
            Task::Archive(buffer) => {
                if let Some(archive) = &mut archive {
                    archive.update(buffer.filled());
                }
                let _ = back.send(buffer);
            }
            Task::End => {
                let digest = stored.clone().finish();
                let diff_id =
                    archive.take().map_or_else(|| digest.clone(), |hasher| hasher.finish());
                if verdicts.send(Verdict { digest, size, diff_id }).is_err() {
                    return;
                }
            }
        }
    }
}
