// SPDX-License-Identifier: Apache-2.0
//! Many blobs into a layout. Each line is printed again, in input order, when the layout has its
//! blob. With `--early`, a line is printed as an early line when its blob begins to arrive.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, sync_channel};

use common::digest::Digest;
use common::error::{Error, Result};
use common::line_output::LineOutput;
use common::progress::{Expected, Progress};
use layout::Layout;
use store::{Remote, Store};

use crate::connections::Connections;
use crate::destination::{Destination, Run};
use crate::lines::Wanted;
use crate::{Cli, lines};

/// The maximum number of lines that are read ahead of the line that is printed next.
const READ_AHEAD: usize = 1024;

/// Fetches all blobs of the input into the layout at `into`.
pub(crate) fn fetch(cli: &Cli, remote: &Remote, into: &Path, progress: Progress) -> Result<()> {
    let output = LineOutput::stdout()?;
    let (send, wanted) = sync_channel(0);
    lines::read(&cli.digests, send);
    // Wait for the first line: the program before this one in the pipe may still have to create the
    // source layout.
    let Ok(first) = wanted.recv() else { return Ok(()) };
    let first = first?;

    let layout = Layout::create(into)?;
    let store = Store::open(&cli.store, remote)?;
    let destination = Destination::Layout(layout.clone());
    let run = Run {
        store,
        destination,
        max_size: cli.max_size,
        recheck: cli.recheck,
        patience: remote.client.idle_timeout,
        progress,
        early: cli.early,
        received: AtomicU64::new(0),
    };
    let connections = Connections::start(run, usize::from(cli.jobs));
    let wanted = feed(first, wanted, connections.clone());

    let mut printer =
        Printer { output, sizes: HashMap::new(), begun: HashMap::new(), early: Vec::new() };
    let printed = wanted.iter().try_for_each(|wanted| printer.print(wanted?, &connections));
    let outcome = printed.and_then(|()| printer.await_early(&connections));
    let stored: HashSet<Digest> = printer.sizes.into_keys().collect();
    let mut done: Vec<Digest> = stored.iter().cloned().collect();
    // The order in which referrers are listed must be the same in every run.
    done.sort_by_key(Digest::to_string);
    // sweep-layout keeps new blobs. The first blob may have been stored hours ago, and perhaps no
    // entry names it yet.
    layout.touch(&done);
    if let Store::Registry(registry) = &connections.run().store {
        layout.record_repository(registry.repository(), &done);
    }
    // Images are named even after a failure: the blobs that were stored may complete another image.
    let named = layout.name_whole_images(&stored);
    let listed = layout.list_referrers(&done);
    outcome.and(named).and(listed)
}

/// Passes each digest to the connections once, and each line to the printer. Reads at most
/// [`READ_AHEAD`] lines ahead of the printer.
fn feed(
    first: Wanted,
    lines: Receiver<Result<Wanted>>,
    connections: Arc<Connections>,
) -> Receiver<Result<Wanted>> {
    let (send, wanted) = sync_channel(READ_AHEAD);
    std::thread::spawn(move || {
        let mut begun = HashSet::new();
        for line in std::iter::once(Ok(first)).chain(lines) {
            if let Ok(wanted) = &line
                && begun.insert(wanted.digest.clone())
            {
                let stated = wanted.descriptor.as_ref().map(|descriptor| descriptor.size);
                let expected = stated.map_or(Expected::Unknown, Expected::Bytes);
                connections.run().progress.add_expected(expected);
                connections.push(wanted.clone());
            }
            if send.send(line).is_err() {
                return;
            }
        }
        connections.run().progress.all_expected();
        connections.close();
    });
    wanted
}

/// Prints the lines in input order. A repeated digest is fetched once and printed each time.
struct Printer {
    output: LineOutput,
    /// The sizes of the blobs that are stored.
    sizes: HashMap<Digest, u64>,
    /// The positions of the blobs that were printed in early lines.
    begun: HashMap<Digest, usize>,
    /// The digests and stated sizes of the early lines.
    early: Vec<(Digest, u64)>,
}

impl Printer {
    fn print(&mut self, wanted: Wanted, connections: &Connections) -> Result<()> {
        let digest = &wanted.digest;
        let may_be_early = connections.run().early && wanted.descriptor.is_some();
        let Some(size) = self.size(digest, wanted.index, may_be_early, connections)? else {
            let Some(descriptor) = wanted.descriptor else { return Ok(()) };
            self.begun.entry(wanted.digest.clone()).or_insert(wanted.index);
            self.early.push((wanted.digest, descriptor.size));
            return self.write(|output| output.print_early(&descriptor));
        };
        if let Some(descriptor) = &wanted.descriptor {
            check_size(digest, size, descriptor.size)?;
        }
        self.write(|output| output.print(&wanted.described(size)))
    }

    /// Waits until the layout has the blob, and returns its size. If the line can be early, waits
    /// only until the blob begins to arrive, and then returns `None`.
    fn size(
        &mut self,
        digest: &Digest,
        index: usize,
        may_be_early: bool,
        connections: &Connections,
    ) -> Result<Option<u64>> {
        if let Some(size) = self.sizes.get(digest) {
            return Ok(Some(*size));
        }
        let index = self.begun.get(digest).copied().unwrap_or(index);
        let size = if may_be_early {
            connections.outcome_or_begin(index)?
        } else {
            Some(connections.outcome(index)?)
        };
        if let Some(size) = size {
            self.sizes.insert(digest.clone(), size);
        }
        Ok(size)
    }

    /// Waits until the layout has the blobs of all early lines.
    fn await_early(&mut self, connections: &Connections) -> Result<()> {
        for (digest, stated) in std::mem::take(&mut self.early) {
            if let Some(size) = self.size(&digest, 0, false, connections)? {
                check_size(&digest, size, stated)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, print: impl FnOnce(&mut LineOutput) -> io::Result<()>) -> Result<()> {
        print(&mut self.output).map_err(|cause| Error::local("standard output", &cause))
    }
}

fn check_size(digest: &Digest, got: u64, want: u64) -> Result<()> {
    if got == want {
        return Ok(());
    }
    Err(Error::content(format_args!("{digest}: size differs: got {got}, want {want}")))
}
