// SPDX-License-Identifier: Apache-2.0
//! The output of a trace, and the variables that it has used so far.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::secret;
use machine::credentials::{Credential, Given};

use super::names::{Names, PASSWORD, TOKEN};
use super::text::{self, SECRET, UNQUOTABLE};

/// A trace. Clones share the output and the variables.
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
    /// A trace that passes complete lines to `write`. The `given` credential gets the variable
    /// without a number.
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

    /// Writes a comment of one line.
    pub fn comment(&self, text: impl fmt::Display) {
        let _order = self.names();
        (self.shared.write)(&text::comment(&text.to_string()));
    }

    /// The variables. Nothing else is written while they are locked.
    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a variable for a token that is requested next.
    pub fn ask_token(&self) -> String {
        self.names().reserve(TOKEN)
    }

    /// Records the token for a reserved variable; `None` releases the variable.
    pub fn token_came(&self, variable: &str, token: Option<&str>) {
        let mut names = self.names();
        match token {
            Some(token) => names.learn(TOKEN, variable, token),
            None => names.give_back(TOKEN, variable),
        }
    }

    /// Writes the block that `block` makes with the variables.
    pub(super) fn block(&self, block: impl FnOnce(&mut Names) -> String) {
        let mut names = self.names();
        (self.shared.write)(&checked(&block(&mut names)));
    }
}

/// The last check: replaces a line that contains a secret with a comment. The line is not merely
/// redacted, since that might turn the command into another command.
fn checked(block: &str) -> String {
    let lines = block.lines().map(|line| {
        if line.contains(SECRET) || secret::redact(line) != line {
            return text::comment("left out: a line that would show a secret");
        }
        if line.contains(UNQUOTABLE) {
            return text::comment("left out: a line that cannot be quoted for a shell");
        }
        format!("{line}\n")
    });
    lines.collect()
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
    fn a_line_that_cannot_be_quoted_is_left_out() {
        let said = checked(&format!("curl {UNQUOTABLE}\n"));
        assert_eq!(said, "# left out: a line that cannot be quoted for a shell\n");
    }
}
