// SPDX-License-Identifier: Apache-2.0
//! Start and end of a tool, and the only place that defines the rules of stderr:
//!
//! - An error is one line, `tool: what failed: why`: lower case, no "error:", with text from
//!   servers and files made printable. At most one more line follows: `tool: hint: …`.
//! - A problem that matters but did not stop the run is one line, `tool: warning: …`. Each kind of
//!   warning is printed once, with a count. `-q` suppresses all warnings.
//! - A run that had nothing to do may say so in one line, `tool: what: why`. `-q` suppresses it.
//! - A trace (`--trace`) consists of blocks of complete lines: commands, and comments that begin
//!   with `#`. Each block is written in one call. `-q` does not suppress the trace. With a trace,
//!   no progress bar is shown unless the user asks for a bar. With a trace, errors, warnings and
//!   hints are quoted so that a shell executes nothing in them.
//! - Success is silent. This module writes to stdout only for help and version. The version names
//!   the project and, in a release build, the commit: `fetch-blob (regutils) 0.1.0 (abc1234)`.
//! - The exit status is that of the [`Error`] in the error chain. An I/O error without one is a
//!   local failure (7). If nothing is new (8), there is no error line.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use clap::Parser;

use crate::error::{Error, Status, printable};
use crate::shell::inert;
use crate::stdio::{self, write_stdout};
use crate::{notice, secret};

/// The text of `--version` after the name of the tool.
static VERSION: LazyLock<String> = LazyLock::new(|| version(COMMIT));

/// The commit that was built, as the Makefile gives it. A build script would run again at each
/// commit; this variable is not set while the code is developed, so nothing is built again then.
const COMMIT: Option<&str> = option_env!("REGUTILS_COMMIT");

static QUIET: AtomicBool = AtomicBool::new(false);
static TRACED: AtomicBool = AtomicBool::new(false);
static TOOL: OnceLock<&'static str> = OnceLock::new();
static BEFORE_END: OnceLock<fn()> = OnceLock::new();

/// Sets whether warnings are dropped (`-q`).
pub fn quiet(yes: bool) {
    QUIET.store(yes, Ordering::Relaxed);
}

/// Prints why a successful run had nothing to do, unless it is quiet (`-q`).
pub fn inform(text: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        let _ = writeln!(std::io::stderr(), "{}: {}", tool(), shown(&text.to_string()));
    }
}

/// Turns the trace on. Returns the function that writes one block of it to stderr.
pub fn trace() -> fn(&str) {
    TRACED.store(true, Ordering::Relaxed);
    // A write error is ignored: a lost trace is no reason to stop.
    |block| drop(std::io::stderr().lock().write_all(block.as_bytes()))
}

/// Whether the trace is on.
pub fn is_traced() -> bool {
    TRACED.load(Ordering::Relaxed)
}

/// The name of the running tool, as messages show it.
pub fn tool() -> &'static str {
    TOOL.get().copied().unwrap_or("regutils")
}

/// Runs a tool: sets up signals and streams, parses the command line, runs `story`, prints warnings
/// and the error line, and returns the exit status.
///
/// A wrong command line gives one error line and status 2. `--help` and `--version` are printed to
/// stdout.
pub fn run<Cli: Parser, E: Into<anyhow::Error>>(
    tool: &'static str,
    story: impl FnOnce(Cli) -> Result<(), E>,
) -> ExitCode {
    stdio::restore_sigpipe();
    stdio::ignore_sigxfsz();
    let _ = TOOL.set(tool);
    let outcome = parse(std::env::args_os()).and_then(|cli| match cli {
        Some(cli) => story(cli).map_err(Into::into),
        None => Ok(()),
    });
    end(tool, outcome)
}

/// The parsed command line. `None` if it asked for help or the version, which is then already
/// printed.
fn parse<Cli: Parser>(args: impl Iterator<Item = OsString>) -> anyhow::Result<Option<Cli>> {
    use clap::error::ErrorKind;
    let command = Cli::command().version(VERSION.as_str());
    match command.try_get_matches_from(args).and_then(|given| Cli::from_arg_matches(&given)) {
        Ok(cli) => Ok(Some(cli)),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            write_stdout(error.render().to_string().as_bytes())?;
            Ok(None)
        }
        Err(error) => Err(usage_error(&error.render().to_string()).into()),
    }
}

/// The project, its version and the commit.
fn version(commit: Option<&str>) -> String {
    let version = concat!("(regutils) ", env!("CARGO_PKG_VERSION"));
    match commit {
        Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
        _ => version.to_owned(),
    }
}

