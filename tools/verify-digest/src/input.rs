// SPDX-License-Identifier: Apache-2.0
//! Opens the input: a file, or standard input, which must not be empty.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, ErrorKind};

use common::error::{Error, Result};
use common::lines::looks_like_descriptor;

/// The name of standard input in messages.
pub(crate) const STDIN: &str = "standard input";

/// Whether standard input is empty.
///
/// # Errors
/// Usage if the input is a descriptor line: the user wants to verify the blob, not the line. Local
/// if the input cannot be read.
pub(crate) fn is_empty_input(input: &mut impl BufRead) -> Result<bool> {
    let start =
        input.fill_buf().map_err(|cause| Error::local(format_args!("read {STDIN}"), &cause))?;
    if looks_like_descriptor(start) {
        let error =
            Error::usage(format_args!("{STDIN}: got a descriptor line, want the bytes of a blob"));
        return Err(error.hint("--from oci:DIR checks the blobs that descriptor lines name"));
    }
    Ok(start.is_empty())
}

/// Opens a file to read.
///
/// # Errors
/// Absent if the file does not exist. Local if it cannot be opened.
pub(crate) fn open(file: &OsStr) -> Result<File> {
    File::open(file).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => Error::absent(format_args!("{}: no such file", file.display())),
        _ => Error::local(format_args!("read {}", file.display()), &cause),
    })
}
