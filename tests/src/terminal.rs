// SPDX-License-Identifier: Apache-2.0
//! A pseudo-terminal for a program's output.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::tools::collect;

/// The streams of a program that are on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTerminal {
    /// Only stdout.
    Stdout,
    /// Only stderr.
    Stderr,
    /// Both.
    Both,
}

/// A terminal that does not change the output.
pub(crate) struct Terminal {
    /// The side of the terminal emulator, which is this process.
    own: OwnedFd,
    /// The side of the program.
    program: File,
}

impl Terminal {
    /// A terminal with this number of columns.
    pub(crate) fn new(columns: u16) -> Terminal {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        let name = ptsname(&own, Vec::new()).unwrap();
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let program = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mut modes = tcgetattr(&program).unwrap();
        modes.make_raw();
        tcsetattr(&program, OptionalActions::Now, &modes).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&program, size).unwrap();
        Terminal { own, program }
    }

    /// The program's side.
    pub(crate) fn stdio(&self) -> Stdio {
        self.program.try_clone().unwrap().into()
    }

    /// Collects everything that the program writes. A read fails after the program's side was
    /// closed.
    pub(crate) fn collect(self) -> JoinHandle<Vec<u8>> {
        drop(self.program);
        collect(File::from(self.own))
    }
}
