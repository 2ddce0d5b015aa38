// SPDX-License-Identifier: Apache-2.0
//! verify-digest: verifies bytes against a digest.
//!
//! The bytes are a stream in a pipe (`filter`), files (`files`), the files of a list (`check`), or
//! the blobs of a layout (`blobs`). Files are hashed in parallel on all processors, and reported in
//! the order in which they were named. A signed schema 1 manifest has the digest of its payload
//! (`signed`). Not here: the download of missing blobs and the repair of damaged ones (fetch-blob
//! does both), and any network.

mod blobs;
mod check;
mod files;
mod filter;
mod input;
mod list;
mod print;
mod signed;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::Parser;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::progress::{self, Progress, Work};
use common::reference::StoreName;
use common::{cli, exit};

use check::Report;

/// Verify bytes against a digest
///
/// Without FILE, or if FILE is "-", standard input is copied to standard output. The last 64 KiB
/// are written only if the size and the digest are right, so a wrong stream is always incomplete.
/// If FILEs are given, nothing is copied: the exit status is the result.
#[derive(Parser)]
#[command(version, max_term_width = 100, override_usage = USAGE)]
struct Cli {
    /// The digest (sha256:HEX or sha512:HEX), then the files to verify
    #[arg(value_name = "DIGEST", required_unless_present_any = ["check", "print", "from"])]
    operands: Vec<OsString>,

    /// Verify the files of a LIST, as sha256sum writes it
    ///
    /// Verify the files of a LIST that --print or sha256sum wrote; without LIST, the list is on
    /// standard input
    #[arg(short, long, group = "mode")]
    check: bool,

    /// Print the digest and the name of each file
    ///
    /// Print the digest and the name of each file; without FILE, only the digest of standard input
    #[arg(long, group = "mode")]
    print: bool,

    /// Verify the blobs of descriptor lines in a layout
    ///
    /// Verify the blobs of this layout that descriptor lines on standard input name, and print the
    /// lines of the verified blobs
    #[arg(long, value_name = "oci:DIR", value_parser = StoreName::of_reference)]
    #[arg(group = "mode", conflicts_with = "operands")]
    from: Option<StoreName>,

    /// With --print or --check: sha256 or sha512
    ///
    /// sha256 or sha512: the algorithm to use for --print [default: sha256], or the algorithm that
    /// all digests must have for --check
    #[arg(short, long, value_name = "ALG", conflicts_with = "from", value_parser = algorithm)]
    algorithm: Option<Algorithm>,

    /// The exact number of bytes of the input
    ///
    /// The exact number of bytes that the input must have (k, M, G, T are powers of 1024)
    #[arg(long, value_name = "N", conflicts_with = "mode", value_parser = cli::bytes)]
    size: Option<u64>,

    /// With --check, skip missing files
    #[arg(long, requires = "check")]
    ignore_missing: bool,

    /// With --check, print nothing
    ///
    /// With --check, print nothing on standard output: the exit status is the result
    #[arg(long, requires = "check")]
    status: bool,

    #[command(flatten)]
    progress: progress::Options,

    /// Print no warnings and no notices
    ///
    /// Print no warnings and no notices; show progress only with --progress bar or json; with
    /// --check, do not print the lines of verified files
    #[arg(short, long)]
    quiet: bool,
}

const USAGE: &str = "verify-digest [--size N] DIGEST [FILE...]
       verify-digest -c [-a ALG] [--ignore-missing] [-q | --status] [LIST...]
       verify-digest --print [-a ALG] [FILE...]
       verify-digest --from oci:DIR";

fn algorithm(name: &str) -> std::result::Result<Algorithm, String> {
    name.parse().map_err(|e: common::digest::DigestError| e.to_string())
}

fn main() -> ExitCode {
    exit::run("verify-digest", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    match &cli.from {
        Some(StoreName::Layout(dir)) => {
            let progress = Progress::start(cli.progress, cli.quiet, Work::Local)?;
            return blobs::check(dir.clone(), &progress);
        }
        Some(store @ StoreName::Repository(_)) => {
            let error = Error::usage(format_args!("--from {store}: expected oci:DIR"));
            return Err(error.hint("fetch-blob verifies the blobs that it fetches"));
        }
        None => {}
    }
    if cli.progress.are_given() {
        return Err(Error::usage("--progress requires --from"));
    }
    if cli.print {
        return print::print(cli.operands, cli.algorithm.unwrap_or_default());
    }
    if cli.check {
        let Cli { operands, algorithm, ignore_missing, status, quiet, .. } = cli;
        let report = Report { ignore_missing, verdicts: !status, successes: !quiet };
        return check::lists(operands, algorithm, report);
    }
    if cli.algorithm.is_some() {
        return Err(Error::usage("-a requires --print or --check: a digest names its algorithm"));
    }
    let (digest, files) = cli.operands.split_first().ok_or_else(|| Error::usage("no digest"))?;
    let digest = typed_digest(digest).map_err(|error| match files {
        [last] if last.to_str().is_some_and(|text| text.parse::<Digest>().is_ok()) => {
            let line = format!("verify-digest {} {}", last.display(), digest.display());
            error.hint(format_args!("the operands are in the wrong order: {line}"))
        }
        _ => error,
    })?;
    match files {
        [] => filter::filter(&digest, cli.size),
        [file] if file == "-" => filter::filter(&digest, cli.size),
        files if files.iter().any(|file| file == "-") => {
            Err(Error::usage("\"-\" and other files: standard input must be the only input"))
        }
        files => files::verify_all(files.to_vec(), digest, cli.size),
    }
}

/// Parses the operand DIGEST.
fn typed_digest(text: &OsStr) -> Result<Digest> {
    let text = text.to_string_lossy();
    text.parse().map_err(|why| {
        let complete = Algorithm::ALL.map(|algorithm| format!("{algorithm}:{text}"));
        let digest = complete.iter().find(|digest| digest.parse::<Digest>().is_ok());
        let hint = digest.map(|digest| format!("a digest names its algorithm: {digest}"));
        Error::usage(why).optional_hint(hint)
    })
}
