// SPDX-License-Identifier: Apache-2.0
//! Signed Docker manifests of schema 1. Their digest covers the payload, not the signatures.
//!
//! An input that may be such a document is read completely before it is verified. It is accepted if
//! its payload has the digest. All other inputs, and larger inputs, are verified as streams of
//! bytes.

use std::io::{BufRead, Read};

use common::digest::Digest;
use common::error::{Error, Result};
use common::manifest::MAX_SIZE;
use common::schema1;

/// Reads the beginning of an input that may be a JSON document: at most one byte more than the
/// largest manifest. Empty for any other input.
///
/// # Errors
/// Local if the input cannot be read.
pub(crate) fn read_document(input: &mut impl BufRead, name: &str) -> Result<Vec<u8>> {
    let read_error = |cause: std::io::Error| Error::local(format_args!("read {name}"), &cause);
    let mut document = Vec::new();
    if input.fill_buf().map_err(read_error)?.trim_ascii_start().starts_with(b"{") {
        input.take(MAX_SIZE + 1).read_to_end(&mut document).map_err(read_error)?;
    }
    Ok(document)
}

/// Whether the bytes that [`read_document`] returned are a document whose payload has this digest.
/// `size` is the expected size of the document, if it is known. Without a document this is false:
/// the input is then not read yet, and can have bytes even if the digest is that of no bytes.
pub(crate) fn is_verified(digest: &Digest, size: Option<u64>, document: &[u8]) -> bool {
    !document.is_empty()
        && document.len() as u64 <= MAX_SIZE
        && size.is_none_or(|size| size == document.len() as u64)
        && digest.algorithm().digest(&schema1::digested(document)) == *digest
}
