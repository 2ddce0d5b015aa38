// SPDX-License-Identifier: Apache-2.0
//! Credential helpers: `docker-credential-NAME get`, with the registry's name on stdin and JSON on
//! stdout.
//!
//! If a helper is missing, crashes, hangs, or prints invalid or endless output, the cost is limited
//! to [`MAX_ANSWER`] bytes and the given time. The helper's stderr is discarded, because it may
//! contain a secret.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use common::error::{os_message, printable};
use common::{json, secret};
use serde_json::Value;

use super::Credential;

/// The longest output that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// The longest error text of a helper that is shown, in characters.
const MAX_ERROR_TEXT: usize = 200;

/// The error text with which a helper reports that it has no credential. The protocol has no other
/// way to report this.
const NOT_FOUND: &str = "credentials not found";

/// Variables that give this program a credential for one registry. A helper must not see them.
const OWN_VARIABLES: [&str; 2] = ["REGISTRY_PASSWORD", "REGISTRY_TOKEN"];

/// The result of a helper: a credential, `None` if it has none, or the reason for its failure.
type Outcome = Result<Option<Credential>, String>;

/// Asks a helper for a registry's credential; `None` if it has none. In one run a helper is asked
/// only once for each name, even if it fails, because it may require the user to press a key.
///
/// # Errors
/// A sentence, if the helper fails, takes longer than `limit`, or prints an invalid response.
pub(super) fn ask(helper: &str, name: &str, limit: Duration) -> Outcome {
    static OUTCOMES: Mutex<Vec<(String, String, Outcome)>> = Mutex::new(Vec::new());
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((.., outcome)) = outcomes.iter().find(|(h, n, _)| h == helper && n == name) {
        return outcome.clone();
    }
    let outcome = ask_once(helper, name, limit);
    outcomes.push((helper.to_owned(), name.to_owned(), outcome.clone()));
    outcome
}

fn ask_once(helper: &str, name: &str, limit: Duration) -> Outcome {
    if helper.contains('/') || helper.contains('\0') {
        return Err("not the name of a helper".to_owned());
    }
    let deadline = Instant::now() + limit;
    let (bytes, status) = run(helper, name, deadline)
        .map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => "no such program".to_owned(),
            _ => os_message(&cause),
        })?
        .ok_or_else(|| format!("no response after {} seconds", limit.as_secs_f64()))?;
    if bytes.len() as u64 > MAX_ANSWER {
        return Err(format!("its response is larger than {MAX_ANSWER} bytes"));
    }
    if !status.success() {
        // In this protocol a helper prints error messages on stdout.
        let message = String::from_utf8_lossy(&bytes);
        if message.contains(NOT_FOUND) {
            return Ok(None);
        }
        let line: String = message
            .trim()
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(MAX_ERROR_TEXT)
            .collect();
        return Err(format!(
            "it failed: {}",
            if line.is_empty() { status.to_string() } else { printable(&line) }
        ));
    }
    answer(&bytes)
}

/// Runs a helper and returns its output and exit status. `None` if it is not done by the deadline;
/// it is then killed.
fn run(
    helper: &str,
    name: &str,
    deadline: Instant,
) -> std::io::Result<Option<(Vec<u8>, ExitStatus)>> {
    // Write to the pipe before the reader starts. If the reader could exit first, the write would
    // end this program by SIGPIPE.
    let (stdin, mut filling) = std::io::pipe()?;
    filling.write_all(name.as_bytes())?;
    filling.write_all(b"\n")?;
    drop(filling);
    let mut command = Command::new(format!("docker-credential-{helper}"));
    command.arg("get").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null());
    OWN_VARIABLES.iter().for_each(|variable| {
        command.env_remove(variable);
    });
    let mut child = command.spawn()?;
    drop(command);
    let outcome = wait_for_answer(&mut child, deadline);
    if !matches!(outcome, Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome
}

/// The output and the exit status of a helper; `None` if the deadline passes first. A process that
/// the helper started may keep the pipe open forever; the reading thread is then left running.
fn wait_for_answer(
    child: &mut Child,
    deadline: Instant,
) -> std::io::Result<Option<(Vec<u8>, ExitStatus)>> {
    let Some(stdout) = child.stdout.take() else { return Ok(None) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(MAX_ANSWER + 1).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let left = || deadline.saturating_duration_since(Instant::now());
    let Ok(bytes) = receiver.recv_timeout(left()) else { return Ok(None) };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some((bytes?, status)));
        }
        if left().is_zero() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Parses a response. Error messages show no part of it, because it may contain a secret.
fn answer(bytes: &[u8]) -> Result<Option<Credential>, String> {
    let document = json::parse_object(bytes).map_err(|_| "its response is not JSON")?;
    let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
    let password = text("Secret");
    secret::keep(password);
    match (text("Username"), password) {
        (_, "") => Ok(None),
        ("<token>", token) => Ok(Some(Credential::identity("", token))),
        (user, password) => Credential::password(user, password).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read() {
        let read = |text: &str| answer(text.as_bytes());
        assert_eq!(
            read(r#"{"ServerURL":"x","Username":"me","Secret":"a:b"}"#),
            Credential::password("me", "a:b").map(Some)
        );
        assert_eq!(
            read(r#"{"Username":"<token>","Secret":"idt"}"#),
            Ok(Some(Credential::identity("", "idt")))
        );
        assert_eq!(read(r#"{"Username":"","Secret":""}"#), Ok(None));
        for wrong in ["", "junk", "[]", r#"{"Username":"a:b","Secret":"x"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
