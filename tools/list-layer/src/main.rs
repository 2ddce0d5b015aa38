// SPDX-License-Identifier: Apache-2.0
//! list-layer: lists the entries of layers, or of the image that they form, or writes one file of
//! it to standard output.
//!
//! | module | holds |
//! |---|---|
//! | `cli` | the command line |
//! | `source` | the layers: of files, of standard input, or of descriptor lines and a store |
//! | `stream` | the archive of one layer, decompressed, hashed and compared with its digests |
//! | `list` | the entries of each layer |
//! | `tree`, `path`, `merged` | the files of all layers together, as unpack-layer would make them |
//! | `extract`, `index` | one file, found from the top layer down, without reading the rest |
//! | `verified` | one file of the tree of all layers, which are read and verified |
//! | `line`, `columns`, `json`, `output` | the two forms of a line, and standard output |
//!
//! Not here: writing files, which unpack-layer does, and choosing an image, which fetch-manifest
//! and list-blobs do.

mod cli;
mod columns;
mod extract;
mod index;
mod json;
mod line;
mod list;
mod merged;
mod output;
mod path;
mod source;
mod stream;
mod tree;
mod verified;

use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use common::error::Result;
use common::exit;

use cli::Cli;
use source::{Blobs, Layers};
use stream::Budget;

fn main() -> ExitCode {
    exit::run("list-layer", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    // The clock of --timeout starts here.
    let remote = cli.mirrored.remote(cli.network.remote(cli.stdin())?)?;
    let blobs = Blobs::new(cli.from.clone(), remote);
    let budget = Budget::new(cli.max_size);
    let layers = Layers::new(&cli, &blobs)?;
    match &cli.extract {
        Some(path) if cli.verify => {
            verified::run(path.as_bytes(), layers, &budget, cli.max_entries)
        }
        Some(path) => extract::run(path.as_bytes(), layers, &budget, cli.max_entries),
        None if cli.merged => merged::run(&cli, layers, &budget),
        None => list::run(&cli, layers, &budget),
    }
}
