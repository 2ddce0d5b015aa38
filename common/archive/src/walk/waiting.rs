// SPDX-License-Identifier: Apache-2.0
//! Markers that wait for the end of their layer, because later entries decide about their path.
//!
//! A marker refers to a path of the lower layers. If that path leads through a symbolic link of a
//! lower layer, a later entry of the same layer may replace the link. The marker must then not act
//! on the directory to which the link led. With `--whiteouts overlay`, a marker also waits if the
//! layer does not have the marker's directory yet, because an entry for that directory may follow.
//!
//! Markers are applied from the root downwards, so that the result does not depend on their order
//! in the layer.

use common::error::{Error, Result};

use super::marker::Mark;
use crate::names;

/// The maximum number of bytes that the waiting markers of a layer may take in memory.
const MAX_BYTES: usize = 16 << 20;

/// The bytes that a marker takes in addition to its path.
const OVERHEAD: usize = size_of::<Waiting>() + 16;

/// A marker that waits.
pub struct Waiting {
    /// The kind of marker.
    pub mark: Mark,
    /// The clean path that it hides; for an opaque whiteout, the path of its directory.
    pub path: Box<[u8]>,
}

/// The markers that wait for the end of the layer.
#[derive(Default)]
pub struct WaitingMarkers {
    markers: Vec<Waiting>,
    bytes: usize,
}

impl WaitingMarkers {
    /// Whether another marker may be added, whatever the length of its path.
    pub fn has_room(&self) -> bool {
        self.bytes < MAX_BYTES
    }

    /// Adds a marker.
    ///
    /// # Errors
    /// Malformed if the markers take more than 16 MiB.
    pub fn add(&mut self, mark: Mark, path: Vec<u8>) -> Result<()> {
        if !self.has_room() {
            return Err(Error::malformed(format_args!(
                "more than {MAX_BYTES} bytes of whiteouts that lead through symbolic links of lower \
                 layers"
            )));
        }
        self.bytes += path.len() + OVERHEAD;
        self.markers.push(Waiting { mark, path: path.into_boxed_slice() });
        Ok(())
    }

    /// Removes all markers and returns them, from the root downwards.
    pub fn take(&mut self) -> Vec<Waiting> {
        let mut markers = std::mem::take(self).markers;
        markers.sort_unstable_by(|a, b| {
            let depths = names::depth(&a.path).cmp(&names::depth(&b.path));
            depths.then_with(|| a.path.cmp(&b.path)).then(a.mark.cmp(&b.mark))
        });
        markers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_come_out_from_the_root_downwards() {
        let mut waiting = WaitingMarkers::default();
        for path in ["b/c/d", "a/z", "b", "a/c"] {
            waiting.add(Mark::Opaque, path.into()).unwrap();
        }
        waiting.add(Mark::Whiteout, b"b".to_vec()).unwrap();
        let taken = waiting.take();
        let taken: Vec<_> = taken.iter().map(|w| (w.mark, &*w.path)).collect();
        assert_eq!(
            taken,
            [
                (Mark::Whiteout, &b"b"[..]),
                (Mark::Opaque, b"b"),
                (Mark::Opaque, b"a/c"),
                (Mark::Opaque, b"a/z"),
                (Mark::Opaque, b"b/c/d"),
            ]
        );
        assert!(waiting.take().is_empty());
    }

    #[test]
    fn memory_is_bounded_at_the_limit() {
        let mut waiting = WaitingMarkers::default();
        waiting.add(Mark::Whiteout, vec![b'x'; MAX_BYTES - OVERHEAD - 1]).unwrap();
        assert!(waiting.has_room());
        waiting.add(Mark::Whiteout, b"y".to_vec()).unwrap();
        assert!(!waiting.has_room() && waiting.add(Mark::Whiteout, b"z".to_vec()).is_err());
    }
}
