// SPDX-License-Identifier: Apache-2.0
//! Decodes zstd (RFC 8878) with any number of frames. Skippable frames are skipped.
//!
//! A frame states the size of the window that it needs in memory. The window is limited to 128 MiB,
//! as in the zstd command. Dictionaries are not supported, because a layer cannot contain one.

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// The largest window, as a power of two.
const MAX_WINDOW_LOG: u32 = 27;

/// The number of bytes of a frame's header that are kept for error messages.
const HEAD: usize = 6;

/// A decoder at some position in a zstd stream.
pub(super) struct Zstd {
    context: DCtx<'static>,
    /// Whether the position is inside a frame.
    inside: bool,
    /// The number of complete frames.
    frames: u64,
    /// The beginning of the current frame.
    head: Vec<u8>,
}

impl Zstd {
    pub(super) fn new() -> Result<Zstd, String> {
        let mut context = DCtx::create();
        context.init().map_err(error_name)?;
        context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(error_name)?;
        Ok(Zstd { context, inside: false, frames: 0, head: Vec::with_capacity(HEAD) })
    }

    /// Decodes some bytes. Returns the number of bytes used from `input`, and the number written to
    /// `output`.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(usize, usize), String> {
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        while output.pos() < output.capacity() {
            if !self.inside {
                if input.pos() == input.src.len() {
                    break;
                }
                self.inside = true;
                self.head.clear();
            }
            let (before_in, before_out) = (input.pos(), output.pos());
            let missing = HEAD.saturating_sub(self.head.len());
            self.head.extend(input.src[before_in..].iter().take(missing));
            let left = self
                .context
                .decompress_stream(&mut output, &mut input)
                .map_err(|code| self.reason(code))?;
            if left == 0 {
                self.inside = false;
                self.frames += 1;
            } else if (input.pos(), output.pos()) == (before_in, before_out) {
                break;
            }
        }
        Ok((input.pos(), output.pos()))
    }

    /// Checks at the end of the input that the last frame is complete.
    pub(super) fn finish(&self) -> Result<(), String> {
        if self.inside || self.frames == 0 { Err("cut short".to_owned()) } else { Ok(()) }
    }

    /// The error message for an error code of the library. It is more exact if the frame's header
    /// shows the cause.
    fn reason(&self, code: usize) -> String {
        if let [0x28, 0xb5, 0x2f, 0xfd, descriptor, window] = self.head[..] {
            if descriptor & 0x03 != 0 {
                return "needs a dictionary".to_owned();
            }
            let log = 10 + u32::from(window >> 3);
            let more = u32::from(window & 7 != 0);
            if descriptor & 0x20 == 0 && log + more > MAX_WINDOW_LOG {
                return format!(
                    "window of {} MiB, more than {}",
                    ((1u64 << log) + (1u64 << log) / 8 * u64::from(window & 7)) >> 20,
                    (1u64 << MAX_WINDOW_LOG) >> 20
                );
            }
        } else if self.frames > 0 {
            return "trailing data after the last frame".to_owned();
        }
        error_name(code)
    }
}

fn error_name(code: usize) -> String {
    get_error_name(code).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(data, 1).unwrap()
    }

    fn skippable(data: &[u8]) -> Vec<u8> {
        [&[0x50, 0x2a, 0x4d, 0x18], &(data.len() as u32).to_le_bytes()[..], data].concat()
    }

    fn decode(input: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, String> {
        let mut zstd = Zstd::new()?;
        let mut all = Vec::new();
        let mut output = vec![0; room];
        for piece in input.chunks(piece) {
            let mut used = 0;
            loop {
                let (took, filled) = zstd.decode(&piece[used..], &mut output)?;
                used += took;
                all.extend_from_slice(&output[..filled]);
                if used == piece.len() && filled < room {
                    break;
                }
            }
        }
        zstd.finish().map(|()| all)
    }

    #[test]
    fn all_frames_and_skippable_ones_anywhere() {
        let data: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let stream =
            [skippable(b"a"), frame(&data), skippable(b""), frame(b"end"), skippable(b"toc")];
        let stream = stream.concat();
        let want = [&data[..], b"end"].concat();
        for (piece, room) in [(1, 7), (1000, 1000), (stream.len(), 1 << 20)] {
            assert_eq!(decode(&stream, piece, room).unwrap(), want, "{piece} {room}");
        }
    }

    #[test]
    fn invalid_streams_are_refused() {
        let good = frame(b"hello hello hello");
        for cut in 1..good.len() {
            assert!(decode(&good[..cut], 3, 100).is_err(), "{cut}");
        }
        assert!(decode(&[good.clone(), vec![0; 512]].concat(), 100, 100).is_err());
        assert!(decode(&[good, b"x".to_vec()].concat(), 100, 100).is_err());
    }

    #[test]
    fn windows_at_the_edge() {
        let with = |window: u8| {
            // A header without a content size, then an empty raw block that is marked as the last.
            decode(&[0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0], 100, 100)
        };
        assert!(with(17 << 3).unwrap().is_empty());
        assert!(with(18 << 3).unwrap_err().contains("window of 256 MiB, more than 128"));
        assert!(with(17 << 3 | 1).unwrap_err().contains("window of 144 MiB"));
    }

    #[test]
    fn frames_with_a_dictionary_are_refused() {
        let with = decode(&[0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7, 1, 0, 0], 100, 100);
        assert_eq!(with.unwrap_err(), "needs a dictionary");
    }
}
