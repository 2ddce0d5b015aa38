// SPDX-License-Identifier: Apache-2.0
//! Warnings: what matters but did not stop the run.
//!
//! Libraries do not print. They note a warning here; [`exit`](crate::exit) prints each
//! kind once, with a count, when the tool ends. The collection is the process's own,
//! bounded by [`MAX_KINDS`], and thread-safe.

use std::sync::{Mutex, PoisonError};

/// The most kinds of warning that one run keeps; later kinds are dropped.
pub const MAX_KINDS: usize = 64;

/// One kind of warning: its first text and how often it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The kind, a word of the code's own, never printed.
    pub kind: &'static str,
    /// The text of the first one, one line.
    pub text: String,
    /// How often this kind was noted.
    pub count: u64,
}

static NOTICES: Mutex<Vec<Notice>> = Mutex::new(Vec::new());

/// Notes a warning. Of one kind the first text is kept and the others are counted.
pub fn warn(kind: &'static str, text: impl FnOnce() -> String) {
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notice) = notices.iter_mut().find(|notice| notice.kind == kind) {
        notice.count += 1;
    } else if notices.len() < MAX_KINDS {
        notices.push(Notice { kind, text: text(), count: 1 });
    }
}

/// Notes a warning in somebody else's words: each distinct text is a kind of its own.
pub fn say(kind: &'static str, text: &str) {
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notice) = notices.iter_mut().find(|n| n.kind == kind && n.text == text) {
        notice.count += 1;
    } else if notices.len() < MAX_KINDS {
        notices.push(Notice { kind, text: text.to_owned(), count: 1 });
    }
}

/// Takes what was noted so far, in order of first appearance.
pub fn take() -> Vec<Notice> {
    std::mem::take(&mut NOTICES.lock().unwrap_or_else(PoisonError::into_inner))
}
