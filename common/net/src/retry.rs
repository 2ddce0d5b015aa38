// SPDX-License-Identifier: Apache-2.0
//! Another attempt or none, and when: attempts without progress are counted and waited between.
//!
//! Whether a failure may pass is its own word ([`Failure`]). What progress is, only the loop knows
//! that makes the attempts.

use std::time::Duration;

use common::error::{Error, Result};

use crate::client::Client;
use crate::failure::{Failure, Retry};
use crate::trace::transcript::Trace;

/// The first wait between attempts; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Counts attempts without progress and waits between them.
#[derive(Clone, Debug)]
pub struct Backoff {
    attempts: u32,
    max_wait: Duration,
    failed: u32,
    trace: Option<Trace>,
}

impl Backoff {
    /// At its start.
    pub fn new(client: &Client) -> Backoff {
        let Client { attempts, max_wait, .. } = *client;
        Backoff { attempts, max_wait, failed: 0, trace: client.trace.clone() }
    }

    /// For what waiting does not change: the first failure is final.
    pub fn single() -> Backoff {
        Backoff { attempts: 1, max_wait: Duration::ZERO, failed: 0, trace: None }
    }

    /// There was progress: the count begins anew.
    pub fn progressed(&mut self) {
        self.failed = 0;
    }

    /// An attempt failed: waits for the next one.
    ///
    /// # Errors
    /// The failure's error, when it is final or the attempts are spent; also when the registry asks
    /// for a longer wait than is allowed, saying how long.
    pub fn wait(&mut self, failure: Failure) -> Result<()> {
        self.failed += 1;
        let wait = match failure.retry {
            Retry::Never => return Err(failure.error),
            _ if self.failed >= self.attempts => {
                return Err(match self.failed {
                    1 => failure.error,
                    n => failure.error.context(format_args!("gave up after {n} attempts")),
                });
            }
            Retry::Backoff => {
                let doubled = FIRST_WAIT.saturating_mul(1 << (self.failed - 1).min(16));
                jitter(doubled).min(self.max_wait)
            }
            Retry::After(asked) if asked > self.max_wait => {
                let seconds = asked.as_secs();
                let error = failure.error;
                return Err(Error::unavailable(format_args!(
                    "{error} (it asks to come back in {seconds} seconds)"
                ))
                .hint("--max-wait allows longer waits"));
            }
            Retry::After(asked) => asked,
        };
        if let Some(trace) = &self.trace {
            trace.comment(format_args!("waiting {:.1} s: {}", wait.as_secs_f64(), failure.error));
        }
        std::thread::sleep(wait);
        Ok(())
    }
}

/// Adds 10 to 25 per cent, so that clients that failed together do not come back together. Any
/// source of disorder will do: the hasher's random keys are one.
pub fn jitter(wait: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let disorder = std::hash::RandomState::new().build_hasher().finish();
    wait + wait.mul_f64(0.10 + 0.15 * ((disorder % 1000) as f64 / 1000.0))
}

/// Runs `attempt` until it succeeds or its failures are final.
///
/// # Errors
/// The last attempt's.
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
