// SPDX-License-Identifier: Apache-2.0
//! What is put in order before a signal or the clock ends a run.
//!
//! Without it a tool dies as any program does: what it leaves is resumable by its nature. It is for what another
//! machine holds open on our behalf. The process still dies of its signal, within [`PATIENCE`]; a second one ends it at
//! once. A signal that was ignored when the tool started (`nohup`) stays ignored. SIGPIPE, which comes in the middle of
//! a write, is turned into that write's failure: whoever prints calls [`die_of_sigpipe`] then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use common::error::{Error, Result};
use common::{exit, stdio};

/// How long putting things in order may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

type Cleanup = Box<dyn FnOnce() + Send>;

static CLEANUP: Mutex<Option<Cleanup>> = Mutex::new(None);

/// From now on `cleanup` runs before a signal or `--timeout` ends the process.
///
/// # Errors
/// Local trouble: the signals cannot be caught.
pub(crate) fn before_dying(cleanup: impl FnOnce() + Send + 'static) -> Result<()> {
    *CLEANUP.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(cleanup));
    exit::before_end(run);
    let trouble = |cause: std::io::Error| Error::local("catch signals", &cause);
    let caught = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !stdio::is_ignored(*signal));
    let caught: Vec<i32> = caught.collect();
    stdio::ignore_sigpipe();
    let dying = Arc::new(AtomicBool::new(false));
    for signal in &caught {
        flag::register_conditional_default(*signal, Arc::clone(&dying)).map_err(trouble)?;
    }
    let mut signals = Signals::new(&caught).map_err(trouble)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            dying.store(true, Ordering::Relaxed);
            run();
            let _ = low_level::emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// The reader of what is printed left: the run ends as it does for any program, but in order.
pub(crate) fn die_of_sigpipe() -> ! {
    run();
    let _ = low_level::emulate_default_handler(SIGPIPE);
    std::process::exit(128 + SIGPIPE)
}

/// Puts things in order, if there is anything, for as long as the patience lasts.
fn run() {
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
