// SPDX-License-Identifier: Apache-2.0
//! push-blob: pushes blobs into a registry or a layout. It does not send bytes that the target
//! already has.
//!
//! Start reading here. `cli` defines the command line, and `jobs` turns the input into jobs. `run`
//! passes each job to `push_files`, `push_streams` or `push_lines`. These three modules open the
//! blob's bytes and pass them to the `target`. For a repository, `target` first asks the registry
//! whether the repository has the blob. If not, it tries to mount the blob. If that fails too, it
//! sends the blob as an `upload`.
//!
//! Not here: tags, which put-manifest sets, and making layers, which pack-layer does.

mod checked_readers;
mod cli;
mod copy;
mod file_bytes;
mod jobs;
mod memory;
mod push_files;
mod push_lines;
mod push_streams;
mod run;
mod stored_blob;
mod target;
mod upload;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use common::descriptor::Descriptor;
use common::error::{Error, Result};
use common::line_output::LineOutput;
use common::parallel::in_order_until_failure;
use common::progress::{Progress, Work};
use common::reference::StoreName;
use common::{exit, interrupt};
use registry::Registry;
use store::Remote;

use cli::Cli;
use jobs::{Confirmed, Job};
use memory::Memory;
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
    let mut output = LineOutput::stdout()?;
    let mount_from = cli.mount_repositories()?;
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
        annotations: cli.annotation,
        chunk: cli.chunk,
        allow_nondistributable: cli.allow_nondistributable,
        progress: Progress::start(cli.progress, cli.quiet, Work::Network)?,
        memory: Memory::default(),
        stored: Mutex::default(),
        manifests: Mutex::default(),
        unlisted: Mutex::default(),
    });

    let confirmed = Arc::new(Confirmed::default());
    let jobs = {
        let files = cli.files;
        let confirmed = Arc::clone(&confirmed);
        let progress = run.progress.clone();
        let source = run.from.is_some().then_some(cli.allow_nondistributable);
        move || jobs::jobs(files, source, &progress, confirmed)
    };
    // An invalid line is reported after the lines before it are printed. A failed job is reported
    // at once.
    let print = |line: Result<Descriptor>| {
        output.print(&line?).map_err(|cause| match cause.kind() {
            ErrorKind::BrokenPipe => interrupt::die_of_sigpipe(),
            _ => Error::local("standard output", &cause),
        })?;
        confirmed.one_more();
        Ok(())
    };
    let work = {
        let run = Arc::clone(&run);
        move |job: Result<Job>| job.map_or_else(|error| Ok(Err(error)), |job| run.push(job).map(Ok))
    };
    let outcome = in_order_until_failure(usize::from(cli.jobs), jobs, work, print);
    if outcome.is_err() {
        // Other jobs may still run. They are not waited for: the process ends while they run.
        run.target.close();
    }
    run.remember();
    // Even after a failure, the manifests that were stored are listed.
    let listed = run.list_referrers();
    let named = run.target.name_whole_images();
    outcome.and(listed).and(named)
}

/// Opens the target. Upload sessions that are open at a registry are cancelled before a signal or
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
