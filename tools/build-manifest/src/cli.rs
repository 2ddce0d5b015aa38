// SPDX-License-Identifier: Apache-2.0
//! The command line: the options with their help texts, the check for contradictory options, and
//! the values derived from the options.

use std::path::{Path, PathBuf};

use clap::Parser;
use common::building::{self, media_type};
use common::cli::{key_value, layout_dir, refuse_repeated};
use common::error::{Error, Result};
use common::reference::StoreName;
use serde_json::Value;

use crate::family::Family;

/// Build an image manifest from descriptor lines
///
/// Reads the descriptor line of the config, as build-config prints it, then the lines of the
/// layers, base first. Writes the manifest. With --from, the layers must be those that the config
/// lists.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Read the config from this layout, and check the layers against it
    #[arg(long, value_name = "oci:DIR", value_parser = StoreName::of_reference)]
    from: Option<StoreName>,

    /// Convert all media types to Docker's
    #[arg(long, conflicts_with_all = ["oci", "artifact_type", "subject", "annotation"])]
    pub(crate) docker: bool,

    /// Convert all media types to OCI's
    #[arg(long)]
    pub(crate) oci: bool,

    /// Set an annotation of the manifest (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) annotation: Vec<(String, String)>,

    /// Build an artifact of this media type: every line is a layer, unless the first is that of an
    /// image config or of OCI's empty config
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    pub(crate) artifact_type: Option<String>,

    /// The manifest that this one refers to: its descriptor line, or a file that has the line
    #[arg(long, value_name = "LINE|FILE")]
    pub(crate) subject: Option<String>,

    /// Use the first line as the config and the others as layers, whatever their media types
    #[arg(long)]
    pub(crate) any_type: bool,

    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) output: PathBuf,

    /// Print no warnings and no notices
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The hint for a `--from` that names a repository.
const FROM_REPOSITORY: &str =
    "fetch-blob REPO --into oci:DIR copies the config of a line into a layout";

impl Cli {
    /// Refuses contradictory options that clap does not detect.
    pub(crate) fn check(&self) -> Result<()> {
        refuse_repeated("--annotation", &self.annotation)
    }

    /// The layout directory of `--from`.
    pub(crate) fn layout(&self) -> Result<Option<&Path>> {
        self.from.as_ref().map(|store| layout_dir("--from", store, FROM_REPOSITORY)).transpose()
    }

    /// The family of media types that the options choose.
    pub(crate) fn family(&self) -> Option<Family> {
        if self.docker {
            Some(Family::Docker)
        } else if self.oci {
            Some(Family::Oci)
        } else {
            None
        }
    }

    /// Refuses the options for fields that Docker's manifests do not have.
    pub(crate) fn refuse_oci_only_options(&self) -> Result<()> {
        for (given, option) in [
            (self.artifact_type.is_some(), "--artifact-type"),
            (self.subject.is_some(), "--subject"),
            (!self.annotation.is_empty(), "--annotation"),
        ] {
            if given {
                let what = format_args!(
                    "{option}: the lines have Docker's media types, \
                     but Docker's manifests have no such field"
                );
                return Err(Error::usage(what).hint("--oci changes the media types to OCI's"));
            }
        }
        Ok(())
    }

    /// The subject's descriptor.
    pub(crate) fn subject(&self) -> Result<Option<Value>> {
        let subject = |text: &String| building::subject(text, "the config's and the layers' lines");
        self.subject.as_ref().map(subject).transpose()
    }
}
