// SPDX-License-Identifier: Apache-2.0
//! The thread that shows the progress: it draws the line, or writes the lines of JSON.

use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::display::{Facts, Rate, line, per_second};
use super::owner::Owner;
use super::{Shared, State, json};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::{exit, screen, stdio, terminal};

/// The time between two drawings.
const DRAW_AGAIN: Duration = Duration::from_millis(200);

/// The time between two lines about a blob under way.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How progress is shown.
pub(super) enum View {
    /// A line on stderr.
    Line(Owner),
    /// Lines of JSON in a file; `None` is stderr.
    Json(Option<File>),
}

/// A display that was started.
pub(super) struct Running {
    pub(super) is_json: bool,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts the thread.
pub(super) fn start(view: View, shared: Arc<Shared>) -> Result<Running> {
    let is_json = matches!(view, View::Json(_));
    let seen = Arc::clone(&shared);
    let show = move || match view {
        View::Line(owner) => draw(owner, &seen),
        View::Json(file) => tell(file, &seen),
    };
    let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(show);
    let thread = thread.map_err(|cause| Error::local("start a thread", &cause))?;
    Ok(Running { is_json, shared, thread: Mutex::new(Some(thread)) })
}

impl Running {
    /// Ends the display, and waits until its last lines are written.
    pub(super) fn end(&self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Draws the line until the display ends.
fn draw(mut owner: Owner, shared: &Shared) {
    let mut rate = Rate::default();
    rate.at(Instant::now(), 0);
    let mut wait = owner.delay;
    loop {
        let state = shared.lock();
        let is_over = |state: &mut State| !state.ended;
        let waited = shared.changed.wait_timeout_while(state, wait, is_over);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return;
        }
        wait = DRAW_AGAIN;
        let total = state.total();
        let (position, moved) = (state.position(), state.moved);
        drop(state);
        let facts =
            Facts { tool: exit::tool(), position, total, rate: rate.at(Instant::now(), moved) };
        if owner.may_draw() {
            screen::draw(line(facts, terminal::width(std::io::stderr())));
        } else {
            screen::forget();
        }
    }
}

/// Writes lines of JSON until the display ends.
fn tell(mut file: Option<File>, shared: &Shared) {
    // If the reader of a pipe closes it, the write fails and the work continues.
    stdio::block_sigpipe();
    let mut earlier: Vec<(Option<Digest>, u64)> = Vec::new();
    let mut last = Instant::now();
    loop {
        let state = shared.lock();
        let wait = TELL_AGAIN.saturating_sub(last.elapsed());
        let is_idle = |state: &mut State| !state.ended && state.lines.is_empty();
        let waited = shared.changed.wait_timeout_while(state, wait, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut lines = std::mem::take(&mut state.lines).concat();
        let (ended, under_way) = (state.ended, state.under_way.clone());
        drop(state);
        let time = last.elapsed();
        if !ended && time >= TELL_AGAIN {
            last = Instant::now();
            for entry in &under_way {
                let before = earlier.iter().find(|(digest, _)| *digest == entry.digest);
                let moved = entry.moved.saturating_sub(before.map_or(0, |(_, moved)| *moved));
                lines.push_str(&json::under_way(entry, per_second(moved, time)));
            }
            earlier = under_way.into_iter().map(|entry| (entry.digest, entry.moved)).collect();
        }
        match &mut file {
            _ if lines.is_empty() => {}
            None => screen::write(&lines),
            // A write error is ignored, because the work does not depend on the display.
            Some(file) => drop(file.write_all(lines.as_bytes())),
        }
        if ended {
            return;
        }
    }
}
