// SPDX-License-Identifier: Apache-2.0
//! Showing how far it is: a bar on a terminal, or lines of JSON on stderr for a program.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::digest::Digest;

/// What `--progress` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A bar if stderr is a terminal
    Auto,
    /// A bar
    Bar,
    /// A line of JSON for each blob, when it is done
    Json,
    /// Nothing
    None,
}

/// How a blob came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was there.
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

/// Where progress is shown.
pub enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// For a program.
    Json,
    /// Nowhere.
    Silent,
}

impl Progress {
    /// What was asked for; a bar goes to a terminal alone, unless it was asked for.
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

    /// So many bytes are wanted in addition.
    pub fn announce(&self, bytes: u64) {
        if let Progress::Bar(bar) = self {
            bar.inc_length(bytes);
        }
    }

    /// So many bytes came.
    pub fn add(&self, bytes: u64) {
        if let Progress::Bar(bar) = self {
            bar.inc(bytes);
        }
    }

    /// A blob is done.
    pub fn done(&self, digest: &Digest, size: u64, how: How) {
        if let Progress::Json = self {
            let status = how.name();
            let line =
                format!("{{\"digest\":\"{digest}\",\"size\":{size},\"status\":\"{status}\"}}\n");
            // Nobody listens to progress any more: no reason to stop.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    /// All is done: the line of the bar is given back.
    pub fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
