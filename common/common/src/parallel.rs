// SPDX-License-Identifier: Apache-2.0
//! Parallel jobs whose results are returned in the order of the jobs.
//!
//! Memory is bounded: at most [`WINDOW`] jobs are in progress, however many there are. Not here:
//! the work of a job, and the meaning of its failure (a result may carry an error).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result, Status};

/// The maximum number of worker threads, on any number of processors: a disk or the memory bus is
/// saturated long before that.
const MAX_THREADS: usize = 16;

/// The number of jobs that may be started before the first of them is done.
const WINDOW: usize = 256;

/// A job, and the channel for its one result.
type Task<J, R> = (J, SyncSender<R>);

/// The number of threads for CPU-bound work: one per processor, up to [`MAX_THREADS`].
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Runs `work` on every job with `threads` threads and passes the results to `take` in the order of
/// the jobs. Each result is passed as soon as it and all earlier results are ready.
///
/// `jobs` creates its iterator on a thread of its own, so an iterator that waits for input does not
/// delay the results. If `take` fails, this function returns at once; the threads still at work are
/// not waited for and end with the process.
///
/// # Errors
/// The error of `take`; Local if a worker thread ended without a result.
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
            // Sending fails once the receiver is gone: no more results are needed.
            if slots.send(result).is_err() || tasks.send((job, slot)).is_err() {
                return;
            }
        }
    });
    let todo = Arc::new(Mutex::new(todo));
    let work = Arc::new(work);
    for _ in 0..threads {
        let todo = Arc::clone(&todo);
        let work = Arc::clone(&work);
        std::thread::spawn(move || {
            loop {
                let task = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((job, slot)) = task else { return };
                let _ = slot.send(work(job));
            }
        });
    }
    for result in results {
        // A result is missing only if the worker thread ended early.
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
    fn results_are_in_order_whichever_job_ends_first() {
        let mut seen = Vec::new();
        let work = |n: u32| {
            // Even numbers take longer.
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
    fn two_jobs_run_at_the_same_time() {
        // Each job waits for the other, so this would never end if the jobs ran one after the
        // other.
        let both = Barrier::new(2);
        in_order(2, || 0..2, move |_| both.wait().is_leader(), |_| Ok(())).unwrap();
    }
}
