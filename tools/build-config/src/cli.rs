// SPDX-License-Identifier: Apache-2.0
//! The command line: names, help texts, and which of them contradict each other.

use std::path::PathBuf;

use clap::Parser;
use common::error::{Error, Result};
use common::platform::Platform;
use common::reference::StoreName;
use store::options::Network;

use crate::config::Record;
use crate::created;
use crate::runtime::Runtime;

/// Build an image config from layer descriptor lines
///
/// Reads the descriptor lines of layers, base first, each with its diff ID, as pack-layer and unpack-layer print
/// them, and writes the image config. With --base they are the layers on top of another image's. The same input
/// gives the same bytes.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Start from the config in FILE: the lines are the layers on top of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) base: Option<PathBuf>,

    /// Read no lines: there are no layers, or none but the base's
    #[arg(long)]
    pub(crate) no_layers: bool,

    /// Convert the Docker schema 1 manifest in FILE: the lines are its layers
    #[arg(long, value_name = "FILE", conflicts_with_all = ["base", "no_layers", "Runtime", "author",
        "created", "comment", "created_by", "no_history"])]
    pub(crate) schema1: Option<PathBuf>,

    /// Store the config here, a repository or oci:DIR, and print its descriptor line instead
    #[arg(long, value_name = "STORE")]
    pub(crate) into: Option<StoreName>,

    /// Give the descriptor line Docker's media type; the config is the same
    #[arg(long, requires = "into")]
    pub(crate) docker: bool,

    /// Write to FILE instead of standard output
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "-",
        hide_default_value = true,
        conflicts_with = "into"
    )]
    pub(crate) output: PathBuf,

    /// What it runs on: OS/ARCH, also with /VARIANT and :OSVERSION, or local [default: the base's, or local]
    #[arg(short, long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,

    /// Who made it
    #[arg(long, value_name = "TEXT", value_parser = not_empty)]
    pub(crate) author: Option<String>,

    /// When it was made, as in RFC 3339 or @SECONDS [default: $SOURCE_DATE_EPOCH, or the base's, or 1970]
    #[arg(long, value_name = "TIME", value_parser = created::parse)]
    pub(crate) created: Option<String>,

    /// In the history of each new layer: the command that made it
    #[arg(long, value_name = "TEXT")]
    pub(crate) created_by: Option<String>,

    /// In the history of each new layer: a remark
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,

    /// Write no history, not even the base's
    #[arg(long, conflicts_with_all = ["created_by", "comment"])]
    pub(crate) no_history: bool,

    /// Drop warnings
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) runtime: Runtime,

    #[command(flatten)]
    pub(crate) network: Network,
}

pub(crate) fn not_empty(text: &str) -> std::result::Result<String, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

impl Cli {
    /// What of the command line contradicts itself beyond what clap sees.
    pub(crate) fn check(&self) -> Result<()> {
        let stdin = |file: &Option<PathBuf>| file.as_ref().is_some_and(|f| f.as_os_str() == "-");
        if stdin(&self.schema1) {
            return Err(Error::usage("--schema1 -: standard input has the layers' lines"));
        }
        if stdin(&self.base) && !self.no_layers {
            let error = Error::usage("--base -: standard input has the layers' lines");
            return Err(error.hint("with --no-layers it is free for the base"));
        }
        self.runtime.check()
    }

    /// The time that the image and its new layers get.
    pub(crate) fn created(&self) -> Result<Option<String>> {
        match (&self.created, &self.schema1) {
            (Some(created), _) => Ok(Some(created.clone())),
            // The manifest says it.
            (None, Some(_)) => Ok(None),
            (None, None) => created::of_environment(),
        }
    }

    /// What the history says of new layers; nothing when there is to be no history.
    pub(crate) fn history(&self) -> Option<Record> {
        let Cli { author, created_by, comment, .. } = self;
        (!self.no_history).then(|| Record {
            author: author.clone(),
            created_by: created_by.clone(),
            comment: comment.clone(),
        })
    }
}
