// SPDX-License-Identifier: Apache-2.0
//! build-index: builds an image index from the descriptor lines of manifests.
//!
//! Only indexes that our own readers accept are written. By default a platform that is listed twice
//! is refused. A layout is used only for `--from`, to read the manifests and their configs. Not
//! here: a check that the blobs exist, the upload of the index, and any network.

mod cli;
mod entries;
mod stored;

use std::process::ExitCode;

use common::descriptor::Descriptor;
use common::error::Result;
use common::mediatype::{DOCKER_LIST, OCI_INDEX};
use common::output::Output;
use common::{building, exit};
use layout::Layout;
use serde_json::{Map, Value};

use cli::Cli;

fn main() -> ExitCode {
    exit::run("build-index", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    let subject = cli.subject()?;
    let layout = cli.layout()?;
    let output = Output::open(&cli.output)?;
    let mut entries = entries::read()?;
    if let Some(dir) = layout {
        // The layout is opened only after the lines were read: the program that creates it may have
        // started at the same time as this one.
        let layout = Layout::open(dir)?;
        let complete = |entry| stored::complete(entry, &layout, cli.copy_annotations);
        entries = entries.into_iter().map(complete).collect::<Result<_>>()?;
    }
    if cli.docker {
        entries.iter().try_for_each(entries::refuse_in_docker_list)?;
    }
    if !cli.allow_duplicates {
        entries::refuse_duplicates(&entries)?;
    }
    output.write(&document(entries, &cli, subject)?)
}

/// The index, compact, without a newline at its end.
fn document(entries: Vec<Descriptor>, cli: &Cli, subject: Option<Value>) -> Result<Vec<u8>> {
    let media_type = if cli.docker { DOCKER_LIST } else { OCI_INDEX };
    let mut fields = Map::new();
    fields.insert("schemaVersion".to_owned(), 2.into());
    fields.insert("mediaType".to_owned(), media_type.into());
    if let Some(artifact_type) = &cli.artifact_type {
        fields.insert("artifactType".to_owned(), artifact_type.as_str().into());
    }
    let manifests = entries.into_iter().map(Descriptor::into_value).collect();
    fields.insert("manifests".to_owned(), Value::Array(manifests));
    building::add_subject_and_annotations(&mut fields, subject, &cli.annotation);
    building::document(fields, media_type, "the index")
}
