// SPDX-License-Identifier: Apache-2.0
//! Many blobs over a few connections: which blob, and which part of it, each connection fetches
//! next.
//!
//! Blobs begin in the order in which they are asked for, one a connection. When none is left to
//! begin, an idle connection helps with the largest that is under way. Small blobs are hashed by
//! the connection that fetched them, larger ones by a thread of their own. Threads are not joined:
//! when the run fails, it ends without them, and what they leave is a partial file like any other.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::error::{Error, Result, Status};
use common::progress::How;

use crate::blob::{Blob, check_size};
use crate::destination::Run;
use crate::download::download;
use crate::hashing::hash;
use crate::lines::Wanted;

/// Up to this size a blob is hashed by the connection that fetched it, after it came.
const SMALL: u64 = 1 << 20;

/// Blobs that may be under way at once, for each connection: hashing may lag behind fetching so
/// far.
const UNDER_WAY: usize = 2;

/// How often an idle connection looks again for a part to split.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A blob that is done: its size.
type Outcome = (usize, Result<u64>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Wanted>,
    /// Blobs that a connection is beginning: taken from the waiting, not under way yet.
    beginning: usize,
    under_way: Vec<Arc<Blob>>,
    outcomes: Vec<Outcome>,
    closed: bool,
}

impl Queue {
    /// Whether there is nothing to do and never will be.
    fn is_done(&self) -> bool {
        self.closed && self.waiting.is_empty() && self.beginning == 0 && self.under_way.is_empty()
    }
}