/// Reduces clap's message to one line: its first paragraph, without "error:".
fn usage_error(rendered: &str) -> Error {
    let paragraph: Vec<&str> = rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty() && !line.starts_with("Usage:"))
        .collect();
    let text = paragraph.join(" ");
    let text = without_secret(text.strip_prefix("error: ").unwrap_or(&text));
    Error::usage(text).hint(format_args!("see {} --help", tool()))
}

/// Hides a password in a value that clap refused: the value may be a URL with `USER:PASSWORD@`. The
/// text before the first `@` is replaced if it contains a colon, unless the `@` begins a digest.
fn without_secret(text: &str) -> String {
    const BEFORE: &str = "invalid value '";
    let Some((start, rest)) = text.split_once(BEFORE) else { return text.to_owned() };
    let Some((value, after)) = rest.split_once("' for ") else { return text.to_owned() };
    match value.split_once('@') {
        Some((user, host)) if user.contains(':') && !host.starts_with("sha") => {
            let explained = after.rsplit_once(": ").map_or(after, |(_, why)| why);
            let shown = if explained.contains('@') { "not a reference" } else { explained };
            format!("{start}{BEFORE}[secret]@{host}': {shown}")
        }
        _ => text.to_owned(),
    }
}

/// Prints the warnings, the error and the hint, and turns the outcome into an exit status.
fn end(tool: &str, outcome: anyhow::Result<()>) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    if !QUIET.load(Ordering::Relaxed) {
        for notice in notice::take() {
            let more = match notice.count {
                1 => String::new(),
                n => format!(" ({n} times)"),
            };
            let _ = writeln!(stderr, "{tool}: warning: {}{more}", shown(&notice.text));
        }
    }
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let own = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if own.is_some_and(|error| error.status() == Status::Unchanged) {
        return ExitCode::from(Status::Unchanged as u8);
    }
    let message: Vec<String> = error.chain().map(message_of).collect();
    let _ = writeln!(stderr, "{tool}: {}", shown(&message.join(": ")));
    if let Some(hint) = own.and_then(Error::hint_text) {
        let _ = writeln!(stderr, "{tool}: hint: {}", shown(hint));
    }
    ExitCode::from(own.map_or(Status::Local, Error::status) as u8)
}

/// Text prepared for stderr: secrets redacted, control characters escaped, length limited.
fn shown(text: &str) -> String {
    let text = printable(&secret::redact(text));
    // The user may paste a trace, with this line in it, into a shell.
    if is_traced() { inert(&text) } else { text }
}

/// Sets the `cleanup` that [`end_after`] calls before it ends the process. Only the first call has
/// an effect.
pub fn before_end(cleanup: fn()) {
    let _ = BEFORE_END.set(cleanup);
}

/// Ends the process after `limit`, whatever it is doing, with the status "try again later".
/// Finished and partial work is kept, and the next run continues from it.
pub fn end_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        if let Some(cleanup) = BEFORE_END.get() {
            cleanup();
        }
        let seconds = limit.as_secs_f64();
        let _ = writeln!(
            std::io::stderr(),
            "{}: out of time: not done after {seconds} seconds",
            tool()
        );
        std::process::exit(Status::Unavailable as i32);
    });
}

/// The text of one error in a chain. Errors of the system are rewritten to our message shape.
fn message_of(cause: &(dyn std::error::Error + 'static)) -> String {
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => crate::error::os_message(error),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_operand_is_not_shown() {
        let said = without_secret(
            "invalid value 'http://u:SECRET@h/x' for '<REF>': a reference is not a URL",
        );
        assert_eq!(said, "invalid value '[secret]@h/x': a reference is not a URL");
        let said = without_secret(
            "invalid value 'u:SECRET@h/x' for '<REF>': digest: \"h/x\" is not a digest",
        );
        assert!(!said.contains("SECRET"), "{said}");
    }

    #[test]
    fn the_version_has_a_commit_only_if_the_build_was_given_one() {
        assert!(version(Some("abc1234")).ends_with(" (abc1234)"));
        for unknown in [None, Some("")] {
            assert!(version(unknown).ends_with(env!("CARGO_PKG_VERSION")), "{unknown:?}");
        }
    }

    #[test]
    fn clap_errors_become_one_line() {
        let rendered = "error: the following required arguments were not provided:\n  <REF>\n\nUsage: x <REF>\n\nFor more information, try '--help'.\n";
        let error = usage_error(rendered);
        assert_eq!(error.to_string(), "the following required arguments were not provided: <REF>");
        assert_eq!(error.status(), Status::Usage);
    }
}
