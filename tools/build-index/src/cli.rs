// SPDX-License-Identifier: Apache-2.0
//! The command line: the options with their help texts, the check for contradictory options, and
//! the values derived from the options.

use std::path::{Path, PathBuf};

use clap::Parser;
use common::building::{self, media_type};
use common::cli::{key_value, layout_dir, refuse_repeated};
use common::error::Result;
use common::reference::StoreName;
use serde_json::Value;

/// Build an image index from descriptor lines
///
/// Reads the descriptor lines of manifests, as put-manifest prints them. Writes an index that lists
/// them in this order. With --from, each entry gets the platform of its image.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Read the manifests and their configs from this layout, for the platform and the artifact
    /// type of each entry
    #[arg(long, value_name = "oci:DIR", value_parser = StoreName::of_reference)]
    from: Option<StoreName>,

    /// Write a Docker manifest list instead of an OCI image index
    #[arg(long, conflicts_with_all = ["artifact_type", "subject", "annotation"])]
    pub(crate) docker: bool,

    /// Keep entries that repeat a platform or a manifest
    #[arg(long)]
    pub(crate) allow_duplicates: bool,

    /// Copy the annotations of each manifest to its entry
    #[arg(long, requires = "from")]
    pub(crate) copy_annotations: bool,

    /// Set an annotation of the index (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) annotation: Vec<(String, String)>,

    /// Set the artifact type of the index
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    pub(crate) artifact_type: Option<String>,

    /// The manifest that the index refers to: its descriptor line, or a file that has the line
    #[arg(long, value_name = "LINE|FILE")]
    subject: Option<String>,

    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) output: PathBuf,

    /// Print no warnings and no notices
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The hint for a `--from` that names a repository.
const FROM_REPOSITORY: &str =
    "fetch-manifest REPO@DIGEST --into oci:DIR copies the manifest of a line into a layout";

impl Cli {
    /// Refuses contradictory options that clap does not detect.
    pub(crate) fn check(&self) -> Result<()> {
        refuse_repeated("--annotation", &self.annotation)
    }

    /// The layout directory of `--from`.
    pub(crate) fn layout(&self) -> Result<Option<&Path>> {
        self.from.as_ref().map(|store| layout_dir("--from", store, FROM_REPOSITORY)).transpose()
    }

    /// The subject's descriptor.
    pub(crate) fn subject(&self) -> Result<Option<Value>> {
        let subject = |text: &String| building::subject(text, "the manifests' lines");
        self.subject.as_ref().map(subject).transpose()
    }
}
