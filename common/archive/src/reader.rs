// SPDX-License-Identifier: Apache-2.0
//! Reads tar archives, strictly.
//!
//! A layer that two readers read differently can show a scanner one thing and install another. So what Go's
//! archive/tar, GNU tar and libarchive agree about is read as they do; what they disagree about is
//! refused; and what only Go has an opinion on is read as Go does, because container engines
//! are written in it.
//!
//! Not here: names and their meaning, whiteouts, files. The reader takes bytes and gives entries; memory is
//! bounded by the constants below, whatever an archive says.

use std::io::BufRead;

use common::error::{Error, Result};

use crate::entry::{self, Ending, Entry, EntryType, shown};
use crate::header::{BLOCK, Dialect, Header, Numbers, until_nul};
use crate::number::{self, Time};
use crate::pax::{Extended, SparseForm};
use crate::sparse;

/// The largest extended header or long name, in bytes.
pub(crate) const MAX_METADATA: u64 = 1 << 20;

/// The most headers that may speak about one entry.
pub(crate) const MAX_STACKED: usize = 16;

/// The longest number in front of a sparse file's data, in digits.
const MAX_DIGITS: usize = 20;

/// A reader at some place in an archive.
pub struct Reader<R> {
    input: R,
    block: [u8; BLOCK],
    /// What is left of the current entry's data, and of the zeros after it.
    data: u64,
    padding: u64,
    started: bool,
    ending: Option<Ending>,
}

/// What the headers before an entry's own say about it.
#[derive(Default)]
struct Pending {
    count: usize,
    extended: Option<Extended>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    /// Reads an archive from its beginning.
    pub fn new(input: R) -> Reader<R> {
        Reader { input, block: [0; BLOCK], data: 0, padding: 0, started: false, ending: None }
    }

