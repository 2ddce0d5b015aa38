// SPDX-License-Identifier: Apache-2.0
//! The facts, and their output: a line for each fact when it is found, or one JSON object at the
//! end.

use std::fs::File;
use std::io::{ErrorKind, Write};

use common::error::{Error, Result, printable};
use common::interrupt;
use serde_json::{Map, Value, json};

/// The maximum number of characters of a text that is printed.
const MAX_TEXT: usize = 300;

/// The value of a fact.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Is {
    /// The registry has the property.
    Yes,
    /// The registry does not have it, or states no value.
    No,
    /// It could not be determined.
    Unknown,
    /// A text from the registry or about it.
    Text(String),
    /// A number.
    Number(u64),
    /// The bounds of a number of seconds.
    Seconds(f64, f64),
}

/// The output of facts.
pub(crate) struct Report {
    output: File,
    /// The JSON object so far; `None` to print lines.
    document: Option<Map<String, Value>>,
}

impl Report {
    /// A report without facts.
    pub(crate) fn new(output: File, as_json: bool) -> Report {
        Report { output, document: as_json.then(Map::new) }
    }

    /// Adds a fact. `why` explains the value; it may be empty.
    ///
    /// # Errors
    /// Local if standard output cannot be written.
    pub(crate) fn put(&mut self, name: &str, is: Is, why: impl AsRef<str>) -> Result<()> {
        let why = shown(why.as_ref());
        let Some(document) = &mut self.document else {
            let line = format!("{name}: {}\n", line(&is, &why));
            return self.write(&line);
        };
        let mut fact = Map::new();
        let value = match is {
            Is::Yes => json!(true),
            Is::No => json!(false),
            Is::Unknown => Value::Null,
            Is::Text(text) => json!(shown(&text)),
            Is::Number(number) => json!(number),
            Is::Seconds(least, most) => json!([least, most]),
        };
        fact.insert("value".to_owned(), value);
        if !why.is_empty() {
            fact.insert("why".to_owned(), json!(why));
        }
        document.insert(name.to_owned(), Value::Object(fact));
        Ok(())
    }

    /// Adds facts that could not be determined, for the same reason.
    ///
    /// # Errors
    /// As for [`put`](Report::put).
    pub(crate) fn unknown(&mut self, names: &[&str], why: impl AsRef<str>) -> Result<()> {
        names.iter().try_for_each(|name| self.put(name, Is::Unknown, &why))
    }

    /// Prints the JSON object, if there is one and it is not empty.
    ///
    /// # Errors
    /// As for [`put`](Report::put).
    pub(crate) fn end(mut self) -> Result<()> {
        match self.document.take() {
            Some(document) if !document.is_empty() => {
                self.write(&format!("{}\n", Value::Object(document)))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.output.write_all(text.as_bytes()).map_err(|cause| match cause.kind() {
            ErrorKind::BrokenPipe => interrupt::die_of_sigpipe(),
            _ => Error::local("standard output", &cause),
        })
    }
}

/// The text of a line, after its name.
fn line(is: &Is, why: &str) -> String {
    let value = match is {
        Is::No | Is::Unknown => {
            let word = if *is == Is::No { "no" } else { "unknown" };
            return if why.is_empty() { word.to_owned() } else { format!("{word}: {why}") };
        }
        Is::Yes => "yes".to_owned(),
        Is::Text(text) => shown(text),
        Is::Number(number) => number.to_string(),
        Is::Seconds(least, most) => format!("{least:+.2} s to {most:+.2} s"),
    };
    if why.is_empty() { value } else { format!("{value} ({why})") }
}

/// A text from a registry, without secrets, on one line and of limited length.
fn shown(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_limit() {
        let at = "ä".repeat(MAX_TEXT);
        assert_eq!(shown(&at), at);
        assert_eq!(shown(&format!("{at}b")), format!("{at}…"));
    }

    #[test]
    fn a_line_shows_the_value_and_the_reason() {
        for (is, why, want) in [
            (Is::Yes, "", "yes"),
            (Is::Yes, "a", "yes (a)"),
            (Is::No, "", "no"),
            (Is::No, "a", "no: a"),
            (Is::Unknown, "a", "unknown: a"),
            (Is::Text("x\ny".to_owned()), "", "x\\ny"),
            (Is::Number(7), "of 9", "7 (of 9)"),
            (Is::Seconds(-0.5, 1.0), "", "-0.50 s to +1.00 s"),
        ] {
            assert_eq!(line(&is, why), want);
        }
    }
}
