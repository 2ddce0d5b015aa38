// SPDX-License-Identifier: Apache-2.0
//! A failed attempt, and whether a retry may succeed. The code that detects the failure decides
//! this; [`retry`](crate::retry) counts attempts and waits.

use std::time::Duration;

use common::error::Error;

/// A failed attempt: the error, and whether a retry may succeed.
#[derive(Debug)]
pub struct Failure {
    /// The error to report if there is no retry.
    pub error: Error,
    /// Whether and when to retry.
    pub retry: Retry,
}

/// Whether and when to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No retry: the result would be the same.
    Never,
    /// Retry after the usual backoff.
    Backoff,
    /// Retry soon, for a short time only: the host has never answered in this run, and no
    /// connection to it could be made.
    Unreached {
        /// Whether connecting took until its time-out, so that this attempt was a long wait itself.
        timed_out: bool,
    },
    /// Retry after the time that the server requested (Retry-After).
    After(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, retry: Retry::Never }
    }
}

impl Failure {
    /// A failure that is retried after the usual backoff.
    pub fn temporary(error: Error) -> Failure {
        Failure { error, retry: Retry::Backoff }
    }

    /// The failure with `what` in front of its error message.
    #[must_use]
    pub fn context(self, what: impl std::fmt::Display) -> Failure {
        Failure { error: self.error.context(what), ..self }
    }
}
