// SPDX-License-Identifier: Apache-2.0
//! push-blob: blobs into a registry or a layout, so that nothing is ever sent twice.
//!
//! `cli` is the command line, and `jobs` makes jobs of it. `run` gives each to `push_files`,
//! `push_streams` or `push_lines`, which find its bytes and hand them to the `target`. The target
//! looks for a blob first, mounts it if it can, or sends it by an `upload`.

mod checked_readers;
mod cli;
mod copy;
mod file_bytes;
mod interrupt;
mod jobs;
mod push_files;
mod push_lines;
mod push_streams;
mod run;
mod stored_blob;
mod target;
mod upload;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use common::error::{Error, Result};
use common::parallel::in_order;
use common::progress::Progress;
use common::reference::StoreName;
use common::{exit, stdio};
use registry::Registry;
use store::Remote;

use cli::Cli;
use jobs::{Confirmed, Job};
use run::Run;
use target::Target;
use upload::Uploads;

fn main() -> ExitCode {
    exit::run("push-blob", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    let remote = cli.network.remote(cli.stdin())?;
    let mut output = stdio::stdout()?;
    let mount_from = cli.siblings()?;
    let target = target(&cli.store, &remote)?;
    let from = match &cli.from {
        None => None,
        Some(from) => {
            let is_same = cli.is_same_registry(from);
            let remote = cli.from_network.remote(&remote, is_same);
            Some((from.clone(), cli.mirrored.remote(remote)?))
        }
    };
    let run = Arc::new(Run {
        target,
        from,
        source: OnceLock::new(),
        mount_from,
        compress: cli.method()?,
        media_type: cli.media_type,
        chunk: cli.chunk,
        allow_nondistributable: cli.allow_nondistributable,
        progress: Progress::new(cli.progress, cli.quiet),
        delivered: Mutex::default(),
    });

    let confirmed = Arc::new(Confirmed::default());
    let jobs = {
        let (files, confirmed) = (cli.files, Arc::clone(&confirmed));
        let has_source = run.from.is_some();
        move || jobs::jobs(files, has_source, confirmed)
    };
    let print = |line: Result<String>| {
        output.write_all(line?.as_bytes()).map_err(|cause| match cause.kind() {
            ErrorKind::BrokenPipe => interrupt::die_of_sigpipe(),
            _ => Error::local("standard output", &cause),
        })?;
        confirmed.one_more();
        Ok(())
    };
    let work = {
        let run = Arc::clone(&run);
        move |job: Result<Job>| run.push(job?)
    };
    let outcome = in_order(usize::from(cli.jobs), jobs, work, print);
    if outcome.is_err() {
        // The jobs after the one that failed end with the run.
        run.target.close();
    }
    run.remember();
    run.progress.end();
    outcome
}

/// Where the blobs go. The sessions that are open at a registry are cancelled before a signal or
/// `--timeout` ends the run.
fn target(store: &StoreName, remote: &Remote) -> Result<Target> {
    let repository = match store {
        StoreName::Layout(dir) => return Ok(Target::Layout(dir.clone(), OnceLock::new())),
        StoreName::Repository(repository) => repository,
    };
    let registry = Registry::open_to_push(repository, &remote.client, &remote.peer)?;
    let uploads = Arc::new(Uploads::new(registry));
    let open = Arc::clone(&uploads);
    interrupt::before_dying(move || open.cancel_all(false))?;
    Ok(Target::Registry(uploads))
}
