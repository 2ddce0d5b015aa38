// SPDX-License-Identifier: Apache-2.0
//! The grammar of an archive, as a state machine over its bytes: headers, headers that describe the
//! next entry, sparse maps, data, padding, the end.
//!
//! The parser does no I/O: its callers pass the bytes to it. [`Reader`](crate::Reader) reads them
//! from a stream, and [`Check`](crate::Check) gets them from its own caller. The parser keeps in
//! memory at most one block, one sparse map, and the extended header and long names of one entry.

use common::error::{Error, Result};

use crate::entry::{Ending, Entry, EntryType, shown};
use crate::header::{BLOCK, Dialect, Header, Numbers, is_zero, until_nul};
use crate::number::Time;
use crate::pax::{Extended, Sparse, SparseForm};
use crate::records::MAX_METADATA;
use crate::sparse::{Lines, Map};

/// The maximum number of headers about one entry before its own header.
pub(crate) const MAX_STACKED: usize = 16;

/// Receives warnings. The first argument is the kind, by which warnings are counted; the second is
/// the text.
pub(crate) type Warn = fn(&'static str, &'static str);

/// The state machine, at some position in an archive.
pub(crate) struct Parser {
    state: State,
    /// An incomplete block.
    block: [u8; BLOCK],
    /// The number of bytes in `block`.
    filled: usize,
    /// The number of bytes of the current data that were not read yet.
    data: u64,
    /// The number of bytes of the padding after the data that were not read yet.
    padding: u64,
    /// Whether a header or a zero block was read. Before that, it is unknown whether the input is
    /// an archive.
    has_begun: bool,
    /// Whether the previous block was a zero block.
    after_zeros: bool,
    pending: Pending,
    warn: Warn,
}

/// The meaning of the next bytes.
enum State {
    /// The rest of the data and its padding, then a header.
    Header,
    /// The data of a header with this type flag that describes the next entry.
    Extension { typeflag: u8, content: Vec<u8> },
    /// A block that continues a sparse map of GNU's old form.
    OldSparse(Box<Entry>, Map),
    /// The sparse map before a file's data.
    SparseLines(Box<Entry>, Lines),
    /// The archive has ended: the next bytes do not belong to it.
    End,
}

/// The data about an entry from the headers before its own header.
#[derive(Default)]
struct Pending {
    count: usize,
    extended: Option<Extended>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Parser {
    /// A parser before an archive's first byte.
    pub(crate) fn new(warn: Warn) -> Parser {
        Parser {
            state: State::Header,
            block: [0; BLOCK],
            filled: 0,
            data: 0,
            padding: 0,
            has_begun: false,
            after_zeros: false,
            pending: Pending::default(),
            warn,
        }
    }

    /// Parses some bytes from the front of `bytes`, and returns their number. If these bytes
    /// complete the headers of an entry, the entry is returned too: its data follows.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Entry>)> {
        match &mut self.state {
            State::Header if self.data > 0 => {
                let count = clamp(self.data).min(bytes.len());
                self.skip(count);
                Ok((count, None))
            }
            State::Header if self.padding > 0 => {
                let count = clamp(self.padding).min(bytes.len());
                self.padding -= count as u64;
                Ok((count, None))
            }
            State::Header => {
                let (count, block) = self.take_block(bytes);
                Ok((count, block.map_or(Ok(None), |block| self.header(&block))?))
            }
            State::Extension { typeflag, content } => {
                let count = clamp(self.data).min(bytes.len());
                content.extend_from_slice(&bytes[..count]);
                self.data -= count as u64;
                if self.data == 0 {
                    let typeflag = *typeflag;
                    let content = std::mem::take(content);
                    self.state = State::Header;
                    self.extension(typeflag, &content)?;
                }
                Ok((count, None))
            }
            State::OldSparse(..) => {
                let (count, block) = self.take_block(bytes);
                Ok((count, block.map_or(Ok(None), |block| self.old_sparse_block(&block))?))
            }
            State::SparseLines(..) => {
                let bytes = &bytes[..clamp(self.data).min(bytes.len())];
                self.sparse_lines(bytes)
            }
            State::End => Ok((bytes.len(), None)),
        }
    }

    /// The number of bytes of the current entry's data that were not read yet.
    pub(crate) fn data(&self) -> u64 {
        self.data
    }

