// SPDX-License-Identifier: Apache-2.0
//! What holds for a whole run, whichever host it speaks to: patience, trust, where credentials are
//! kept, the trace.
//!
//! Nothing here is secret, and nothing here is about one host: that is
//! [`Peer`](crate::peer::Peer)'s.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::trace::transcript::Trace;

/// How a run speaks to every host.
#[derive(Clone, Debug)]
pub struct Client {
    /// Attempts without progress before giving up, at least 1.
    pub attempts: u32,
    /// The longest wait between two attempts.
    pub max_wait: Duration,
    /// How long an answer may stand still.
    pub idle_timeout: Duration,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The file with credentials to read instead of the default ones.
    pub authfile: Option<PathBuf>,
    /// Where the conversation is shown as curl commands.
    pub trace: Option<Trace>,
}

impl Client {
    /// The same with a single attempt: for a host that has a substitute.
    #[must_use]
    pub fn with_one_attempt(&self) -> Client {
        Client { attempts: 1, ..self.clone() }
    }

    /// Adds a line to the trace, if there is one.
    pub fn comment(&self, text: impl fmt::Display) {
        if let Some(trace) = &self.trace {
            trace.comment(text);
        }
    }
}
