// SPDX-License-Identifier: Apache-2.0
//! What a container of the image runs, and with what: the object `config` of an image config.
//!
//! Each option sets one field; what the base has in it is replaced, but for variables, labels, ports and volumes, which
//! are added to. How Docker understands its own fields is not checked beyond their form.

use clap::Args;
use common::cli::{key_value, refuse_repeated};
use common::error::{Error, Result};
use common::json;
use serde_json::{Map, Value};

use crate::cli::not_empty;

/// Go's names of the fields.
const KNOWN: [&str; 9] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
];

/// The options of what is run.
#[derive(Args, Debug)]
#[command(next_help_heading = "What is run")]
pub(crate) struct Runtime {
    /// The program, an argument each time (as --entrypoint=-v where it begins with a dash), or all as a JSON
    /// array; an inherited --cmd goes
    #[arg(long, value_name = "ARG")]
    entrypoint: Vec<String>,

    /// Arguments of the entrypoint, or without one the program and its arguments: as --entrypoint
    #[arg(long, value_name = "ARG")]
    cmd: Vec<String>,

    /// Set an environment variable (may come again)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,

    /// The directory it starts in, absolute
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    workdir: Option<String>,

    /// The user it runs as, by name or number: USER or USER:GROUP
    #[arg(long, value_name = "USER", value_parser = not_empty)]
    user: Option<String>,

    /// Set a label (may come again)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,

    /// A port it listens on, tcp unless it says udp or sctp (may come again)
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = port)]
    exposed_port: Vec<String>,

    /// A directory to be mounted from outside, absolute (may come again)
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    volume: Vec<String>,

    /// The signal that ends it, as SIGTERM, SIGRTMIN+3 or a number
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    stop_signal: Option<String>,
}

impl Runtime {
    /// What contradicts itself.
    ///
    /// # Errors
    /// Usage.
    pub(crate) fn check(&self) -> Result<()> {
        refuse_repeated("--env", &self.env)?;
        refuse_repeated("--label", &self.label)?;
        arguments("--entrypoint", &self.entrypoint)?;
        arguments("--cmd", &self.cmd).map(drop)
    }

    /// Sets the fields.
    ///
    /// # Errors
    /// Malformed: the base has something else in a field than belongs there.
    pub(crate) fn apply(&self, config: &mut Map<String, Value>) -> Result<()> {
        json::refuse_case_variants(config, &KNOWN)
            .map_err(|e| Error::malformed(format_args!("base: config: {e}")))?;
        if let Some(user) = &self.user {
            config.insert("User".to_owned(), user.as_str().into());
        }
        let present = |names: &[String]| -> Vec<(String, Value)> {
            names.iter().map(|name| (name.clone(), Value::Object(Map::new()))).collect()
        };
        add(config, "ExposedPorts", present(&self.exposed_port))?;
        self.set_variables(config)?;
        if let Some(words) = arguments("--entrypoint", &self.entrypoint)? {
            set_words(config, "Entrypoint", words);
            // What was inherited are arguments of another program.
            config.shift_remove("Cmd");
        }
        if let Some(words) = arguments("--cmd", &self.cmd)? {
            set_words(config, "Cmd", words);
        }
        add(config, "Volumes", present(&self.volume))?;
        if let Some(dir) = &self.workdir {
            config.insert("WorkingDir".to_owned(), dir.as_str().into());
        }
        let labels = self.label.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        add(config, "Labels", labels.collect())?;
        if let Some(signal) = &self.stop_signal {
            config.insert("StopSignal".to_owned(), signal.as_str().into());
        }
        Ok(())
    }

    /// A variable that is there gets its new value in its place; a new one comes last.
    fn set_variables(&self, config: &mut Map<String, Value>) -> Result<()> {
        if self.env.is_empty() {
            return Ok(());
        }
        let inherited = match config.get("Env") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => list.clone(),
            Some(_) => {
                return Err(Error::malformed("base: config: Env is not an array of strings"));
            }
        };
        let mut list: Vec<String> =
            inherited.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        for (key, value) in &self.env {
            let is_it = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name) == key;
            let first = list.iter().position(|entry| is_it(entry));
            let entry = format!("{key}={value}");
            match first {
                None => list.push(entry),
                Some(first) => {
                    // Of several the last would count: none of them is to be left.
                    let mut at = 0..;
                    list.retain(|entry| at.next() <= Some(first) || !is_it(entry));
                    list[first] = entry;
                }
            }
        }
        config.insert("Env".to_owned(), list.into());
        Ok(())
    }
}

