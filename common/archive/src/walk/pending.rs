// SPDX-License-Identifier: Apache-2.0
//! The path components that a walk has not reached yet.

use std::borrow::Cow;

/// The components that were not walked yet: those of the name, and those of symbolic links in it.
pub(super) struct Pending<'a> {
    texts: Vec<(Cow<'a, [u8]>, usize)>,
}

impl<'a> Pending<'a> {
    /// All components of a name.
    pub(super) fn new(name: &'a [u8]) -> Pending<'a> {
        Pending { texts: vec![(Cow::Borrowed(name), 0)] }
    }

    /// Puts the components of a symbolic link before the others.
    pub(super) fn push(&mut self, text: Vec<u8>) {
        self.texts.push((Cow::Owned(text), 0));
    }

    /// The next component.
    pub(super) fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        loop {
            let (text, at) = self.texts.last_mut()?;
            if *at >= text.len() {
                self.texts.pop();
                continue;
            }
            let rest = &text[*at..];
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let range = *at..*at + end;
            *at += end + 1;
            return Some(match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
                Cow::Owned(text) => Cow::Owned(text[range].to_vec()),
            });
        }
    }
}
