// SPDX-License-Identifier: Apache-2.0
//! The jobs of a run: files, standard input as one blob, or the blobs that descriptor lines name.

use std::collections::HashSet;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use common::descriptor::{Descriptor, Line, Unsized};
use common::digest::Digest;
use common::error::{Error, Result};
use common::lines::Lines;
use common::mediatype::Kind;
use common::progress::{Expected, Progress};
use common::{mediatype, stdio};

/// The maximum number of descriptor lines in one run.
const MAX_LINES: usize = 100_000;

/// One push.
#[derive(Debug)]
pub(crate) enum Job {
    /// Push the bytes of standard input.
    Stdin,
    /// Push the bytes of a file.
    File(PathBuf),
    /// Push a blob of the source store.
    Blob(Descriptor),
    /// Push a blob of the source store whose size is not known yet.
    Unsized(Unsized),
    /// Push a manifest of the source store. The jobs of all lines before it are done.
    Manifest(Descriptor),
    /// Print the line again: an earlier line named the same blob.
    Again(Descriptor),
}

/// The number of lines printed so far. A manifest is pushed after all lines before it are printed.
#[derive(Default)]
pub(crate) struct Confirmed {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Confirmed {
    /// Counts one more line.
    pub(crate) fn one_more(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits until `count` lines are printed. If an earlier line fails, this never returns: the
    /// process ends while it waits.
    fn wait_for(&self, count: usize) {
        let mut confirmed = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *confirmed < count {
            confirmed = self.changed.wait(confirmed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The jobs, in input order. `source` is set if standard input has descriptor lines. Its value
/// states whether their non-distributable layers are pushed.
pub(crate) fn jobs(
    files: Vec<PathBuf>,
    source: Option<bool>,
    progress: &Progress,
    confirmed: Arc<Confirmed>,
) -> Box<dyn Iterator<Item = Result<Job>>> {
    if let Some(pushes_foreign) = source {
        let lines = || -> Box<dyn Iterator<Item = Result<Line>>> {
            match stdio::stdin() {
                Ok(stdin) => Box::new(Lines::with_unsized(BufReader::new(stdin))),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        };
        let lines = progress.ahead(lines, expected_of_lines(pushes_foreign));
        return Box::new(line_jobs(lines, confirmed));
    }
    let files = if files.is_empty() { vec!["-".into()] } else { files };
    if files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
        let error = Error::usage("standard input is given twice, but it can be read only once");
        return Box::new(std::iter::once(Err(error)));
    }
    let sizes: Option<Vec<u64>> = files.iter().map(|file| regular_size(file)).collect();
    if let Some(sizes) = sizes {
        progress.add_expected(Expected::Bytes(sizes.iter().sum()));
        progress.all_expected();
    }
    Box::new(
        files
            .into_iter()
            .map(|file| Ok(if file.as_os_str() == "-" { Job::Stdin } else { Job::File(file) })),
    )
}

/// The size of a regular file.
fn regular_size(file: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(file).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Returns a function of a line: the bytes that the line adds to the expected total. A repeated
/// blob adds nothing.
fn expected_of_lines(pushes_foreign: bool) -> impl FnMut(&Result<Line>) -> Expected {
    let mut seen: HashSet<Digest> = HashSet::new();
    move |line| match line {
        Ok(line) if seen.len() >= MAX_LINES || !seen.insert(line.digest().clone()) => {
            Expected::Nothing
        }
        Ok(Line::Unsized(_)) => Expected::Unknown,
        Ok(Line::Whole(descriptor)) => match mediatype::kind(&descriptor.media_type) {
            Kind::Layer { foreign: true, .. } if !pushes_foreign => Expected::Nothing,
            _ => Expected::Bytes(descriptor.size),
        },
        Err(_) => Expected::Nothing,
    }
}

/// The jobs for descriptor lines. Each blob is pushed once. The job of a manifest is returned only
/// after all lines before it are printed.
fn line_jobs(
    lines: impl Iterator<Item = Result<Line>>,
    confirmed: Arc<Confirmed>,
) -> impl Iterator<Item = Result<Job>> {
    let mut begun: HashSet<(Digest, u64)> = HashSet::new();
    lines.enumerate().map(move |(index, line)| {
        let line = line?;
        if index >= MAX_LINES {
            return Err(Error::malformed(format_args!("more than {MAX_LINES} lines")));
        }
        let descriptor = match line {
            Line::Whole(descriptor) => descriptor,
            Line::Unsized(line) => return Ok(Job::Unsized(line)),
        };
        Ok(if !begun.insert((descriptor.digest.clone(), descriptor.size)) {
            Job::Again(descriptor)
        } else if mediatype::is_manifest(&descriptor.media_type) {
            confirmed.wait_for(index);
            Job::Manifest(descriptor)
        } else {
            Job::Blob(descriptor)
        })
    })
}
