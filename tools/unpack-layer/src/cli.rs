// SPDX-License-Identifier: Apache-2.0
//! The command line: names, help texts, and which of them contradict each other.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::cli::bytes;
use common::digest::Digest;
use common::error::{Error, Result};
use common::reference::StoreName;

use crate::destination::Existing;
use crate::tree::{IdRange, Owner, Rules, Whiteouts};

/// Unpack container image layers into a root file system.
///
/// Reads layers (tar, gzip or zstd: the bytes decide) from stdin, from files, or with --from from an OCI image
/// layout by descriptor lines on stdin. Every digest is checked, and DIR appears only when all layers are
/// applied and verified. Prints a descriptor line for each layer, with its diff ID.
#[derive(Parser)]
#[command(name = "unpack-layer", version)]
pub(crate) struct Cli {
    /// The directory to make
    pub(crate) dir: PathBuf,

    /// Layers, base first; - or none is stdin
    pub(crate) layers: Vec<PathBuf>,

    /// Take descriptor lines on stdin, and their blobs from this layout (oci:DIR)
    #[arg(long, value_name = "STORE", conflicts_with = "layers")]
    pub(crate) from: Option<StoreName>,

    /// The digest that the layer's stored bytes must have
    #[arg(long, conflicts_with = "from")]
    pub(crate) digest: Option<Digest>,

    /// The digest that the layer's uncompressed archive must have
    #[arg(long, value_name = "DIGEST", conflicts_with = "from")]
    pub(crate) diff_id: Option<Digest>,

    /// What becomes of whiteouts
    #[arg(long, value_enum, default_value_t = WhiteoutsArgument::Apply)]
    pub(crate) whiteouts: WhiteoutsArgument,

    /// Make all files the caller's own (the default unless run as root)
    #[arg(long)]
    pub(crate) no_same_owner: bool,

    /// Map user IDs of the layers, COUNT of them from CONTAINER to HOST on; may be repeated
    #[arg(long, value_name = "CONTAINER:HOST:COUNT", conflicts_with = "no_same_owner")]
    pub(crate) uid_map: Vec<IdRange>,

    /// Map group IDs likewise
    #[arg(long, value_name = "CONTAINER:HOST:COUNT", conflicts_with = "no_same_owner")]
    pub(crate) gid_map: Vec<IdRange>,

    /// Leave devices out, with a warning
    #[arg(long)]
    pub(crate) skip_devices: bool,

    /// Refuse what is else accepted with a warning
    #[arg(long)]
    pub(crate) strict: bool,

    /// Keep a symbolic link to a directory where a layer has an entry for a directory
    #[arg(long)]
    pub(crate) keep_dirlinks: bool,

    /// With --onto: refuse to enter what is mounted below DIR
    #[arg(long)]
    pub(crate) one_file_system: bool,

    /// Refuse more than this many bytes, uncompressed (suffixes k, M, G, T)
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,

    /// Refuse a layer of more than this many entries
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub(crate) max_entries: u64,

    /// Put the new tree in the place of what DIR has, at once
    #[arg(long, conflicts_with = "onto")]
    pub(crate) replace: bool,

    /// Apply the layers to what DIR has
    #[arg(long)]
    pub(crate) onto: bool,

    /// Do not wait until the tree is on the disk
    #[arg(long)]
    pub(crate) no_sync: bool,

    /// Do without the image config's line
    #[arg(long, requires = "from")]
    pub(crate) no_config: bool,

    /// Take lines of any other media type for layers
    #[arg(long, requires = "from")]
    pub(crate) any_type: bool,

    /// Drop warnings
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// [`Whiteouts`] as words of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhiteoutsArgument {
    /// Hide what lower layers have
    Apply,
    /// Write them as an overlay file system has them
    Overlay,
    /// Keep them as files
    Keep,
}

impl Cli {
    /// What of the command line contradicts itself beyond what clap sees.
    pub(crate) fn check(&self) -> Result<()> {
        if self.layers.len() > 1 && (self.digest.is_some() || self.diff_id.is_some()) {
            return Err(Error::usage("--digest and --diff-id are for one layer"));
        }
        if self.layers.iter().filter(|layer| layer.as_os_str() == "-").count() > 1 {
            return Err(Error::usage("stdin can be only one layer"));
        }
        if self.from.is_none() && (self.no_config || self.any_type) {
            return Err(Error::usage("--no-config and --any-type go with --from"));
        }
        if self.one_file_system && !self.onto {
            return Err(Error::usage("--one-file-system goes with --onto"));
        }
        if let Some(StoreName::Repository(_)) = &self.from {
            return Err(Error::usage("--from takes a layout (oci:DIR), not a repository")
                .hint("fetch-blob REPO --into oci:DIR brings the layers there"));
        }
        Ok(())
    }

    /// What to do with a DIR that has something in it.
    pub(crate) fn existing(&self) -> Existing {
        if self.replace {
            Existing::Replace
        } else if self.onto {
            Existing::Onto
        } else {
            Existing::Refuse
        }
    }

    /// The rules of the unpacking.
    pub(crate) fn rules(&self) -> Rules {
        let uid = rustix::process::geteuid();
        let gid = rustix::process::getegid();
        let mapped = !self.uid_map.is_empty() || !self.gid_map.is_empty();
        Rules {
            whiteouts: match self.whiteouts {
                WhiteoutsArgument::Apply => Whiteouts::Apply,
                WhiteoutsArgument::Overlay => Whiteouts::Overlay,
                WhiteoutsArgument::Keep => Whiteouts::Keep,
            },
            owner: Owner {
                same: !self.no_same_owner && (uid.is_root() || mapped),
                users: self.uid_map.clone(),
                groups: self.gid_map.clone(),
                caller: (uid.as_raw(), gid.as_raw()),
            },
            skip_devices: self.skip_devices,
            strict: self.strict,
            keep_dirlinks: self.keep_dirlinks,
            one_file_system: self.one_file_system,
            max_size: self.max_size,
            max_entries: self.max_entries,
        }
    }
}
