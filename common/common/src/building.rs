// SPDX-License-Identifier: Apache-2.0
//! Code that the tools that build manifests share: input lines, option values, and the final check
//! of the document.
//!
//! Not here: the fields that only an image manifest or only an index has.

use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::read_document;
use crate::descriptor::Descriptor;
use crate::error::{Error, Result, printable};
use crate::lines::{Lines, MAX_LINE};
use crate::manifest::{MAX_SIZE, Manifest, Schema1};
use crate::mediatype::{is_manifest, is_media_type};
use crate::stdio;

/// Reads the descriptor lines on stdin. Together they may have at most as many bytes as a manifest.
///
/// # Errors
/// Malformed if stdin is closed. An item of the iterator is an error in the same cases as for
/// [`Lines`]. An item is also Malformed if its line is an early line, or if the lines so far have
/// more than [`MAX_SIZE`] bytes.
pub fn lines() -> Result<impl Iterator<Item = Result<Descriptor>>> {
    let mut size = 0;
    Ok(Lines::new(stdio::stdin()?).map(move |line| {
        let descriptor = line?;
        descriptor.refuse_early()?;
        size += descriptor.line().len() as u64;
        if size > MAX_SIZE {
            let what = format_args!("too many lines: a manifest has at most {MAX_SIZE} bytes");
            return Err(Error::malformed(what));
        }
        Ok(descriptor)
    }))
}

/// Parses a media type, TYPE/SUBTYPE as in RFC 6838.
///
/// # Errors
/// A sentence for clap, if the text is not a media type.
pub fn media_type(text: &str) -> std::result::Result<String, String> {
    if is_media_type(text) {
        Ok(text.to_owned())
    } else {
        Err("not a media type (TYPE/SUBTYPE)".to_owned())
    }
}

/// The subject's descriptor, with only the media type, digest and size of the given line. `text` is
/// the value of `--subject`: the line itself, or the name of a file with the line. `stdin`
/// describes the lines on standard input, for messages.
///
/// # Errors
/// Usage if the value is empty, `-`, not a descriptor line, or not the line of a manifest.
/// Malformed if the file does not have exactly one descriptor line; Absent or Local if it cannot be
/// read.
pub fn subject(text: &str, stdin: &str) -> Result<Value> {
    let wrong = |why: &str| {
        let error = Error::usage(format_args!("--subject: {}", printable(why)));
        error.hint("fetch-manifest --descriptor prints the line")
    };
    let parsed = match text {
        "" => return Err(wrong("empty: did the command that prints the line fail?")),
        "-" => return Err(wrong(&format!("standard input has {stdin}"))),
        line if line.starts_with('{') => {
            Descriptor::from_line(line.as_bytes()).map_err(|e| wrong(&e))?
        }
        file => {
            let bytes = read_document(Some(Path::new(file)), MAX_LINE)?;
            Descriptor::from_line(&bytes).map_err(|why| {
                let error = Error::malformed(format_args!("{file}: {}", printable(&why)));
                error.hint("expected one descriptor line, as fetch-manifest --descriptor prints it")
            })?
        }
    };
    let Descriptor { media_type, digest, size, .. } = parsed;
    if !is_manifest(&media_type) {
        return Err(wrong(&format!("{media_type} is not the media type of a manifest")));
    }
    Ok(Descriptor::new(&media_type, digest, size).into_value())
}

/// Adds the fields `subject` and `annotations` to a document, if there are any.
pub fn add_subject_and_annotations(
    fields: &mut Map<String, Value>,
    subject: Option<Value>,
    annotations: &[(String, String)],
) {
    if let Some(subject) = subject {
        fields.insert("subject".to_owned(), subject);
    }
    if !annotations.is_empty() {
        let pairs = annotations.iter().map(|(key, text)| (key.clone(), text.as_str().into()));
        fields.insert("annotations".to_owned(), Value::Object(pairs.collect()));
    }
}

/// The bytes of a document: compact, without a newline at its end. `name` is its name in messages.
///
/// # Errors
/// Malformed if the document is larger than [`MAX_SIZE`], or if fetch-manifest would refuse it.
pub fn document(fields: Map<String, Value>, media_type: &str, name: &str) -> Result<Vec<u8>> {
    let bytes = Value::Object(fields).to_string().into_bytes();
    if bytes.len() as u64 > MAX_SIZE {
        let what = format_args!("{name}: {} bytes, larger than {MAX_SIZE}", bytes.len());
        return Err(Error::malformed(what));
    }
    Manifest::parse(&bytes, Some(media_type), name, Schema1::Refused)
        .map_err(|e| e.context(name))?;
    Ok(bytes)
}