/// Connections at work.
pub(crate) struct Connections {
    run: Run,
    count: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Connections {
    /// Starts `count` threads, each with one connection at a time.
    pub(crate) fn start(run: Run, count: usize) -> Arc<Connections> {
        let queue = Mutex::new(Queue::default());
        let connections = Arc::new(Connections { run, count, queue, changed: Condvar::new() });
        for _ in 0..count {
            let connections = connections.clone();
            std::thread::spawn(move || connections.work());
        }
        connections
    }

    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// One more blob is wanted.
    pub(crate) fn push(&self, wanted: Wanted) {
        self.lock().waiting.push_back(wanted);
        self.changed.notify_all();
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for a blob's outcome.
    pub(crate) fn outcome(&self, index: usize) -> Result<u64> {
        let mut queue = self.lock();
        loop {
            if let Some(i) = queue.outcomes.iter().position(|(which, _)| *which == index) {
                return queue.outcomes.swap_remove(i).1;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, index: usize, outcome: Result<u64>) {
        let mut queue = self.lock();
        if outcome.is_err() {
            // What comes after it in the input will not be printed: it need not begin.
            queue.waiting.retain(|wanted| wanted.index < index);
        }
        queue.outcomes.push((index, outcome));
        self.changed.notify_all();
    }

    /// What a connection does until there is nothing left to fetch.
    fn work(self: &Arc<Self>) {
        let mut queue = self.lock();
        loop {
            let part =
                queue.under_way.iter().find_map(|blob| Some((blob.clone(), blob.take_part()?)));
            if let Some((blob, start)) = part {
                drop(queue);
                self.download(&blob, start);
            } else if queue.under_way.len() < UNDER_WAY * self.count
                && let Some(wanted) = queue.waiting.pop_front()
            {
                queue.beginning += 1;
                drop(queue);
                let index = wanted.index;
                match self.begin(wanted) {
                    Ok(None) => {}
                    Ok(Some(size)) => self.finish(index, Ok(size)),
                    Err(error) => self.finish(index, Err(error)),
                }
                self.lock().beginning -= 1;
                self.changed.notify_all();
            } else if queue.is_done() {
                return;
            } else if let Some((blob, start)) = split(&queue) {
                drop(queue);
                self.download(&blob, start);
            } else {
                let waited = self.changed.wait_timeout(queue, LOOK_AGAIN);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            queue = self.lock();
        }
    }

    fn download(&self, blob: &Blob, start: u64) {
        download(blob, start, &self.run.store, &self.run.progress);
        self.changed.notify_all();
    }

    /// Begins a blob: its size if it is done at once, nothing when it is under way.
    fn begin(self: &Arc<Self>, wanted: Wanted) -> Result<Option<u64>> {
        let Wanted { index, digest, descriptor } = wanted;
        let run = &self.run;
        let stated = descriptor.as_ref().map(|descriptor| descriptor.size);
        if let Some(size) = run.present(&digest, stated)? {
            return Ok(Some(size));
        }
        check_size(stated, run.max_size, &digest)?;
        if digest.is_of_nothing() {
            // Some registries cannot even store it.
            return run.put_nothing(&digest, stated).map(Some);
        }
        if let Some(descriptor) = &descriptor
            && let Some(bytes) = run.store.blob_at_once(descriptor)?
        {
            run.destination.put(&digest, &bytes)?;
            run.progress.done(&digest, bytes.len() as u64, How::Fetched);
            return Ok(Some(bytes.len() as u64));
        }
        let files = run.destination.partial_files(&digest)?;
        let (first, waited) = files.open(0)?;
        // Who held its lock may have finished it.
        if waited && let Some(size) = run.present(&digest, stated)? {
            files.remove(0);
            return Ok(Some(size));
        }
        let urls =
            descriptor.as_ref().map_or(Vec::new(), |d| d.urls().map(str::to_owned).collect());
        let blob = Arc::new(Blob::open(&digest, stated, urls, run.max_size, files, first)?);
        run.progress.announce(stated.unwrap_or(0));
        if stated.is_some_and(|size| size <= SMALL) {
            return self.small(&blob).map(Some);
        }
        self.lock().under_way.push(blob.clone());
        self.changed.notify_all();
        let connections = self.clone();
        std::thread::spawn(move || {
            let outcome = connections.verify(&blob, |connections| connections.changed.notify_all());
            connections.lock().under_way.retain(|other| !Arc::ptr_eq(other, &blob));
            connections.finish(index, outcome);
        });
        Ok(None)
    }

    fn small(&self, blob: &Blob) -> Result<u64> {
        let download_all = |connections: &Connections| {
            while let Some(start) = blob.take_part() {
                connections.download(blob, start);
            }
        };
        download_all(self);
        self.verify(blob, download_all)
    }

    /// Whether wrong bytes may be right the next time: without the mirror that gave some of them,
    /// or, once, when they did not come in one straight answer.
    fn is_worth_another(&self, blob: &Blob, error: &Error, again: u32) -> bool {
        let is_wrong = matches!(error.status(), Status::Content | Status::Malformed);
        is_wrong && self.run.store.leave_mirrors_of(&blob.digest, error)
            || error.status() == Status::Content && !blob.lock().straight && again == 0
    }

    /// Hashes a blob to its end and gives it its final name. Wrong bytes are thrown away and asked
    /// for again where that may help: `refill` sees to it.
    fn verify(&self, blob: &Blob, refill: impl Fn(&Connections)) -> Result<u64> {
        let mut hashed = hash(blob);
        let mut again = 0;
        while let Err(error) = &hashed
            && self.is_worth_another(blob, error, again)
        {
            again += 1;
            blob.begin_again()?;
            refill(self);
            hashed = hash(blob);
        }
        let size = match hashed {
            Ok(size) => size,
            Err(error) => {
                if error.status() == Status::Content || blob.is_empty() {
                    blob.discard();
                }
                return Err(error);
            }
        };
        blob.publish()?;
        self.run.progress.done(&blob.digest, size, How::Fetched);
        Ok(size)
    }
}

/// An idle connection's part of the largest blob under way, if none is left to begin.
fn split(queue: &Queue) -> Option<(Arc<Blob>, u64)> {
    if !queue.waiting.is_empty() {
        return None;
    }
    let blob = queue.under_way.iter().max_by_key(|blob| blob.largest_left())?;
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

    /// Whether nothing of it came.
    fn is_empty(&self) -> bool {
        self.lock().parts.iter().all(|part| part.at == part.start)
    }

    /// The bytes are wrong for good, or there are none: nothing of them is kept.
    fn discard(&self) {
        for part in &self.lock().parts {
            self.files.remove(part.start);
        }
    }
}
