// SPDX-License-Identifier: Apache-2.0
//! Reads the input manifest and checks it before anything is sent.

use std::path::Path;

use common::cli::{self, read_document};
use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::lines::looks_like_descriptor;
use common::manifest::{MAX_SIZE, Manifest};
use common::reference::Location;
use common::schema1;
use store::Document;

/// Reads the manifest from a file or standard input. `location` is its destination.
///
/// # Errors
/// Malformed if the input is not a manifest, or if fetch-manifest would refuse it. Content if its
/// digest differs from the digest in the location. Usage if the input is a descriptor line. Absent
/// if the file does not exist, Local if it cannot be read.
pub(crate) fn read(file: Option<&Path>, location: &Location) -> Result<Document> {
    let bytes = read_document(file, MAX_SIZE).map_err(|error| {
        let line = |image: &str, _: &_| format!("fetch-manifest {image} | put-manifest {location}");
        cli::or_image(error, file, line)
    })?;
    let name = cli::input_name(file);
    let manifest = match Manifest::parse(&bytes, None, &location.to_string(), cli::schema1()) {
        Err(_) if looks_like_descriptor(&bytes) => {
            let error =
                Error::usage(format_args!("{name}: got a descriptor line, want a manifest"));
            return Err(error.hint("push-blob --from STORE takes descriptor lines"));
        }
        parsed => parsed.map_err(|e| e.context(&name))?,
    };
    let wanted = match location {
        Location::Registry(reference) => reference.digest.as_ref(),
        Location::Layout(place) => place.digest.as_ref(),
    };
    let algorithm = wanted.map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = algorithm.digest(&schema1::digested(&bytes));
    if let Some(want) = wanted.filter(|want| **want != digest) {
        return Err(Error::content(format_args!(
            "{name}: digest differs: got {digest}, want {want}"
        )));
    }
    let descriptor = Descriptor::new(&manifest.media_type, digest, bytes.len() as u64);
    Ok(Document { bytes, descriptor, manifest })
}
