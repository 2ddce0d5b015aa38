// SPDX-License-Identifier: Apache-2.0
//! The command line: names, help texts, which options contradict each other, and what the others
//! ask for.

use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use common::cli::{key_value, layout_dir, refuse_repeated};
use common::error::{Error, Result};
use common::mediatype::{DOCKER_CONFIG, OCI_CONFIG};
use common::platform::Platform;
use common::reference::StoreName;

use crate::config::Record;
use crate::created;
use crate::runtime::Runtime;
use crate::values::{absolute, arguments, not_empty, port, signal};

/// Build an image config from layer descriptor lines
///
/// Reads the descriptor lines of layers, base first, each with its diff ID, as pack-layer and
/// unpack-layer print them, and writes the image config. With --base they are the layers on top of
/// another image's. The same input gives the same bytes.
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
    #[arg(long, value_name = "FILE", conflicts_with_all = ["base", "no_layers", "RuntimeOptions", "author",
        "created", "comment", "created_by", "no_history"])]
    pub(crate) schema1: Option<PathBuf>,

    /// Store the config in this layout, and print its descriptor line instead
    #[arg(long, value_name = "oci:DIR")]
    into: Option<StoreName>,

    /// Give the descriptor line Docker's media type; the config is the same
    #[arg(long, requires = "into")]
    docker: bool,

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

    /// What it runs on: OS/ARCH, also with /VARIANT and :OSVERSION, or local [default: the base's,
    /// or local]
    #[arg(short, long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,

    /// Who made it
    #[arg(long, value_name = "TEXT", value_parser = not_empty)]
    pub(crate) author: Option<String>,

    /// When it was made, as in RFC 3339 or @SECONDS [default: $SOURCE_DATE_EPOCH, or the base's, or
    /// 1970]
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
    runtime: RuntimeOptions,
}

/// What is run.
#[derive(Args)]
#[command(next_help_heading = "What is run")]
struct RuntimeOptions {
    /// The program, an argument each time (as --entrypoint=-v where it begins with a dash), or all
    /// as a JSON array; an inherited --cmd goes
    #[arg(long, value_name = "ARG")]
    entrypoint: Vec<String>,

    /// Arguments of the entrypoint, or without one the program and its arguments: as --entrypoint
    #[arg(long, value_name = "ARG")]
    cmd: Vec<String>,

    /// Set an environment variable (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,

    /// The directory it starts in, absolute
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    workdir: Option<String>,

    /// The user it runs as, by name or number: USER or USER:GROUP
    #[arg(long, value_name = "USER", value_parser = not_empty)]
    user: Option<String>,

    /// Set a label (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,

    /// A port it listens on, tcp unless it says udp or sctp (repeatable)
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = port)]
    exposed_port: Vec<String>,

    /// A directory to be mounted from outside, absolute (repeatable)
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    volume: Vec<String>,

    /// The signal that ends it, as SIGTERM, SIGRTMIN+3 or a number
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    stop_signal: Option<String>,
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
        Ok(())
    }

    /// What a container of the image runs.
    pub(crate) fn runtime(&self) -> Result<Runtime> {
        let options = &self.runtime;
        refuse_repeated("--env", &options.env)?;
        refuse_repeated("--label", &options.label)?;
        Ok(Runtime {
            entrypoint: arguments("--entrypoint", &options.entrypoint)?,
            cmd: arguments("--cmd", &options.cmd)?,
            env: options.env.clone(),
            workdir: options.workdir.clone(),
            user: options.user.clone(),
            label: options.label.clone(),
            exposed_port: options.exposed_port.clone(),
            volume: options.volume.clone(),
            stop_signal: options.stop_signal.clone(),
        })
    }

    /// The layout of --into.
    pub(crate) fn layout(&self) -> Result<Option<&Path>> {
        let hint = format!(
            "build-config | push-blob REPO --media-type {} sends it to a repository",
            self.media_type()
        );
        self.into.as_ref().map(|store| layout_dir("--into", store, &hint)).transpose()
    }

    /// The media type of the config's line.
    pub(crate) fn media_type(&self) -> &'static str {
        if self.docker { DOCKER_CONFIG } else { OCI_CONFIG }
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
