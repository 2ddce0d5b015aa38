// SPDX-License-Identifier: Apache-2.0
//! The choice of the next blob and part with `--early`: the bytes at the front of the first
//! incomplete blob are downloaded first.
//!
//! Only a limited number of connections downloads large blobs ([`Width`](crate::width::Width)).
//! Several of them take consecutive ranges of the first blob. Blobs that are small or almost
//! complete do not count. Small blobs are therefore downloaded at the same time, and the request
//! for the next blob is sent before the current blob is complete.

use std::sync::Arc;
use std::time::Instant;

use common::error::Result;

use crate::blob::Blob;
use crate::connections::{Next, Queue};
use crate::lines::Wanted;

/// A blob that lacks at most this many bytes does not count. At 40 MB/s, that many arrive in the
/// time of a slow request.
const SMALL_REST: u64 = 4 << 20;

/// Chooses the next work of an idle connection. At most `most_blobs` are downloaded at the same
/// time. `received` is the number of bytes received until `now`.
pub(crate) fn next(queue: &mut Queue, most_blobs: usize, received: u64, now: Instant) -> Next {
    let busy: usize = queue.under_way.values().map(|blob| blob.busy_parts(SMALL_REST)).sum();
    let in_use = busy + queue.beginning_large;
    let allowed = queue.width.connections(now, received, in_use);
    let range = queue.width.range();
    let may_be_large = in_use < allowed;
    let most = if may_be_large { u64::MAX } else { SMALL_REST };
    if let Some(part) = first(queue, |blob| blob.take_first(most, range)) {
        return part;
    }
    let next_is_small = queue.waiting.front().is_some_and(is_small);
    if may_be_large
        && !next_is_small
        && let Some(range) = range
        && let Some(part) = first(queue, |blob| blob.take_after_first(range))
    {
        return part;
    }
    if (may_be_large || next_is_small)
        && queue.under_way.len() < most_blobs
        && let Some(wanted) = queue.waiting.pop_front()
    {
        return Next::Begin(Box::new(wanted));
    }
    Next::Wait
}

/// Whether a blob does not count from the start.
pub(crate) fn is_small(wanted: &Wanted) -> bool {
    wanted.descriptor.as_ref().is_some_and(|descriptor| descriptor.size <= SMALL_REST)
}

/// Calls `take` with one blob after the other, and returns the first part that it takes.
fn first(queue: &Queue, take: impl Fn(&Blob) -> Result<Option<u64>>) -> Option<Next> {
    for blob in queue.under_way.values() {
        match take(blob) {
            Ok(Some(start)) => return Some(Next::Part(Arc::clone(blob), start)),
            Ok(None) => {}
            Err(error) => blob.fail(error),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::partial_files::PartialFiles;
    use common::descriptor::{Descriptor, Line};
    use common::digest::{Algorithm, Digest};
    use common::mediatype;
    use layout::Layout;

    const LARGE: u64 = 100 << 20;

    /// A queue, and a layout for its blobs.
    struct Downloads {
        queue: Queue,
        layout: Layout,
        now: Instant,
        received: u64,
    }

    impl Downloads {
        fn of(name: &str, sizes: &[u64]) -> Downloads {
            let dir =
                std::env::temp_dir().join(format!("regutils-order-{name}-{}", std::process::id()));
            let layout = Layout::create(&dir).unwrap();
            let now = Instant::now();
            let mut queue = Queue::new(4, now);
            for (index, size) in sizes.iter().enumerate() {
                let descriptor = Descriptor::new(mediatype::OCTETS, digest(index), *size);
                queue.waiting.push_back(Wanted::line(index, Line::Whole(descriptor)));
            }
            Downloads { queue, layout, now, received: 0 }
        }

        fn next(&mut self) -> Next {
            next(&mut self.queue, 8, self.received, self.now)
        }

        /// Expects that the blob at this position is begun, and begins it.
        fn begins(&mut self, index: usize) {
            let Next::Begin(wanted) = self.next() else { panic!("blob {index} is not begun") };
            assert_eq!(wanted.index, index);
            let size = wanted.descriptor.map(|descriptor| descriptor.size);
            let files = PartialFiles::in_layout(&self.layout, &wanted.digest).unwrap();
            let first = files.open_first(Duration::ZERO).unwrap().file;
            let blob = Blob::open(&wanted.digest, size, Vec::new(), None, files, first).unwrap();
            self.queue.under_way.insert(index, Arc::new(blob));
        }

        /// Expects that this part is downloaded next, and marks it as being downloaded.
        fn takes(&mut self, index: usize, start: u64) {
            let Next::Part(blob, part) = self.next() else { panic!("no part is taken") };
            assert_eq!((&blob.digest, part), (&digest(index), start));
        }

        fn waits(&mut self) {
            assert!(matches!(self.next(), Next::Wait));
        }

        /// Receives bytes of the part that begins at `start`.
        fn receives(&mut self, index: usize, start: u64, bytes: u64) {
            let blob = &self.queue.under_way[&index];
            blob.lock().part(start).unwrap().at += bytes;
            self.received += bytes;
        }
    }

    impl Drop for Downloads {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.layout.dir());
        }
    }

    fn digest(index: usize) -> Digest {
        Algorithm::Sha256.digest(&index.to_le_bytes())
    }

    #[test]
    fn a_large_blob_is_begun_when_the_one_before_it_is_almost_complete() {
        let mut downloads = Downloads::of("large", &[LARGE, LARGE]);
        downloads.begins(0);
        downloads.takes(0, 0);
        downloads.waits();
        downloads.receives(0, 0, LARGE - SMALL_REST - 1);
        downloads.waits();
        downloads.receives(0, 0, 1);
        downloads.begins(1);
        downloads.takes(1, 0);
        downloads.waits();
    }

    #[test]
    fn small_blobs_are_downloaded_at_the_same_time() {
        let mut downloads = Downloads::of("small", &[LARGE, SMALL_REST, SMALL_REST, LARGE]);
        downloads.begins(0);
        downloads.takes(0, 0);
        for index in [1, 2] {
            downloads.begins(index);
            downloads.takes(index, 0);
        }
        downloads.waits();
    }

    #[test]
    fn connections_that_make_it_faster_take_the_next_ranges_of_the_first_blob() {
        let mut downloads = Downloads::of("ranges", &[LARGE, LARGE]);
        downloads.begins(0);
        downloads.takes(0, 0);
        downloads.waits();
        // At 2 MiB in a second, a second connection is tried, and the ranges have 4 MiB.
        downloads.receives(0, 0, 2 << 20);
        downloads.now += Duration::from_secs(1);
        downloads.takes(0, 6 << 20);
        // The second connection doubles the speed, so a third connection is tried.
        downloads.waits();
        downloads.receives(0, 0, 2 << 20);
        downloads.receives(0, 6 << 20, 2 << 20);
        downloads.now += Duration::from_secs(1);
        downloads.takes(0, 10 << 20);
        downloads.waits();
    }
}