    /// Skips `count` bytes of the current entry's data that the caller has used.
    pub(crate) fn skip(&mut self, count: usize) {
        self.data = self.data.saturating_sub(count as u64);
    }

    /// Whether the two zero blocks at the archive's end were read.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// How the archive ends. Must be called at the end of the input.
    ///
    /// # Errors
    /// Malformed if the archive is cut short, except at the positions that readers accept.
    pub(crate) fn end(&self) -> Result<Ending> {
        let ending = match &self.state {
            State::End => Ending::Marked,
            State::OldSparse(entry, _) if self.filled == 0 => {
                let error = Error::malformed("archive is cut short: in a sparse map");
                return Err(in_entry(error, &entry.name));
            }
            State::Extension { .. } | State::SparseLines(..) => {
                return Err(self.context(self.cut_data()));
            }
            _ if self.filled > 0 && !self.has_begun => return Err(not_an_archive()),
            _ if self.filled > 0 => {
                return Err(self.context(Error::malformed("archive is cut short: in a header")));
            }
            _ if self.data > 0 => return Err(self.cut_data()),
            _ if self.padding > 0 => Ending::CutPadding,
            _ if self.has_begun => Ending::Unmarked,
            _ => Ending::Empty,
        };
        if self.pending.count > 0 { Err(missing_entry()) } else { Ok(ending) }
    }

    /// The error if the archive ends within the current data.
    pub(crate) fn cut_data(&self) -> Error {
        Error::malformed(format_args!(
            "archive is cut short: {} bytes of data are missing",
            self.data
        ))
    }

    /// Adds the name of the current entry to an error, if the name is known.
    pub(crate) fn context(&self, error: Error) -> Error {
        match &self.state {
            State::OldSparse(entry, _) | State::SparseLines(entry, _) => {
                in_entry(error, &entry.name)
            }
            _ => error,
        }
    }

