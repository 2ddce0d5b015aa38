// SPDX-License-Identifier: Apache-2.0
//! Running a built tool, or a pipeline of them, and judging how it ended.
//!
//! The environment is empty but for PATH, and a HOME and XDG_RUNTIME_DIR that do not exist and
//! cannot be made, not even by root, so that nobody's credentials or proxies take part and nothing
//! is left behind. stdin is empty unless given. Whatever hangs is killed after
//! [`PATIENCE`](crate::PATIENCE) and fails the test.
//!
//! Deliberately absent: any judgement of a tool's words beyond the contract that all tools share.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

pub use rustix::process::Signal;

use crate::eventually;
use crate::peers::{find, must, peer};
use crate::scratch::Scratch;

/// A home that is not there, where nobody can make one.
const HOME: &str = "/proc/none";

/// The user and group "nobody": the ordinary user that a root test becomes.
const NOBODY: u32 = 65534;

/// Where the tools are: `$REGUTILS_BIN` when it is set, so that the suite runs against any build;
/// else beside the running test, of its profile, where [`tool`] and [`shell`] build what they need.
pub fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| match given() {
        // A test may run its tools in any directory.
        Some(dir) => std::fs::canonicalize(&dir)
            .unwrap_or_else(|why| panic!("REGUTILS_BIN={}: {why}", dir.display())),
        None => {
            // TARGET/PROFILE/deps/TEST
            let test = std::env::current_exe().unwrap();
            test.parent().and_then(Path::parent).unwrap().to_owned()
        }
    })
}

fn given() -> Option<OsString> {
    std::env::var_os("REGUTILS_BIN")
}

