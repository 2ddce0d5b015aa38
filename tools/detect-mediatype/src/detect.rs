// SPDX-License-Identifier: Apache-2.0
//! Detects the media type of bytes by their beginning.
//!
//! - JSON documents begin with a brace. They are read completely and parsed strictly.
//! - A tar archive has a valid checksum in its first header, even if the archive is older than the
//!   ustar format. An archive without files has only zeros.
//! - gzip and zstd have magic numbers. Their data is decompressed only as far as needed to find a
//!   tar header.
//!
//! [`HEAD`], [`MAX_DOCUMENT`] and the zstd window bound the memory. The zstd window uses memory
//! only for the bytes that are decompressed.

use std::io::{Cursor, ErrorKind, Read};

use archive::{BLOCK, is_header};
use common::descriptor::Descriptor;
use common::error::{Error, printable};
use common::manifest::{self, Schema1};
use common::{json, mediatype, schema1};
use flate2::bufread::MultiGzDecoder;

/// The number of bytes that are examined to find the kind of data.
pub(crate) const HEAD: usize = 64 << 10;

/// The largest JSON document that is read, in bytes: twice the largest manifest, since no
/// specification limits image configs.
pub(crate) const MAX_DOCUMENT: u64 = 2 * manifest::MAX_SIZE;

/// The largest zstd window, as a power of two: the default limit of libzstd.
const MAX_ZSTD_WINDOW: u32 = 27;

/// The largest archive without files, in bytes. tar programs pad an archive to a full record, which
/// has 20 blocks by default. If the complete head is zeros, the file is not an archive but, for
/// example, a disk image.
const MAX_EMPTY_TAR: usize = HEAD - BLOCK;

/// The media types of a layout's `oci-layout` file and of a descriptor. They are not in
/// [`mediatype`], since no other tool uses them.
const LAYOUT_HEADER: &str = "application/vnd.oci.layout.header.v1+json";
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// The fields that decide about the type of a document.
const DISTINCTIVE: [&str; 6] =
    ["mediaType", "schemaVersion", "rootfs", "layers", "manifests", "fsLayers"];

/// The reason why no media type was found.
pub(crate) enum Failure {
    /// The bytes could not be read.
    Input(std::io::Error),
    /// The bytes are invalid, or a document contradicts itself.
    Content(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Content(error)
    }
}

/// The media type of the bytes in `head` and, after them, `rest`. `head` has [`HEAD`] bytes, or the
/// complete input if it is shorter. `name` is the name of the input in messages.
///
/// # Errors
/// [`Failure::Content`] if a document contradicts itself or its type cannot be determined, or if
/// compressed data is invalid near its beginning. [`Failure::Input`] if `rest` cannot be read.
pub(crate) fn detect(
    head: Vec<u8>,
    rest: impl Read,
    name: &str,
    schema1: Schema1,
) -> Result<String, Failure> {
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head).trim_ascii_start();
    if start.starts_with(b"{") || head.trim_ascii() == b"null" {
        return Ok(document(&read_document(head, rest)?, name, schema1)?);
    }
    if is_tar(&head) {
        return Ok(mediatype::OCI_LAYER.to_owned());
    }
    let mut input = ErrorRecorder { input: Cursor::new(&head[..]).chain(rest), failure: None };
    let (inner, with_tar, without) = match head[..] {
        [0x1f, 0x8b, ..] => {
            let decoder = MultiGzDecoder::new(std::io::BufReader::with_capacity(HEAD, &mut input));
            (beginning(decoder), mediatype::OCI_LAYER_GZIP, mediatype::GZIP)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder = zstd::stream::read::Decoder::new(&mut input).and_then(|mut decoder| {
                decoder.window_log_max(MAX_ZSTD_WINDOW)?;
                Ok(decoder)
            });
            (decoder.and_then(beginning), mediatype::OCI_LAYER_ZSTD, mediatype::ZSTD)
        }
        _ => return Ok(mediatype::OCTETS.to_owned()),
    };
    if let Some(cause) = input.failure {
        return Err(Failure::Input(cause));
    }
    match inner {
        Ok(inner) if is_tar(&inner) => Ok(with_tar.to_owned()),
        Ok(_) => Ok(without.to_owned()),
        Err(cause) => {
            let why = printable(&common::error::os_message(&cause));
            Err(Error::malformed(format_args!("begins as {without}, but: {why}")).into())
        }
    }
}

