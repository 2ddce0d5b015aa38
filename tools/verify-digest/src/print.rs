// SPDX-License-Identifier: Apache-2.0
//! `--print`: prints the digests of files or of standard input.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};

use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::lines::NO_INPUT;
use common::parallel::{self, processors};
use common::stdio;
use common::verify::BUFFER;

use crate::input::{STDIN, is_empty_input, open};
use crate::list;

/// Prints a line for each file; without a file, only the digest of standard input.
///
/// # Errors
/// Absent if a file does not exist. Malformed if standard input is empty. Usage if it is a
/// descriptor line. Local if an input cannot be read or standard output cannot be written.
pub(crate) fn print(files: Vec<OsString>, algorithm: Algorithm) -> Result<()> {
    let mut output = stdio::stdout()?;
    let mut put =
        |line: &[u8]| output.write_all(line).map_err(|e| Error::local("standard output", &e));
    if files.is_empty() {
        let digest = hash_stdin(algorithm)?;
        return put(format!("{digest}\n").as_bytes());
    }
    let work = move |file: OsString| {
        let digest = if file == "-" {
            hash_stdin(algorithm)?
        } else {
            hash(open(&file)?, algorithm, &file.display().to_string())?
        };
        Ok::<_, Error>(list::line(&digest, &file))
    };
    parallel::in_order(processors(), || files.into_iter(), work, |line| put(&line?))
}

fn hash_stdin(algorithm: Algorithm) -> Result<Digest> {
    let mut input = stdio::stdin()?;
    if is_empty_input(&mut input)? {
        return Err(Error::malformed(NO_INPUT));
    }
    hash(input, algorithm, STDIN)
}

fn hash(mut input: impl Read, algorithm: Algorithm, name: &str) -> Result<Digest> {
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; BUFFER];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(Error::local(format_args!("read {name}"), &cause)),
        }
    }
}
