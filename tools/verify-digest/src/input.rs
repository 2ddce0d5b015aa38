// SPDX-License-Identifier: Apache-2.0
//! What is read: a file, or standard input that must have bytes in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, ErrorKind};

use common::error::{Error, Result};
use common::lines::looks_like_descriptor;

/// How messages name stdin.
pub(crate) const STDIN: &str = "standard input";

/// Whether stdin has no bytes at all.
///
/// # Errors
/// Usage: a descriptor line, since the blob that it names is meant. Local trouble.
pub(crate) fn is_empty_input(input: &mut impl BufRead) -> Result<bool> {
    let start =
        input.fill_buf().map_err(|cause| Error::local(format_args!("read {STDIN}"), &cause))?;
    if looks_like_descriptor(start) {
        let error =
            Error::usage(format_args!("{STDIN}: a descriptor line, not the bytes it names"));
        return Err(error.hint("--from oci:DIR checks the blobs that descriptor lines name"));
    }
    Ok(start.is_empty())
}

/// Opens a file to read.
///
/// # Errors
/// Absent; local trouble.
pub(crate) fn open(file: &OsStr) -> Result<File> {
    File::open(file).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => Error::absent(format_args!("{}: no such file", file.display())),
        _ => Error::local(format_args!("read {}", file.display()), &cause),
    })
}
