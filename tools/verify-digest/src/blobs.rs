// SPDX-License-Identifier: Apache-2.0
//! `--from`: verifies the blobs of a layout that descriptor lines name.
//!
//! A line is printed again, unchanged, if its blob and the blobs of all lines before it have the
//! right size and digest. The next program of a pipeline gets only lines of verified blobs, and no
//! line after the first failure.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::line_output::LineOutput;
use common::lines::Lines;
use common::parallel::{self, processors};
use common::progress::{Expected, How, Progress};
use common::verify::{Verifier, verify};
use common::{notice, stdio};
use layout::Layout;

/// The largest number of verified blobs that are remembered. A remembered blob is not read again if
/// its line is repeated.
const MAX_REMEMBERED: usize = 10_000;

/// Verifies the blobs that the descriptor lines on standard input name.
///
/// # Errors
/// The error of the first line that fails: Content if a size or digest differs, Absent if a blob
/// does not exist, Malformed if the line is invalid, Local if a blob cannot be read.
pub(crate) fn check(dir: PathBuf, progress: &Progress) -> Result<()> {
    let mut output = LineOutput::stdout()?;
    // The layout is opened at the first line: the program that creates it may have started at the
    // same time as this one.
    let layout = OnceLock::new();
    let right = Mutex::new(HashSet::new());
    let shown = progress.clone();
    let work = move |line: Result<Descriptor>| {
        let descriptor = line?;
        let layout = layout.get_or_init(|| Layout::open(&dir)).as_ref().map_err(Error::clone)?;
        let blob = (descriptor.digest.clone(), descriptor.size);
        if !remembered(&right).contains(&blob) {
            check_blob(layout, &descriptor, &shown)?;
            let mut right = remembered(&right);
            if right.len() < MAX_REMEMBERED {
                right.insert(blob);
            }
        }
        Ok::<_, Error>(descriptor)
    };
    let take = |line: Result<Descriptor>| {
        output.print(&line?).map_err(|cause| Error::local("standard output", &cause))
    };
    let read = progress.clone();
    parallel::in_order(processors(), move || read.ahead(lines, expected()), work, take)
}

type Blobs = HashSet<(Digest, u64)>;

fn remembered(blobs: &Mutex<Blobs>) -> std::sync::MutexGuard<'_, Blobs> {
    blobs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptor lines on standard input.
fn lines() -> Box<dyn Iterator<Item = Result<Descriptor>>> {
    match stdio::stdin() {
        Ok(input) => Box::new(Lines::new(input)),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// Returns a function of a line: the bytes that the line adds to the expected total. A repeated
/// blob adds nothing.
fn expected() -> impl FnMut(&Result<Descriptor>) -> Expected {
    let mut seen: HashSet<Digest> = HashSet::new();
    move |line| match line {
        Ok(descriptor) if seen.len() < MAX_REMEMBERED && seen.insert(descriptor.digest.clone()) => {
            Expected::Bytes(descriptor.size)
        }
        _ => Expected::Nothing,
    }
}

fn check_blob(layout: &Layout, descriptor: &Descriptor, progress: &Progress) -> Result<()> {
    let digest = &descriptor.digest;
    let Some((file, size)) = layout.open_blob(digest)? else {
        // Non-distributable layers are usually not copied into a layout: they are fetched from
        // their own URLs. An early line means that this layer is being downloaded.
        if !descriptor.early && descriptor.is_non_distributable() {
            notice::warn("foreign layer", || {
                format!("{digest}: a non-distributable layer, not in {layout}: not verified")
            });
            return Ok(());
        }
        return Err(layout.absent(digest));
    };
    if size != descriptor.size {
        let what =
            format_args!("{layout}: {digest}: size differs: got {size}, want {}", descriptor.size);
        return Err(Error::content(what).hint(layout.repair()));
    }
    let name = format!("{layout}: {digest}");
    progress.begin(Some(digest), Some(size), 0);
    let file = progress.counting(Some(digest.clone()), file);
    match verify(file, Verifier::new(digest, Some(size)), &name) {
        Err(e) if e.status() == Status::Content => Err(e.context(layout).hint(layout.repair())),
        Err(error) => Err(error),
        Ok(size) => {
            progress.done(digest, size, How::Verified);
            Ok(())
        }
    }
}
