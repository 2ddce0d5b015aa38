// SPDX-License-Identifier: Apache-2.0
//! The object `config` of an image config: it describes the process in a container of the image.
//!
//! Most options set one field and replace the base's value. Environment variables, labels, ports
//! and volumes are added to those of the base. Only the form of the values is checked, not their
//! meaning to Docker.

use common::error::{Error, Result};
use common::json;
use serde_json::{Map, Value};

/// The names of the fields.
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

/// The values of the container options. An option that is not given is `None` or empty, and leaves
/// the base's value unchanged.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// The program and its arguments; an empty list removes the field.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// The arguments of the entrypoint; an empty list removes the field.
    pub(crate) cmd: Option<Vec<String>>,
    /// Environment variables: name and value.
    pub(crate) env: Vec<(String, String)>,
    /// The directory that the program starts in.
    pub(crate) workdir: Option<String>,
    /// The user that the program runs as.
    pub(crate) user: Option<String>,
    /// Labels: name and value.
    pub(crate) label: Vec<(String, String)>,
    /// Ports with their protocols.
    pub(crate) exposed_port: Vec<String>,
    /// Directories where volumes are mounted.
    pub(crate) volume: Vec<String>,
    /// The signal that stops the program.
    pub(crate) stop_signal: Option<String>,
}

impl Runtime {
    /// Sets the given fields.
    ///
    /// # Errors
    /// Malformed if an entry must be added to a field of the base that has the wrong type, or if
    /// the name of a field differs from a known name only in upper and lower case.
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
        if let Some(words) = &self.entrypoint {
            set_words(config, "Entrypoint", words);
            // The base's arguments belong to another program.
            config.shift_remove("Cmd");
        }
        if let Some(words) = &self.cmd {
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

    /// Sets environment variables. A variable of the base keeps its position; a new variable is
    /// added at the end.
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
            let has_key =
                |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name) == key;
            let first = list.iter().position(|entry| has_key(entry));
            let entry = format!("{key}={value}");
            match first {
                None => list.push(entry),
                Some(first) => {
                    // If a variable has several entries, only the last one has an effect. All but
                    // the first are removed, and the first gets the new value.
                    let mut at = 0..;
                    list.retain(|entry| at.next() <= Some(first) || !has_key(entry));
                    list[first] = entry;
                }
            }
        }
        config.insert("Env".to_owned(), list.into());
        Ok(())
    }
}

/// Adds entries to an object of the config, which is created if it is absent.
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

/// Sets a field to a list of words, or removes the field if the list is empty.
fn set_words(config: &mut Map<String, Value>, key: &str, words: &[String]) {
    if words.is_empty() {
        config.shift_remove(key);
    } else {
        config.insert(key.to_owned(), words.into());
    }
}
