// SPDX-License-Identifier: Apache-2.0
//! Markers: whiteouts and opaque whiteouts, and the outcomes of a walk to a marker's directory.

/// A marker: an entry that hides files of lower layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A whiteout: hides one file.
    Whiteout,
    /// An opaque whiteout: hides all files of its directory.
    Opaque,
}

/// The time at which a marker is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At its position in the layer. Later entries are not known yet.
    Now,
    /// At the end of the layer.
    End,
}

/// The outcome of a walk to a marker's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The directory was entered.
    Directory,
    /// The lower layers have no such directory, or the current layer has replaced it. The marker
    /// has nothing to hide.
    Nothing,
    /// Later entries may decide about the path: the marker must be applied at the end of the layer.
    Undecided,
}