    /// Collects bytes of a block. Returns the number of bytes used, and the block if it is
    /// complete.
    fn take_block(&mut self, bytes: &[u8]) -> (usize, Option<[u8; BLOCK]>) {
        if let (0, Some(block)) = (self.filled, bytes.first_chunk()) {
            return (BLOCK, Some(*block));
        }
        let count = bytes.len().min(BLOCK - self.filled);
        self.block[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        if self.filled < BLOCK {
            return (count, None);
        }
        self.filled = 0;
        (count, Some(self.block))
    }

    /// Prepares to read `size` bytes of data, then padding to the end of the block.
    fn open_data(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Parses a header block, or one of the zero blocks at the end.
    fn header(&mut self, block: &[u8; BLOCK]) -> Result<Option<Entry>> {
        if is_zero(block) {
            self.has_begun = true;
            if self.after_zeros {
                self.state = State::End;
                return if self.pending.count == 0 { Ok(None) } else { Err(missing_entry()) };
            }
            self.after_zeros = true;
            return Ok(None);
        }
        if self.after_zeros {
            return Err(Error::malformed("a lone zero block with data after it"));
        }
        let header = Header::parse(block).ok_or_else(|| {
            if self.has_begun {
                Error::malformed("header: wrong checksum")
            } else {
                not_an_archive()
            }
        })?;
        self.has_begun = true;
        let numbers = header.numbers()?;
        if header.has_stray_sparse_fields() {
            return Err(Error::malformed("header: sparse fields, but not a sparse file"));
        }
        match header.typeflag() {
            b'x' | b'g' | b'L' | b'K' => self.begin_extension(&header, numbers.size).map(|()| None),
            _ => self.entry(&header, numbers),
        }
    }

    /// Starts to collect the data of a header that describes the next entry.
    fn begin_extension(&mut self, header: &Header<'_>, size: u64) -> Result<()> {
        header.check_magic()?;
        if size > MAX_METADATA {
            return Err(Error::malformed(format_args!(
                "extended header of {size} bytes, more than {MAX_METADATA}"
            )));
        }
        self.open_data(size);
        let typeflag = header.typeflag();
        if size == 0 {
            return self.extension(typeflag, &[]);
        }
        self.state = State::Extension { typeflag, content: Vec::with_capacity(clamp(size)) };
        Ok(())
    }

    /// Parses the data of a header that describes the next entry.
    fn extension(&mut self, typeflag: u8, content: &[u8]) -> Result<()> {
        let pending = &mut self.pending;
        match typeflag {
            b'L' => pending.name = Some(long_name(content)?),
            b'K' => pending.link = Some(long_name(content)?),
            b'x' if pending.extended.is_some() => {
                return Err(Error::malformed("two extended headers in a row"));
            }
            b'x' => pending.extended = Some(Extended::parse(content)?),
            _ if pending.count > 0 => return Err(missing_entry()),
            _ => {
                let global = Extended::parse(content)?;
                if global.path.is_some()
                    || global.link.is_some()
                    || global.size.is_some()
                    || global.sparse.is_some()
                {
                    return Err(Error::malformed("a global header with a path or a size"));
                }
                if global.has_records {
                    let text = "a global header's defaults are ignored, as by container engines";
                    (self.warn)("global header", text);
                }
                return Ok(());
            }
        }
        pending.count += 1;
        if pending.count > MAX_STACKED {
            return Err(Error::malformed(format_args!(
                "more than {MAX_STACKED} headers about one entry"
            )));
        }
        Ok(())
    }

    /// Combines all headers of an entry, and prepares to read its data. Returns the entry, or
    /// `None` if its sparse map must be read first.
    fn entry(&mut self, header: &Header<'_>, numbers: Numbers) -> Result<Option<Entry>> {
        let pending = std::mem::take(&mut self.pending);
        let extended = pending.extended.unwrap_or_default();
        let differ = |long: &Option<Vec<u8>>, record: &Option<Vec<u8>>| {
            long.is_some() && record.is_some() && long != record
        };
        let has_long = pending.name.is_some() || pending.link.is_some();
        if differ(&pending.name, &extended.path)
            || differ(&pending.link, &extended.link)
            || (has_long && extended.sparse.is_some())
        {
            return Err(Error::malformed(
                "a GNU long name that differs from the extended header's name, or belongs to a \
                 sparse file",
            ));
        }
        let mut sparse = extended.sparse;
        let stored = extended.size.unwrap_or(numbers.size);
        let own_name = header.name()?;
        if header.dialect == Dialect::Gnu && !header.mistaken_prefix().is_empty() {
            let text = "a GNU header with a prefix in place of times: the prefix is used, as by \
                        container engines";
            (self.warn)("GNU prefix", text);
        }
        let name = sparse
            .as_mut()
            .and_then(|sparse| sparse.name.take())
            .or(extended.path)
            .or(pending.name)
            .unwrap_or(own_name);
        let entry_type = EntryType::read(header.typeflag(), &name, stored)
            .map_err(|error| in_entry(error, &name))?;
        let is_device = matches!(entry_type, EntryType::CharacterDevice | EntryType::BlockDevice);
        if is_device && numbers.device.is_none() {
            return Err(in_entry(Error::malformed("a device without device numbers"), &name));
        }
        // Some writers store an allocation size for directories. Data never follows the header of a
        // directory.
        self.open_data(if entry_type == EntryType::Regular { stored } else { 0 });
        if i64::try_from(stored).is_err() {
            let error = Error::malformed(format_args!("size {stored} is above 2^63-1"));
            return Err(in_entry(error, &name));
        }
        let entry = Entry {
            name,
            entry_type,
            link: extended.link.or(pending.link).unwrap_or_else(|| header.link()),
            mode: numbers.mode,
            uid: extended.uid.unwrap_or(numbers.uid),
            gid: extended.gid.unwrap_or(numbers.gid),
            mtime: extended.mtime.unwrap_or(Time { seconds: numbers.mtime, nanoseconds: 0 }),
            atime: extended.atime,
            device: numbers.device.unwrap_or_default(),
            size: stored,
            sparse: None,
            xattrs: extended.xattrs,
            foreign_attributes: extended.foreign_attributes,
        };
        match (header.typeflag(), sparse) {
            (b'S', None) => self.old_sparse(entry, header, extended.size.is_some()),
            (_, None) => Ok(Some(entry)),
            (typeflag, Some(sparse)) => self.pax_sparse(entry, typeflag, sparse),
        }
    }

    /// Begins a sparse file of GNU's old form: four segments in the header, then blocks of 21
    /// segments each.
    fn old_sparse(
        &mut self,
        mut entry: Entry,
        header: &Header<'_>,
        resized: bool,
    ) -> Result<Option<Entry>> {
        let begin = || {
            if header.dialect != Dialect::Gnu || resized {
                return Err(Error::malformed("a GNU sparse file without GNU's header"));
            }
            let (fields, more, size) = header.old_sparse()?;
            let mut map = Map::default();
            refuse_blocks_after_end(map.push_fields(fields)?, more)?;
            Ok((map, more, size))
        };
        let (map, more, size) = begin().map_err(|error| in_entry(error, &entry.name))?;
        entry.size = size;
        if !more {
            return self.finish_sparse(entry, map);
        }
        self.state = State::OldSparse(Box::new(entry), map);
        Ok(None)
    }

    /// Parses a block of 21 segments.
    fn old_sparse_block(&mut self, block: &[u8; BLOCK]) -> Result<Option<Entry>> {
        let State::OldSparse(entry, map) = &mut self.state else { return Ok(None) };
        let more = block[504] != 0;
        map.push_fields(&block[..504])
            .and_then(|open| refuse_blocks_after_end(open, more))
            .map_err(|error| in_entry(error, &entry.name))?;
        if more {
            return Ok(None);
        }
        match std::mem::replace(&mut self.state, State::Header) {
            State::OldSparse(entry, map) => self.finish_sparse(*entry, map),
            _ => Ok(None),
        }
    }

    /// Begins a sparse file that an extended header describes.
    fn pax_sparse(
        &mut self,
        mut entry: Entry,
        typeflag: u8,
        sparse: Sparse,
    ) -> Result<Option<Entry>> {
        let wrong = match typeflag {
            b'S' => Some("two sparse maps"),
            _ if entry.entry_type != EntryType::Regular => {
                Some("a sparse map for an entry that is not a regular file")
            }
            _ if matches!(sparse.form, SparseForm::Data) && self.data == 0 => Some(CUT_MAP),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(in_entry(Error::malformed(wrong), &entry.name));
        }
        entry.size = sparse.size;
        match sparse.form {
            SparseForm::Header(map) => self.finish_sparse(entry, map),
            SparseForm::Data => {
                self.state = State::SparseLines(Box::new(entry), Lines::default());
                Ok(None)
            }
        }
    }

    /// Parses the map at the beginning of a sparse file's data.
    fn sparse_lines(&mut self, bytes: &[u8]) -> Result<(usize, Option<Entry>)> {
        let State::SparseLines(entry, lines) = &mut self.state else { return Ok((0, None)) };
        let (count, has_ended) = lines.read(bytes).map_err(|e| in_entry(e, &entry.name))?;
        self.data -= count as u64;
        if !has_ended {
            if self.data == 0 {
                return Err(in_entry(Error::malformed(CUT_MAP), &entry.name));
            }
            return Ok((count, None));
        }
        match std::mem::replace(&mut self.state, State::Header) {
            State::SparseLines(entry, lines) => {
                Ok((count, self.finish_sparse(*entry, lines.into_map())?))
            }
            _ => Ok((count, None)),
        }
    }

    fn finish_sparse(&mut self, mut entry: Entry, map: Map) -> Result<Option<Entry>> {
        let map = map.finish(entry.size, self.data).map_err(|e| in_entry(e, &entry.name))?;
        entry.sparse = Some(map);
        Ok(Some(entry))
    }
}

/// The error message for an incomplete map before the data.
const CUT_MAP: &str = "sparse map: cut short";

/// Refuses another block of segments after the end of the map, because only some readers would read
/// it.
fn refuse_blocks_after_end(is_open: bool, more: bool) -> Result<()> {
    if more && !is_open {
        return Err(Error::malformed("sparse map: another block after its end"));
    }
    Ok(())
}

fn in_entry(error: Error, name: &[u8]) -> Error {
    error.context(format_args!("entry {}", shown(name)))
}

fn long_name(bytes: &[u8]) -> Result<Vec<u8>> {
    match until_nul(bytes) {
        [] => Err(Error::malformed("an empty long name")),
        name => Ok(name.to_owned()),
    }
}

/// The error if the first bytes are not a header.
pub(crate) fn not_an_archive() -> Error {
    Error::malformed("not a tar archive")
}

fn missing_entry() -> Error {
    Error::malformed("an extended header without its entry")
}

/// Converts a size to `usize`; sizes that do not fit become `usize::MAX`.
pub(crate) fn clamp(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
