// SPDX-License-Identifier: Apache-2.0
//! One zstd frame, compressed by libzstd's own threads.
//!
//! libzstd promises the same bytes for any number of workers from one on, as long as its jobs are
//! of the same size: so there is always one, and the size is ours.

use std::io;

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::Strategy;

/// The bytes of a job: as many workers as there are hold about two of them each.
const JOB: u32 = 4 << 20;

/// The level without which one is asked for.
pub(super) const DEFAULT_LEVEL: u32 = 3;

/// The bytes that come out at a time.
const OUT: usize = 128 << 10;

/// A frame in the making.
pub(super) struct Frame {
    encoder: Encoder<'static>,
    out: Vec<u8>,
}

impl Frame {
    /// A frame of the given level. It has no checksum of its own: the layer's digest says more.
    pub(super) fn new(level: u32, threads: usize) -> io::Result<Frame> {
        let mut encoder = Encoder::new(i32::try_from(level).unwrap_or(i32::MAX))?;
        let threads = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
        encoder.set_parameter(CParameter::NbWorkers(threads))?;
        encoder.set_parameter(CParameter::JobSize(JOB))?;
        if level == DEFAULT_LEVEL {
            for parameter in tuned() {
                encoder.set_parameter(parameter)?;
            }
        }
        Ok(Frame { encoder, out: vec![0; OUT] })
    }

    /// Compresses a block; `put` takes what comes out.
    pub(super) fn write(
        &mut self,
        block: &[u8],
        mut put: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut input = InBuffer::around(block);
        while input.pos() < block.len() {
            let mut out = OutBuffer::around(&mut self.out[..]);
            self.encoder.run(&mut input, &mut out)?;
            put(out.as_slice())?;
        }
        Ok(())
    }

    /// Ends the frame.
    pub(super) fn finish(mut self, mut put: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        loop {
            let mut out = OutBuffer::around(&mut self.out[..]);
            let left = self.encoder.finish(&mut out, false)?;
            put(out.as_slice())?;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

/// What the default level is made of: one hash table, larger than level 1's, over a larger window.
/// On file systems' archives it is a hundredth larger than libzstd's level 3 with two tables, in
/// three quarters of the time.
fn tuned() -> [CParameter; 4] {
    [
        CParameter::Strategy(Strategy::ZSTD_fast),
        CParameter::WindowLog(22),
        CParameter::HashLog(17),
        CParameter::MinMatch(6),
    ]
}
