// SPDX-License-Identifier: Apache-2.0
//! Decodes gzip (RFC 1952) with any number of members, as in estargz and in concatenated files.
//!
//! Zeros after the last member are accepted, because real layers have them. Any other data there is
//! refused. Headers and trailers are parsed here, because the reader of the library flate2 refuses
//! the zeros.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// The decoder's position in a member.
enum State {
    /// In the ten fixed bytes of a header, after this many of them.
    Fixed(usize),
    /// In an optional field. The fields after it are in `flags`.
    Optional(Optional),
    /// In the compressed data.
    Body,
    /// In the eight bytes of the trailer, after this many of them.
    Trailer(usize),
    /// In the zeros after the last member.
    Padding,
}

/// The optional fields of a header, in their order.
enum Optional {
    ExtraLength(usize),
    Extra(usize),
    Name,
    Comment,
    Check(usize),
}

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// A decoder at some position in a gzip stream.
pub(super) struct Gzip {
    state: State,
    /// The bytes read so far of a part with a fixed size.
    fixed: [u8; 10],
    /// The flags of the optional fields that were not read yet.
    flags: u8,
    members: u64,
    header_crc: Crc,
    inflate: Decompress,
    crc: Crc,
    length: u32,
}

impl Gzip {
    pub(super) fn new() -> Gzip {
        Gzip {
            state: State::Fixed(0),
            fixed: [0; 10],
            flags: 0,
            members: 0,
            header_crc: Crc::new(),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            length: 0,
        }
    }

