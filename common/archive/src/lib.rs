// SPDX-License-Identifier: Apache-2.0
//! Reads, checks and writes tar archives, strictly.
//!
//! Start with [`Reader`], which returns the entries of an archive. [`Check`] checks an archive that
//! passes through unchanged. Both use the same `parser` and therefore apply the same rules.
//! [`Member`] writes the headers of an entry. The other modules implement the formats: `header`
//! (the fields of a block and its checksum), `number`, `records` (the lines of extended headers),
//! `pax` (the meaning of these lines), `sparse` (maps of sparse files) and `entry` (types).
//! [`names`] cleans names and recognises whiteouts. [`walk`] has the rules by which a name leads to
//! a directory in the tree of all layers.
//!
//! If two readers read one layer differently, a scanner may see files that differ from those that
//! the container engine installs. The rules of this crate therefore come from a comparison of Go's
//! archive/tar, GNU tar and libarchive. Where all three agree, this crate reads an archive as they
//! do. Where they disagree, it refuses the archive. If only Go defines a behaviour, it does what Go
//! does, because container engines are written in Go.
//!
//! Memory is bounded by constants: 1 MiB for an extended header, 16 headers about one entry, 10,000
//! segments of a sparse file.
//!
//! The reader returns names unchanged. Its caller cleans them.
//!
//! Not here: the tree and the effects of whiteouts on it, access to files, and compression.

pub mod capability;
mod check;
mod entry;
mod header;
pub mod names;
mod number;
mod parser;
mod pax;
mod reader;
mod records;
mod sparse;
pub mod walk;
mod writer;

pub use check::Check;
pub use entry::{Ending, Entry, EntryType, shown};
pub use header::{BLOCK, is_header};
pub use number::Time;
pub use reader::Reader;
pub use sparse::Segment;
pub use writer::{END, Member, padding};

#[cfg(test)]
mod tests;
