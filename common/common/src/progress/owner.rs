// SPDX-License-Identifier: Apache-2.0
//! The choice of the tool that draws on a terminal: at most one at any time.
//!
//! All programs of a pipeline start at the same time, and other jobs may use the terminal too. The
//! tool that draws holds a lock (flock) on the terminal's device. When it ends, the next one gets
//! the lock. The tools wait for different times before they first try, so that the most useful one
//! gets the lock first: tools that use a network before the others, because they know the total,
//! and the last tool of a pipeline before the earlier ones.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, stdout};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

use super::Work;

/// The time before the first try. A shorter run draws nothing.
const FIRST: Duration = Duration::from_millis(300);

/// The additional time for each tool that should try before this one.
const STEP: Duration = Duration::from_millis(300);

/// The terminal's device, by the file descriptor of stderr.
const TERMINAL: &str = "/proc/self/fd/2";

/// Whether this tool may draw.
pub(super) struct Owner {
    /// How long to wait before the first try.
    pub(super) delay: Duration,
    kind: Kind,
}

enum Kind {
    /// It may always draw: the user asked for it.
    Always,
    /// It must lock this file, if the terminal could be opened.
    Shared { terminal: Option<File>, is_locked: bool },
}

impl Owner {
    /// An owner that may always draw.
    pub(super) fn always() -> Owner {
        Owner { delay: FIRST, kind: Kind::Always }
    }

    /// An owner of the terminal of stderr.
    pub(super) fn of_terminal(work: Work) -> Owner {
        let is_piped = !stdout().is_terminal()
            && rustix::fs::fstat(stdout()).is_ok_and(|stat| {
                rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo
            });
        let before = 2 * u32::from(work == Work::Local) + u32::from(is_piped);
        // The terminal is opened again, because other programs share the descriptor of stderr and
        // would share a lock on it.
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let terminal = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(TERMINAL)
            .ok();
        Owner { delay: FIRST + STEP * before, kind: Kind::Shared { terminal, is_locked: false } }
    }

    /// Whether this tool may draw now. A job in the background may not.
    pub(super) fn may_draw(&mut self) -> bool {
        let Kind::Shared { terminal, is_locked } = &mut self.kind else { return true };
        let is_in_background =
            tcgetpgrp(std::io::stderr()).is_ok_and(|foreground| foreground != getpgrp());
        if is_in_background {
            return false;
        }
        if !*is_locked && let Some(terminal) = terminal {
            *is_locked = flock(terminal, FlockOperation::NonBlockingLockExclusive).is_ok();
        }
        *is_locked
    }
}