    /// Decodes some bytes. Returns the number of bytes used from `input`, and the number written to
    /// `output`.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(usize, usize), String> {
        let (mut used, mut filled) = (0, 0);
        loop {
            if matches!(self.state, State::Body) {
                let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
                let status = self
                    .inflate
                    .decompress(&input[used..], &mut output[filled..], FlushDecompress::None)
                    .map_err(|_| "invalid compressed data".to_owned())?;
                let produced = (self.inflate.total_out() - before_out) as usize;
                used += (self.inflate.total_in() - before_in) as usize;
                self.crc.update(&output[filled..filled + produced]);
                self.length = self.length.wrapping_add(produced as u32);
                filled += produced;
                if status != Status::StreamEnd {
                    return Ok((used, filled));
                }
                self.state = State::Trailer(0);
            }
            let Some(byte) = input.get(used) else { return Ok((used, filled)) };
            used += 1;
            self.take(*byte)?;
        }
    }

    /// Checks at the end of the input that the last member is complete.
    pub(super) fn finish(&self) -> Result<(), String> {
        match self.state {
            State::Fixed(0) | State::Padding if self.members > 0 => Ok(()),
            _ => Err("cut short".to_owned()),
        }
    }

    /// Parses a byte outside the compressed data.
    fn take(&mut self, byte: u8) -> Result<(), String> {
        if matches!(&self.state, State::Fixed(_) | State::Optional(_))
            && !matches!(self.state, State::Optional(Optional::Check(_)))
        {
            self.header_crc.update(&[byte]);
        }
        match &mut self.state {
            State::Fixed(0) if byte == 0 && self.members > 0 => self.state = State::Padding,
            State::Fixed(have) => {
                self.fixed[*have] = byte;
                *have += 1;
                if *have == 10 {
                    self.check_header()?;
                } else if *have <= 2 && byte != [0x1f, 0x8b][*have - 1] {
                    return Err("trailing data after the last member".to_owned());
                }
            }
            State::Optional(Optional::ExtraLength(have)) => {
                self.fixed[*have] = byte;
                *have += 1;
                if *have == 2 {
                    let length = u16::from_le_bytes([self.fixed[0], self.fixed[1]]);
                    self.state = State::Optional(Optional::Extra(length.into()));
                    if length == 0 {
                        self.next_field();
                    }
                }
            }
            State::Optional(Optional::Extra(left)) => {
                *left -= 1;
                if *left == 0 {
                    self.next_field();
                }
            }
            State::Optional(Optional::Name | Optional::Comment) => {
                if byte == 0 {
                    self.next_field();
                }
            }
            State::Optional(Optional::Check(have)) => {
                self.fixed[*have] = byte;
                *have += 1;
                if *have == 2 {
                    let stated = u16::from_le_bytes([self.fixed[0], self.fixed[1]]);
                    if u32::from(stated) != self.header_crc.sum() & 0xffff {
                        return Err("wrong checksum of a member's header".to_owned());
                    }
                    self.next_field();
                }
            }
            State::Body => {}
            State::Trailer(have) => {
                self.fixed[*have] = byte;
                *have += 1;
                if *have == 8 {
                    self.check_trailer()?;
                }
            }
            State::Padding if byte == 0 => {}
            State::Padding => return Err("trailing data after the last member".to_owned()),
        }
        Ok(())
    }

    fn check_header(&mut self) -> Result<(), String> {
        if self.fixed[2] != 8 {
            return Err(format!("unknown compression method {}", self.fixed[2]));
        }
        self.flags = self.fixed[3];
        if self.flags & RESERVED != 0 {
            return Err("reserved flags are set".to_owned());
        }
        self.next_field();
        Ok(())
    }

    /// Moves to the next optional field in `flags`, or to the data.
    fn next_field(&mut self) {
        let mut has = |flag: u8| {
            let has = self.flags & flag != 0;
            self.flags &= !flag;
            has
        };
        self.state = if has(FEXTRA) {
            State::Optional(Optional::ExtraLength(0))
        } else if has(FNAME) {
            State::Optional(Optional::Name)
        } else if has(FCOMMENT) {
            State::Optional(Optional::Comment)
        } else if has(FHCRC) {
            State::Optional(Optional::Check(0))
        } else {
            State::Body
        };
    }

    fn check_trailer(&mut self) -> Result<(), String> {
        let word = |at: usize| {
            let bytes = &self.fixed[at..at + 4];
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        if word(0) != self.crc.sum() {
            return Err("wrong checksum".to_owned());
        }
        if word(4) != self.length {
            return Err("wrong length".to_owned());
        }
        self.members += 1;
        self.inflate.reset(false);
        self.crc.reset();
        self.header_crc.reset();
        self.length = 0;
        self.state = State::Fixed(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn member(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Decodes with input and output buffers of the given sizes.
    fn decode(input: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, String> {
        let mut gzip = Gzip::new();
        let mut all = Vec::new();
        let mut output = vec![0; room];
        for piece in input.chunks(piece) {
            let mut used = 0;
            loop {
                let (took, filled) = gzip.decode(&piece[used..], &mut output)?;
                used += took;
                all.extend_from_slice(&output[..filled]);
                if used == piece.len() && filled < room {
                    break;
                }
            }
        }
        gzip.finish().map(|()| all)
    }

    #[test]
    fn all_members_and_the_zeros_after_them() {
        let data: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let stream = [member(&data), member(b""), member(b"end"), vec![0; 513]].concat();
        let want = [&data[..], b"end"].concat();
        for (piece, room) in [(1, 7), (1000, 1000), (stream.len(), 1 << 20)] {
            assert_eq!(decode(&stream, piece, room).unwrap(), want, "{piece} {room}");
        }
    }

    #[test]
    fn many_empty_members_take_linear_time() {
        assert!(decode(&member(b"").repeat(10_000), 4096, 4096).unwrap().is_empty());
    }

    #[test]
    fn invalid_streams_are_refused() {
        let good = member(b"hello");
        for cut in 1..good.len() {
            assert_eq!(decode(&good[..cut], 3, 100).unwrap_err(), "cut short", "{cut}");
        }
        for at in [2, 3, good.len() - 8, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0xe0;
            assert!(decode(&bad, 100, 100).is_err(), "{at}");
        }
        assert!(decode(&[good.clone(), b"x".to_vec()].concat(), 100, 100).is_err());
        assert!(decode(&[good, vec![0, 0, 1]].concat(), 100, 100).is_err());
    }

    #[test]
    fn headers_with_every_optional_field() {
        let plain = member(b"hello");
        let mut header = plain[..10].to_vec();
        header[3] = FHCRC | FEXTRA | FNAME | FCOMMENT;
        header.extend_from_slice(&[3, 0, 1, 2, 3]);
        header.extend_from_slice(b"name\0comment\0");
        let mut crc = Crc::new();
        crc.update(&header);
        let sum = crc.sum() as u16;
        let with = |sum: u16| [&header[..], &sum.to_le_bytes(), &plain[10..]].concat();
        assert_eq!(decode(&with(sum), 1, 100).unwrap(), b"hello");
        assert!(decode(&with(sum ^ 1), 1, 100).is_err());
    }
}
