// SPDX-License-Identifier: Apache-2.0
//! A failed attempt, and whether another one is worth it. Whoever finds the failure decides;
//! [`retry`](crate::retry) counts and waits.

use std::time::Duration;

use common::error::Error;

/// A failed attempt: the error, and whether another one is worth it.
#[derive(Debug)]
pub struct Failure {
    /// What to report if there is no other attempt.
    pub error: Error,
    /// What to do.
    pub retry: Retry,
}

/// Whether a failed attempt is worth another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: the answer would be the same.
    Never,
    /// Yes, after the usual wait.
    Backoff,
    /// Yes, but not before the registry's own word (Retry-After).
    After(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, retry: Retry::Never }
    }
}

impl Failure {
    /// A failure that may pass.
    pub fn temporary(error: Error) -> Failure {
        Failure { error, retry: Retry::Backoff }
    }

    /// The same failure with what was being done put in front.
    #[must_use]
    pub fn context(self, what: impl std::fmt::Display) -> Failure {
        Failure { error: self.error.context(what), ..self }
    }
}
