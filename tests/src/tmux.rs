// SPDX-License-Identifier: Apache-2.0
//! tmux as a terminal: a shell types a command in it, and its screen is compared with a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::PATIENCE;
use crate::peers::{must, peer};
use crate::scratch::Scratch;
use crate::tools::{bin, shell};

/// A terminal with an interactive dash. Its directory has only the script `go`.
#[derive(Debug)]
pub struct Tmux {
    /// The shell's directory.
    pub dir: Scratch,
    socket: PathBuf,
}

impl Tmux {
    /// Starts a terminal of this size.
    ///
    /// # Panics
    /// When tmux cannot be started.
    pub fn start(columns: u16, rows: u16) -> Tmux {
        // Builds the tools.
        drop(shell(""));
        let dir = Scratch::new();
        let socket = dir.join(".tmux");
        let terminal = Tmux { dir, socket };
        let size = ["-x", &columns.to_string(), "-y", &rows.to_string()].map(str::to_owned);
        let mut tmux = terminal.tmux();
        tmux.args(["-f", "/dev/null", "new-session", "-d"]).args(size).arg("dash -i");
        must(&mut tmux);
        terminal.shows("$");
        terminal
    }

    fn tmux(&self) -> Command {
        let mut path = std::ffi::OsString::from(bin());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut tmux = peer("tmux");
        tmux.arg("-u").arg("-S").arg(&self.socket).current_dir(self.dir.path());
        tmux.env_clear().env("PATH", path).env("HOME", "/proc/none").env("PS1", "$ ");
        tmux.env("TERM", "screen").env("LANG", "C.UTF-8").env("SHELL", "/bin/sh");
        tmux
    }

    /// Types `./go` and Enter. The file `go` is a script of these commands.
    pub fn go(&self, commands: &str) {
        self.dir.script("go", commands);
        self.keys(&["./go", "Enter"]);
    }

    /// Types keys, by tmux's names.
    pub fn keys(&self, keys: &[&str]) {
        must(self.tmux().arg("send-keys").args(keys));
    }

    /// Changes the number of columns.
    pub fn resize(&self, columns: u16) {
        must(self.tmux().args(["resize-window", "-x", &columns.to_string()]));
    }

    /// The screen and the rows that scrolled out of it, without empty rows at the end. tmux lets
    /// rows scroll when the width changes. Rates and times are masked.
    fn screen(&self) -> String {
        let bytes = must(self.tmux().args(["capture-pane", "-p", "-S", "-"]));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.trim_end().lines().map(|line| masked(line) + "\n").collect()
    }

    /// Waits until the screen has this content.
    ///
    /// # Panics
    /// When the screen does not have it within [`PATIENCE`].
    #[track_caller]
    pub fn shows(&self, want: &str) {
        let start = std::time::Instant::now();
        loop {
            let screen = self.screen();
            if screen.trim_end() == want.trim_end() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the screen is:\n{screen}\nnot:\n{want}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Waits until the screen is that of a file in `suite/terminal/screens`.
    ///
    /// # Panics
    /// When the screen does not have it within [`PATIENCE`], or the file does not exist.
    #[track_caller]
    pub fn shows_file(&self, name: &str) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/terminal/screens");
        self.shows(&std::fs::read_to_string(dir.join(name)).unwrap_or_default());
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// A line of the screen whose rate and remaining time are replaced by as many `~`.
fn masked(line: &str) -> String {
    let Some(end) = line.find("B/s") else { return line.trim_end().to_owned() };
    // The rate has 6 columns, up to and including the B.
    let (before, after) = ((end + 1).saturating_sub(6), &line[end + 3..]);
    let time = if after.trim().is_empty() { "" } else { "  ~~~~~" };
    format!("{}~~~~~~/s{time}", &line[..before])
}
