// SPDX-License-Identifier: Apache-2.0
//! Passes on only the tags after a given tag, even if the registry ignores the parameter `last`.
//!
//! The registry's order determines which tags are after the given tag: with another order, tags
//! would be lost. If a list contains the given tag itself, the list starts too early. Therefore the
//! tags of the first page are held back until the given tag is found. If the first tag sorts before
//! the given tag, the following pages are held back too.

use common::error::Result;
use common::notice;

/// The maximum number of tags that are held back.
const MAX_HELD: usize = 100_000;

/// A filter for the tags after `last`.
pub(crate) struct After<'a> {
    last: &'a str,
    /// The tags that are held back. `None` when tags are passed on as they arrive.
    held: Option<Vec<String>>,
}

impl After<'_> {
    /// A filter that passes on everything if `last` is `None`.
    pub(crate) fn new(last: Option<&str>) -> After<'_> {
        After { last: last.unwrap_or_default(), held: last.map(|_| Vec::new()) }
    }

    /// Takes a tag, and passes on the tags that are certainly after `last`. Returns whether to
    /// continue.
    ///
    /// # Errors
    /// The error of `pass`.
    pub(crate) fn take(
        &mut self,
        tag: &str,
        pass: &mut dyn FnMut(&str) -> Result<bool>,
    ) -> Result<bool> {
        let Some(held) = &mut self.held else { return pass(tag) };
        if tag == self.last {
            self.held = None;
            return Ok(true);
        }
        held.push(tag.to_owned());
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

    /// Whether the first tag that is held back sorts before `last`, with and without regard to
    /// case.
    fn may_be_too_early(&self) -> bool {
        let Some(first) = self.held.as_ref().and_then(|held| held.first()) else { return false };
        *first.as_str() < *self.last && first.to_lowercase() < self.last.to_lowercase()
    }

    fn release(&mut self, pass: &mut dyn FnMut(&str) -> Result<bool>) -> Result<bool> {
        if self.may_be_too_early() {
            let last = self.last;
            notice::warn("last", || {
                format!(
                    "--last {last}: the registry may ignore it: its list starts before that tag"
                )
            });
        }
        for tag in self.held.take().unwrap_or_default() {
            if !pass(&tag)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of tags passed on after `held` tags that sort before `last`.
    fn passed(held: usize) -> usize {
        let mut passed = 0;
        let mut pass = |_: &str| {
            passed += 1;
            Ok(true)
        };
        let mut after = After::new(Some("b"));
        for n in 0..held {
            assert!(after.take(&format!("a{n}"), &mut pass).unwrap());
        }
        assert!(after.end_page(&mut pass).unwrap());
        passed
    }

    #[test]
    fn tags_are_held_back_up_to_the_limit() {
        assert_eq!(passed(MAX_HELD - 1), 0);
        assert_eq!(passed(MAX_HELD), MAX_HELD);
    }
}
