// SPDX-License-Identifier: Apache-2.0
//! build-manifest: builds a manifest from the descriptor lines of a config and its layers.
//!
//! Only manifests that our own readers accept are written. All media types of a manifest belong to
//! one family, and with `--from` its layers are those that the config lists. Only `--from` uses a
//! layout, and only to read the config. Not here: a check that the blobs exist, the upload of the
//! manifest, and any network.

mod agreement;
mod cli;
mod family;
mod parts;

use std::process::ExitCode;

use common::descriptor::UNCOMPRESSED;
use common::error::Result;
use common::output::Output;
use common::{building, exit};
use layout::Layout;
use serde_json::{Map, Value};

use cli::Cli;
use family::Family;
use parts::Parts;

fn main() -> ExitCode {
    exit::run("build-manifest", run)
}

fn run(cli: Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    cli.check()?;
    let subject = cli.subject()?;
    let layout = cli.layout()?;
    let output = Output::open(&cli.output)?;
    let parts = Parts::read(cli.artifact_type.is_some(), cli.any_type)?;
    match layout {
        // The layout is opened only after the lines were read: the program that creates it may have
        // started at the same time as this one.
        Some(dir) if parts.has_image_config() => agreement::check(&parts, &Layout::open(dir)?)?,
        _ => parts.refuse_no_layers()?,
    }
    let (parts, family) = parts.in_one_family(cli.family())?;
    if family == Family::Docker {
        cli.refuse_oci_only_options()?;
    }
    output.write(&document(parts, family, &cli, subject)?)
}

/// The manifest, compact, without a newline at its end.
fn document(parts: Parts, family: Family, cli: &Cli, subject: Option<Value>) -> Result<Vec<u8>> {
    let mut fields = Map::new();
    fields.insert("schemaVersion".to_owned(), 2.into());
    fields.insert("mediaType".to_owned(), family.manifest().into());
    if let Some(artifact_type) = &cli.artifact_type {
        fields.insert("artifactType".to_owned(), artifact_type.as_str().into());
    }
    let value = |part: common::descriptor::Descriptor| {
        // The image config has the diff IDs. The annotation only passes them between tools.
        part.without_annotation(UNCOMPRESSED).into_value()
    };
    fields.insert("config".to_owned(), value(parts.config));
    fields.insert("layers".to_owned(), parts.layers.into_iter().map(value).collect());
    building::add_subject_and_annotations(&mut fields, subject, &cli.annotation);
    building::document(fields, family.manifest(), "the manifest")
}
