// SPDX-License-Identifier: Apache-2.0
//! The rules of a run: the options of the command line that decide how entries become files.

use super::owner::Owner;

/// The treatment of whiteouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// Remove the hidden files of lower layers from the tree.
    Apply,
    /// Also write whiteouts in the form of an overlay file system.
    Overlay,
    /// Keep whiteouts as ordinary files.
    Keep,
}

/// The rules of a run.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The treatment of whiteouts.
    pub(crate) whiteouts: Whiteouts,
    /// The owner of files.
    pub(crate) owner: Owner,
    /// Whether devices are left out.
    pub(crate) skip_devices: bool,
    /// Whether a warning is an error.
    pub(crate) strict: bool,
    /// Whether an existing symbolic link to a directory is kept if a layer has a directory of the
    /// same name.
    pub(crate) keep_dirlinks: bool,
    /// Whether mount points are refused.
    pub(crate) one_file_system: bool,
    /// The maximum number of bytes of files in all layers together, holes included.
    pub(crate) max_size: Option<u64>,
    /// The maximum number of entries in a layer. Also the maximum number of parent directories
    /// that are made without an entry for a layer.
    pub(crate) max_entries: u64,
}
