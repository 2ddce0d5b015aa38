// SPDX-License-Identifier: Apache-2.0
//! sweep-layout: removes the blobs of a layout that no entry of `index.json` reaches.
//!
//! Nothing is removed unless every manifest that an entry reaches was read and is valid, no other
//! tool uses the layout, and the blob is older than `--keep-newer`. Entries are never changed.
//! Files whose names these tools do not write are never removed. Not here: the removal of entries.

mod age;
mod partial_files;
mod reach;
mod sweep;
mod unlisted;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::error::{Error, Result};
use common::reference::StoreName;
use common::{exit, stdio};
use layout::Layout;

use age::Ages;
use sweep::Sweep;

/// Remove the blobs of a layout that no entry reaches
///
/// Keeps everything that the entries of index.json reach, and the referrers of what is kept.
/// Removes other blobs, partial files of downloads, and records of repositories, and prints how
/// many.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The layout: a directory, or oci:DIR
    #[arg(value_name = "DIR", value_parser = directory)]
    dir: PathBuf,
    /// Remove nothing; print the descriptor lines of the blobs that would be removed
    #[arg(long)]
    dry_run: bool,
    /// Keep blobs and partial files that are newer than AGE: a number with s, m, h or d
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = age::parse)]
    keep_newer: Duration,
    /// Skip manifests of an index that are not in the layout; the blobs that they name are not kept
    #[arg(long)]
    allow_missing: bool,
    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
}

/// The directory of a layout: `oci:DIR`, or its path.
fn directory(text: &str) -> std::result::Result<PathBuf, String> {
    if !text.starts_with("oci:") {
        return Ok(text.into());
    }
    match text.parse() {
        Ok(StoreName::Layout(dir)) => Ok(dir),
        _ => Err("expected a directory or oci:DIR, without tag or digest".to_owned()),
    }
}

/// Refuses directories that are symbolic links. Another layout may share them, and its entries
/// reach other blobs.
fn refuse_links(layout: &Layout) -> Result<()> {
    for name in ["blobs", "blobs/sha256", "blobs/sha512", "ingest"] {
        if layout.dir().join(name).is_symlink() {
            let what =
                format_args!("{layout}: {name} is a symbolic link: another layout may use it");
            return Err(Error::malformed(what));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    exit::run("sweep-layout", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let output = stdio::stdout()?;
    // The clock is read before any blob is examined, so that blobs stored or used later are new.
    let ages = Ages::now(cli.keep_newer);
    let layout = Layout::open(&cli.dir)?;
    refuse_links(&layout)?;
    if !cli.dry_run {
        layout.lock_alone()?;
    }
    let reached = reach::walk(&layout, &ages, cli.allow_missing)?;
    Sweep { layout: &layout, reached: &reached, ages, dry_run: cli.dry_run }.run(output)
}