/// Adds to an object of the config.
fn add(config: &mut Map<String, Value>, key: &str, entries: Vec<(String, Value)>) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let field = config.entry(key).or_insert(Value::Null);
    if field.is_null() {
        *field = Value::Object(Map::new());
    }
    let Value::Object(object) = field else {
        let kind = json::kind(field);
        return Err(Error::malformed(format_args!("base: config: {key} is {kind}, not an object")));
    };
    object.extend(entries);
    Ok(())
}

/// A list of words; an empty one is no field at all.
fn set_words(config: &mut Map<String, Value>, key: &str, words: Vec<String>) {
    match words.is_empty() {
        true => drop(config.shift_remove(key)),
        false => drop(config.insert(key.to_owned(), words.into())),
    }
}

/// The words that an option was given, one by one or as one JSON array; nothing when it was not given.
fn arguments(option: &str, given: &[String]) -> Result<Option<Vec<String>>> {
    let Some(array) = given.iter().find(|word| word.starts_with('[')) else {
        return Ok((!given.is_empty()).then(|| given.to_vec()));
    };
    let wrong = |why: &str| {
        let error = Error::usage(format_args!("{option}: {why}"));
        error
            .hint("an argument that begins with [ is written in an array: '[\"[\", \"-e\", \"x\"]'")
    };
    if given.len() > 1 {
        return Err(wrong("a JSON array stands alone"));
    }
    let words = match json::parse(array.as_bytes()).map_err(|e| wrong(&e))? {
        Value::Array(words) => words,
        other => return Err(wrong(json::kind(&other))),
    };
    let word = |word: Value| match word {
        Value::String(text) if !text.contains('\0') => Ok(text),
        Value::String(_) => Err(wrong("an argument with a NUL in it")),
        other => Err(wrong(&format!("{} in the array, not a string", json::kind(&other)))),
    };
    words.into_iter().map(word).collect::<Result<_>>().map(Some)
}

/// A path that is absolute, on Windows too.
fn absolute(text: &str) -> std::result::Result<String, String> {
    let drive = text.get(1..3).is_some_and(|colon| colon == ":\\" || colon == ":/")
        && text.starts_with(|c: char| c.is_ascii_alphabetic());
    match text.starts_with('/') || drive {
        true => Ok(text.to_owned()),
        false => Err("not an absolute path".to_owned()),
    }
}

/// A port with its protocol.
fn port(text: &str) -> std::result::Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let digits = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    match number.parse::<u16>() {
        Ok(1..) if digits && matches!(protocol, "tcp" | "udp" | "sctp") => {
            Ok(format!("{number}/{protocol}"))
        }
        _ => Err(format!("\"{text}\" is no port (1 to 65535, perhaps with /tcp, /udp or /sctp)")),
    }
}

/// A signal, by number or name.
fn signal(text: &str) -> std::result::Result<String, String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits(text) && text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let name = text.strip_prefix("SIG").is_some_and(|name| {
        let (stem, offset) = name.split_once(['+', '-']).unwrap_or((name, "0"));
        let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        !stem.is_empty() && stem.bytes().all(upper) && digits(offset)
    });
    match number || name {
        true => Ok(text.to_owned()),
        false => Err(format!("\"{text}\" is no signal (SIGTERM, SIGRTMIN+3, 15)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_at_their_edges() {
        assert_eq!(port("1").as_deref(), Ok("1/tcp"));
        assert_eq!(port("65535/udp").as_deref(), Ok("65535/udp"));
        for wrong in ["0", "65536", "080", "", "/tcp", "80/", "80/icmp", "80-90", "+80", "80/TCP"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signals_have_numbers_or_names() {
        for right in ["1", "64", "SIGTERM", "SIGRTMIN+3", "SIGUSR1"] {
            assert_eq!(signal(right).as_deref(), Ok(right));
        }
        for wrong in ["", "0", "65", "TERM", "sigterm", "SIG", "SIGRTMIN+", "SIGRTMIN+x", "-9"] {
            assert!(signal(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_absolute_here_or_on_windows() {
        for right in ["/", "/srv", "C:\\app", "c:/app"] {
            assert!(absolute(right).is_ok(), "{right}");
        }
        for wrong in ["", "srv", "./srv", "C:app", "1:/x", "\u{e9}:/x"] {
            assert!(absolute(wrong).is_err(), "{wrong}");
        }
    }
}
