// SPDX-License-Identifier: Apache-2.0
//! Progress display: a bar on a terminal, or JSON lines on stderr for another program.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::digest::Digest;

/// The values of `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A bar if stderr is a terminal
    Auto,
    /// A bar
    Bar,
    /// A line of JSON for each blob, when it is done
    Json,
    /// No progress
    None,
}

/// How a blob reached its destination.
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
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::Present => "present",
            How::Fetched => "fetched",
            How::Pushed => "pushed",
            How::Mounted => "mounted",
        }
    }
}

/// The progress display of a run.
pub enum Progress {
    /// A bar on stderr.
    Bar(ProgressBar),
    /// JSON lines on stderr.
    Json,
    /// No display.
    Silent,
}

impl Progress {
    /// The display for a mode. `Auto` shows a bar only if stderr is a terminal, there is no trace,
    /// and `quiet` is not set.
    pub fn new(mode: Mode, quiet: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !crate::exit::is_traced();
        match mode {
            Mode::Json => Progress::Json,
            Mode::Bar => Progress::bar(),
            Mode::Auto if terminal && !quiet => Progress::bar(),
            Mode::Auto | Mode::None => Progress::Silent,
        }
    }

    fn bar() -> Progress {
        let bar = ProgressBar::new(0);
        let template = "{bytes:>10} of {total_bytes} {bar:30} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    /// Adds to the total number of bytes.
    pub fn announce(&self, bytes: u64) {
        if let Progress::Bar(bar) = self {
            bar.inc_length(bytes);
        }
    }

    /// Adds to the number of bytes transferred.
    pub fn add(&self, bytes: u64) {
        if let Progress::Bar(bar) = self {
            bar.inc(bytes);
        }
    }

    /// Reports that a blob is done.
    pub fn done(&self, digest: &Digest, size: u64, how: How) {
        if let Progress::Json = self {
            let status = how.name();
            let line =
                format!("{{\"digest\":\"{digest}\",\"size\":{size},\"status\":\"{status}\"}}\n");
            // A write error is ignored: lost progress output is no reason to stop.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    /// Ends the display and clears the bar.
    pub fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