/// Builds what these arguments choose, once in a run, unless the tools are given. What cargo says
/// of it goes to stderr, past what a test's output is kept in.
#[track_caller]
fn build(what: &[&str]) {
    static DONE: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    if given().is_some() {
        return;
    }
    // Whoever needs the same meanwhile waits for it here.
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let built = *done.entry(what.join(" ")).or_insert_with(|| {
        let profile = match bin().file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = std::process::Command::new(cargo);
        // What the cargo that runs this test says of its package would be news to build scripts
        // that look at it.
        for (name, _) in std::env::vars_os() {
            let said = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_"];
            if said.iter().any(|part| name.as_encoded_bytes().starts_with(part.as_bytes())) {
                cargo.env_remove(name);
            }
        }
        // Always of the whole workspace: then all have the same dependencies with the same
        // features, built once.
        cargo
            .args(["build", "--locked", "--workspace", "--profile", profile])
            .args(what)
            .arg("--target-dir")
            .arg(bin().parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    drop(done);
    assert!(
        built,
        "cargo build {}: failed (REGUTILS_BIN names a directory of built tools)",
        what.join(" ")
    );
}

/// One of the tools, to be given arguments and run.
///
/// # Panics
/// When there is no such tool.
#[track_caller]
pub fn tool(name: &str) -> Command {
    build(&["--bin", name]);
    let program = bin().join(name);
    assert!(program.is_file(), "no {name} in {}", bin().display());
    Command::new(&program, name)
}

/// A script for dash, with the tools on its PATH. What it needs to know comes by [`Command::env`],
/// so that nothing has to be quoted.
#[track_caller]
pub fn shell(script: &str) -> Command {
    build(&["--bins"]);
    Command::new(&find("dash"), "dash").arg("-c").arg(script)
}

/// A command line in the making.
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    /// As it is shown when a test fails.
    line: String,
    stdin: Option<Vec<u8>>,
    program: PathBuf,
    /// The copy of the program that an ordinary user may run.
    copy: Option<Scratch>,
}

impl Command {
    fn new(program: &Path, name: &str) -> Command {
        let mut inner = std::process::Command::new(program);
        let mut path = OsString::from(bin());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        // A group of its own, so that a whole pipeline can be killed at once.
        inner
            .arg0(name)
            .env_clear()
            .env("PATH", path)
            .env("HOME", HOME)
            .env("XDG_RUNTIME_DIR", HOME)
            .process_group(0);
        Command {
            inner,
            line: name.to_owned(),
            stdin: None,
            program: program.to_owned(),
            copy: None,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Command {
        self.line.push(' ');
        self.line.push_str(&arg.as_ref().to_string_lossy());
        self.inner.arg(arg);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        args.into_iter().fold(self, Command::arg)
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Command {
        self.inner.env(name, value);
        self
    }

    /// The directory that it runs in.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Command {
        self.inner.current_dir(dir);
        self
    }

    /// What comes in by stdin.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Command {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it by another program (and its first arguments) that starts what follows: prlimit,
    /// strace, unshare.
    ///
    /// # Panics
    /// When that program is not there.
    #[must_use]
    #[track_caller]
    pub fn under(mut self, wrapper: &[&str]) -> Command {
        let mut inner = std::process::Command::new(find(wrapper[0]));
        inner.args(&wrapper[1..]).arg(self.inner.get_program()).args(self.inner.get_args());
        inner.env_clear().process_group(0);
        inner.envs(self.inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = self.inner.get_current_dir() {
            inner.current_dir(dir);
        }
        self.inner = inner;
        self
    }

    /// Runs as an ordinary user, for whom permissions count. A user who is not root is that
    /// already. Not for [`shell`]: the tools on its PATH may lie where that user cannot go.
    #[must_use]
    pub fn as_nobody(mut self) -> Command {
        if !rustix::process::geteuid().is_root() {
            return self;
        }
        let copy = Scratch::new();
        let program = copy.join(self.program.file_name().unwrap());
        // By another process: what a thread of this one has open for writing, others' children
        // inherit, and then it cannot be run.
        must(peer("cp").arg(&self.program).arg(&program));
        let swap =
            |word: &OsStr| if word == self.program { program.as_os_str() } else { word }.to_owned();
        let mut inner = std::process::Command::new(swap(self.inner.get_program()));
        inner.args(self.inner.get_args().map(swap));
        inner.env_clear().process_group(0).uid(NOBODY).gid(NOBODY);
        inner.envs(self.inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inner.current_dir(self.inner.get_current_dir().unwrap_or(copy.path()));
        self.inner = inner;
        self.copy = Some(copy);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(mut self) -> Running {
        self.inner.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.inner.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.inner.spawn().unwrap_or_else(|why| panic!("{}: {why}", self.line));
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin) {
            // A tool may end before it has read everything; its status is what is judged.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        Running {
            stdout: Some(collect(child.stdout.take().unwrap())),
            stderr: Some(collect(child.stderr.take().unwrap())),
            child,
            line: self.line,
            _copy: self.copy,
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Run {
        self.start().wait()
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// A command that has been started, and is killed with all that it started when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    line: String,
    _copy: Option<Scratch>,
}

impl Running {
    /// Sends a signal to it and to all that it started.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            // Gone already is as good.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// Kills it and all that it started, as by `kill -9`, and waits for the end.
    #[track_caller]
    pub fn kill(self) -> Run {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn wait(mut self) -> Run {
        let what = format!("the end of {}", self.line);
        let status = eventually(&what, || self.child.try_wait().unwrap());
        // Something that it started may still hold the pipes; its output belongs to it.
        let [stdout, stderr] = [self.stdout.take(), self.stderr.take()].map(|pipe| {
            let pipe = pipe.unwrap();
            eventually(&what, || pipe.is_finished().then_some(()));
            pipe.join().unwrap()
        });
        Run {
            line: self.line.clone(),
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stdout.is_some() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// How a command ended. The judgements panic with all there is to know and return the run, so that
/// they can be chained.
#[derive(Debug)]
pub struct Run {
    line: String,
    status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Run {
    /// Its exit status; nothing when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// It ended with this exit status.
    #[track_caller]
    pub fn status(&self, want: i32) -> &Run {
        assert_eq!(self.status.code(), Some(want), "the exit status of {self}");
        self
    }

    /// This signal ended it.
    #[track_caller]
    pub fn ended_by(&self, want: Signal) -> &Run {
        assert_eq!(self.status.signal(), Some(want.as_raw()), "the signal that ended {self}");
        self
    }

    /// It succeeded and had nothing to say.
    #[track_caller]
    pub fn ok(&self) -> &Run {
        self.status(0).silent()
    }

    /// It failed with this status, and said so by the rules of all tools: one line `tool: …` with
    /// `words` in it, perhaps a hint, perhaps warnings, and nothing that could steer a terminal.
    #[track_caller]
    pub fn fails(&self, want: i32, words: &str) -> &Run {
        self.status(want);
        let tool = self.line.split(' ').next().unwrap_or_default();
        let [mut errors, mut hints] = [0, 0];
        for line in self.stderr.lines() {
            let said = line.strip_prefix(tool).and_then(|rest| rest.strip_prefix(": "));
            let said = said.unwrap_or_else(|| panic!("\"{line}\" does not name its tool: {self}"));
            match said.split(": ").next() {
                Some("warning") => {}
                Some("hint") => hints += 1,
                _ => errors += 1,
            }
        }
        assert!(errors == 1 && hints <= 1, "one error line, at most one hint: {self}");
        assert!(
            self.stderr.chars().all(|c| c == '\n' || !c.is_control()),
            "control characters on stderr: {self}"
        );
        self.says(words)
    }

    /// It said this on stderr.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Run {
        assert!(self.stderr.contains(words), "\"{words}\" is not on the stderr of {self}");
        self
    }

    /// It did not say this on stderr.
    #[track_caller]
    pub fn does_not_say(&self, words: &str) -> &Run {
        assert!(!self.stderr.contains(words), "\"{words}\" is on the stderr of {self}");
        self
    }

    /// It said nothing on stderr.
    #[track_caller]
    pub fn silent(&self) -> &Run {
        assert!(self.stderr.is_empty(), "something on the stderr of {self}");
        self
    }

    /// It wrote exactly this to stdout.
    #[track_caller]
    pub fn stdout(&self, want: impl AsRef<[u8]>) -> &Run {
        let want = want.as_ref();
        assert!(
            self.stdout == want,
            "stdout of {} bytes, wanted {}:\n{}\nfrom {self}",
            self.stdout.len(),
            want.len(),
            excerpt(want)
        );
        self
    }

    /// What it wrote to stdout, as lines.
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.stdout).lines().map(str::to_owned).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}`", self.line)?;
        writeln!(f, "  ended: {}", self.status)?;
        writeln!(f, "  stdout ({} bytes): {}", self.stdout.len(), excerpt(&self.stdout))?;
        write!(f, "  stderr: {}", self.stderr)
    }
}

/// The beginning of bytes that may be many and no text.
fn excerpt(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(600)];
    format!("{}{}", head.escape_ascii(), if head.len() < bytes.len() { "…" } else { "" })
}
