// SPDX-License-Identifier: Apache-2.0
//! Parsers for command-line values, and input checks that several tools share.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result, Status};
use crate::lines::NO_INPUT;
use crate::manifest::{SCHEMA1_VARIABLE, Schema1};
use crate::reference::{Location, Reference, StoreName};
use crate::stdio;

/// Whether [`SCHEMA1_VARIABLE`] allows Docker schema 1.
pub fn schema1() -> Schema1 {
    match std::env::var_os(SCHEMA1_VARIABLE) {
        Some(value) if !value.is_empty() => Schema1::Allowed,
        _ => Schema1::Refused,
    }
}

/// Parses a number of bytes: digits, optionally followed by `k`, `M`, `G` or `T` for powers of
/// 1024.
///
/// # Errors
/// A sentence for clap, if the text is not a size or the size is too large.
pub fn bytes(text: &str) -> std::result::Result<u64, String> {
    let wrong =
        || format!("invalid size: {text} (expected a number, then optionally k, M, G or T)");
    let (digits, shift) = match text.char_indices().last() {
        Some((i, 'k' | 'K')) => (&text[..i], 10),
        Some((i, 'M')) => (&text[..i], 20),
        Some((i, 'G')) => (&text[..i], 30),
        Some((i, 'T')) => (&text[..i], 40),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(wrong)
}

/// Splits `KEY=VALUE` at the first `=`.
///
/// # Errors
/// A sentence for clap, if there is no `=` or the key is empty.
pub fn key_value(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Refuses an option that gives the same key twice, because neither value has precedence.
///
/// # Errors
/// Usage if a key is given twice.
pub fn refuse_repeated(option: &str, pairs: &[(String, String)]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match pairs.iter().find(|(key, _)| !seen.insert(key)) {
        None => Ok(()),
        Some((key, _)) => Err(Error::usage(format_args!("{option}: \"{key}\" given twice"))),
    }
}

/// The directory of a store that must be a layout because the tool has no network. `option` is the
/// option that names the store; `hint` is the hint for the user if the store is a repository.
///
/// # Errors
/// Usage if the store is a repository.
pub fn layout_dir<'a>(option: &str, store: &'a StoreName, hint: &str) -> Result<&'a Path> {
    match store {
        StoreName::Layout(dir) => Ok(dir),
        StoreName::Repository(_) => {
            Err(Error::usage(format_args!("{option} {store}: expected oci:DIR")).hint(hint))
        }
    }
}

/// Adds a hint to the error for a `file` that does not exist, if its name is probably that of an
/// image. `line` gets the reference of the image and its store, and returns the command that reads
/// the image. A single word can also be a missing file. The hint for it begins with a condition.
#[must_use]
pub fn or_image(
    error: Error,
    file: Option<&Path>,
    line: impl FnOnce(&str, &StoreName) -> String,
) -> Error {
    let name = file.and_then(Path::to_str).filter(|_| error.status() == Status::Absent);
    match name.and_then(|name| Some((name, store_of_image(name)?))) {
        Some((name, store)) if name.contains([':', '@', '/']) => error.hint(line(name, &store)),
        Some((name, store)) => {
            error.hint(format_args!("if {name} is an image: {}", line(name, &store)))
        }
        None => error,
    }
}

/// The suffixes of files that the tools read. A name with such a suffix is a file.
const FILES: [&str; 6] = [".json", ".tar", ".gz", ".tgz", ".zst", ".txt"];

/// The store of the image that the text names. `None` if the text is more likely the name of a
/// file: it has one of the suffixes of files, or its parent directory exists. The text is likely an
/// image if it begins with `oci:`, has a tag, a digest or a host, or is a single word.
fn store_of_image(text: &str) -> Option<StoreName> {
    let parent = Path::new(text).parent().filter(|parent| !parent.as_os_str().is_empty());
    let is_file = FILES.iter().any(|suffix| text.ends_with(suffix))
        || !text.starts_with("oci:") && parent.is_some_and(Path::is_dir);
    if is_file {
        return None;
    }
    match text.parse().ok()? {
        Location::Layout(layout) => Some(StoreName::Layout(layout.dir)),
        Location::Registry(Reference { repository, tag, digest }) => {
            let is_hub = repository.host() == "docker.io";
            let is_word = !text.contains(['.', '/']);
            let is_likely = tag.is_some() || digest.is_some() || !is_hub || is_word;
            is_likely.then_some(StoreName::Repository(repository))
        }
    }
}

/// The name of an input in messages: the file, or standard input if the operand is `-` or missing.
pub fn input_name(operand: Option<&Path>) -> String {
    match operand {
        Some(path) if path.as_os_str() != "-" => path.display().to_string(),
        _ => "standard input".to_owned(),
    }
}

/// Reads a document of at most `limit` bytes from a file, or from stdin if the operand is `-` or
/// missing.
///
/// # Errors
/// Malformed if the document is empty, if it is larger than `limit`, or if stdin is closed; Absent
/// if the file does not exist; Local if it cannot be read.
pub fn read_document(operand: Option<&Path>, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let name = input_name(operand);
    let read = match operand {
        Some(path) if path.as_os_str() != "-" => match std::fs::File::open(path) {
            Ok(file) => file.take(limit + 1).read_to_end(&mut bytes),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::absent(format_args!("{name}: no such file")));
            }
            Err(cause) => Err(cause),
        },
        _ => stdio::stdin()?.take(limit + 1).read_to_end(&mut bytes),
    };
    match read {
        Err(cause) => Err(Error::local(format_args!("read {name}"), &cause)),
        Ok(0) => Err(Error::malformed(format_args!("{name}: {NO_INPUT}"))),
        Ok(n) if n as u64 > limit => {
            Err(Error::malformed(format_args!("{name}: larger than {limit} bytes")))
        }
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_and_an_image_are_told_apart() {
        for image in
            ["alpine", "alpine:3.20", "h.example/app", "localhost:5000/app", "oci:d", "a/b:1"]
        {
            assert!(store_of_image(image).is_some(), "{image}");
        }
        for file in
            ["m.json", "./m", "/tmp/m", "out/m", "M", "m.json.gz", "", "a.d/m.json", "src/m:1"]
        {
            assert!(store_of_image(file).is_none(), "{file}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("10k"), Ok(10 << 10));
        assert_eq!(bytes("3G"), Ok(3 << 30));
        for wrong in ["", "k", "1.5M", "-1", "+1", "1B", "99999999999999999999", "99999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
