// SPDX-License-Identifier: Apache-2.0
//! Credential helpers: `docker-credential-NAME get`, the registry on its stdin, JSON on its stdout.
//!
//! Whatever a helper does (it is not there, crashes, hangs, prints junk or without end), it costs
//! no more than [`MAX_ANSWER`] and the time that is given. Its stderr goes nowhere: it may say a
//! secret.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use common::error::{os_words, printable};
use common::{json, secret};
use serde_json::Value;

use super::Credential;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// How long its words may be that are shown.
const MAX_WORDS: usize = 200;

/// How a helper says that it has none. The protocol has no other sign.
const NOT_FOUND: &str = "credentials not found";

/// What this program was given for one registry, which is nothing to a helper.
const OURS: [&str; 2] = ["REGISTRY_PASSWORD", "REGISTRY_TOKEN"];

/// What a helper said: a credential, that it has none, or why there is no answer.
type Said = Result<Option<Credential>, String>;

/// Asks a helper for a registry's credential; nothing when it has none. In a run it is asked once,
/// whatever it says: it may want the user to press a key.
///
/// # Errors
/// A sentence.
pub(super) fn ask(helper: &str, name: &str, limit: Duration) -> Said {
    static SAID: Mutex<Vec<(String, String, Said)>> = Mutex::new(Vec::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((.., said)) = said.iter().find(|(h, n, _)| h == helper && n == name) {
        return said.clone();
    }
    let answer = ask_once(helper, name, limit);
    said.push((helper.to_owned(), name.to_owned(), answer.clone()));
    answer
}

fn ask_once(helper: &str, name: &str, limit: Duration) -> Said {
    if helper.contains('/') || helper.contains('\0') {
        return Err("not the name of a helper".to_owned());
    }
    let deadline = Instant::now() + limit;
    let (bytes, status) = run(helper, name, deadline)
        .map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => "there is no such program".to_owned(),
            _ => os_words(&cause),
        })?
        .ok_or_else(|| format!("no answer after {} seconds", limit.as_secs_f64()))?;
    if bytes.len() as u64 > MAX_ANSWER {
        return Err(format!("an answer of more than {MAX_ANSWER} bytes"));
    }
    if !status.success() {
        // By the protocol an error's words are on stdout.
        let words = String::from_utf8_lossy(&bytes);
        if words.contains(NOT_FOUND) {
            return Ok(None);
        }
        let line: String =
            words.trim().lines().next().unwrap_or_default().chars().take(MAX_WORDS).collect();
        return Err(format!(
            "it failed: {}",
            if line.is_empty() { status.to_string() } else { printable(&line) }
        ));
    }
    answer(&bytes)
}

/// Runs it; nothing when it takes too long, and then it is killed.
fn run(
    helper: &str,
    name: &str,
    deadline: Instant,
) -> std::io::Result<Option<(Vec<u8>, ExitStatus)>> {
    // Filled before there is a reader that could go away: a write to it then would end this program
    // by SIGPIPE.
    let (stdin, mut filling) = std::io::pipe()?;
    filling.write_all(name.as_bytes())?;
    filling.write_all(b"\n")?;
    drop(filling);
    let mut command = Command::new(format!("docker-credential-{helper}"));
    command.arg("get").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null());
    OURS.iter().for_each(|variable| {
        command.env_remove(variable);
    });
    let mut child = command.spawn()?;
    drop(command);
    let outcome = answered(&mut child, deadline);
    if !matches!(outcome, Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome
}

/// Its answer and its end, when both come in time. Something that it started may hold the pipe for
/// ever: the thread that reads is then left behind.
fn answered(
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

/// Reads an answer. What is wrong with it is said without showing anything of it.
fn answer(bytes: &[u8]) -> Result<Option<Credential>, String> {
    let document = json::parse_object(bytes).map_err(|_| "its answer is not JSON")?;
    let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
    let (user, password) = (text("Username"), text("Secret"));
    secret::keep(password);
    match (user, password) {
        (_, "") => Ok(None),
        ("<token>", token) => Ok(Some(Credential::identity("", token))),
        (user, password) => Credential::password(user, password).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
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
