// SPDX-License-Identifier: Apache-2.0
//! The conversation with registries, told as curl commands that can be run again.
//!
//! | module | owns |
//! |---|---|
//! | `words` | comments, and parts of commands |
//! | `names` | the variables that stand for secrets, files and places |
//! | `command` | one exchange as a command |
//!
//! One block an exchange, handed over as a whole when the head of its answer is there or when it failed: what the variables
//! in it stand for, the command, the answer. Blocks of several connections so never mix, and each variable is set before
//! it is used. No block shows a secret: a command has `$REGISTRY_TOKEN` and the like in its place, and where one would show all
//! the same, for whatever reason, the command is left out.
//!
//! Not here: where the blocks go, which is the front's, and anything that an exchange does for being told of.

mod command;
mod names;
mod words;

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::secret;
use machine::credentials::{Credential, Given};

use crate::pool::Agents;
use crate::proxy::Proxy;
use crate::request::{Payload, Request};
use crate::response::Response;
use crate::retry::Failure;
use command::{Body, Exchange};
use names::{Names, PASSWORD, TOKEN};
use words::{SECRET, UNSAID};

/// Where the conversation is told. Clones tell it in the same place, with the same variables.
#[derive(Clone)]
pub struct Trace {
    shared: Arc<Shared>,
}

struct Shared {
    write: fn(&str),
    names: Mutex<Names>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

impl Trace {
    /// Tells it to `write`, which gets whole lines. The credential that was given is the one that the variable without a
    /// number stands for.
    pub fn new(write: fn(&str), given: Option<&Given>) -> Trace {
        let mut names = Names::default();
        match given.map(|given| &given.credential) {
            Some(Credential::Bearer(token)) => names.give_first(TOKEN, token),
            Some(
                Credential::Password { password: secret, .. }
                | Credential::Identity { token: secret, .. },
            ) => {
                names.give_first(PASSWORD, secret);
            }
            None => {}
        }
        Trace { shared: Arc::new(Shared { write, names: Mutex::new(names) }) }
    }

    /// Says something beside the exchanges: one line, whatever is in it.
    pub fn comment(&self, text: impl fmt::Display) {
        let _order = self.names();
        (self.shared.write)(&words::comment(&text.to_string()));
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The variable that the token will be in that is asked for now.
    pub fn ask_token(&self) -> String {
        self.names().reserve(TOKEN)
    }

    /// This token came of it, or none did.
    pub fn token_came(&self, variable: &str, token: Option<&str>) {
        let mut names = self.names();
        match token {
            Some(token) => names.learn(TOKEN, variable, token),
            None => names.give_back(TOKEN, variable),
        }
    }

    /// Tells of one exchange, which `send` does.
    ///
    /// # Errors
    /// The exchange's.
    pub(crate) fn exchange(
        &self,
        told: Told<'_>,
        payload: &mut Payload<'_>,
        send: impl FnOnce(&mut Payload<'_>) -> Result<Response, Failure>,
    ) -> Result<Response, Failure> {
        let (outcome, copy);
        let body = match payload {
            Payload::Stream { reader, length } if *length <= words::MAX_INLINE => {
                let mut copying = Copying { reader: &mut **reader, copy: Vec::new() };
                outcome = send(&mut Payload::Stream { reader: &mut copying, length: *length });
                copy = copying.copy;
                // Of what was cut only the length is known.
                match copy.len() as u64 == *length {
                    true => Body::Bytes(&copy),
                    false => Body::File(*length),
                }
            }
            payload => {
                outcome = send(payload);
                match payload {
                    Payload::None => Body::None,
                    Payload::Bytes(bytes) => Body::Bytes(bytes),
                    Payload::Stream { length, .. } => Body::File(*length),
                }
            }
        };
        let exchange = Exchange { told, body, outcome: &outcome };
        let mut names = self.names();
        (self.shared.write)(&checked(&exchange.told(&mut names)));
        drop(names);
        outcome
    }
}

/// A request that is told of, and what it is sent with.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The connections that serve it, which know the run and the peer.
    pub(crate) agents: &'a Agents,
    /// The request.
    pub(crate) request: Request<'a>,
    /// The proxy that it goes by.
    pub(crate) proxy: Option<&'a Proxy>,
}

/// The second net: a line with a secret in it is left out, for taking the secret out of it might turn a command into
/// another.
fn checked(block: &str) -> String {
    let lines = block.lines().map(|line| {
        if line.contains(SECRET) || secret::redact(line) != line {
            return words::comment("left out: a line that would show a secret");
        }
        match line.contains(UNSAID) {
            true => words::comment("left out: a line that no shell would take for what it is"),
            false => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// A reader whose bytes are kept as they come.
struct Copying<'a> {
    reader: &'a mut dyn Read,
    copy: Vec<u8>,
}

impl Read for Copying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.copy.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_secret_is_left_out() {
        secret::keep("b' 'correct");
        let block = "curl 'b' 'correct horse'\n# 200 OK\n";
        assert_eq!(checked(block), "# left out: a line that would show a secret\n# 200 OK\n");
        let block = format!("curl {SECRET}\n# 200 OK\n");
        assert_eq!(checked(&block), "# left out: a line that would show a secret\n# 200 OK\n");
    }

    #[test]
    fn a_line_that_cannot_be_said_is_left_out() {
        let said = checked(&format!("curl {UNSAID}\n"));
        assert_eq!(said, "# left out: a line that no shell would take for what it is\n");
    }
}
