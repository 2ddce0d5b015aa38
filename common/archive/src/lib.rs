// SPDX-License-Identifier: Apache-2.0
//! Tar archives, read strictly.

mod entry;
mod header;
mod number;
mod pax;
mod reader;
mod sparse;

pub use entry::{Ending, Entry, EntryType, shown};
pub use number::Time;
pub use reader::Reader;
pub use sparse::Segment;

#[cfg(test)]
mod tests;
