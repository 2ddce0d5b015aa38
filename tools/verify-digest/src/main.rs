// SPDX-License-Identifier: Apache-2.0
//! verify-digest: verify bytes against a digest.
//!
//! Four jobs with one question in them, whether these are the right bytes: a stream on its way
//! through a pipe, files, the files of a list, and the blobs of a layout. Files are hashed at once on all
//! processors and reported in the order in which they were named. Not here: fetching what is missing, mending
//! what is wrong (fetch-blob does both), and any network.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::process::ExitCode;

use clap::Parser;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::lines::{NO_INPUT, looks_like_descriptor};
use common::parallel::{self, processors};
use common::reference::StoreName;
use common::verify::{BUFFER, Verifier, copy, verify};
use common::{cli, exit, stdio};

mod blobs;
mod check;
mod list;

/// Verify bytes against a digest
///
/// Without FILE, or of "-", stdin is copied to stdout; its last 64 KiB only when size and digest are right, so
/// that what is wrong always ends cut. Of FILEs only the status tells.
#[derive(Parser)]
#[command(version, max_term_width = 100, override_usage = USAGE)]
struct Cli {
    /// The digest (sha256:HEX or sha512:HEX), then the files
    #[arg(value_name = "DIGEST", required_unless_present_any = ["check", "print", "from"])]
    operands: Vec<OsString>,

    /// Check the files of a LIST as --print or sha256sum wrote it (stdin without LIST)
    #[arg(short, long, group = "mode")]
    check: bool,

    /// Print each file's digest and name; of stdin without FILE, the digest alone
    #[arg(long, group = "mode")]
    print: bool,

    /// Check the layout's blobs that descriptor lines on stdin name, and print each good line again
    #[arg(long, value_name = "oci:DIR", group = "mode", conflicts_with = "operands")]
    from: Option<StoreName>,

    /// The algorithm to print, or of a list's digits: sha256 (what --print has without it), sha512
    #[arg(short, long, value_name = "ALG", conflicts_with = "from", value_parser = algorithm)]
    algorithm: Option<Algorithm>,

    /// The number of bytes that it must have (k, M, G, T are powers of 1024)
    #[arg(long, value_name = "N", conflicts_with = "mode", value_parser = cli::bytes)]
    size: Option<u64>,

    /// With --check, pass over the files that are not there
    #[arg(long, requires = "check")]
    ignore_missing: bool,

    /// With --check, print nothing on stdout: the status tells
    #[arg(long, requires = "check")]
    status: bool,

    /// Drop warnings, and with --check the lines of the files that are right
    #[arg(short, long)]
    quiet: bool,
}

const USAGE: &str = "verify-digest [--size N] DIGEST [FILE...]
       verify-digest --check [-a ALG] [--ignore-missing] [-q | --status] [LIST...]
       verify-digest --print [-a ALG] [FILE...]
       verify-digest --from oci:DIR";

fn algorithm(name: &str) -> std::result::Result<Algorithm, String> {
    name.parse().map_err(|e: common::digest::DigestError| e.to_string())
}

fn main() -> ExitCode {
    exit::run("verify-digest", story)
}

fn story(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    match &cli.from {
        Some(StoreName::Layout(dir)) => return blobs::check(dir.clone()),
        Some(StoreName::Repository(_)) => {
            let error = Error::usage("--from: a layout is wanted (oci:DIR)");
            return Err(error.hint("fetch-blob verifies what it fetches from a repository"));
        }
        None => {}
    }
    if cli.print {
        return print(cli.operands, cli.algorithm.unwrap_or_default());
    }
    if cli.check {
        return check::lists(cli);
    }
    if cli.algorithm.is_some() {
        return Err(Error::usage("-a goes with --print or --check: a digest names its own"));
    }
    let (digest, files) = cli.operands.split_first().ok_or_else(|| Error::usage("no digest"))?;
    let digest = typed_digest(digest)?;
    match files {
        [] => filter(&digest, cli.size),
        [file] if file == "-" => filter(&digest, cli.size),
        files if files.iter().any(|file| file == "-") => {
            Err(Error::usage("\"-\" beside other files: standard input is checked alone"))
        }
        files => {
            let files = files.to_vec();
            let work = move |file: OsString| verify_file(&file, &digest, cli.size);
            parallel::in_order(processors(), move || files.into_iter(), work, |verdict| verdict)
        }
    }
}

/// The digest that a person typed.
fn typed_digest(text: &OsStr) -> Result<Digest> {
    let text = text.to_string_lossy();
    text.parse().map_err(|why| {
        let error = Error::usage(why);
        match Algorithm::ALL.into_iter().find(|a| format!("{a}:{text}").parse::<Digest>().is_ok()) {
            Some(algorithm) => {
                error.hint(format_args!("a digest names its algorithm: {algorithm}:{text}"))
            }
            None => error,
        }
    })
}

/// Copies stdin to stdout, its end only when it is right.
fn filter(digest: &Digest, size: Option<u64>) -> Result<()> {
    let mut input = stdio::stdin()?;
    if is_empty_input(&mut input)? && !digest.is_of_nothing() {
        return Err(Error::malformed(NO_INPUT));
    }
    copy(input, stdio::stdout()?, Verifier::new(digest, size), STDIN)
        .map_err(|e| if e.status() == Status::Content { e.context(STDIN) } else { e })?;
    Ok(())
}

const STDIN: &str = "standard input";

/// Whether nothing comes in at all. Refuses descriptor lines where bytes are wanted: whoever sent them meant
/// the blobs that they name.
fn is_empty_input(input: &mut impl BufRead) -> Result<bool> {
    let start =
        input.fill_buf().map_err(|cause| Error::local(format_args!("read {STDIN}"), &cause))?;
    if looks_like_descriptor(start) {
        let error =
            Error::usage(format_args!("{STDIN}: a descriptor line, not the bytes it names"));
        return Err(error.hint("--from oci:DIR checks the blobs that descriptor lines name"));
    }
    Ok(start.is_empty())
}

fn verify_file(file: &OsStr, digest: &Digest, size: Option<u64>) -> Result<()> {
    let name = file.display();
    verify(open(file)?, Verifier::new(digest, size), &name.to_string())
        .map(|_| ())
        .map_err(|e| if e.status() == Status::Content { e.context(name) } else { e })
}

fn open(file: &OsStr) -> Result<File> {
    File::open(file).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => Error::absent(format_args!("{}: no such file", file.display())),
        _ => Error::local(format_args!("read {}", file.display()), &cause),
    })
}

/// Prints each file's line; of stdin without a name, its digest.
fn print(files: Vec<OsString>, algorithm: Algorithm) -> Result<()> {
    let mut output = stdio::stdout()?;
    let mut put =
        |line: &[u8]| output.write_all(line).map_err(|e| Error::local("standard output", &e));
    if files.is_empty() {
        let digest = hash_stdin(algorithm)?;
        return put(format!("{digest}\n").as_bytes());
    }
    let work = move |file: OsString| {
        let digest = match file == "-" {
            true => hash_stdin(algorithm)?,
            false => hash(open(&file)?, algorithm, &file.display().to_string())?,
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
    let (mut hasher, mut buffer) = (algorithm.hasher(), vec![0; BUFFER]);
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(Error::local(format_args!("read {name}"), &cause)),
        }
    }
}
