// SPDX-License-Identifier: Apache-2.0
//! A tool's `--trace` output: checked and run as a shell script.

use crate::logins::PASSWORD;
use crate::scratch::Scratch;
use crate::tools::{Command, Run, bin, shell};

/// The command lines of a trace, each with or without `NAME=$(` before it. Comments are left out.
///
/// # Panics
/// When a line is neither a command nor a comment.
#[track_caller]
pub fn commands(trace: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for line in trace.lines() {
        if line.starts_with("# ") {
            continue;
        }
        let (name, rest) = line.split_once("=$(").unwrap_or(("A", line));
        let is_name =
            name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        assert!(is_name && rest.starts_with("curl -sS "), "{line}\nin {trace}");
        commands.push(line.to_owned());
    }
    commands
}

/// The trace of a run that wrote nothing else to stderr, as a script with the password in its
/// environment.
#[track_caller]
pub fn script(run: &Run, scratch: &Scratch) -> Command {
    commands(&run.stderr);
    shell(&run.stderr).dir(scratch.path()).env("REGISTRY_PASSWORD", PASSWORD)
}

/// Runs a trace as a script, and returns the arguments of each program that it ran. `curl` is
/// replaced by a script that prints `answer`, or a token if the URL contains `/token`. Comments and
/// the tool's other messages are run as arguments of a program that does nothing, because some
/// shells treat comments as commands.
///
/// # Panics
/// When the script fails, prints anything, or writes a file.
#[track_caller]
pub fn arguments(trace: &str, answer: &str) -> Vec<Vec<String>> {
    let scratch = Scratch::new();
    for name in ["curl", "noted"] {
        let record = "{ printf '%s\\0' \"$@\"; printf '\\1'; } >>\"$OUT/calls\"";
        let print = match name {
            "curl" => {
                "case $* in */token*) echo '{\"token\":\"t\"}';; *) printf %s \"$ANSWER\";; esac"
            }
            _ => ":",
        };
        scratch.script(format!("bin/{name}"), &format!("{record}\n{print}"));
    }
    scratch.write("empty/.keep", "");
    let noted: String = trace
        .lines()
        .map(|line| match line.split_once([' ']) {
            Some((start, rest)) if start == "#" || start.ends_with(':') => {
                format!("noted {rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{}:{path}", scratch.join("bin").display(), bin().display());
    let run = shell(&noted)
        .env("PATH", path)
        .env("OUT", scratch.path())
        .env("ANSWER", answer)
        .dir(scratch.join("empty"))
        .run();
    run.status(0).silent();
    assert_eq!(crate::scratch::list(&scratch.join("empty")), [".keep"], "{trace}");
    let calls = std::fs::read_to_string(scratch.join("calls")).unwrap_or_default();
    let calls = calls.split('\u{1}').filter(|call| !call.is_empty());
    calls.map(|call| call.split_terminator('\0').map(str::to_owned).collect()).collect()
}
