// SPDX-License-Identifier: Apache-2.0
//! The command line: options, help texts, and the check for contradictions.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::cli::{bytes, layout_dir};
use common::digest::Digest;
use common::error::{Error, Result};
use common::progress;
use common::reference::StoreName;

use crate::destination::Existing;
use crate::tree::{IdRange, Owner, Rules, Whiteouts};

/// Unpack container image layers into a root file system.
///
/// Reads layers from files or standard input. With --from, reads descriptor lines on standard
/// input, and the layers from an OCI image layout. A layer is a tar archive, plain or compressed by
/// gzip or zstd, as detected from its bytes. DIR appears only after all layers are applied and
/// verified. Prints a descriptor line for each layer, with its diff ID.
#[derive(Parser)]
#[command(name = "unpack-layer", version)]
pub(crate) struct Cli {
    /// The directory to create
    pub(crate) dir: PathBuf,

    /// Layer files, base first; "-" or no file means standard input
    pub(crate) layers: Vec<PathBuf>,

    /// Read the layers of descriptor lines from oci:DIR
    ///
    /// Read descriptor lines on standard input, and their blobs from this layout (oci:DIR)
    #[arg(long, value_name = "STORE", value_parser = StoreName::of_reference)]
    #[arg(conflicts_with = "layers")]
    pub(crate) from: Option<StoreName>,

    /// The expected digest of the layer's stored bytes
    #[arg(long, conflicts_with = "from")]
    pub(crate) digest: Option<Digest>,

    /// The expected digest of the uncompressed layer
    ///
    /// The expected digest of the layer's uncompressed archive
    #[arg(long, value_name = "DIGEST", conflicts_with = "from")]
    pub(crate) diff_id: Option<Digest>,

    /// How to treat whiteouts
    #[arg(long, value_name = "HOW", value_enum, default_value_t = WhiteoutsArgument::Apply)]
    pub(crate) whiteouts: WhiteoutsArgument,

    /// Make the user the owner of all files
    ///
    /// Make the user the owner of all files (the default, unless the user is root or IDs are
    /// mapped)
    #[arg(long)]
    pub(crate) no_same_owner: bool,

    /// Map COUNT user IDs, from CONTAINER in the layers to HOST in DIR (repeatable)
    #[arg(
        long,
        value_name = "CONTAINER:HOST:COUNT",
        conflicts_with = "no_same_owner",
        hide_short_help = true
    )]
    pub(crate) uid_map: Vec<IdRange>,

    /// Map group IDs in the same way (repeatable)
    #[arg(
        long,
        value_name = "CONTAINER:HOST:COUNT",
        conflicts_with = "no_same_owner",
        hide_short_help = true
    )]
    pub(crate) gid_map: Vec<IdRange>,

    /// Skip devices, with a warning
    #[arg(long)]
    pub(crate) skip_devices: bool,

    /// Fail instead of printing a warning
    #[arg(long, hide_short_help = true)]
    pub(crate) strict: bool,

    /// Keep a symbolic link to a directory if a layer has a directory of the same name
    #[arg(long, hide_short_help = true)]
    pub(crate) keep_dirlinks: bool,

    /// With --onto: refuse to enter mount points below DIR
    #[arg(long, hide_short_help = true)]
    pub(crate) one_file_system: bool,

    /// Refuse more uncompressed bytes than this
    ///
    /// Refuse more than this many bytes in total, uncompressed (suffixes k, M, G, T)
    #[arg(long, hide_short_help = true, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,

    /// Refuse a layer with more than this many entries
    #[arg(long, hide_short_help = true, value_name = "COUNT", default_value_t = 1_000_000)]
    pub(crate) max_entries: u64,

    /// Replace an existing DIR by the new tree
    ///
    /// Replace an existing DIR by the new tree in one step; with --from, an unchanged DIR of the
    /// same image is not replaced
    #[arg(long, conflicts_with = "onto")]
    pub(crate) replace: bool,

    /// Apply the layers to the existing DIR
    #[arg(long)]
    pub(crate) onto: bool,

    /// Do not wait until the tree is written to the disk
    #[arg(long, hide_short_help = true)]
    pub(crate) no_sync: bool,

    /// Do not require the line of the image config
    #[arg(long, requires = "from", hide_short_help = true)]
    pub(crate) no_config: bool,

    /// Accept lines of any other media type as layers
    #[arg(long, requires = "from", hide_short_help = true)]
    pub(crate) any_type: bool,

    #[command(flatten)]
    pub(crate) progress: progress::Options,

    /// Print no warnings and no notices
    ///
    /// Print no warnings and no notices; show progress only with --progress bar or json
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The values of `--whiteouts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhiteoutsArgument {
    /// Hide files of lower layers
    Apply,
    /// Also write whiteouts in the form of an overlay file system
    Overlay,
    /// Keep whiteouts as ordinary files
    Keep,
}

/// The hint for a `--from` that names a repository.
const FROM_REPOSITORY: &str = "fetch-blob REPO --into oci:DIR copies the layers into a layout";

impl Cli {
    /// Checks for contradictions that clap does not detect.
    ///
    /// # Errors
    /// Usage if options or operands contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(name) = self.dir.to_str()
            && name.starts_with("oci:")
        {
            let what = format_args!("{name}: a layout, not a directory to unpack to");
            let hint = format_args!("unpack-layer --from {name} DIR reads layers of this layout");
            return Err(Error::usage(what).hint(hint));
        }
        if let [layer] = self.layers.as_slice()
            && self.dir.is_file()
            && !layer.is_file()
        {
            let (dir, layer) = (self.dir.display(), layer.display());
            let error = Error::usage(format_args!("{dir}: a file, not a directory to unpack to"));
            let line = format_args!("unpack-layer {layer} {dir}");
            return Err(error.hint(format_args!("the operands are in the wrong order: {line}")));
        }
        if self.layers.len() > 1 && (self.digest.is_some() || self.diff_id.is_some()) {
            return Err(Error::usage("--digest and --diff-id accept only one layer"));
        }
        if self.layers.iter().filter(|layer| layer.as_os_str() == "-").count() > 1 {
            return Err(Error::usage("- given twice: stdin is only one layer"));
        }
        if self.from.is_none() && (self.no_config || self.any_type) {
            return Err(Error::usage("--no-config and --any-type require --from"));
        }
        if self.one_file_system && !self.onto {
            return Err(Error::usage("--one-file-system requires --onto"));
        }
        if let Some(store) = &self.from {
            layout_dir("--from", store, FROM_REPOSITORY)?;
        }
        Ok(())
    }

    /// The treatment of a DIR that is not empty.
    pub(crate) fn existing(&self) -> Existing {
        if self.replace {
            Existing::Replace
        } else if self.onto {
            Existing::Onto
        } else {
            Existing::Refuse
        }
    }

    /// Everything on which the result depends except the image, in one line: the rules for the
    /// tree, the rules for input lines, and the privileges of the process.
    pub(crate) fn note_options(&self) -> String {
        let rules = self.rules();
        let lines = (self.no_config, self.any_type);
        let capabilities = rustix::thread::capabilities(None).map(|sets| sets.effective.bits());
        let [users, groups] = ["uid", "gid"].map(|ids| {
            let map = std::fs::read_to_string(format!("/proc/self/{ids}_map")).unwrap_or_default();
            map.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        format!("{rules:?} {lines:?} {capabilities:?} {users} {groups}")
    }

    /// The rules for the tree.
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
