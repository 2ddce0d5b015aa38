// SPDX-License-Identifier: Apache-2.0
//! Tests that the output bytes depend on input, format and level only, and tests of a failing
//! output.
//!
//! This file is compiled only for tests, so its functions may panic.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const FORMATS: [Option<Compression>; 3] = [None, Some(Compression::Gzip), Some(Compression::Zstd)];

/// Bytes that are partly compressible. The result depends on the size only.
fn sample(size: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = state.to_le_bytes();
        bytes.extend_from_slice(&word);
        bytes.extend(std::iter::repeat_n(word[3], usize::from(word[2] & 63)));
    }
    bytes.truncate(size);
    bytes
}

fn method(format: Option<Compression>, threads: usize) -> Method {
    Method::new(format, None, threads).unwrap()
}

/// Compresses bytes that are written in pieces of the given size.
fn compress(method: Method, bytes: &[u8], piece: usize) -> Finished<Vec<u8>> {
    let mut compressor = Compressor::new(Vec::new(), method).unwrap();
    for piece in bytes.chunks(piece) {
        compressor.write_all(piece).unwrap();
    }
    compressor.finish().unwrap()
}

fn expand(format: Option<Compression>, bytes: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::new();
    match format {
        None => expanded.extend_from_slice(bytes),
        Some(Compression::Gzip) => {
            // Exactly one member, and no bytes after it.
            let mut decoder = flate2::bufread::GzDecoder::new(bytes);
            decoder.read_to_end(&mut expanded).unwrap();
            assert!(decoder.into_inner().is_empty());
        }
        Some(Compression::Zstd) => {
            let mut decoder = ::zstd::stream::read::Decoder::new(bytes).unwrap();
            decoder.read_to_end(&mut expanded).unwrap();
        }
    }
    expanded
}

#[test]
fn input_of_every_size_is_restored() {
    for format in FORMATS {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 17, 9 << 20] {
            let bytes = sample(size);
            let finished = compress(method(format, 2), &bytes, 1 << 16);
            assert_eq!(expand(format, &finished.output), bytes, "{format:?} {size}");
            assert_eq!(finished.diff_id, Algorithm::Sha256.digest(&bytes));
            assert_eq!(finished.digest, Algorithm::Sha256.digest(&finished.output));
            assert_eq!(finished.size, finished.output.len() as u64);
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_sizes_of_writes() {
    let bytes = sample(9 << 20);
    for format in FORMATS {
        let want = compress(method(format, 1), &bytes, BLOCK).digest;
        for (threads, piece) in [(1, 1 << 20), (2, 4096), (3, 1000), (7, BLOCK + 1)] {
            let got = compress(method(format, threads), &bytes, piece).digest;
            assert_eq!(got, want, "{format:?}: {threads} threads, writes of {piece}");
        }
    }
    let bytes = sample(2 * BLOCK + 5);
    for format in FORMATS {
        let want = compress(method(format, 2), &bytes, BLOCK).digest;
        assert_eq!(compress(method(format, 2), &bytes, 1).digest, want, "{format:?}");
    }
}

/// The output bytes must not change: packing the same layer again gives the same digest. If a new
/// version of a library changes the bytes, the change must be announced to users.
#[test]
fn the_bytes_are_the_same_in_every_version() {
    let bytes = sample(1_000_003);
    let digest = |format| compress(method(format, 2), &bytes, 1 << 16).digest.to_string();
    assert_eq!(
        digest(Some(Compression::Gzip)),
        "sha256:71a6a7cdf83e3135bd3fef63848ea73bf06f8c8a3b89a6f97ba047be58848f1b"
    );
    assert_eq!(
        digest(Some(Compression::Zstd)),
        "sha256:a13a394b2b953ebf31c9c900999fb013cfd53c60ba5243dd98e229f7a4f7a8a4"
    );
}

#[test]
fn levels_at_their_edges() {
    let gzip = |level| Method::new(Some(Compression::Gzip), Some(level), 1);
    let zstd = |level| Method::new(Some(Compression::Zstd), Some(level), 1);
    assert!(gzip(1).is_ok() && gzip(9).is_ok() && zstd(1).is_ok() && zstd(19).is_ok());
    assert!(gzip(0).is_err() && gzip(10).is_err() && zstd(0).is_err() && zstd(20).is_err());
    assert!(Method::new(None, Some(1), 1).is_err());
    for level in [1, 9] {
        let bytes = sample(300_000);
        let finished = compress(gzip(level).unwrap(), &bytes, 1000);
        assert_eq!(expand(Some(Compression::Gzip), &finished.output), bytes);
    }
}

#[test]
fn docker_has_no_type_for_zstd() {
    let zstd = method(Some(Compression::Zstd), 1);
    assert_eq!(zstd.media_type(false).unwrap(), mediatype::OCI_LAYER_ZSTD);
    assert!(zstd.media_type(true).is_err());
    let gzip = method(Some(Compression::Gzip), 1);
    assert_eq!(gzip.media_type(true).unwrap(), mediatype::DOCKER_LAYER_GZIP);
}

/// An output that fails after the given number of bytes, and sets the flag when it is dropped.
struct Full(usize, Arc<AtomicBool>);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_full_output_fails_with_its_own_error() {
    let bytes = sample(12 << 20);
    for format in FORMATS {
        for room in [0, 100, 1 << 20] {
            let dropped = Arc::new(AtomicBool::new(false));
            let output = Full(room, Arc::clone(&dropped));
            let mut compressor = Compressor::new(output, method(format, 2)).unwrap();
            let written = compressor.write_all(&bytes);
            let outcome = written.and_then(|()| compressor.finish().map(drop));
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::StorageFull, "{format:?} {room}");
            assert!(dropped.load(Ordering::SeqCst));
        }
    }
}

#[test]
fn dropping_an_unfinished_compressor_drops_the_output() {
    for format in [Some(Compression::Gzip), Some(Compression::Zstd)] {
        let dropped = Arc::new(AtomicBool::new(false));
        let output = Full(usize::MAX, Arc::clone(&dropped));
        let mut compressor = Compressor::new(output, method(format, 2)).unwrap();
        compressor.write_all(&sample(1 << 20)).unwrap();
        drop(compressor);
        assert!(dropped.load(Ordering::SeqCst));
    }
}
