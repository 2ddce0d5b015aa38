// SPDX-License-Identifier: Apache-2.0
//! Makes one zstd frame with libzstd's own threads.
//!
//! libzstd guarantees that the output does not depend on the number of workers if there is at least
//! one worker and the job size is the same. Therefore there is always at least one worker, and the
//! job size is fixed here.

use std::io;

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::Strategy;

/// The size of a job in bytes. Each worker needs memory for about two jobs.
const JOB: u32 = 4 << 20;

/// The level if none is given.
pub(super) const DEFAULT_LEVEL: u32 = 3;

/// The size of the output buffer in bytes.
const OUT: usize = 128 << 10;

/// A frame that is being compressed.
pub(super) struct Frame {
    encoder: Encoder<'static>,
    out: Vec<u8>,
}

impl Frame {
    /// A frame of the given level. The frame has no checksum, because the layer's digest detects
    /// more errors.
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

    /// Compresses a block. The output is passed to `put`.
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

/// Parameters for the default level, instead of libzstd's own for level 3: one hash table, larger
/// than that of level 1, and a larger window. libzstd's own level 3 uses two tables. On archives of
/// file systems, the output with these parameters is 1 per cent larger than with libzstd's own, and
/// compression takes three quarters of the time.
fn tuned() -> [CParameter; 4] {
    [
        CParameter::Strategy(Strategy::ZSTD_fast),
        CParameter::WindowLog(22),
        CParameter::HashLog(17),
        CParameter::MinMatch(6),
    ]
}
