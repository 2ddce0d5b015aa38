// SPDX-License-Identifier: Apache-2.0
//! `--from`: the blobs of a layout that descriptor lines name.
//!
//! A line is printed again, as it came, when its blob has the right size and digest and all before
//! it had. So an image in a pipeline passes on what is whole, and nothing after the first that is
//! not.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::lines::Lines;
use common::mediatype::Kind;
use common::parallel::{self, processors};
use common::verify::{Verifier, verify};
use common::{mediatype, notice, stdio};
use layout::Layout;

/// How many blobs are remembered as right, so that one which comes again is not read again.
const MAX_REMEMBERED: usize = 10_000;

/// Checks what the descriptor lines on stdin name.
///
/// # Errors
/// That of the first line that failed.
pub(crate) fn check(dir: PathBuf) -> Result<()> {
    let mut output = stdio::stdout()?;
    // Opened at the first line: what makes the layout may have started in the same moment as this.
    let (layout, right) = (OnceLock::new(), Mutex::new(HashSet::new()));
    let work = move |line: Result<Descriptor>| {
        let descriptor = line?;
        let layout = layout.get_or_init(|| Layout::open(&dir)).as_ref().map_err(Error::clone)?;
        let blob = (descriptor.digest.clone(), descriptor.size);
        if !remembered(&right).contains(&blob) {
            check_blob(layout, &descriptor)?;
            let mut right = remembered(&right);
            if right.len() < MAX_REMEMBERED {
                right.insert(blob);
            }
        }
        Ok::<_, Error>(descriptor.line() + "\n")
    };
    let take = |line: Result<String>| {
        output.write_all(line?.as_bytes()).map_err(|cause| Error::local("standard output", &cause))
    };
    parallel::in_order(processors(), lines, work, take)
}

type Blobs = HashSet<(Digest, u64)>;

fn remembered(blobs: &Mutex<Blobs>) -> std::sync::MutexGuard<'_, Blobs> {
    blobs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptor lines on stdin.
fn lines() -> Box<dyn Iterator<Item = Result<Descriptor>>> {
    match stdio::stdin() {
        Ok(input) => Box::new(Lines::new(input)),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

fn check_blob(layout: &Layout, descriptor: &Descriptor) -> Result<()> {
    let digest = &descriptor.digest;
    let Some((file, size)) = layout.open_blob(digest)? else {
        // It belongs elsewhere: whoever fetched the image left it there.
        if matches!(mediatype::kind(&descriptor.media_type), Kind::Layer { foreign: true, .. }) {
            notice::warn("foreign layer", || {
                format!("{digest}: a foreign layer, not in {layout}: not checked")
            });
            return Ok(());
        }
        return Err(Error::absent(format_args!("{layout}: no blob {digest}")));
    };
    let mend = format_args!("fetch-blob STORE --into {layout} --recheck mends it");
    if size != descriptor.size {
        let what =
            format_args!("{layout}: {digest}: size differs: got {size}, want {}", descriptor.size);
        return Err(Error::content(what).hint(mend));
    }
    let name = format!("{layout}: {digest}");
    match verify(file, Verifier::new(digest, Some(size)), &name) {
        Err(e) if e.status() == Status::Content => Err(e.context(layout).hint(mend)),
        other => other.map(|_| ()),
    }
}
