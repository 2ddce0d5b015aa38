// SPDX-License-Identifier: Apache-2.0
//! Tar archives: read, checked and written, strictly.
//!
//! [`Reader`] gives the entries of an archive, [`Check`] looks at one that passes through
//! unchanged. Both drive the same `parser`, so that they accept and refuse the same archives.
//! [`Member`] writes an entry's header. Parser and writer share the formats below them: `header` (a
//! block's fields and its checksum), `number`, `records` (the lines of extended headers), `pax`
//! (their meaning), `sparse` (maps of holes), `entry` (types).
//!
//! A layer that two readers read differently can show a scanner one thing and install another. So
//! what Go's archive/tar, GNU tar and libarchive agree about is read as they do, what they disagree
//! about is refused, and what only Go has an opinion on is read as Go does, because container
//! engines are written in it.
//!
//! Not here: what names mean, whiteouts, files, compression. Memory is bounded by constants,
//! whatever an archive says: 1 MiB for an extended header, 16 headers about one entry, 10,000 parts
//! of a sparse file.

mod check;
mod entry;
mod header;
mod number;
mod parser;
mod pax;
mod reader;
mod records;
mod sparse;
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
