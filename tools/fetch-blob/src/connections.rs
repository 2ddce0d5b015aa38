// SPDX-License-Identifier: Apache-2.0
//! Downloading many blobs over a few connections. This module decides which blob, and which part of
//! it, each connection downloads next.
//!
//! The blobs are begun in input order, one for each connection. If no blob is left to begin, an
//! idle connection takes half of the largest part that is still missing. With `--early`,
//! [`in_order`] chooses instead. A small blob is verified by the connection that downloaded it, a
//! larger blob by its own thread.
//!
//! Threads are not joined. If the run fails, the process ends while they run. They leave ordinary
//! partial files, with which the next run continues.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::error::{Error, Result, Status};
use common::progress::How;
use common::schema1;

use crate::blob::{Blob, check_size};
use crate::destination::{Destination, Run};
use crate::download::download;
use crate::hashing::hash;
use crate::in_order;
use crate::lines::Wanted;
use crate::partial_files::FirstFile;
use crate::width::Width;

/// A blob of at most this many bytes is hashed by its connection after the download.
const SMALL: u64 = 1 << 20;

/// The number of active blobs for each connection. It is more than 1, so that hashing can lag
/// behind the download.
const UNDER_WAY: usize = 2;

/// The interval at which an idle connection checks for a part to split.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The position of a blob in the input, and its size or error.
type Outcome = (usize, Result<u64>);

/// The blobs of a run, and their outcomes.
pub(crate) struct Queue {
    pub(crate) waiting: VecDeque<Wanted>,
    /// The number of blobs that were taken from `waiting` and are not in `under_way` yet.
    pub(crate) beginning: usize,
    /// The number of these blobs that are not small.
    pub(crate) beginning_large: usize,
    /// The blobs that are being downloaded, by their position in the input.
    pub(crate) under_way: BTreeMap<usize, Arc<Blob>>,
    /// The positions of the blobs whose first bytes have arrived, with `--early`.
    arriving: BTreeSet<usize>,
    outcomes: Vec<Outcome>,
    closed: bool,
    /// The number of connections to use with `--early`.
    pub(crate) width: Width,
}

/// The next work of an idle connection.
pub(crate) enum Next {
    /// The part of the blob that begins at this offset.
    Part(Arc<Blob>, u64),
    /// A new blob.
    Begin(Box<Wanted>),
    /// Nothing at present.
    Wait,
}

impl Queue {
    /// An empty queue for `count` connections.
    pub(crate) fn new(count: usize, now: Instant) -> Queue {
        Queue {
            waiting: VecDeque::new(),
            beginning: 0,
            beginning_large: 0,
            under_way: BTreeMap::new(),
            arriving: BTreeSet::new(),
            outcomes: Vec::new(),
            closed: false,
            width: Width::new(count, now),
        }
    }

    /// Whether all blobs are done and no more blobs will be added.
    fn is_done(&self) -> bool {
        self.closed && self.waiting.is_empty() && self.beginning == 0 && self.under_way.is_empty()
    }
}

/// The connections and their queue of blobs.
pub(crate) struct Connections {
    run: Run,
    count: usize,
    queue: Mutex<Queue>,
    /// There may be work for an idle connection, or the last blob is done.
    work: Condvar,
    /// A blob is done or, with `--early`, begins to arrive.
    blob_changed: Condvar,
}

impl Connections {
    /// Starts `count` threads. Each has one connection at a time.
    pub(crate) fn start(run: Run, count: usize) -> Arc<Connections> {
        let queue = Mutex::new(Queue::new(count, Instant::now()));
        let (work, blob_changed) = (Condvar::new(), Condvar::new());
        let connections = Arc::new(Connections { run, count, queue, work, blob_changed });
        for _ in 0..count {
            let connections = connections.clone();
            std::thread::spawn(move || connections.connect());
        }
        connections
    }

    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// Adds a blob to the queue.
    pub(crate) fn push(&self, wanted: Wanted) {
        self.lock().waiting.push_back(wanted);
        self.work.notify_one();
    }

    /// Marks the end of the input: no more blobs will be added.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// Waits until the blob at this position of the input is done. Returns its size.
    ///
    /// # Errors
    /// Its error, or the error of another blob that has failed meanwhile: the run then ends without
    /// waiting for this one.
    pub(crate) fn outcome(&self, index: usize) -> Result<u64> {
        loop {
            if let Some(size) = self.wait_for(index, false)? {
                return Ok(size);
            }
        }
    }

