// SPDX-License-Identifier: Apache-2.0
//! Work on many things at once, its results in the order in which the things came.
//!
//! Everything between the two ends is bounded: however many jobs there are, only [`WINDOW`] of them
//! are in hand. Not here: what a job is, and what a failure means (a result may carry one).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result, Status};

/// The most threads that work, however many processors there are: a disk or a memory bus is busy
/// long before.
const MAX_THREADS: usize = 16;

/// How many jobs may be taken in before the first of them is done.
const WINDOW: usize = 256;

/// A job, and where its one result goes.
type Task<J, R> = (J, SyncSender<R>);

/// One thread a processor, for work that is the processor's.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Does `work` on every job, by so many threads, and gives the results to `take` in the jobs'
/// order, each as soon as it and all before it are there.
///
/// `jobs` makes its iterator on a thread of its own, so that one which waits for input holds up
/// nobody. When `take` fails, that is the end: what is still at work is left behind, for the
/// process to end with.
///
/// # Errors
/// Those of `take`.
pub fn in_order<J, R, I>(
    threads: usize,
    jobs: impl FnOnce() -> I + Send + 'static,
    work: impl Fn(J) -> R + Send + Sync + 'static,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    J: Send + 'static,
    R: Send + 'static,
    I: Iterator<Item = J>,
{
    let (tasks, todo) = sync_channel::<Task<J, R>>(WINDOW);
    let (slots, results) = sync_channel::<Receiver<R>>(WINDOW);
    std::thread::spawn(move || {
        for job in jobs() {
            let (slot, result) = sync_channel(1);
            // Either fails when nobody wants more.
            if slots.send(result).is_err() || tasks.send((job, slot)).is_err() {
                return;
            }
        }
    });
    let (todo, work) = (Arc::new(Mutex::new(todo)), Arc::new(work));
    for _ in 0..threads {
        let (todo, work) = (Arc::clone(&todo), Arc::clone(&work));
        std::thread::spawn(move || {
            loop {
                let task = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((job, slot)) = task else { return };
                let _ = slot.send(work(job));
            }
        });
    }
    for result in results {
        // A job without a result is one whose thread is gone.
        let gone = |_| Error::new(Status::Local, "a thread ended without a result");
        take(result.recv().map_err(gone)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_come_in_order_whatever_ends_first() {
        let mut seen = Vec::new();
        let work = |n: u32| {
            // The even ones are slower.
            (0..(n + 1) % 2 * 1000).fold(n, |n, _| std::hint::black_box(n))
        };
        let take = |n| {
            seen.push(n);
            Ok(())
        };
        in_order(4, || 0..10_000, work, take).unwrap();
        assert_eq!(seen, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_failure_is_the_end_of_an_endless_input() {
        let take = |n: u64| if n < 500 { Ok(()) } else { Err(Error::usage(n)) };
        let error = in_order(4, || 0.., |n: u64| n, take).unwrap_err();
        assert_eq!(error.to_string(), "500");
    }

    #[test]
    fn two_jobs_are_at_work_at_once() {
        // Each waits for the other: one after the other would never end.
        let both = Barrier::new(2);
        in_order(2, || 0..2, move |_| both.wait().is_leader(), |_| Ok(())).unwrap();
    }
}