/// The first bytes of the decompressed data.
fn beginning(decoder: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEAD);
    decoder.take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the bytes are the beginning of a tar archive. `head` has the first [`HEAD`] bytes, or
/// the complete input if it is shorter.
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.first_chunk::<BLOCK>() else { return false };
    if header.iter().all(|byte| *byte == 0) {
        return head.len() >= 2 * BLOCK
            && head.len() <= MAX_EMPTY_TAR
            && head.len().is_multiple_of(BLOCK)
            && head.iter().all(|byte| *byte == 0);
    }
    is_header(header)
}

/// Reads the rest of a document.
fn read_document(mut head: Vec<u8>, rest: impl Read) -> Result<Vec<u8>, Failure> {
    let more = MAX_DOCUMENT + 1 - head.len() as u64;
    rest.take(more).read_to_end(&mut head).map_err(Failure::Input)?;
    if head.len() as u64 > MAX_DOCUMENT {
        let what = format_args!("a JSON document larger than {MAX_DOCUMENT} bytes");
        return Err(Error::malformed(what).into());
    }
    Ok(head)
}

/// The media type of a JSON document.
fn document(bytes: &[u8], name: &str, gate: Schema1) -> Result<String, Error> {
    let value = json::parse(bytes).map_err(Error::malformed)?;
    let Some(object) = value.as_object() else {
        return Err(undetermined("jq prints null for a field that does not exist"));
    };
    let has = |key| object.contains_key(key);
    let lists = has("layers") || has("manifests") || has("fsLayers");
    let diff_ids = object.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids"));
    let is_typed = json::present(object, "mediaType").is_some();
    if diff_ids.is_some_and(|ids| ids.is_array()) && !is_typed && !has("schemaVersion") {
        json::refuse_case_variants(object, &DISTINCTIVE).map_err(Error::malformed)?;
        if lists {
            return Err(Error::malformed("both an image config's and a manifest's fields"));
        }
        return Ok(mediatype::OCI_CONFIG.to_owned());
    }
    if has("imageLayoutVersion") && object.len() == 1 {
        return Ok(LAYOUT_HEADER.to_owned());
    }
    if has("digest") && !lists && Descriptor::from_value(value.clone()).is_ok() {
        return Ok(DESCRIPTOR.to_owned());
    }
    // For a registry's error response, which has "errors", `manifest::detect` has a hint.
    if !(is_typed || lists || has("config") || has("errors")) {
        json::refuse_case_variants(object, &DISTINCTIVE).map_err(Error::malformed)?;
        return Err(undetermined(if object.is_empty() {
            "the empty config of an artifact is {}: application/vnd.oci.empty.v1+json"
        } else if has("rootfs") {
            "an image config has the array rootfs.diff_ids, and neither mediaType nor schemaVersion"
        } else {
            "for other documents, see the mediaType in the descriptor that names the blob"
        }));
    }
    let stated = manifest::detect(object, name, gate)?;
    if mediatype::kind(&stated) == mediatype::Kind::Schema1 {
        schema1::Image::parse(bytes, name)?;
    }
    if has("manifests") && (has("config") || has("layers") || has("fsLayers")) {
        return Err(Error::malformed("both an index's and a manifest's fields"));
    }
    // The media type is printed as one line, but the document's text may contain a newline.
    if stated.chars().any(|c| c.is_control() || c == ' ') {
        return Err(Error::malformed(format_args!(
            "invalid mediaType: \"{}\"",
            printable(&stated)
        )));
    }
    Ok(stated)
}

fn undetermined(hint: &str) -> Error {
    Error::malformed("media-type: cannot determine").hint(hint)
}

/// A reader that records a failure of its input. The error that a decoder returns does not show
/// whether the input failed or the compressed data is invalid.
struct ErrorRecorder<R> {
    input: R,
    failure: Option<std::io::Error>,
}

impl<R: Read> Read for ErrorRecorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer).inspect_err(|cause| {
            // After an interrupted read, the decoder reads again.
            if cause.kind() != ErrorKind::Interrupted {
                let same = cause.raw_os_error().map(std::io::Error::from_raw_os_error);
                self.failure = same.or_else(|| Some(cause.kind().into()));
            }
        })
    }
}
