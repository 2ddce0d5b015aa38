// SPDX-License-Identifier: Apache-2.0
//! Warnings: problems that matter but do not stop the run.
//!
//! Libraries do not print. They record a warning here, and [`exit`](crate::exit) prints each kind
//! once, with a count, when the tool ends. The collection is global to the process, limited to
//! [`MAX_KINDS`], and thread-safe.

use std::sync::{Mutex, PoisonError};

/// The maximum number of kinds of warning that are kept in one run. Later kinds are dropped.
pub const MAX_KINDS: usize = 64;

/// One kind of warning: its first text and a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The kind: an internal key, never printed.
    pub kind: &'static str,
    /// The text of the first warning of this kind, one line.
    pub text: String,
    /// The number of recorded warnings of this kind.
    pub count: u64,
}

static NOTICES: Mutex<Vec<Notice>> = Mutex::new(Vec::new());

/// Records a warning. The first text of a kind is kept; later warnings of that kind are only
/// counted.
pub fn warn(kind: &'static str, text: impl FnOnce() -> String) {
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notice) = notices.iter_mut().find(|notice| notice.kind == kind) {
        notice.count += 1;
    } else if notices.len() < MAX_KINDS {
        notices.push(Notice { kind, text: text(), count: 1 });
    }
}

/// Records a warning whose text differs from case to case, for example a registry's message. Each
/// distinct text is printed as a separate warning.
pub fn say(kind: &'static str, text: &str) {
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notice) = notices.iter_mut().find(|n| n.kind == kind && n.text == text) {
        notice.count += 1;
    } else if notices.len() < MAX_KINDS {
        notices.push(Notice { kind, text: text.to_owned(), count: 1 });
    }
}

/// Removes and returns all warnings recorded so far, in order of first appearance.
pub fn take() -> Vec<Notice> {
    std::mem::take(&mut NOTICES.lock().unwrap_or_else(PoisonError::into_inner))
}
