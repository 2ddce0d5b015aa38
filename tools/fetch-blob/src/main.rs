// SPDX-License-Identifier: Apache-2.0
//! fetch-blob: blobs from a registry or a layout, verified, resumable, to stdout, a file or a layout.
//!
//! `partial` names the files they grow in, `blob` is one blob's state, `fill` and `follow`
//! work on it, `pool` spreads many over connections, `stream` is the way without a file.

mod blob;
mod fill;
mod follow;
mod partial;
mod pool;
mod relay;
mod stream;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use clap::Parser;
use common::cli;
use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::lines::Lines;
use common::output::Output;
use common::progress::{How, Mode, Progress};
use common::reference::StoreName;
use common::{exit, mediatype, stdio};
use layout::Layout;
use store::Remote;
use store::Store;
use store::options::{Mirrored, Network, Stdin};

use pool::{Destination, Pool, Run, Wanted};

/// The most descriptor lines that one run takes.
const MAX_LINES: usize = 100_000;

/// How many lines are read ahead of the one that is printed next.
const READ_AHEAD: usize = 1024;

/// Fetch blobs, verified and resumable
///
/// One blob, named by DIGEST or a descriptor line on standard input, goes to standard output or a file; many go into a
/// layout, and each descriptor line is printed again once its blob is there and verified.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Where the blobs are: a repository, or oci:DIR
    store: StoreName,
    /// The blobs; without, descriptor lines are read from standard input
    #[arg(value_name = "DIGEST")]
    digests: Vec<Digest>,
    /// Write the one blob to FILE
    #[arg(short, long, value_name = "FILE", conflicts_with = "into")]
    output: Option<PathBuf>,
    /// Put the blobs into a layout
    #[arg(long, value_name = "oci:DIR")]
    into: Option<StoreName>,
    /// Connections in all
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    /// Hash the blobs that are in the layout already, and mend them
    #[arg(long, requires = "into")]
    recheck: bool,
    /// Refuse a blob of more than SIZE bytes (k, M, G, T are powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = cli::bytes)]
    max_size: Option<u64>,
    /// Show progress on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto")]
    progress: Mode,
    /// No warnings, and no bar unless it is asked for
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    mirrored: Mirrored,
}

