// SPDX-License-Identifier: Apache-2.0
//! Passes on only the names after a given name, even if the registry ignores the parameter `last`.
//!
//! The registry's order determines which names are after the given name: with another order, names
//! would be lost. If a list contains the given name itself, the list starts too early. Therefore
//! the names of the first page are held back until the given name is found. If the first name sorts
//! before the given name, the following pages are held back too.

use common::error::Result;
use common::notice;

/// The maximum number of names that are held back.
const MAX_HELD: usize = 100_000;

/// A filter for the names after `last`.
pub(crate) struct After<'a> {
    /// The word for a name, in messages.
    word: &'static str,
    last: &'a str,
    /// The names that are held back. `None` when names are passed on as they arrive.
    held: Option<Vec<String>>,
}

impl After<'_> {
    /// A filter that passes on everything if `last` is `None`.
    pub(crate) fn new<'a>(word: &'static str, last: Option<&'a str>) -> After<'a> {
        After { word, last: last.unwrap_or_default(), held: last.map(|_| Vec::new()) }
    }

    /// Handles a name of a page: passes on the names that are certainly after `last`. Returns
    /// whether to continue.
    ///
    /// # Errors
    /// The error of `pass`.
    pub(crate) fn take(
        &mut self,
        name: &str,
        pass: &mut dyn FnMut(&str) -> Result<bool>,
    ) -> Result<bool> {
        let Some(held) = &mut self.held else { return pass(name) };
        if name == self.last {
            self.held = None;
            return Ok(true);
        }
        held.push(name.to_owned());
        if held.len() < MAX_HELD {
            return Ok(true);
        }
        self.release(pass)
    }

    /// Handles the end of a page. Returns whether to continue.
    ///
    /// # Errors
    /// The error of `pass`.
    pub(crate) fn end_page(&mut self, pass: &mut dyn FnMut(&str) -> Result<bool>) -> Result<bool> {
        if self.may_be_too_early() { Ok(true) } else { self.release(pass) }
    }

    /// Handles the end of the list. Returns whether to continue.
    ///
    /// # Errors
    /// The error of `pass`.
    pub(crate) fn end(&mut self, pass: &mut dyn FnMut(&str) -> Result<bool>) -> Result<bool> {
        self.release(pass)
    }

    /// Whether the first name that is held back sorts before `last`, with and without regard to
    /// case.
    fn may_be_too_early(&self) -> bool {
        let Some(first) = self.held.as_ref().and_then(|held| held.first()) else { return false };
        *first.as_str() < *self.last && first.to_lowercase() < self.last.to_lowercase()
    }

    fn release(&mut self, pass: &mut dyn FnMut(&str) -> Result<bool>) -> Result<bool> {
        if self.may_be_too_early() {
            let After { last, word, .. } = self;
            notice::warn("last", || {
                format!(
                    "--last {last}: the registry may have ignored it: the list starts with an \
                     earlier {word}"
                )
            });
        }
        for name in self.held.take().unwrap_or_default() {
            if !pass(&name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of names passed on after `held` names that sort before `last`.
    fn passed(held: usize) -> usize {
        let mut passed = 0;
        let mut pass = |_: &str| {
            passed += 1;
            Ok(true)
        };
        let mut after = After::new("tag", Some("b"));
        for n in 0..held {
            assert!(after.take(&format!("a{n}"), &mut pass).unwrap());
        }
        assert!(after.end_page(&mut pass).unwrap());
        passed
    }

    #[test]
    fn names_are_held_back_up_to_the_limit() {
        assert_eq!(passed(MAX_HELD - 1), 0);
        assert_eq!(passed(MAX_HELD), MAX_HELD);
    }
}
