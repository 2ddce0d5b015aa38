// SPDX-License-Identifier: Apache-2.0
//! Finds the directory of a name in the tree that layers form, as if the tree's root were the root
//! directory of the process.
//!
//! A name is walked component by component. The text of a symbolic link is walked in the same way.
//! `..` goes back to the directory before, but not above the root. The directories of the last walk
//! form a [`Chain`], and a walk continues from the part of the chain that it shares with the name.
//!
//! The walk of a marker (a whiteout or an opaque whiteout) differs. A marker refers to a path of
//! the lower layers. If the current layer has put a symbolic link or another file on that path, the
//! path does not exist any more, and the marker has nothing to hide. If a symbolic link of a lower
//! layer is on the path, a later entry may still replace it, so the marker must [wait](waiting) for
//! the end of the layer.
//!
//! Not here: the tree itself, on a disk or in memory.

mod marker;
mod pending;
mod steps;
mod waiting;

use common::error::{Error, Result};

pub use marker::{Mark, Reached, When};
use pending::Pending;
pub use steps::Steps;
pub use waiting::{Waiting, WaitingMarkers};

/// The maximum number of symbolic links in the walk of one name. The kernel has the same limit.
pub const MAX_LINKS: usize = 40;

/// The treatment of directories that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make them. A file of a lower layer is replaced.
    Make,
    /// Stop.
    Stop,
}

/// The purpose of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To the directory of an entry, or to a directory that must exist.
    Entry(Missing),
    /// To the directory of a marker.
    Marker(Mark, When),
}

impl Purpose {
    /// Whether this is the walk of a marker.
    pub fn is_marker(self) -> bool {
        matches!(self, Purpose::Marker(..))
    }

    /// Whether this is the walk of a marker at its position in the layer.
    pub fn is_marker_now(self) -> bool {
        matches!(self, Purpose::Marker(_, When::Now))
    }

    /// The treatment of missing directories. For the directory of a whiteout it is `of_whiteout`.
    /// The directory of an opaque whiteout is made, even if no lower layer has it.
    pub fn missing(self, of_whiteout: Missing) -> Missing {
        match self {
            Purpose::Entry(missing) => missing,
            Purpose::Marker(Mark::Opaque, _) => Missing::Make,
            Purpose::Marker(Mark::Whiteout, _) => of_whiteout,
        }
    }

    /// Decides about a file at a place where the walk needs a directory. `own` means that the
    /// current layer has the file.
    ///
    /// # Errors
    /// Malformed if the directory of an entry would have to be made, but the same layer has a file
    /// in that place.
    pub fn meets_file(self, own: bool) -> Result<Obstacle> {
        match self {
            Purpose::Entry(Missing::Stop) => Ok(Obstacle::Ends),
            Purpose::Entry(Missing::Make) if own => {
                Err(Error::malformed("a parent directory is a file of the same layer"))
            }
            Purpose::Marker(..) if own => Ok(Obstacle::Ends),
            _ => Ok(Obstacle::Removable),
        }
    }
}

/// The treatment of a file at a place where a walk needs a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The file is removed to make room for the directory.
    Removable,
    /// The walk ends: there is no such directory.
    Ends,
}

/// The type of a component of a name.
pub enum Found<D> {
    /// A directory, perhaps one that was just made.
    Directory(D),
    /// A symbolic link.
    Link {
        /// Its target.
        text: Vec<u8>,
        /// Whether it belongs to the current layer.
        own: bool,
    },
    /// The directory does not exist and was not made.
    Nothing,
    /// The marker must wait for the end of the layer.
    Undecided,
}

/// The directories of the last walk, from the root downwards. They are real directories, never
/// symbolic links. A depth is a number of these directories: 0 means the root.
pub trait Chain {
    /// A directory that is not in the chain yet.
    type Directory;

    /// Whether the chain continues with the directory `name` after this depth.
    fn continues(&self, depth: usize, name: &[u8]) -> bool;

    /// Finds `name` in the directory at this depth. The rest of the chain is kept, because a
    /// symbolic link often leads back into it.
    ///
    /// # Errors
    /// The errors of reading and changing the tree. Malformed if an entry in it is invalid.
    fn find(
        &mut self,
        depth: usize,
        name: &[u8],
        purpose: Purpose,
    ) -> Result<Found<Self::Directory>>;

    /// Ends the chain at this depth.
    ///
    /// # Errors
    /// The errors of reading and changing the tree.
    fn back_to(&mut self, depth: usize) -> Result<()>;

    /// Appends a directory that was found.
    ///
    /// # Errors
    /// The errors of reading and changing the tree.
    fn push(&mut self, name: &[u8], directory: Self::Directory) -> Result<()>;

    /// Called if the walk to an entry's directory follows a symbolic link of a lower layer. The
    /// link is in the directory at this depth.
    fn follows_lower(&mut self, _depth: usize, _link: &[u8]) {}
}

/// The end of a walk.
pub struct Walked {
    /// Whether the directory was entered. If so, it is the last directory of the chain.
    pub reached: Reached,
    /// Whether symbolic links led to it.
    pub through_link: bool,
}

/// Walks from the root to the directory with a clean name.
///
/// # Errors
/// Malformed after more than [`MAX_LINKS`] symbolic links. Otherwise the errors of the chain.
pub fn walk(chain: &mut impl Chain, name: &[u8], purpose: Purpose) -> Result<Walked> {
    let ended = |reached| Ok(Walked { reached, through_link: false });
    let mut depth = 0usize;
    let mut links = 0;
    let mut pending = Pending::new(name);
    while let Some(component) = pending.next() {
        match component.as_ref() {
            b"" | b"." => continue,
            b".." => {
                depth = depth.saturating_sub(1);
                continue;
            }
            _ => {}
        }
        if chain.continues(depth, &component) {
            depth += 1;
            continue;
        }
        match chain.find(depth, &component, purpose)? {
            Found::Directory(directory) => {
                chain.back_to(depth)?;
                chain.push(&component, directory)?;
                depth += 1;
            }
            Found::Nothing => return ended(Reached::Nothing),
            Found::Undecided => return ended(Reached::Undecided),
            Found::Link { own: true, .. } if purpose.is_marker() => {
                return ended(Reached::Nothing);
            }
            Found::Link { .. } if purpose.is_marker_now() => return ended(Reached::Undecided),
            Found::Link { text, own } => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Error::malformed("too many levels of symbolic links"));
                }
                if !own && purpose == Purpose::Entry(Missing::Make) {
                    chain.follows_lower(depth, &component);
                }
                if text.first() == Some(&b'/') {
                    depth = 0;
                }
                pending.push(text);
            }
        }
    }
    chain.back_to(depth)?;
    Ok(Walked { reached: Reached::Directory, through_link: links > 0 })
}
