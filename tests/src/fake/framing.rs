// SPDX-License-Identifier: Apache-2.0
//! The end of a request's body: after its Content-Length, or after its last chunk.

use std::io::{self, BufRead, BufReader, Read};

use super::Request;
use super::wire::Wire;

/// The maximum length of a chunk's size line, and of a trailer.
const MAX_LINE: u64 = 1024;

/// The state of a body that is being read.
pub(super) enum Framing {
    Length { left: u64 },
    Chunked { left: u64, over: bool },
}

impl Framing {
    /// The framing given by the request's headers.
    pub(super) fn of(request: &Request) -> io::Result<Framing> {
        Ok(match request.header("content-length") {
            Some(length) => Framing::Length { left: length.parse().map_err(io::Error::other)? },
            None if request.header("transfer-encoding").is_some() => {
                Framing::Chunked { left: 0, over: false }
            }
            None => Framing::Length { left: 0 },
        })
    }

    /// The next bytes of the body, at most `limit`; empty at the body's end.
    pub(super) fn fill<'a>(
        &mut self,
        wire: &'a mut BufReader<Wire>,
        limit: u64,
    ) -> io::Result<&'a [u8]> {
        if let Framing::Chunked { left: left @ 0, over: over @ false } = self {
            let line = read_line(wire)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            *left = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if *left == 0 {
                *over = true;
                // Trailers, and the empty line after them.
                while read_line(wire)?.trim_end() != "" {}
            }
        }
        let (Framing::Length { left } | Framing::Chunked { left, .. }) = *self;
        if left == 0 {
            return Ok(&[]);
        }
        let bytes = wire.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(left.min(limit)).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[..len])
    }

    /// Removes `len` bytes that the caller has used.
    pub(super) fn consume(&mut self, wire: &mut BufReader<Wire>, len: usize) -> io::Result<()> {
        wire.consume(len);
        match self {
            Framing::Length { left } => *left -= len as u64,
            Framing::Chunked { left, .. } => {
                *left -= len as u64;
                if *left == 0 {
                    read_line(wire)?;
                }
            }
        }
        Ok(())
    }
}

fn read_line(wire: &mut BufReader<Wire>) -> io::Result<String> {
    let mut line = String::new();
    match wire.take(MAX_LINE).read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}