fn main() -> ExitCode {
    exit::run("fetch-blob", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    if cli.recheck && cli.into.is_none() {
        return Err(Error::usage("--recheck goes with --into"));
    }
    let stdin = if cli.digests.is_empty() { Stdin::Data } else { Stdin::Free };
    let remote = cli.mirrored.remote(cli.network.remote(stdin)?)?;
    let progress = Progress::new(cli.progress, cli.quiet);
    match &cli.into {
        Some(StoreName::Layout(dir)) => fetch_many(&cli, &remote, dir, progress),
        Some(StoreName::Repository(name)) => {
            Err(Error::usage(format_args!("--into {name}: a layout is wanted"))
                .hint("a layout is named oci:DIR"))
        }
        None => fetch_one(&cli, &remote, progress),
    }
}

/// One blob to stdout or a file.
fn fetch_one(cli: &Cli, remote: &Remote, progress: Progress) -> Result<()> {
    let output = Output::open(cli.output.as_deref().unwrap_or("-".as_ref()))?;
    let wanted = the_only_one(&cli.digests)?;
    let store = Store::open(&cli.store, remote)?;
    let file = match output {
        Output::Stream(file) => file,
        Output::File(place) => {
            let destination = Destination::File(place);
            let (max_size, recheck) = (cli.max_size, cli.recheck);
            let run = Run { store, destination, max_size, recheck, progress };
            let pool = Pool::start(run, usize::from(cli.jobs));
            pool.push(wanted);
            pool.close();
            let outcome = pool.outcome(0);
            pool.run().progress.end();
            return outcome.map(drop);
        }
    };
    let Wanted { digest, descriptor, .. } = wanted;
    if let Some(descriptor) = &descriptor
        && let Some(bytes) = store.blob_at_once(descriptor)?
    {
        progress.done(&digest, descriptor.size, How::Fetched);
        return Output::Stream(file).write(&bytes);
    }
    let stated = descriptor.as_ref().map(|d| d.size);
    let urls: Vec<String> =
        descriptor.iter().flat_map(Descriptor::urls).map(str::to_owned).collect();
    let outcome = stream::stream(&digest, stated, &urls, cli.max_size, &store, file, &progress);
    progress.end();
    progress.done(&digest, outcome?, How::Fetched);
    Ok(())
}

/// The one digest, or the one descriptor line on stdin.
fn the_only_one(digests: &[Digest]) -> Result<Wanted> {
    let too_many = || {
        Error::usage("several blobs, and only one can go to standard output or a file")
            .hint("--into oci:DIR takes many")
    };
    match digests {
        [digest] => return Ok(Wanted { index: 0, digest: digest.clone(), descriptor: None }),
        [] => {}
        _ => return Err(too_many()),
    }
    let mut lines = Lines::new(stdio::stdin()?);
    let descriptor = lines.next().unwrap_or_else(|| Err(Error::malformed("no line")))?;
    match lines.next() {
        Some(_) => Err(too_many()),
        None => {
            Ok(Wanted { index: 0, digest: descriptor.digest.clone(), descriptor: Some(descriptor) })
        }
    }
}

/// Many blobs into a layout: each line is printed again, in input order, once its blob is there.
fn fetch_many(cli: &Cli, remote: &Remote, into: &Path, progress: Progress) -> Result<()> {
    let output = stdio::stdout()?;
    let (send, lines) = sync_channel(0);
    read(&cli.digests, send);
    // A source that is a layout may be in the making until the first line says what it has.
    let Ok(first) = lines.recv() else { return Ok(()) };
    let first = first?;

    let layout = Layout::create(into)?;
    let store = Store::open(&cli.store, remote)?;
    let (max_size, recheck) = (cli.max_size, cli.recheck);
    let destination = Destination::Layout(layout.clone());
    let run = Run { store, destination, max_size, recheck, progress };
    let pool = Pool::start(run, usize::from(cli.jobs));
    let wanted = feed(first, lines, pool.clone());

    let mut printer = Printer { output, sizes: HashMap::new() };
    let outcome = wanted.iter().try_for_each(|wanted| printer.print(wanted?, &pool));
    if let Store::Registry(registry) = &pool.run().store {
        let done: Vec<Digest> = printer.sizes.into_keys().collect();
        layout.remember_source(registry.repository(), &done);
    }
    pool.run().progress.end();
    outcome
}

/// Reads what is wanted, in a thread of its own: it may have to wait for the program before.
fn read(digests: &[Digest], send: SyncSender<Result<Wanted>>) {
    let digests = digests.to_vec();
    std::thread::spawn(move || {
        if digests.is_empty() {
            let stdin = match stdio::stdin() {
                Ok(stdin) => stdin,
                Err(error) => return drop(send.send(Err(error))),
            };
            for (index, line) in Lines::new(BufReader::new(stdin)).enumerate() {
                let line = line.and_then(|descriptor| match index {
                    MAX_LINES.. => {
                        Err(Error::malformed(format_args!("more than {MAX_LINES} lines")))
                    }
                    _ => Ok(descriptor),
                });
                let wanted = line.map(|descriptor| {
                    let digest = descriptor.digest.clone();
                    Wanted { index, digest, descriptor: Some(descriptor) }
                });
                if send.send(wanted).is_err() {
                    return;
                }
            }
        } else {
            for (index, digest) in digests.into_iter().enumerate() {
                let wanted = Wanted { index, digest, descriptor: None };
                if send.send(Ok(wanted)).is_err() {
                    return;
                }
            }
        }
    });
}

/// Hands what is wanted to the pool, each digest once, and on to be printed, only so far ahead of it.
fn feed(
    first: Wanted,
    lines: Receiver<Result<Wanted>>,
    pool: Arc<Pool>,
) -> Receiver<Result<Wanted>> {
    let (send, wanted) = sync_channel(READ_AHEAD);
    std::thread::spawn(move || {
        let mut begun = HashSet::new();
        for line in std::iter::once(Ok(first)).chain(lines) {
            if let Ok(wanted) = &line
                && begun.insert(wanted.digest.clone())
            {
                pool.push(wanted.clone());
            }
            if send.send(line).is_err() {
                return;
            }
        }
        pool.close();
    });
    wanted
}

/// Prints lines in input order. A digest that comes again is fetched once and printed again.
struct Printer {
    output: File,
    /// The sizes of the blobs that are there.
    sizes: HashMap<Digest, u64>,
}

impl Printer {
    fn print(&mut self, wanted: Wanted, pool: &Pool) -> Result<()> {
        let Wanted { index, digest, descriptor } = wanted;
        let size = match self.sizes.get(&digest) {
            Some(size) => *size,
            None => pool.outcome(index)?,
        };
        if let Some(descriptor) = &descriptor
            && descriptor.size != size
        {
            let want = descriptor.size;
            let what = format_args!("{digest}: size differs: got {size}, want {want}");
            return Err(Error::content(what));
        }
        self.sizes.insert(digest.clone(), size);
        let described = || Descriptor::new(mediatype::OCTETS, digest, size);
        let line = descriptor.unwrap_or_else(described).line();
        self.output
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|cause| Error::local("standard output", &cause))
    }
}
