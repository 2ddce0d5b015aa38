// SPDX-License-Identifier: Apache-2.0
//! Progress: one line on a terminal, or lines of JSON for another program. regutils-terminal(7)
//! describes both.
//!
//! The code that does the work reports to a [`Progress`]: the expected bytes, the bytes of a blob,
//! and each blob that is done. A separate thread shows these. [`display`] makes the line, `show`
//! draws it or writes the JSON, and `owner` decides which of the tools on a terminal draws.

mod ahead;
mod display;
mod json;
mod owner;
mod show;

use std::io::{IsTerminal as _, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use clap::ValueEnum;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::{exit, screen, stdio};

pub use ahead::Expected;

/// The options of the tools that show progress.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Options {
    /// Show progress on standard error
    #[arg(
        id = "progress",
        long = "progress",
        value_name = "HOW",
        value_enum,
        default_value = "auto",
        hide_short_help = true
    )]
    mode: Mode,
    /// Write --progress json to file descriptor N
    #[arg(id = "progress_fd", long = "progress-fd", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..), hide_short_help = true)]
    descriptor: Option<i32>,
}

/// The values of `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// A line if standard error is a terminal
    Auto,
    /// Always a line
    Bar,
    /// Lines of JSON
    Json,
    /// No progress
    None,
}

impl Options {
    /// Whether one of the options was given.
    pub fn are_given(self) -> bool {
        self.mode != Mode::Auto || self.descriptor.is_some()
    }
}

/// The reason why a blob is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was already at the destination.
    Present,
    /// It was fetched.
    Fetched,
    /// It was sent.
    Pushed,
    /// It was mounted from another repository.
    Mounted,
    /// It was made.
    Packed,
    /// It was unpacked.
    Unpacked,
    /// It was verified.
    Verified,
}

/// The kind of work of a tool. It decides which tool of a pipeline draws first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It moves blobs over a network, which is most likely the slowest part of a pipeline.
    Network,
    /// It works on this machine.
    Local,
}

/// The progress of a run. Copies report to the same display.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Shared>>);

struct Shared {
    state: Mutex<State>,
    /// Notified at the end, and when a line of JSON is ready.
    changed: Condvar,
}

/// The facts to show.
#[derive(Default)]
struct State {
    /// The sum of the sizes that are expected.
    expected: u64,
    /// The number of blobs that are expected, but whose sizes are not known.
    unknown: u64,
    /// Whether `expected` and `unknown` are final.
    all_expected: bool,
    /// The sum of the sizes of the blobs that are done.
    done: u64,
    /// The number of bytes that were moved in this run.
    moved: u64,
    under_way: Vec<Entry>,
    /// Lines of JSON that were not written yet, about blobs that are done. Empty if a line is
    /// drawn.
    lines: Vec<String>,
    ended: bool,
}

/// A blob under way.
#[derive(Clone, Debug)]
struct Entry {
    /// `None` if the digest is not known before the end.
    digest: Option<Digest>,
    offset: u64,
    /// The number of bytes that were moved in this run, for the rate. An earlier run may have moved
    /// the bytes before them, and some may have been moved more than once.
    moved: u64,
    total: Option<u64>,
}

impl Entry {
    /// The number of its bytes that are done. Some may have been moved more than once.
    fn position(&self) -> u64 {
        self.total.map_or(self.offset, |total| self.offset.min(total))
    }
}

impl State {
    /// The number of bytes that are done, of all blobs together.
    fn position(&self) -> u64 {
        let under_way = self.under_way.iter().map(Entry::position);
        under_way.fold(self.done, u64::saturating_add)
    }

    /// The total; `None` if it is not known yet.
    fn total(&self) -> Option<u64> {
        (self.all_expected && self.unknown == 0).then_some(self.expected)
    }

    fn learn(&mut self, size: u64) {
        if self.unknown > 0 {
            self.unknown -= 1;
            self.expected = self.expected.saturating_add(size);
        }
    }

    fn entry(&mut self, digest: Option<&Digest>) -> &mut Entry {
        let known = self.under_way.iter().position(|entry| entry.digest.as_ref() == digest);
        let at = known.unwrap_or_else(|| {
            self.under_way.push(Entry {
                digest: digest.cloned(),
                offset: 0,
                moved: 0,
                total: None,
            });
            self.under_way.len() - 1
        });
        &mut self.under_way[at]
    }
}

/// The display of this run. It ends before the last lines are written to stderr.
static RUNNING: OnceLock<show::Running> = OnceLock::new();

