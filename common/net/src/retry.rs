// SPDX-License-Identifier: Apache-2.0
//! Retries: counts the attempts without progress, and waits between them.
//!
//! The [`Failure`] states whether a retry may succeed. The loop that makes the attempts knows when
//! there was progress, and reports it with [`Backoff::progressed`].

use std::time::Duration;

use common::error::{Error, Result};
use common::exit;

use crate::client::{Attempts, Client};
use crate::failure::{Failure, Retry};
use crate::trace::transcript::Trace;

/// The first wait between attempts. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The first wait for a host that never answered. With the usual number of attempts, the waits are
/// about 3 seconds together.
const FIRST_SHORT_WAIT: Duration = Duration::from_millis(200);

/// Counts attempts without progress and waits between them.
#[derive(Clone, Debug)]
pub struct Backoff {
    attempts: Attempts,
    max_wait: Duration,
    failed: u32,
    trace: Option<Trace>,
}

impl Backoff {
    /// A count of 0, with the limits of the client.
    pub fn new(client: &Client) -> Backoff {
        let Client { attempts, max_wait, .. } = *client;
        Backoff { attempts, max_wait, failed: 0, trace: client.trace.clone() }
    }

    /// No retries: the first failure is final. For operations whose retry could not succeed.
    pub fn single() -> Backoff {
        Backoff { attempts: Attempts::one(), max_wait: Duration::ZERO, failed: 0, trace: None }
    }

    /// Records progress: the count starts again at 0.
    pub fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Records a failed attempt and waits until the next one.
    ///
    /// # Errors
    /// The failure's error if it is final, or if all attempts are used. Unavailable if the registry
    /// requests a longer wait than the limit; the message shows the requested wait.
    pub fn wait(&mut self, failure: Failure) -> Result<()> {
        self.failed += 1;
        let attempts = match failure.retry {
            Retry::Unreached { timed_out: true } => self.attempts.silent,
            _ => self.attempts.usual,
        };
        let doubled = |first: Duration| {
            jitter(first.saturating_mul(1 << (self.failed - 1).min(16))).min(self.max_wait)
        };
        let wait = match failure.retry {
            Retry::Never => return Err(failure.error),
            _ if self.failed >= attempts => {
                return Err(match self.failed {
                    1 => failure.error,
                    n => failure.error.and(format_args!("gave up after {n} attempts")),
                });
            }
            Retry::Backoff => doubled(FIRST_WAIT),
            Retry::Unreached { .. } => doubled(FIRST_SHORT_WAIT),
            Retry::After(asked) if asked > self.max_wait => {
                let seconds = asked.as_secs();
                let error = failure.error;
                return Err(Error::unavailable(format_args!(
                    "{error} (the server requests a wait of {seconds} seconds)"
                ))
                .hint("--max-wait allows longer waits"));
            }
            Retry::After(asked) => asked,
        };
        let (seconds, error) = (wait.as_secs_f64(), failure.error);
        let text =
            format!("waiting {seconds:.1} s: {error} (attempt {} of {attempts})", self.failed);
        match &self.trace {
            Some(trace) => trace.comment(text),
            None => exit::tell_wait(&text, wait),
        }
        std::thread::sleep(wait);
        Ok(())
    }
}

/// Adds 10 to 25 per cent at random, so that clients that failed at the same time do not all retry
/// at the same time. The randomness comes from the keys of the standard library's hasher.
pub fn jitter(wait: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    wait + wait.mul_f64(0.10 + 0.15 * ((random % 1000) as f64 / 1000.0))
}

/// Runs `attempt` until it succeeds or its failures are final.
///
/// # Errors
/// As [`Backoff::wait`], for the last attempt.
pub fn with_attempts<T>(
    client: &Client,
    mut attempt: impl FnMut() -> std::result::Result<T, Failure>,
) -> Result<T> {
    let mut backoff = Backoff::new(client);
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(failure) => backoff.wait(failure)?,
        }
    }
}
