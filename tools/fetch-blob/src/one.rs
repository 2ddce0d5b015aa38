// SPDX-License-Identifier: Apache-2.0
//! One blob to standard output or a file.

use std::sync::atomic::AtomicU64;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::Result;
use common::output::Output;
use common::progress::{Expected, How, Progress};
use common::terminal::TextOnly;
use layout::distribution_sources::{DistributionSources, Sighting};
use store::{Remote, Store};

use crate::connections::Connections;
use crate::destination::{Destination, Run};
use crate::lines::Wanted;
use crate::{Cli, lines, to_stdout};

/// Fetches the one blob to standard output or a file.
pub(crate) fn fetch(cli: &Cli, remote: &Remote, progress: Progress) -> Result<()> {
    let output = Output::open(cli.output.as_deref().unwrap_or("-".as_ref()))?;
    let wanted = lines::only_blob(&cli.digests)?;
    let store = Store::open(&cli.store, remote)?;
    let stream = match output {
        Output::Stream(stream) => stream,
        Output::File(place) => {
            let run = Run {
                store,
                destination: Destination::File(place),
                max_size: cli.max_size,
                recheck: cli.recheck,
                patience: remote.client.idle_timeout,
                progress,
                early: false,
                received: AtomicU64::new(0),
            };
            let connections = Connections::start(run, usize::from(cli.jobs));
            let digest = wanted.digest.clone();
            announce(&connections.run().progress, wanted.descriptor.as_ref());
            connections.push(wanted);
            connections.close();
            let outcome = connections.outcome(0);
            outcome?;
            remember(&connections.run().store, &digest);
            return Ok(());
        }
    };
    // With an explicit "-o -", the bytes are written even if stdout is a terminal.
    let guard = match cli.output {
        Some(_) => TextOnly::off(),
        None => TextOnly::on_stdout("-o FILE writes the blob to a file, -o - to standard output"),
    };
    let Wanted { digest, descriptor, .. } = wanted;
    if let Some(descriptor) = &descriptor
        && let Some(bytes) = store.blob_at_once(descriptor)?
    {
        guard.check(&bytes)?;
        progress.done(&digest, descriptor.size, How::Fetched);
        return Output::Stream(stream).write(&bytes);
    }
    announce(&progress, descriptor.as_ref());
    let stated = descriptor.as_ref().map(|d| d.size);
    let urls: Vec<String> =
        descriptor.iter().flat_map(Descriptor::urls).map(str::to_owned).collect();
    let outcome = to_stdout::stream(
        &digest,
        stated,
        &urls,
        cli.max_size,
        &store,
        (&stream, guard),
        &progress,
    );
    progress.done(&digest, outcome?, How::Fetched);
    remember(&store, &digest);
    Ok(())
}

/// Reports the size of the blob, which is the only blob of the run.
fn announce(progress: &Progress, descriptor: Option<&Descriptor>) {
    progress.add_expected(descriptor.map_or(Expected::Unknown, |d| Expected::Bytes(d.size)));
    progress.all_expected();
}

/// Records in the user's state directory that the repository has the blob, for later mounts by
/// push-blob. A failure is ignored, because the download does not need this record.
fn remember(store: &Store, digest: &Digest) {
    if let (Store::Registry(registry), Some(user)) = (store, DistributionSources::user()) {
        let _ = user.record(&[Sighting::of(digest, registry.repository())]);
    }
}
