// SPDX-License-Identifier: Apache-2.0
//! Hints for a failed run in which the user probably meant an operand in another way than the tool
//! read it: a layout without `oci:`, a host without a repository, a file where a reference is
//! expected, operands in the wrong order.
//!
//! A word can be a repository and also the name of a directory or a file. Only the syntax of the
//! word determines its meaning, so that a command has the same effect in every directory. The file
//! system is examined only after a failure, for a hint.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgMatches, Command};

use crate::digest::Digest;
use crate::error::{Error, Status};
use crate::exit::tool;
use crate::reference::{LayoutReference, Location, StoreName};
use crate::transports;

/// The operands and options of a run that the user may have meant in another way.
#[derive(Default)]
pub(crate) struct Operands {
    /// The text of each repository or reference in a registry.
    remote: Vec<String>,
    /// The operands, if there are two and the first one names something in a registry.
    first: Option<(String, String)>,
}

impl Operands {
    /// The operands of a parsed command line.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Operands {
        let mut operands = Vec::new();
        let mut remote = Vec::new();
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            let Ok(Some(raw)) = matches.try_get_raw(id) else { continue };
            let raw: Vec<String> = raw.map(|text| text.to_string_lossy().into_owned()).collect();
            if is_name(matches, id) {
                remote.extend(raw.iter().filter(|text| !text.starts_with("oci:")).cloned());
            }
            if arg.is_positional() {
                operands.extend(raw);
            }
        }
        let first = match operands.as_slice() {
            [first, second] if remote.contains(first) => Some((first.clone(), second.clone())),
            _ => None,
        };
        Operands { remote, first }
    }

    /// The hint for a failed run, if an operand explains the failure.
    pub(crate) fn hint(&self, error: &Error) -> Option<String> {
        use Status::{Absent, Refused, Unavailable, Usage};
        if !matches!(error.status(), Absent | Refused | Unavailable | Usage) {
            return None;
        }
        if let Some((first, second)) = &self.first
            && let Some(line) = swapped(first, second)
        {
            return Some(line);
        }
        if error.status() == Usage {
            let message = error.to_string();
            return self
                .host_hint()
                .filter(|(host, _)| message.contains(*host))
                .map(|(_, hint)| hint);
        }
        if let Some(dir) = self.remote.iter().find(|text| is_layout(text)) {
            return Some(format!("write oci:{dir} for a layout in that directory"));
        }
        if let Some(file) = self.remote.iter().find(|text| Path::new(text).is_file()) {
            return Some(format!("{file} is a file, but the tool read it as the name of an image"));
        }
        self.host_hint().map(|(_, hint)| hint)
    }

    /// A host without a repository among the operands, and the hint about it.
    fn host_hint(&self) -> Option<(&str, String)> {
        let host = self.remote.iter().find_map(|text| transports::lone_host(text))?;
        let hint = transports::host_hint(host);
        Some((host, format!("{host} alone is a name on Docker Hub: {hint}")))
    }
}

/// Whether the values of an argument name repositories, layouts or images.
fn is_name(matches: &ArgMatches, id: &str) -> bool {
    matches.try_get_many::<Location>(id).is_ok() || matches.try_get_many::<StoreName>(id).is_ok()
}

/// Whether `oci:` before the text makes it the name of an existing layout, or of an empty
/// directory, where a layout can be made.
fn is_layout(text: &str) -> bool {
    let Ok(Location::Layout(LayoutReference { dir, .. })) = format!("oci:{text}").parse() else {
        return false;
    };
    let is_empty = || std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_none());
    dir.join("oci-layout").is_file() || is_empty()
}

/// The hint if two operands are in the wrong order: `first` is a file, and `second` is a reference
/// and not a file. Otherwise `None`.
fn swapped(first: &str, second: &str) -> Option<String> {
    let is_swapped = Path::new(first).is_file()
        && !Path::new(second).exists()
        && second.parse::<Location>().is_ok();
    is_swapped.then(|| format!("the operands are in the wrong order: {} {second} {first}", tool()))
}

/// The hint for `value`, where a reference was expected. `None` unless `value` is a digest or a
/// file, and the next argument is a reference.
pub(crate) fn swapped_in(args: &[OsString], value: &str) -> Option<String> {
    let at = args.iter().position(|arg| arg == value)?;
    let next = args.get(at + 1)?.to_str().filter(|next| !next.starts_with('-'))?;
    let is_reference = next.parse::<Location>().is_ok();
    let is_other = value.parse::<Digest>().is_ok() || Path::new(value).is_file();
    (is_reference && is_other)
        .then(|| format!("the operands are in the wrong order: {} {next} {value}", tool()))
}
