// SPDX-License-Identifier: Apache-2.0
//! An archive that comes as it is: its bytes pass unchanged, and are looked at on the way.
//!
//! It must be one whole tar archive: headers with right checksums, all the data they speak of, the end that is
//! marked by two blocks of zeros, and only zeros after it. What its entries say is not judged here: that is for
//! who unpacks.

use crate::error::{Error, Result};

const BLOCK: usize = 512;

/// The largest extended header that is read, as readers have it.
const MAX_EXTENDED: u64 = 1 << 20;

/// What the next bytes are.
#[derive(Debug)]
enum State {
    /// A header, of which so much is there.
    Header(Vec<u8>),
    /// The records of an extended header, and the filling after them.
    Extended { records: Vec<u8>, left: u64, filling: u64 },
    /// A block that goes on with GNU's old sparse map; then data.
    SparseMap { block: Vec<u8>, data: u64 },
    /// Data, and the filling after it.
    Data(u64),
    /// Zeros until the bytes end.
    End,
}

/// A look at an archive that passes.
#[derive(Debug)]
pub struct Check {
    state: State,
    /// Whether a header was right: then it is an archive.
    has_begun: bool,
    /// Whether the block before was of zeros.
    after_zeros: bool,
    /// The size that an extended header gave to the next entry.
    size: Option<u64>,
}

impl Default for Check {
    fn default() -> Check {
        Check::new()
    }
}

impl Check {
    /// Before the first byte.
    pub fn new() -> Check {
        let state = State::Header(Vec::with_capacity(BLOCK));
        Check { state, has_begun: false, after_zeros: false, size: None }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// Malformed: no tar archive, or one that is damaged.
    pub fn look(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Header(block) => {
                    let used = fill(block, bytes);
                    if block.len() == BLOCK {
                        let block = std::mem::take(block);
                        self.state = self.header(&block)?;
                    }
                    used
                }
                State::Extended { records, left, filling } => {
                    let used = part(*left, bytes);
                    records.extend_from_slice(&bytes[..used]);
                    *left -= used as u64;
                    if *left == 0 {
                        self.size = size_of(records)?.or(self.size);
                        self.state = State::Data(*filling);
                    }
                    used
                }
                State::SparseMap { block, data } => {
                    let used = fill(block, bytes);
                    if block.len() == BLOCK {
                        let data = *data;
                        self.state = match block[504] {
                            0 => State::Data(data),
                            _ => State::SparseMap { block: Vec::with_capacity(BLOCK), data },
                        };
                    }
                    used
                }
                State::Data(left) => {
                    let used = part(*left, bytes);
                    *left -= used as u64;
                    used
                }
                State::End => {
                    if bytes.iter().any(|byte| *byte != 0) {
                        let error = Error::malformed("data after the end of the archive");
                        return Err(error.hint("two archives are two layers"));
                    }
                    bytes.len()
                }
            };
            bytes = &bytes[used..];
            if let State::Data(0) = self.state {
                self.state = State::Header(Vec::with_capacity(BLOCK));
            }
        }
        Ok(())
    }

    /// The end of the bytes.
    ///
    /// # Errors
    /// Malformed: the archive has not ended.
    pub fn finish(&self) -> Result<()> {
        let cut = |what: &str| Err(Error::malformed(format_args!("archive is cut short: {what}")));
        match &self.state {
            State::End => Ok(()),
            State::Header(_) if !self.has_begun && !self.after_zeros => Err(no_archive()),
            State::Header(block) if block.is_empty() => cut("its end is not marked"),
            State::Header(_) | State::Extended { .. } => cut("in a header"),
            State::SparseMap { .. } => cut("in a sparse map"),
            State::Data(left) => cut(&format!("{left} bytes are missing")),
        }
    }

    /// What comes after a header block.
    fn header(&mut self, block: &[u8]) -> Result<State> {
        if block.iter().all(|byte| *byte == 0) {
            let is_end = std::mem::replace(&mut self.after_zeros, true);
            return Ok(if is_end { State::End } else { State::Data(0) });
        }
        if self.after_zeros {
            return Err(Error::malformed("a lone block of zeros, and more after it"));
        }
        if !has_right_sum(block) {
            return Err(match self.has_begun {
                true => Error::malformed("a header with a wrong checksum"),
                false => no_archive(),
            });
        }
        self.has_begun = true;
        let size = number(&block[124..136])
            .ok_or_else(|| Error::malformed("a header whose size is no number"))?;
        match block[156] {
            b'x' | b'g' | b'L' | b'K' if size > MAX_EXTENDED => Err(Error::malformed(
                format_args!("an extended header of {size} bytes, more than {MAX_EXTENDED}"),
            )),
            b'x' | b'g' if size > 0 => {
                Ok(State::Extended { records: Vec::new(), left: size, filling: filling(size) })
            }
            b'x' | b'g' | b'L' | b'K' => Ok(State::Data(size + filling(size))),
            kind => {
                let size = self.size.take().unwrap_or(size);
                let whole = size.checked_add(filling(size)).ok_or_else(too_large)?;
                match kind {
                    // Of a directory it is an allocation, if anything.
                    b'5' => Ok(State::Data(0)),
                    b'1'..=b'4' | b'6' if size > 0 => Err(Error::malformed(format_args!(
                        "{size} bytes of data for what can have none"
                    ))),
                    b'S' if block[482] != 0 => {
                        Ok(State::SparseMap { block: Vec::with_capacity(BLOCK), data: whole })
                    }
                    _ => Ok(State::Data(whole)),
                }
            }
        }
    }
}

