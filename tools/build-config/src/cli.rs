// SPDX-License-Identifier: Apache-2.0
//! The command line: the options with their help texts, the check for contradictory options, and
//! the values derived from the options.

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
/// Reads the descriptor lines of layers, base first, and writes the image config. Each line must
/// have the layer's diff ID, as in the output of pack-layer and unpack-layer. With --base, the
/// layers are added to those of another image. The same input gives the same bytes.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Start from the image config in FILE
    ///
    /// Start from the image config in FILE; the lines are layers on top of its own layers
    #[arg(long, value_name = "FILE")]
    pub(crate) base: Option<PathBuf>,

    /// Read no lines of layers
    ///
    /// Read no lines: the image has only the layers of the base, or no layers
    #[arg(long)]
    pub(crate) no_layers: bool,

    /// Convert a Docker schema 1 manifest
    ///
    /// Convert the Docker schema 1 manifest in FILE; the lines are its layers
    #[arg(
        long,
        hide_short_help = true,
        value_name = "FILE",
        conflicts_with_all = ["base", "no_layers", "RuntimeOptions", "author", "created", "comment",
            "created_by", "no_history"]
    )]
    pub(crate) schema1: Option<PathBuf>,

    /// Store it in a layout, print its descriptor line
    ///
    /// Store the config in this layout, and print its descriptor line instead of the config
    #[arg(long, value_name = "oci:DIR")]
    into: Option<StoreName>,

    /// Print Docker's media type in the descriptor line; the config is the same
    #[arg(long, requires = "into", hide_short_help = true)]
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

    /// The platform of the image: OS/ARCH, or local
    ///
    /// The platform of the image: OS/ARCH, optionally with /VARIANT and :OSVERSION, or local
    /// [default: the platform of the base, else local]
    #[arg(short, long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,

    /// The author of the image
    #[arg(long, hide_short_help = true, value_name = "TEXT", value_parser = not_empty)]
    pub(crate) author: Option<String>,

    /// The creation time
    ///
    /// The creation time, as in RFC 3339 or @SECONDS [default: $SOURCE_DATE_EPOCH, else the time of
    /// the base, else 1970-01-01]
    #[arg(long, hide_short_help = true, value_name = "TIME", value_parser = created::parse)]
    pub(crate) created: Option<String>,

    /// The command that made the new layers, for their history entries
    #[arg(long, hide_short_help = true, value_name = "TEXT")]
    pub(crate) created_by: Option<String>,

    /// A comment for the history entries of the new layers
    #[arg(long, hide_short_help = true, value_name = "TEXT")]
    pub(crate) comment: Option<String>,

    /// Write no history, not even that of the base
    #[arg(long, hide_short_help = true, conflicts_with_all = ["created_by", "comment"])]
    pub(crate) no_history: bool,

    /// Print no warnings and no notices
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    runtime: RuntimeOptions,
}

/// The options that describe the process in a container of the image.
#[derive(Args)]
#[command(next_help_heading = "Container options")]
struct RuntimeOptions {
    /// The program and its arguments (repeatable)
    ///
    /// The program and its arguments: each use gives one argument, or a JSON array gives all (an
    /// argument that begins with a dash: --entrypoint=-v); removes the base's --cmd
    #[arg(long, value_name = "ARG")]
    entrypoint: Vec<String>,

    /// The arguments of the entrypoint (repeatable)
    ///
    /// The arguments of the entrypoint, or without an entrypoint the program and its arguments;
    /// given like --entrypoint
    #[arg(long, value_name = "ARG")]
    cmd: Vec<String>,

    /// Set an environment variable (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,

    /// The directory that the program starts in
    ///
    /// The directory that the program starts in, absolute
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    workdir: Option<String>,

    /// The user that the program runs as
    ///
    /// The user that the program runs as, by name or number: USER or USER:GROUP
    #[arg(long, value_name = "USER", value_parser = not_empty)]
    user: Option<String>,

    /// Set a label (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,

    /// A port that the program listens on; the protocol is tcp (default), udp or sctp (repeatable)
    #[arg(long, hide_short_help = true, value_name = "PORT[/PROTOCOL]", value_parser = port)]
    exposed_port: Vec<String>,

    /// A directory where a volume is mounted, absolute (repeatable)
    #[arg(long, hide_short_help = true, value_name = "DIR", value_parser = absolute)]
    volume: Vec<String>,

    /// The signal that stops the program: for example SIGTERM or SIGRTMIN+3, or a number
    #[arg(long, hide_short_help = true, value_name = "SIGNAL", value_parser = signal)]
    stop_signal: Option<String>,
}

impl Cli {
    /// Refuses contradictory options that clap does not detect.
    pub(crate) fn check(&self) -> Result<()> {
        let stdin = |file: &Option<PathBuf>| file.as_ref().is_some_and(|f| f.as_os_str() == "-");
        if stdin(&self.schema1) {
            return Err(Error::usage("--schema1 -: standard input has the layers' lines"));
        }
        if stdin(&self.base) && !self.no_layers {
            let error = Error::usage("--base -: standard input has the layers' lines");
            return Err(error.hint("with --no-layers, standard input can be the base"));
        }
        Ok(())
    }

    /// The values of the container options.
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

    /// The layout directory of `--into`.
    pub(crate) fn layout(&self) -> Result<Option<&Path>> {
        let hint = format!(
            "build-config | push-blob REPO --media-type {} sends the config to a repository",
            self.media_type()
        );
        self.into.as_ref().map(|store| layout_dir("--into", store, &hint)).transpose()
    }

    /// The media type in the config's descriptor line.
    pub(crate) fn media_type(&self) -> &'static str {
        if self.docker { DOCKER_CONFIG } else { OCI_CONFIG }
    }

    /// The creation time of the image and its new layers, if an option or the environment gives it.
    pub(crate) fn created(&self) -> Result<Option<String>> {
        match (&self.created, &self.schema1) {
            (Some(created), _) => Ok(Some(created.clone())),
            // The schema 1 manifest states the creation time.
            (None, Some(_)) => Ok(None),
            (None, None) => created::from_environment(),
        }
    }

    /// The texts for the history entries of new layers; `None` with `--no-history`.
    pub(crate) fn history(&self) -> Option<Record> {
        let Cli { author, created_by, comment, .. } = self;
        (!self.no_history).then(|| Record {
            author: author.clone(),
            created_by: created_by.clone(),
            comment: comment.clone(),
        })
    }
}
