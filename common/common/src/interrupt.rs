// SPDX-License-Identifier: Apache-2.0
//! A cleanup that runs before a signal or `--timeout` ends the process: it cancels open upload
//! sessions, because the registry would keep them open.
//!
//! The signal still ends the process, at most [`PATIENCE`] later. A second signal ends it at once.
//! A signal that was ignored when the tool started (`nohup`) stays ignored.
//!
//! SIGPIPE would end the process in the middle of a write, before the cleanup. It is therefore
//! ignored: the write fails, and the code that wrote calls [`die_of_sigpipe`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::error::{Error, Result};
use crate::{exit, screen, stdio};

/// The longest time that the cleanup may take.
const PATIENCE: Duration = Duration::from_secs(2);

type Cleanup = Box<dyn FnOnce() + Send>;

static CLEANUP: Mutex<Option<Cleanup>> = Mutex::new(None);

/// Installs `cleanup`, which runs before a signal or `--timeout` ends the process.
///
/// # Errors
/// Local if the signal handlers cannot be installed.
pub fn before_dying(cleanup: impl FnOnce() + Send + 'static) -> Result<()> {
    *CLEANUP.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(cleanup));
    exit::before_end(run);
    let failed = |cause: std::io::Error| Error::local("catch signals", &cause);
    let caught = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !stdio::is_ignored(*signal));
    let caught: Vec<i32> = caught.collect();
    stdio::ignore_sigpipe();
    let dying = Arc::new(AtomicBool::new(false));
    for signal in &caught {
        flag::register_conditional_default(*signal, Arc::clone(&dying)).map_err(failed)?;
    }
    let mut signals = Signals::new(&caught).map_err(failed)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            dying.store(true, Ordering::Relaxed);
            run();
            let _ = low_level::emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// Runs the cleanup, if one is installed, then ends the process as SIGPIPE would: the reader of
/// standard output has closed it.
pub fn die_of_sigpipe() -> ! {
    run();
    let _ = low_level::emulate_default_handler(SIGPIPE);
    std::process::exit(128 + SIGPIPE)
}

/// Runs the cleanup unless it ran already. Waits for it at most [`PATIENCE`].
fn run() {
    screen::clear();
    let Some(cleanup) = CLEANUP.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return;
    };
    let (done, wait) = sync_channel(1);
    std::thread::spawn(move || {
        cleanup();
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(PATIENCE);
}
