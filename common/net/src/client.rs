// SPDX-License-Identifier: Apache-2.0
//! Settings of the run, the same for every host: retries, time-outs, trust, the file with
//! credentials, the trace.
//!
//! Not here: secrets and the settings of one host. Both are in [`Peer`](crate::peer::Peer).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use machine::allowed::AllowedHost;

use crate::trace::transcript::Trace;

/// Settings that apply to every host.
#[derive(Clone, Debug)]
pub struct Client {
    /// The number of attempts without progress after which a request fails.
    pub attempts: Attempts,
    /// The longest wait between two attempts.
    pub max_wait: Duration,
    /// How long to wait for the next bytes of a response body.
    pub idle_timeout: Duration,
    /// How long connecting may take, including the TLS handshake.
    pub connect_timeout: Duration,
    /// A file with certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The file with credentials to read instead of the default ones.
    pub authfile: Option<PathBuf>,
    /// Hosts that are allowed in URLs from any registry, in spite of the rules for such URLs.
    pub allowed: Vec<AllowedHost>,
    /// The trace of requests and responses as curl commands; `None` without `--trace`.
    pub trace: Option<Trace>,
}

/// The number of attempts without progress after which a request fails.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// For most failures; at least 1.
    pub usual: u32,
    /// For a host that never answered, if connecting takes until its time-out; at least 1.
    pub silent: u32,
}

impl Attempts {
    /// The default for most failures.
    pub const USUAL: u32 = 5;

    /// The default for a silent host. It is smaller, because each attempt is itself a long wait.
    pub const SILENT: u32 = 2;

    /// A single attempt.
    pub fn one() -> Attempts {
        Attempts::of(Some(1))
    }

    /// The given number for all failures, or else the defaults.
    pub fn of(given: Option<u32>) -> Attempts {
        Attempts {
            usual: given.unwrap_or(Attempts::USUAL),
            silent: given.unwrap_or(Attempts::SILENT),
        }
    }
}

impl Client {
    /// A copy that makes a single attempt: for a host with a substitute, such as a mirror.
    #[must_use]
    pub fn with_one_attempt(&self) -> Client {
        Client { attempts: Attempts::one(), ..self.clone() }
    }

    /// Adds a comment line to the trace, if there is a trace.
    pub fn comment(&self, text: impl fmt::Display) {
        if let Some(trace) = &self.trace {
            trace.comment(text);
        }
    }
}