impl Progress {
    /// Starts the display that the options request. If they request none in particular, there is no
    /// display with `quiet` or with a trace.
    ///
    /// # Errors
    /// Usage if the options contradict each other, or if the file descriptor is not open.
    pub fn start(options: Options, quiet: bool, work: Work) -> Result<Progress> {
        let json = options.mode == Mode::Json;
        if options.descriptor.is_some() && !json {
            return Err(Error::usage("--progress-fd requires --progress json"));
        }
        let is_shown = std::io::stderr().is_terminal() && !exit::is_traced() && !quiet;
        let view = match options.mode {
            Mode::Json => show::View::Json(match options.descriptor {
                None => None,
                Some(number) => {
                    let file = stdio::descriptor(number).map_err(|cause| {
                        Error::usage(format_args!(
                            "--progress-fd {number}: {}",
                            crate::error::os_message(&cause)
                        ))
                    })?;
                    Some(file)
                }
            }),
            Mode::Bar => show::View::Line(owner::Owner::always()),
            Mode::Auto if is_shown => show::View::Line(owner::Owner::of_terminal(work)),
            Mode::Auto | Mode::None => return Ok(Progress(None)),
        };
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let running = show::start(view, Arc::clone(&shared))?;
        // A tool starts one display.
        let _ = RUNNING.set(running);
        Ok(Progress(Some(shared)))
    }

    /// A progress without a display.
    pub fn silent() -> Progress {
        Progress(None)
    }

    /// Adds expected bytes. After [`all_expected`] was called, their sum is the total.
    ///
    /// [`all_expected`]: Progress::all_expected
    pub fn add_expected(&self, expected: Expected) {
        self.change(|state| match expected {
            Expected::Nothing => {}
            Expected::Unknown => state.unknown += 1,
            Expected::Bytes(bytes) => state.expected = state.expected.saturating_add(bytes),
        });
    }

    /// Records the size of a blob under way that was expected without a size.
    pub fn learn(&self, digest: &Digest, size: u64) {
        self.change(|state| {
            state.learn(size);
            state.entry(Some(digest)).total = Some(size);
        });
    }

    /// Records that all expected bytes were added.
    pub fn all_expected(&self) {
        self.change(|state| state.all_expected = true);
    }

    /// Records that the work on a blob begins, or begins again, at `offset`. The bytes before it
    /// are there already: they are part of the amount, but not of the rate. The size may not be
    /// known.
    pub fn begin(&self, digest: Option<&Digest>, total: Option<u64>, offset: u64) {
        self.change(|state| {
            let entry = state.entry(digest);
            entry.offset = offset;
            entry.total = total;
        });
    }

    /// Adds bytes of a blob.
    pub fn add(&self, digest: Option<&Digest>, bytes: u64) {
        self.change(|state| {
            state.moved = state.moved.saturating_add(bytes);
            let entry = state.entry(digest);
            entry.offset = entry.offset.saturating_add(bytes);
            entry.moved = entry.moved.saturating_add(bytes);
        });
    }

    /// Records that a blob is done. If no blob under way has this digest, the one without a known
    /// digest is meant.
    pub fn done(&self, digest: &Digest, size: u64, how: How) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.lock();
        let known = state.under_way.iter().any(|entry| entry.digest.as_ref() == Some(digest));
        let key = known.then_some(digest);
        let ended = state.under_way.iter().position(|entry| entry.digest.as_ref() == key);
        let ended = ended.map(|at| state.under_way.swap_remove(at));
        // If a blob is compressed while it is sent, more bytes were read than the blob has.
        let moved = ended.map_or(size, |entry| entry.position().max(size));
        state.done = state.done.saturating_add(moved);
        if shared.wants_json() {
            state.lines.push(json::done(digest, size, how));
            shared.changed.notify_all();
        }
    }

    /// A reader that counts the bytes of a blob.
    pub fn counting<R: Read>(&self, digest: Option<Digest>, input: R) -> Counting<R> {
        Counting { progress: self.clone(), digest, input }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if let Some(shared) = &self.0 {
            change(&mut shared.lock());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants_json(&self) -> bool {
        RUNNING.get().is_some_and(|running| running.is_json)
    }
}

/// Ends the display: clears the line, and writes the last lines of JSON.
pub fn end() {
    if let Some(running) = RUNNING.get() {
        running.end();
    }
    screen::clear();
}

/// A reader that counts the bytes of a blob.
pub struct Counting<R> {
    progress: Progress,
    digest: Option<Digest>,
    input: R,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.progress.add(self.digest.as_ref(), n as u64);
        Ok(n)
    }
}
