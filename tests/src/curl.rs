// SPDX-License-Identifier: Apache-2.0
//! curl as a plain client: one request, and the response in parts.

use std::process::Output;

use crate::peers::peer;

/// The response that curl received.
#[derive(Debug)]
pub struct Answer {
    /// The status line and headers of the first response; the complete output if there is no
    /// complete header.
    pub head: String,
    /// The rest of the output, including further responses.
    pub body: String,
}

impl Answer {
    /// Splits the output of `curl -i`.
    pub fn of(output: &Output) -> Answer {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Answer { head: head.to_owned(), body: body.to_owned() }
    }

    /// The status.
    pub fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The Location.
    ///
    /// # Panics
    /// When the response has none.
    #[track_caller]
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no Location in {}", self.head))
    }
}

/// Runs curl for one request. curl prints no progress, sends no `Expect`, and prints the response's
/// header (`-i`).
pub fn run(args: &[&str]) -> Output {
    let own = ["-sS", "-i", "--max-time", "20", "--noproxy", "*", "-H", "Expect:"];
    peer("curl").args(own).args(args).output().unwrap()
}

/// The response that curl receives.
pub fn curl(args: &[&str]) -> Answer {
    Answer::of(&run(args))
}