fn no_archive() -> Error {
    Error::malformed("not a tar archive")
}

fn too_large() -> Error {
    Error::malformed("a header whose size is beyond all measure")
}

/// Adds to a block; how much of the bytes was used.
fn fill(block: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let used = bytes.len().min(BLOCK - block.len());
    block.extend_from_slice(&bytes[..used]);
    used
}

/// How much of the bytes belongs to what is left.
fn part(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

/// The filling after so many bytes.
fn filling(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Whether a header's checksum is right, summed unsigned or signed as tools do and did.
fn has_right_sum(block: &[u8]) -> bool {
    let bytes = || {
        block.iter().enumerate().map(|(i, byte)| if (148..156).contains(&i) { b' ' } else { *byte })
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    number(&block[148..156])
        .and_then(|sum| i64::try_from(sum).ok())
        .is_some_and(|sum| sum == unsigned || sum == signed)
}

/// A header's number: octal digits with blanks around, or GNU's base 256.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        let (high, low) = rest.split_at(rest.len().saturating_sub(8));
        let is_small = high.iter().all(|byte| *byte == 0);
        return is_small.then(|| low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let text = field.split(|byte| *byte == 0).next()?.trim_ascii();
    text.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The size that an extended header's records give.
fn size_of(mut records: &[u8]) -> Result<Option<u64>> {
    let wrong = || Error::malformed("an extended header that is no sequence of records");
    let decimal = |digits: &[u8]| -> Option<u64> {
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    };
    let mut size = None;
    while !records.is_empty() {
        let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length = decimal(&records[..space])
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| (space + 2..=records.len()).contains(length))
            .ok_or_else(wrong)?;
        let record = records[space + 1..length].strip_suffix(b"\n").ok_or_else(wrong)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            let value = decimal(value);
            size =
                Some(value.ok_or_else(|| {
                    Error::malformed("an extended header whose size is no number")
                })?);
        }
        records = &records[length..];
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with a right checksum.
    fn header(kind: u8, size: &str) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_old_mut().size[..size.len()].copy_from_slice(size.as_bytes());
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    /// What comes of the bytes, looked at in pieces of the given size.
    fn outcome(bytes: &[u8], piece: usize) -> Option<String> {
        let mut check = Check::new();
        let looked = bytes.chunks(piece).try_for_each(|bytes| check.look(bytes));
        looked.and_then(|()| check.finish()).err().map(|error| error.to_string())
    }

    fn says(bytes: &[u8]) -> String {
        let whole = outcome(bytes, usize::MAX);
        for piece in [1, 7, 512, 1000] {
            assert_eq!(outcome(bytes, piece), whole, "in pieces of {piece}");
        }
        whole.unwrap_or_default()
    }

    fn blocks(count: usize) -> Vec<u8> {
        vec![0; count * BLOCK]
    }

    #[test]
    fn whole_archives_pass() {
        let file = [header(b'0', "1001"), vec![1; 513], vec![0; 511]].concat();
        assert_eq!(says(&[file.clone(), blocks(2)].concat()), "");
        assert_eq!(says(&[file.clone(), blocks(20)].concat()), "");
        assert_eq!(says(&blocks(2)), "");
        let sized = [header(b'x', "14"), b"12 size=513\n".to_vec(), vec![0; 500]].concat();
        let file = [sized, header(b'0', "0"), vec![1; 513], vec![0; 511], blocks(2)].concat();
        assert_eq!(says(&file), "");
        assert_eq!(says(&[header(b'5', "1000"), blocks(2)].concat()), "");
    }

    #[test]
    fn what_is_no_whole_archive_is_told() {
        let file = [header(b'0', "1001"), vec![1; 513], vec![0; 511]].concat();
        assert_eq!(says(b"hello"), "not a tar archive");
        assert_eq!(says(&[b'x'; 600]), "not a tar archive");
        assert_eq!(says(&file), "archive is cut short: its end is not marked");
        assert_eq!(
            says(&[&file, &blocks(1)[..]].concat()),
            "archive is cut short: its end is not marked"
        );
        assert_eq!(says(&file[..600]), "archive is cut short: 936 bytes are missing");
        assert_eq!(says(&[&file, &file[..5]].concat()), "archive is cut short: in a header");
        assert_eq!(says(&[&file, &[b'x'; 512][..]].concat()), "a header with a wrong checksum");
        assert!(says(&[blocks(1), file.clone()].concat()).starts_with("a lone block"));
        assert!(says(&[file.clone(), blocks(2), file].concat()).starts_with("data after"));
        assert!(says(&[header(b'2', "1"), blocks(3)].concat()).starts_with("1 bytes of data"));
        assert!(says(&header(b'0', "9")).starts_with("a header whose size"));
        assert!(says(&[header(b'x', "4"), blocks(1)].concat()).contains("no sequence"));
        assert!(says(&header(b'x', "4000001")).starts_with("an extended header of 1048577"));
        assert!(!says(&header(b'x', "4000000")).starts_with("an extended header of"));
    }
}
