// SPDX-License-Identifier: Apache-2.0
//! All that is known of a tree in the making, beside the directories that are open.

use super::counts::Counts;
use super::overlay::OpaqueMark;
use super::pending_modes::PendingModes;
use super::rules::Rules;
use super::upper::Upper;

/// What is known of a tree.
pub(super) struct TreeState {
    pub(super) rules: Rules,
    pub(super) counts: Counts,
    /// What the current layer has put into the tree.
    pub(super) upper: Upper,
    pub(super) pending_modes: PendingModes,
    pub(super) opaque_mark: OpaqueMark,
    /// Whether no permission bits hold the caller back.
    pub(super) privileged: bool,
    /// Whether access control lists may be inherited, so that they must be removed from what is
    /// made.
    pub(super) acls: bool,
    /// The next directory that is made takes a whiteout's place.
    pub(super) next_is_opaque: bool,
}

impl TreeState {
    /// Of a tree before its first layer; `over_lower` says that it is not empty.
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

    /// The next layer begins, over what there is.
    pub(super) fn next_layer(&mut self) {
        self.upper.next_layer();
        self.counts.next_layer();
    }
}
