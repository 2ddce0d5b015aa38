// SPDX-License-Identifier: Apache-2.0
//! A push under test: a scripted registry, a blob in a file and in a layout, and the commands that
//! push it.

use crate::fake::{Intake, Reply, Request};
use crate::fake_registry::FakeRegistry;
use crate::images::{Blob, noise, types, write_layout};
use crate::scratch::Scratch;
use crate::tools::{Command, Run, tool};

/// A registry, and a blob to be pushed to its repository `app`.
#[derive(Debug)]
pub struct Push {
    /// The registry.
    pub registry: FakeRegistry,
    /// The directory with the blob in the file `layer` and in the layout `l`, and with a home
    /// directory.
    pub scratch: Scratch,
    /// The blob.
    pub blob: Blob,
}

impl Push {
    /// A blob of `len` bytes, and a registry that uses plain HTTP and needs no credential.
    pub fn of(len: usize) -> Push {
        Push::to(FakeRegistry::start(), len)
    }

    /// A blob of `len` bytes, and this registry.
    pub fn to(registry: FakeRegistry, len: usize) -> Push {
        let scratch = Scratch::new();
        let blob = Blob::new(types::TAR, noise(len, 1));
        scratch.write("layer", &blob.bytes);
        scratch.write("home/.keep", "");
        write_layout(&scratch.join("l"), "1", &blob, []);
        Push { registry, scratch, blob }
    }

    /// The command without its operands. Its home is in the scratch directory, for the records of
    /// unfinished uploads.
    pub fn bare(&self) -> Command {
        let command = tool("push-blob").args(["--max-wait", "0"]);
        command.env("HOME", self.scratch.join("home")).dir(self.scratch.path())
    }

    /// The command that pushes the file.
    pub fn file(&self) -> Command {
        self.bare().args(["--media-type", types::TAR, &self.registry.repo("app"), "layer"])
    }

    /// The command that pushes from the layout.
    pub fn line(&self) -> Command {
        let command = self.bare().args([&self.registry.repo("app"), "--from", "oci:l"]);
        command.stdin(self.blob.line())
    }

    /// Whether the registry has the blob. Fails if the registry has other bytes for the blob's
    /// digest.
    #[track_caller]
    pub fn holds(&self) -> bool {
        let held = self.registry.blob("app", &self.blob.digest);
        assert!(held.as_ref().is_none_or(|bytes| bytes[..] == self.blob.bytes), "wrong bytes");
        held.is_some()
    }

    /// Checks that the run succeeded, the registry has the blob, and no upload session is open.
    #[track_caller]
    pub fn done(&self, run: &Run) {
        let steps = self.registry.steps();
        assert_eq!(run.code(), Some(0), "{run}\n{steps:#?}");
        run.stdout(self.blob.line());
        assert!(self.holds(), "{run}\n{steps:#?}");
        assert_eq!(self.registry.sessions(), [], "{run}\n{steps:#?}");
    }

    /// The number of unfinished uploads that are recorded in the home for another run.
    pub fn remembered(&self) -> usize {
        let kept = crate::scratch::list(&self.scratch.join("home"));
        let is_upload = |name: &&String| {
            !name.ends_with('/') && *name != ".keep" && !name.ends_with("/distribution-sources")
        };
        kept.iter().filter(is_upload).count()
    }

    /// Runs the push of the file with more arguments, and checks its end. A successful run leaves
    /// the blob in the registry and no session open. A failed run prints one error and nothing to
    /// stdout. It leaves a session only if another run may resume it and a record of it exists.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Run {
        self.judge(self.file().args(args).run())
    }

    /// The same checks as in [`Push::run`], for a run that has ended.
    #[track_caller]
    pub fn judge(&self, run: Run) -> Run {
        match run.code() {
            Some(0) => self.done(&run),
            code => {
                run.fails(code.unwrap_or(-1), "").stdout("");
                self.holds();
                let steps = self.registry.steps();
                let may_be_left = if code == Some(5) { self.remembered() } else { 0 };
                assert!(self.registry.sessions().len() <= may_be_left, "{run}\n{steps:#?}");
            }
        }
        run
    }

    /// The number of body bytes received in all requests together.
    pub fn sent(&self) -> u64 {
        self.registry.server.requests().iter().map(|request| request.received).sum()
    }

    /// The number of uploads started.
    pub fn starts(&self) -> usize {
        self.registry.steps().iter().filter(|step| *step == "POST uploads").count()
    }
}

/// Pushes a blob of `size` bytes to a registry with a fault in its responses.
#[track_caller]
pub fn through(
    size: usize,
    fault: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> (Push, Run) {
    let push = Push::of(size);
    push.registry.fault(fault);
    let run = push.run(&[]);
    (push, run)
}

/// Pushes a blob of `size` bytes to a registry with a fault in its handling of requests.
#[track_caller]
pub fn against(
    size: usize,
    args: &[&str],
    intake: impl Fn(&Request) -> Intake + Send + Sync + 'static,
) -> (Push, Run) {
    let push = Push::of(size);
    push.registry.intake(intake);
    let run = push.run(args);
    (push, run)
}
