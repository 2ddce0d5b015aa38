// SPDX-License-Identifier: Apache-2.0
//! detect-mediatype: prints the media type of files.
//!
//! The media type depends only on the bytes, never on the name of a file. `detect` has the rules;
//! this file opens the inputs and prints the results. Not here: a full check of a document, and
//! reading a layer beyond its beginning.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use common::error::{Error, Result, printable};
use common::lines::{NO_INPUT, looks_like_descriptor};
use common::manifest::Schema1;
use common::{cli, exit, stdio};

mod detect;

/// Print the media type of files
///
/// Manifests, indexes, image configs and layers have media types of OCI or Docker. A layer is a tar
/// archive, plain or compressed by gzip or zstd. Other gzip and zstd data is application/gzip or
/// application/zstd. Any other data is application/octet-stream. A JSON document of another kind,
/// or with contradictory fields, is an error.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The files to examine; "-" is standard input, which is also the default
    #[arg(value_name = "FILE")]
    files: Vec<OsString>,

    /// Print no warnings and no notices
    #[arg(short, long)]
    quiet: bool,
}

fn main() -> ExitCode {
    exit::run("detect-mediatype", run)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    exit::quiet(cli.quiet);
    let schema1 = cli::schema1();
    let files = if cli.files.is_empty() { vec!["-".into()] } else { cli.files };
    let mut output = stdio::stdout()?;
    let mut failed = 0;
    let mut first = None;
    for file in &files {
        match media_type(file, schema1) {
            Ok(media_type) => {
                let mut line = if files.len() > 1 { label(file) } else { Vec::new() };
                line.extend(media_type.as_bytes());
                line.push(b'\n');
                output.write_all(&line).map_err(|cause| Error::local("standard output", &cause))?;
            }
            Err(error) => {
                failed += 1;
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if failed > 1 => {
            Err(error.context(format_args!("{failed} of {} failed", files.len())).into())
        }
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn media_type(file: &OsStr, schema1: Schema1) -> Result<String> {
    if file == "-" {
        return of_input(stdio::stdin()?, "standard input", true, schema1);
    }
    let name = file.display().to_string();
    let input = File::open(file).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => {
            let error = Error::absent(format_args!("{name}: no such file"));
            let line = |image: &str, _: &_| format!("fetch-manifest {image} | detect-mediatype");
            cli::or_image(error, Some(Path::new(file)), line)
        }
        _ => Error::local(format_args!("read {name}"), &cause),
    })?;
    of_input(input, &name, false, schema1)
}

fn of_input(mut input: impl Read, name: &str, is_pipe: bool, schema1: Schema1) -> Result<String> {
    let read_error = |cause: std::io::Error| Error::local(format_args!("read {name}"), &cause);
    let mut head = Vec::with_capacity(detect::HEAD);
    input.by_ref().take(detect::HEAD as u64).read_to_end(&mut head).map_err(read_error)?;
    if head.is_empty() {
        return Err(Error::malformed(format_args!(
            "{name}: {}",
            if is_pipe { NO_INPUT } else { "empty" }
        )));
    }
    if is_pipe && looks_like_descriptor(&head) {
        let error =
            Error::usage(format_args!("{name}: got a descriptor line, want the bytes of a blob"));
        return Err(error.hint("fetch-blob STORE prints the bytes of a descriptor line"));
    }
    detect::detect(head, input, name, schema1).map_err(|error| match error {
        detect::Failure::Input(cause) => read_error(cause),
        detect::Failure::Content(error) => error.context(name),
    })
}

/// The label `FILE: `. Control characters in the name are escaped, so the label stays on one line.
fn label(file: &OsStr) -> Vec<u8> {
    let mut label = if file.as_bytes().iter().any(u8::is_ascii_control) {
        printable(&file.to_string_lossy()).into_bytes()
    } else {
        file.as_bytes().to_vec()
    };
    label.extend(b": ");
    label
}
