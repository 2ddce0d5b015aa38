// SPDX-License-Identifier: Apache-2.0
//! The state of a tree that is being unpacked, except its open directories.

use super::counts::Counts;
use super::overlay::OpaqueMark;
use super::pending_modes::PendingModes;
use super::rules::Rules;
use super::upper::Upper;

/// The state of a tree.
pub(super) struct TreeState {
    pub(super) rules: Rules,
    pub(super) counts: Counts,
    /// The files of the current layer.
    pub(super) upper: Upper,
    pub(super) pending_modes: PendingModes,
    pub(super) opaque_mark: OpaqueMark,
    /// Whether the tool runs as root, so that permission bits do not matter.
    pub(super) privileged: bool,
    /// Whether new files may inherit access control lists, which must then be removed.
    pub(super) acls: bool,
    /// Whether the next parent directory that is made replaces a whiteout, and so must be opaque.
    pub(super) next_is_opaque: bool,
}

impl TreeState {
    /// The state before the first layer. `over_lower` means that the tree is not empty.
    pub(super) fn new(rules: Rules, over_lower: bool) -> TreeState {
        let privileged = rustix::process::geteuid().is_root();
        TreeState {
            counts: Counts::new(&rules),
            upper: Upper::new(over_lower),
            pending_modes: PendingModes::default(),
            opaque_mark: OpaqueMark::new(rules.whiteouts, privileged),
            privileged,
            acls: over_lower,
            next_is_opaque: false,
            rules,
        }
    }

    /// Begins the next layer.
    pub(super) fn next_layer(&mut self) {
        self.upper.next_layer();
        self.counts.next_layer();
    }
}
