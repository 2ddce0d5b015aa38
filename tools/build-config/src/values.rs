// SPDX-License-Identifier: Apache-2.0
//! Parses the values of options: arguments, paths, ports and signals.
//!
//! Only the form of a value is checked. Not here: times, which are in [`created`](crate::created).

use common::error::{Error, Result};
use common::json;
use serde_json::Value;

/// Parses a text that must not be empty.
///
/// # Errors
/// The error message for clap.
pub(crate) fn not_empty(text: &str) -> std::result::Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// The arguments from all uses of an option. Each use gives one argument, or a JSON array gives
/// all. `None` if the option is not given.
///
/// # Errors
/// Usage if another argument is given in addition to a JSON array, if the array has a value that is
/// not a string, or if a string contains a NUL.
pub(crate) fn arguments(option: &str, given: &[String]) -> Result<Option<Vec<String>>> {
    let Some(array) = given.iter().find(|word| word.starts_with('[')) else {
        return Ok((!given.is_empty()).then(|| given.to_vec()));
    };
    let wrong = |why: &str| {
        let error = Error::usage(format_args!("{option}: {why}"));
        error.hint("put an argument that begins with [ into an array: '[\"[\", \"-e\", \"x\"]'")
    };
    if given.len() > 1 {
        return Err(wrong("a JSON array must be the only argument"));
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

/// Parses an absolute path, of Unix or of Windows.
///
/// # Errors
/// The error message for clap.
pub(crate) fn absolute(text: &str) -> std::result::Result<String, String> {
    let drive = text.get(1..3).is_some_and(|colon| colon == ":\\" || colon == ":/")
        && text.starts_with(|c: char| c.is_ascii_alphabetic());
    if text.starts_with('/') || drive {
        Ok(text.to_owned())
    } else {
        Err("not an absolute path".to_owned())
    }
}

/// Parses a port, and adds the default protocol tcp if none is given.
///
/// # Errors
/// The error message for clap.
pub(crate) fn port(text: &str) -> std::result::Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let digits = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    match number.parse::<u16>() {
        Ok(1..) if digits && matches!(protocol, "tcp" | "udp" | "sctp") => {
            Ok(format!("{number}/{protocol}"))
        }
        _ => Err("expected a port from 1 to 65535, optionally with /tcp, /udp or /sctp".to_owned()),
    }
}

/// Parses a signal, by number or name.
///
/// # Errors
/// The error message for clap.
pub(crate) fn signal(text: &str) -> std::result::Result<String, String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits(text) && text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let name = text.strip_prefix("SIG").is_some_and(|name| {
        let (stem, offset) = name.split_once(['+', '-']).unwrap_or((name, "0"));
        let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        !stem.is_empty() && stem.bytes().all(upper) && digits(offset)
    });
    if number || name {
        Ok(text.to_owned())
    } else {
        Err("expected a signal like SIGTERM or SIGRTMIN+3, or a number from 1 to 64".to_owned())
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
