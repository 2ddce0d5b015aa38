// SPDX-License-Identifier: Apache-2.0
//! Running a built tool, or a pipeline of tools, and checking the outcome.
//!
//! The environment contains only PATH, HOME and XDG_RUNTIME_DIR. The latter two name a directory
//! that does not exist and that not even root can create. The machine's credentials and proxies
//! therefore have no effect on a test, and a test leaves no files there. stdin is empty unless
//! given. A process that hangs is killed after [`PATIENCE`](crate::PATIENCE), and the test fails.
//!
//! Not here: checks of a tool's messages, except for the rules that all tools share.

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
use crate::terminal::{OnTerminal, Terminal};

/// A home that does not exist and that not even root can create.
const HOME: &str = "/proc/none";

/// The ID of an ordinary user and group, which root uses in tests that need one. Debian has a user
/// with this ID, who owns no files.
const NOBODY: u32 = 65534;

/// A part of pack-layer's warning about entries that belong to the user who packs.
const OWN_ID_WARNING: &str = " is the user who packs (--owner 0:0 makes root the owner";

/// The directory of the tools: `$REGUTILS_BIN` if it is set, so that the suite runs against any
/// build. Otherwise it is the directory of the running test's profile, where [`tool`] and [`shell`]
/// build the tools they need.
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