    /// Like [`outcome`](Connections::outcome), but returns `None` when the blob begins to arrive.
    pub(crate) fn outcome_or_begin(&self, index: usize) -> Result<Option<u64>> {
        self.wait_for(index, true)
    }

    fn wait_for(&self, index: usize, or_begin: bool) -> Result<Option<u64>> {
        let mut queue = self.lock();
        loop {
            if let Some(i) = queue.outcomes.iter().position(|(which, _)| *which == index) {
                return queue.outcomes.swap_remove(i).1.map(Some);
            }
            let failed = queue.outcomes.iter().filter(|(_, outcome)| outcome.is_err());
            if let Some((_, Err(error))) = failed.min_by_key(|(which, _)| *which) {
                return Err(error.clone());
            }
            if or_begin && queue.arriving.contains(&index) {
                return Ok(None);
            }
            queue = self.blob_changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, index: usize, outcome: Result<u64>) {
        let mut queue = self.lock();
        if outcome.is_err() {
            // The run ends, so no more blobs need to begin.
            queue.waiting.clear();
        }
        queue.outcomes.push((index, outcome));
        drop(queue);
        self.blob_changed.notify_all();
    }

    /// The loop of a connection. It returns when there is nothing left to download.
    fn connect(self: &Arc<Self>) {
        let mut queue = self.lock();
        while !queue.is_done() {
            let next = if self.run.early {
                let received = self.run.received.load(Ordering::Relaxed);
                in_order::next(&mut queue, UNDER_WAY * self.count, received, Instant::now())
            } else {
                self.next(&mut queue)
            };
            match next {
                Next::Part(blob, start) => {
                    drop(queue);
                    download(&blob, start, &self.run);
                    self.work.notify_all();
                }
                Next::Begin(wanted) => {
                    let large = usize::from(!in_order::is_small(&wanted));
                    queue.beginning += 1;
                    queue.beginning_large += large;
                    drop(queue);
                    let index = wanted.index;
                    match self.begin(*wanted) {
                        Ok(None) => {}
                        Ok(Some(size)) => self.finish(index, Ok(size)),
                        Err(error) => self.finish(index, Err(error)),
                    }
                    queue = self.lock();
                    queue.beginning -= 1;
                    queue.beginning_large -= large;
                    self.work.notify_all();
                    continue;
                }
                Next::Wait => {
                    let waited = self.work.wait_timeout(queue, LOOK_AGAIN);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            }
            queue = self.lock();
        }
    }

    fn next(&self, queue: &mut Queue) -> Next {
        let mut blobs = queue.under_way.values();
        if let Some((blob, start)) = blobs.find_map(|blob| Some((blob, blob.take_part()?))) {
            return Next::Part(blob.clone(), start);
        }
        if queue.under_way.len() < UNDER_WAY * self.count
            && let Some(wanted) = queue.waiting.pop_front()
        {
            return Next::Begin(Box::new(wanted));
        }
        match split(queue) {
            Some((blob, start)) => Next::Part(blob, start),
            None => Next::Wait,
        }
    }

    /// Begins a blob. Returns its size if it is done already, and `None` if its download has begun.
    fn begin(self: &Arc<Self>, wanted: Wanted) -> Result<Option<u64>> {
        let Wanted { index, digest, descriptor, .. } = wanted;
        let run = &self.run;
        let stated = descriptor.as_ref().map(|descriptor| descriptor.size);
        if let Some(size) = run.present(&digest, stated)? {
            return Ok(Some(size));
        }
        check_size(stated, run.max_size, &digest)?;
        if digest.is_of_empty() {
            // The empty blob is not requested, because some registries cannot store it.
            return run.put_empty(&digest, stated).map(Some);
        }
        if let Some(descriptor) = &descriptor
            && let Some(bytes) = run.store.blob_at_once(descriptor)?
        {
            if matches!(run.destination, Destination::Layout(_)) {
                schema1::refuse_in_layout(descriptor)?;
            }
            run.destination.put(&digest, &bytes)?;
            run.progress.done(&digest, bytes.len() as u64, How::Fetched);
            return Ok(Some(bytes.len() as u64));
        }
        let files = run.destination.partial_files(&digest)?;
        let FirstFile { file: first, waited } = files.open_first(run.patience)?;
        // The process that held the lock may have completed the blob.
        if waited && let Some(size) = run.present(&digest, stated)? {
            files.remove(0);
            return Ok(Some(size));
        }
        let urls =
            descriptor.as_ref().map_or(Vec::new(), |d| d.urls().map(str::to_owned).collect());
        let blob = Arc::new(Blob::open(&digest, stated, urls, run.max_size, files, first)?);
        run.progress.begin(Some(&digest), stated, blob.received());
        if stated.is_some_and(|size| size <= SMALL) {
            return self.fetch_small(&blob).map(Some);
        }
        self.lock().under_way.insert(index, blob.clone());
        self.work.notify_all();
        let connections = self.clone();
        std::thread::spawn(move || {
            if connections.run.early && blob.wait_for_bytes() {
                connections.lock().arriving.insert(index);
                connections.blob_changed.notify_all();
            }
            let outcome = connections.verify(&blob, |connections| connections.work.notify_all());
            connections.lock().under_way.remove(&index);
            connections.finish(index, outcome);
            connections.work.notify_all();
        });
        Ok(None)
    }

    fn fetch_small(&self, blob: &Blob) -> Result<u64> {
        let download_all = |connections: &Connections| {
            while let Some(start) = blob.take_part() {
                download(blob, start, &connections.run);
            }
        };
        download_all(self);
        self.verify(blob, download_all)
    }

    /// Whether downloading wrong bytes again can help. This is possible if a mirror served some of
    /// them, because that mirror is not used again. It is also possible if the bytes came from
    /// several responses; this is tried once.
    fn can_refetch(&self, blob: &Blob, error: &Error, again: u32) -> bool {
        let is_wrong = matches!(error.status(), Status::Content | Status::Malformed);
        is_wrong && self.run.store.drop_mirrors_of(&blob.digest, error)
            || error.status() == Status::Content && !blob.lock().single_response && again == 0
    }

    /// Hashes a blob to its end and gives it its final name. Wrong bytes are removed. If another
    /// download can help, `refill` starts it.
    fn verify(&self, blob: &Blob, refill: impl Fn(&Connections)) -> Result<u64> {
        let mut hashed = hash(blob);
        let mut again = 0;
        while let Err(error) = &hashed
            && self.can_refetch(blob, error, again)
        {
            again += 1;
            blob.begin_again()?;
            self.run.progress.begin(Some(&blob.digest), blob.stated, 0);
            refill(self);
            hashed = hash(blob);
        }
        let size = match hashed {
            Ok(size) => size,
            Err(error) => {
                if error.status() == Status::Content || blob.is_empty() {
                    blob.discard();
                }
                return Err(self.run.store.with_repair(self.run.store.blame(error)));
            }
        };
        blob.publish()?;
        self.run.progress.done(&blob.digest, size, How::Fetched);
        Ok(size)
    }
}

/// Splits the active blob with the largest missing part, for an idle connection. `None` if a blob
/// is waiting to begin, or if splitting is not worthwhile.
fn split(queue: &Queue) -> Option<(Arc<Blob>, u64)> {
    if !queue.waiting.is_empty() {
        return None;
    }
    let blob = queue.under_way.values().max_by_key(|blob| blob.largest_left())?;
    match blob.split() {
        Ok(start) => Some((blob.clone(), start?)),
        Err(error) => {
            blob.fail(error);
            None
        }
    }
}

impl Blob {
    /// Gives the verified blob its final name.
    fn publish(&self) -> Result<()> {
        let first = self.lock().parts[0].file.clone();
        self.files.publish(&first)
    }

    /// The number of bytes that were received, in this run or an earlier one.
    pub(crate) fn received(&self) -> u64 {
        self.lock().parts.iter().map(|part| part.at - part.start).sum()
    }

    /// Whether no bytes were received.
    fn is_empty(&self) -> bool {
        self.lock().parts.iter().all(|part| part.at == part.start)
    }

    /// Removes all partial files, because they hold wrong bytes or no bytes.
    fn discard(&self) {
        for part in &self.lock().parts {
            self.files.remove(part.start);
        }
    }
}
