// SPDX-License-Identifier: Apache-2.0
//! Parallel jobs whose results are returned in the order of the jobs.
//!
//! Memory is bounded: at most [`WINDOW`] jobs are in progress at the same time. Not here: the work
//! of a job.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result, Status};

/// The maximum number of worker threads, whatever the number of processors. Fewer threads already
/// saturate a disk or the memory bus.
const MAX_THREADS: usize = 16;

/// The number of jobs that may be started before the first of them is done.
const WINDOW: usize = 256;

/// The number of threads for CPU-bound work: one per processor, up to [`MAX_THREADS`].
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Runs `work` on every job with `threads` threads and passes the results to `take` in the order of
/// the jobs. Each result is passed as soon as it and all earlier results are ready.
///
/// `jobs` is called on a separate thread and creates its iterator there, so an iterator that waits
/// for input does not delay the results. If `take` fails, this function returns at once. It does
/// not wait for threads that still work; they end with the process.
///
/// # Errors
/// The error of `take`; Local if a worker thread ended without a result.
pub fn in_order<J, R, I>(
    threads: usize,
    jobs: impl FnOnce() -> I + Send + 'static,
    work: impl Fn(J) -> R + Send + Sync + 'static,
    take: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    J: Send + 'static,
    R: Send + 'static,
    I: Iterator<Item = J>,
{
    run(threads, jobs, work, |_| None, take)
}

/// Like [`in_order`], but returns at once when a job fails, even if earlier jobs are still running.
/// Before it returns, it passes on the results of all jobs before the first unfinished one.
///
/// # Errors
/// The error of the first job that is known to have failed; otherwise as [`in_order`].
pub fn in_order_until_failure<J, R, I>(
    threads: usize,
    jobs: impl FnOnce() -> I + Send + 'static,
    work: impl Fn(J) -> Result<R> + Send + Sync + 'static,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    J: Send + 'static,
    R: Send + 'static,
    I: Iterator<Item = J>,
{
    let failure = |result: &Result<R>| result.as_ref().err().cloned();
    run(threads, jobs, work, failure, |result| take(result?))
}

fn run<J, R, I>(
    threads: usize,
    jobs: impl FnOnce() -> I + Send + 'static,
    work: impl Fn(J) -> R + Send + Sync + 'static,
    failure: impl Fn(&R) -> Option<Error>,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    J: Send + 'static,
    R: Send + 'static,
    I: Iterator<Item = J>,
{
    let (tasks, todo) = sync_channel::<(usize, J)>(WINDOW);
    // One token for each job whose result is not taken yet.
    let (tokens, taken) = sync_channel::<()>(WINDOW);
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    std::thread::spawn(move || {
        for (index, job) in jobs().enumerate() {
            // Sending fails after the receiver was dropped: no more results are needed then.
            if tokens.send(()).is_err() || tasks.send((index, job)).is_err() {
                return;
            }
            count.store(index + 1, Ordering::Release);
        }
    });
    let (done, results) = channel();
    let todo = Arc::new(Mutex::new(todo));
    let work = Arc::new(work);
    for _ in 0..threads {
        let (todo, work, done) = (Arc::clone(&todo), Arc::clone(&work), done.clone());
        std::thread::spawn(move || {
            loop {
                let task = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((index, job)) = task else { return };
                let mut promise = Promise { index, result: None, done: &done };
                promise.result = Some(work(job));
            }
        });
    }
    drop(done);
    let ended_early = || Error::new(Status::Local, "a thread ended without a result");
    let mut next = 0;
    let mut ready = BTreeMap::new();
    for (index, result) in results {
        let result = result.ok_or_else(ended_early)?;
        let is_failure = failure(&result).is_some();
        ready.insert(index, result);
        while let Some(result) = ready.remove(&next) {
            take(result)?;
            next += 1;
            let _ = taken.recv();
        }
        if is_failure && let Some(error) = ready.values().find_map(&failure) {
            return Err(error);
        }
    }
    if next == started.load(Ordering::Acquire) { Ok(()) } else { Err(ended_early()) }
}

/// The result of a job, which is sent when this is dropped: `None` if the job panicked.
struct Promise<'a, R> {
    index: usize,
    result: Option<R>,
    done: &'a Sender<(usize, Option<R>)>,
}

impl<R> Drop for Promise<'_, R> {
    fn drop(&mut self) {
        // Sending fails if no more results are needed.
        let _ = self.done.send((self.index, self.result.take()));
    }
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
        // Each of the two jobs waits for the other. If they did not run in parallel, the test would
        // not end.
        let both = Barrier::new(2);
        in_order(2, || 0..2, move |_| both.wait().is_leader(), |_| Ok(())).unwrap();
    }

    #[test]
    fn a_failure_does_not_wait_for_the_jobs_before_it() {
        // The second job waits until it is released, which happens after the run.
        let (release, released) = sync_channel::<()>(0);
        let released = Mutex::new(released);
        let work = move |n: u32| match n {
            1 => {
                let _ = released.lock().unwrap_or_else(PoisonError::into_inner).recv();
                Ok(n)
            }
            3 => Err(Error::usage(n)),
            n => Ok(n),
        };
        let mut seen = Vec::new();
        let take = |n| {
            seen.push(n);
            Ok(())
        };
        let error = in_order_until_failure(3, || 0..5, work, take).unwrap_err();
        assert_eq!(error.to_string(), "3");
        assert!(seen.is_empty() || seen == [0], "{seen:?}");
        drop(release);
    }

    #[test]
    fn a_job_that_panics_is_an_error_and_not_a_hang() {
        let work = |n: u32| assert_ne!(n, 2);
        let error = in_order(2, || 0.., work, |()| Ok(())).unwrap_err();
        assert_eq!(error.status(), Status::Local);
    }
}