    /// The next entry; nothing at the archive's end. What was not read of the entry before is passed over.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut pending = Pending::default();
        loop {
            if self.ending.is_some() || !self.pass_over()? || !self.read_header()? {
                return if pending.count == 0 { Ok(None) } else { Err(dangling()) };
            }
            let block = self.block;
            let header = Header::parse(&block).ok_or_else(|| {
                Error::malformed(if self.started {
                    "header: wrong checksum"
                } else {
                    "not a tar archive"
                })
            })?;
            self.started = true;
            let numbers = header.numbers()?;
            if header.has_stray_sparse_fields() {
                return Err(Error::malformed("header: sparse fields of what is no sparse file"));
            }
            match header.typeflag() {
                b'x' | b'g' | b'L' | b'K' => {
                    self.extension(&header, numbers.size, &mut pending)?;
                    pending.count += 1;
                    if pending.count > MAX_STACKED {
                        return Err(Error::malformed(format_args!(
                            "more than {MAX_STACKED} headers about one entry"
                        )));
                    }
                    if header.typeflag() == b'g' {
                        pending.count = 0;
                    }
                }
                _ => return self.entry(&header, numbers, pending).map(Some),
            }
        }
    }

    /// The next bytes of the current entry's data: whatever is there, nothing at its end.
    pub fn data(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let data = self.data;
        let bytes = fill(&mut self.input)?;
        if bytes.is_empty() {
            return Err(Error::malformed(format_args!(
                "archive is cut short: {data} bytes of data are missing"
            )));
        }
        Ok(&bytes[..bytes.len().min(clamp(data))])
    }

    /// Passes over data that was used.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.data = self.data.saturating_sub(count as u64);
    }

    /// Reads what comes after the last entry to its very end and says how the archive ended.
    pub fn finish(&mut self) -> Result<Ending> {
        let mut ending = self.ending.unwrap_or(Ending::Unmarked);
        loop {
            let bytes = fill(&mut self.input)?;
            if bytes.is_empty() {
                return Ok(ending);
            }
            if ending == Ending::Marked && !is_zero(bytes) {
                ending = Ending::Trailing;
            }
            let count = bytes.len();
            self.input.consume(count);
        }
    }

    /// Passes over the rest of the current entry; whether the archive goes on.
    fn pass_over(&mut self) -> Result<bool> {
        while self.data > 0 {
            let count = self.data()?.len();
            self.consume(count);
        }
        while self.padding > 0 {
            let bytes = fill(&mut self.input)?;
            if bytes.is_empty() {
                self.ending = Some(Ending::CutPadding);
                return Ok(false);
            }
            let count = bytes.len().min(clamp(self.padding));
            self.input.consume(count);
            self.padding -= count as u64;
        }
        Ok(true)
    }

    /// Reads the next header block; whether there is one.
    fn read_header(&mut self) -> Result<bool> {
        if !self.read_block()? {
            self.ending = Some(if self.started { Ending::Unmarked } else { Ending::Empty });
            return Ok(false);
        }
        if !is_zero(&self.block) {
            return Ok(true);
        }
        self.started = true;
        if !self.read_block()? {
            self.ending = Some(Ending::Unmarked);
            return Ok(false);
        }
        if !is_zero(&self.block) {
            return Err(Error::malformed("a lone zero block, and more after it"));
        }
        self.ending = Some(Ending::Marked);
        Ok(false)
    }

    /// Reads a block; whether there was one.
    fn read_block(&mut self) -> Result<bool> {
        let mut have = 0;
        while have < BLOCK {
            let bytes = fill(&mut self.input)?;
            if bytes.is_empty() {
                if have == 0 {
                    return Ok(false);
                }
                return Err(Error::malformed(if self.started {
                    "archive is cut short: in a header"
                } else {
                    "not a tar archive"
                }));
            }
            let count = bytes.len().min(BLOCK - have);
            self.block[have..have + count].copy_from_slice(&bytes[..count]);
            self.input.consume(count);
            have += count;
        }
        Ok(true)
    }

    /// Opens the data of an entry: `size` bytes, then zeros to the end of the block.
    fn open_data(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Reads a header that speaks about the next one.
    fn extension(&mut self, header: &Header<'_>, size: u64, pending: &mut Pending) -> Result<()> {
        if header.dialect == Dialect::V7 {
            return Err(Error::malformed("header: an extension in an archive without a magic"));
        }
        if size > MAX_METADATA {
            return Err(Error::malformed(format_args!(
                "extended header of {size} bytes, more than {MAX_METADATA}"
            )));
        }
        self.open_data(size);
        let mut bytes = Vec::with_capacity(clamp(size));
        while self.data > 0 {
            let data = self.data()?;
            bytes.extend_from_slice(data);
            let count = data.len();
            self.consume(count);
        }
        match header.typeflag() {
            b'L' => pending.name = Some(long_name(&bytes)?),
            b'K' => pending.link = Some(long_name(&bytes)?),
            b'x' if pending.extended.is_some() => {
                return Err(Error::malformed("two extended headers in a row"));
            }
            b'x' => pending.extended = Some(Extended::parse(&bytes)?),
            _ if pending.count > 0 => return Err(dangling()),
            _ => {
                let global = Extended::parse(&bytes)?;
                if global.path.is_some()
                    || global.link.is_some()
                    || global.size.is_some()
                    || global.sparse.is_some()
                {
                    return Err(Error::malformed("a global header with a path or a size"));
                }
                if global.says_something {
                    common::notice::warn("global header", || {
                        "a global header's defaults are ignored, as container engines do".to_owned()
                    });
                }
            }
        }
        Ok(())
    }

    /// Puts an entry together and opens its data.
    fn entry(&mut self, header: &Header<'_>, numbers: Numbers, pending: Pending) -> Result<Entry> {
        if header.dialect == Dialect::V7 && pending.extended.is_some() {
            return Err(Error::malformed("header: an extended header about one without a magic"));
        }
        let extended = pending.extended.unwrap_or_default();
        let mixed = (pending.name.is_some() || pending.link.is_some())
            && (extended.path.is_some()
                || extended.link.is_some()
                || extended.size.is_some()
                || extended.sparse.is_some());
        if mixed {
            return Err(Error::malformed(
                "both a GNU long name and an extended header's name or size",
            ));
        }
        let sparse = extended.sparse;
        let stored = extended.size.unwrap_or(numbers.size);
        let own_name = header.name()?;
        if header.dialect == Dialect::Gnu && !header.mistaken_prefix().is_empty() {
            common::notice::warn("GNU prefix", || {
                "a prefix where GNU's header has times: read as container engines do".to_owned()
            });
        }
        let name = sparse
            .as_ref()
            .and_then(|sparse| sparse.name.clone())
            .or(extended.path)
            .or(pending.name)
            .unwrap_or(own_name);
        let context = |error: Error| error.context(format_args!("entry {}", shown(&name)));
        let kind = entry::kind(header.typeflag(), &name, stored).map_err(context)?;
        let mut entry = Entry {
            entry_type: kind,
            link: extended.link.or(pending.link).unwrap_or_else(|| header.link()),
            mode: numbers.mode,
            uid: extended.uid.unwrap_or(numbers.uid),
            gid: extended.gid.unwrap_or(numbers.gid),
            mtime: extended.mtime.unwrap_or(Time { seconds: numbers.mtime, nanoseconds: 0 }),
            atime: extended.atime,
            device: match (kind, numbers.device) {
                (_, Some(device)) => device,
                (EntryType::CharacterDevice | EntryType::BlockDevice, None) => {
                    return Err(context(Error::malformed("a device without a number")));
                }
                _ => (0, 0),
            },
            size: stored,
            sparse: None,
            xattrs: extended.xattrs,
            foreign_attributes: extended.foreign_attributes,
            name: Vec::new(),
        };
        // A directory's size is an allocation in some archives, never data.
        self.open_data(if kind == EntryType::Regular { stored } else { 0 });
        if i64::try_from(stored).is_err() {
            return Err(context(Error::malformed(format_args!("size {stored} is beyond 2^63"))));
        }
        let map = match (header.typeflag(), sparse) {
            (b'S', Some(_)) => Err(Error::malformed("two sparse maps")),
            (b'S', None) => self.old_sparse(header, extended.size.is_some()).map(Some),
            (_, None) => Ok(None),
            (_, Some(_)) if kind != EntryType::Regular => {
                Err(Error::malformed("a sparse map for what is no regular file"))
            }
            (_, Some(sparse)) => match sparse.form {
                SparseForm::Header(map) => Ok(map),
                SparseForm::Data => self.map_before_data(),
            }
            .map(|map| Some((map, sparse.size))),
        };
        if let Some((map, size)) = map.map_err(context)? {
            entry.sparse = Some(map.finish(size, self.data).map_err(context)?);
            entry.size = size;
        }
        entry.name = name;
        Ok(entry)
    }

    /// The map of GNU's old form: four parts in the header, then blocks of 21 parts each.
    fn old_sparse(&mut self, header: &Header<'_>, resized: bool) -> Result<(sparse::Map, u64)> {
        if header.dialect != Dialect::Gnu || resized {
            return Err(Error::malformed("a GNU sparse file without GNU's header"));
        }
        let (parts, mut more, size) = header.old_sparse()?;
        let mut map = sparse::Map::default();
        let mut open = push_parts(&mut map, parts)?;
        while more {
            // Some readers would go on behind the end of the map, some would not.
            if !open {
                return Err(Error::malformed("sparse map: goes on after its end"));
            }
            if !self.read_block()? {
                return Err(Error::malformed("archive is cut short: in a sparse map"));
            }
            let block = self.block;
            open = push_parts(&mut map, &block[..504])?;
            more = block[504] != 0;
        }
        Ok((map, size))
    }

    /// The map of PAX form 1.0: decimal numbers, a line each, filled up to a block, before the data.
    fn map_before_data(&mut self) -> Result<sparse::Map> {
        let before = self.data;
        let mut map = sparse::Map::default();
        let parts = self.line_number()?;
        if parts > sparse::MAX_SEGMENTS as u64 {
            return Err(Error::malformed(format_args!(
                "sparse map: {parts} parts, more than {}",
                sparse::MAX_SEGMENTS
            )));
        }
        for _ in 0..parts {
            let offset = self.line_number()?;
            map.push(offset, self.line_number()?)?;
        }
        let mut rest = clamp((before - self.data).wrapping_neg() % BLOCK as u64);
        while rest > 0 {
            let count = self.data()?.len().min(rest);
            if count == 0 {
                return Err(Error::malformed("sparse map: cut short"));
            }
            self.consume(count);
            rest -= count;
        }
        Ok(map)
    }

    fn line_number(&mut self) -> Result<u64> {
        let mut digits = Vec::with_capacity(MAX_DIGITS);
        loop {
            let byte =
                *self.data()?.first().ok_or_else(|| Error::malformed("sparse map: cut short"))?;
            self.consume(1);
            if byte == b'\n' {
                return number::decimal(&digits)
                    .ok_or_else(|| Error::malformed("sparse map: a line is no number"));
            }
            digits.push(byte);
            if digits.len() > MAX_DIGITS {
                return Err(Error::malformed("sparse map: a line is no number"));
            }
        }
    }
}

/// Takes the parts of a block of GNU's old form; whether more may follow.
fn push_parts(map: &mut sparse::Map, parts: &[u8]) -> Result<bool> {
    for part in parts.chunks_exact(24) {
        if part[0] == 0 {
            return Ok(false);
        }
        let number = |field: &[u8]| {
            number::numeric(field)
                .and_then(|value| u64::try_from(value).ok())
                .ok_or_else(|| Error::malformed("sparse map: not a number"))
        };
        map.push(number(&part[..12])?, number(&part[12..])?)?;
    }
    Ok(true)
}

fn long_name(bytes: &[u8]) -> Result<Vec<u8>> {
    match until_nul(bytes) {
        [] => Err(Error::malformed("an empty long name")),
        name => Ok(name.to_owned()),
    }
}

fn dangling() -> Error {
    Error::malformed("an extended header without the entry it is about")
}

/// The bytes that are there to be read, with the failure of a decoder as it was.
fn fill(input: &mut impl BufRead) -> Result<&[u8]> {
    input.fill_buf().map_err(|cause| {
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => error.clone(),
            None => Error::local("read layer", &cause),
        }
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn clamp(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