/// Builds the targets that these arguments choose, once per run, unless `$REGUTILS_BIN` names the
/// tools. cargo's messages go to stderr directly, not into a test's captured output.
#[track_caller]
fn build(what: &[&str]) {
    static DONE: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    if given().is_some() {
        return;
    }
    // Other tests that need the same targets wait here.
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let built = *done.entry(what.join(" ")).or_insert_with(|| {
        let profile = match bin().file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = std::process::Command::new(cargo);
        // The cargo that runs this test sets these variables for the tests' package. Build scripts
        // that depend on them would run again.
        for (name, _) in std::env::vars_os() {
            let own = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_"];
            if own.iter().any(|part| name.as_encoded_bytes().starts_with(part.as_bytes())) {
                cargo.env_remove(name);
            }
        }
        // The complete workspace is always given. All tools then share dependencies with the same
        // features, which are built once.
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

/// A command that runs a tool. The caller adds arguments.
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

/// A script for dash, with the tools on its PATH. Pass values with [`Command::env`]: then they need
/// no quoting.
#[track_caller]
pub fn shell(script: &str) -> Command {
    build(&["--bins"]);
    Command::new(&find("dash"), "dash").arg("-c").arg(script)
}

/// A command line under construction.
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    /// The command line as shown when a test fails.
    line: String,
    stdin: Option<Vec<u8>>,
    program: PathBuf,
    /// The copy of the program that an unprivileged user may run.
    copy: Option<Scratch>,
}

impl Command {
    fn new(program: &Path, name: &str) -> Command {
        let mut inner = std::process::Command::new(program);
        let mut path = OsString::from(bin());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        // A separate process group, so that a complete pipeline can be killed at once.
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

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Command {
        self.line.push(' ');
        self.line.push_str(&arg.as_ref().to_string_lossy());
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        args.into_iter().fold(self, Command::arg)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Command {
        self.inner.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Command {
        self.inner.current_dir(dir);
        self
    }

    /// Sets the bytes on stdin.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Command {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it through another program, for example prlimit, strace or unshare. `wrapper` has that
    /// program and its first arguments; the command line follows them.
    ///
    /// # Panics
    /// When that program is missing.
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

    /// Runs as an unprivileged user, to whom file permissions apply. If the suite's user is not
    /// root, this changes nothing. Not for [`shell`]: that user may not be able to reach the tools
    /// on its PATH.
    #[must_use]
    pub fn as_unprivileged(mut self) -> Command {
        if !rustix::process::geteuid().is_root() {
            return self;
        }
        let copy = Scratch::new();
        let program = copy.join(self.program.file_name().unwrap());
        // Another process copies the file. If this process did, a child of another thread could
        // inherit the open descriptor, and the copy could not be executed meanwhile (ETXTBSY).
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

    /// Starts the command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(mut self) -> Running {
        self.inner.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.inner.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.inner.spawn().unwrap_or_else(|why| panic!("{}: {why}", self.line));
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin) {
            // A tool may end before it has read all of stdin; only its status matters.
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

    /// Runs the command to its end with stdout, stderr or both on a terminal of this width. If both
    /// are on the terminal, the output is in the field of stdout. The terminal does not change the
    /// bytes.
    ///
    /// # Panics
    /// When the command or the terminal fails.
    #[track_caller]
    pub fn run_on_terminal(mut self, columns: u16, on: OnTerminal) -> Run {
        let terminal = Terminal::new(columns);
        self.inner.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if matches!(on, OnTerminal::Stdout | OnTerminal::Both) {
            self.inner.stdout(terminal.stdio());
        }
        if matches!(on, OnTerminal::Stderr | OnTerminal::Both) {
            self.inner.stderr(terminal.stdio());
        }
        let mut child = self.inner.spawn().unwrap_or_else(|why| panic!("{}: {why}", self.line));
        // The command holds the program's side of the terminal, which must be closed here before
        // the output can end.
        self.inner.stdout(Stdio::null()).stderr(Stdio::null());
        let (stdout, stderr) = match (child.stdout.take(), child.stderr.take()) {
            (None, None) => (terminal.collect(), collect(std::io::empty())),
            (None, Some(stderr)) => (terminal.collect(), collect(stderr)),
            (Some(stdout), None) => (collect(stdout), terminal.collect()),
            (Some(stdout), Some(stderr)) => (collect(stdout), collect(stderr)),
        };
        let (stdout, stderr) = (Some(stdout), Some(stderr));
        Running { stdout, stderr, child, line: self.line, _copy: self.copy }.wait()
    }

    /// Runs the command to its end.
    #[track_caller]
    pub fn run(self) -> Run {
        self.start().wait()
    }
}

pub(crate) fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// A started command. When dropped, it is killed with every process that it started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    line: String,
    _copy: Option<Scratch>,
}

impl Running {
    /// Sends a signal to it and to every process that it started.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            // It does not matter if the processes have ended already.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// Kills it and every process that it started, as by `kill -9`, and waits for the end.
    #[track_caller]
    pub fn kill(self) -> Run {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Whether the command still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process ID.
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
        // A process that it started may still hold the pipes; the output of that process is part of
        // the result.
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

/// The result of a command. A failed check panics and shows the complete result. Checks return the
/// run, so that they can be chained.
#[derive(Debug)]
pub struct Run {
    line: String,
    status: ExitStatus,
    /// The bytes on stdout.
    pub stdout: Vec<u8>,
    /// The text on stderr.
    pub stderr: String,
}

impl Run {
    /// The exit status; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Checks the exit status.
    #[track_caller]
    pub fn status(&self, want: i32) -> &Run {
        assert_eq!(self.status.code(), Some(want), "the exit status of {self}");
        self
    }

    /// Checks that this signal ended it.
    #[track_caller]
    pub fn ended_by(&self, want: Signal) -> &Run {
        assert_eq!(self.status.signal(), Some(want.as_raw()), "the signal that ended {self}");
        self
    }

    /// Checks that it succeeded and wrote nothing to stderr.
    #[track_caller]
    pub fn ok(&self) -> &Run {
        self.status(0).silent()
    }

    /// Checks the exit status, and that stderr follows the rules of all tools: one error line
    /// `tool: …`, perhaps warnings, at most one hint, and no control characters. The text `words`
    /// is on stderr.
    #[track_caller]
    pub fn fails(&self, want: i32, words: &str) -> &Run {
        self.status(want);
        let tool = self.line.split(' ').next().unwrap_or_default();
        let [mut errors, mut hints] = [0, 0];
        for line in self.stderr.lines() {
            let text = line.strip_prefix(tool).and_then(|rest| rest.strip_prefix(": "));
            let text = text.unwrap_or_else(|| panic!("\"{line}\" does not name its tool: {self}"));
            match text.split(": ").next() {
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

    /// Checks that stderr contains this text.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Run {
        assert!(self.stderr.contains(words), "\"{words}\" is not on the stderr of {self}");
        self
    }

    /// Checks that stderr does not contain this text.
    #[track_caller]
    pub fn does_not_say(&self, words: &str) -> &Run {
        assert!(!self.stderr.contains(words), "\"{words}\" is on the stderr of {self}");
        self
    }

    /// Checks that stderr is empty.
    #[track_caller]
    pub fn silent(&self) -> &Run {
        let is_root = rustix::process::geteuid().is_root();
        let mut lines = self.stderr.lines();
        // pack-layer warns an ordinary user whose own files it packs. Root gets no such warning.
        let is_silent = lines.all(|line| !is_root && line.contains(OWN_ID_WARNING));
        assert!(is_silent, "stderr is not empty: {self}");
        self
    }

    /// Checks that stdout is exactly this.
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

    /// The lines on stdout.
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

/// The beginning of bytes that may be long or binary.
fn excerpt(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(600)];
    format!("{}{}", head.escape_ascii(), if head.len() < bytes.len() { "…" } else { "" })
}
