// SPDX-License-Identifier: Apache-2.0
//! The rules of a run: what the command line says about how entries become files.

use super::owner::Owner;

/// What becomes of whiteouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// They hide what lower layers have put into the tree.
    Apply,
    /// They are also written in an overlay file system's own form.
    Overlay,
    /// They are kept as the files they are in the archive.
    Keep,
}

/// The rules of the run.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// What becomes of whiteouts.
    pub(crate) whiteouts: Whiteouts,
    /// Whom files belong to.
    pub(crate) owner: Owner,
    /// Whether devices are left out.
    pub(crate) skip_devices: bool,
    /// Whether what is worth a warning is refused.
    pub(crate) strict: bool,
    /// Whether a link to a directory stays where a layer has a directory.
    pub(crate) keep_dirlinks: bool,
    /// Whether mount points are not entered.
    pub(crate) one_file_system: bool,
    /// The most bytes of files, all layers together, holes included.
    pub(crate) max_size: Option<u64>,
    /// The most entries of one layer, and the most directories that it may need without an entry.
    pub(crate) max_entries: u64,
}
