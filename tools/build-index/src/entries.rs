// SPDX-License-Identifier: Apache-2.0
//! The entries of an index: reads them from standard input, and refuses lines that an index cannot
//! list.

use std::collections::HashMap;

use common::building;
use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::mediatype::{DOCKER_MANIFEST, Kind, kind};
use common::platform::Platform;
use layout::{CONTAINERD_NAME, REF_NAME};

/// Reads standard input to its end. Removes the annotations that name an entry in a layout's
/// `index.json`.
///
/// # Errors
/// Malformed if there are no lines, if a line does not describe a manifest or an index, or if the
/// lines together have more bytes than an index may have.
pub(crate) fn read() -> Result<Vec<Descriptor>> {
    let entry = |line: Result<Descriptor>| {
        let descriptor = line?;
        refuse_other_types(&descriptor)?;
        Ok(descriptor.without_annotation(REF_NAME).without_annotation(CONTAINERD_NAME))
    };
    building::lines()?.map(entry).collect()
}

fn refuse_other_types(descriptor: &Descriptor) -> Result<()> {
    let Descriptor { digest, media_type, size, .. } = descriptor;
    match kind(media_type) {
        Kind::Manifest | Kind::Index if *size == 0 => Err(Error::malformed(format_args!(
            "{digest}: the size is 0, but a manifest is not empty"
        ))),
        Kind::Manifest | Kind::Index => Ok(()),
        Kind::Schema1 => {
            let what =
                format_args!("{digest}: a Docker schema 1 manifest: an index cannot list it");
            Err(Error::malformed(what))
        }
        _ => {
            let shown = printable(media_type);
            let what =
                format_args!("{digest}: {shown} is not the media type of a manifest or an index");
            let error = Error::malformed(what);
            Err(error.hint("build-manifest builds a manifest from the lines of blobs"))
        }
    }
}

/// Refuses an entry that a Docker manifest list cannot have.
///
/// # Errors
/// Malformed if the entry is not a Docker manifest or has no platform.
pub(crate) fn refuse_in_docker_list(entry: &Descriptor) -> Result<()> {
    let Descriptor { digest, media_type, .. } = entry;
    if media_type != DOCKER_MANIFEST {
        let what = format_args!(
            "{digest}: {}: a Docker manifest list has only Docker manifests",
            printable(media_type)
        );
        return Err(Error::malformed(what).hint("build-manifest --docker builds a Docker manifest"));
    }
    if entry.platform().is_none() {
        let what = format_args!("{digest}: no platform: a Docker manifest list requires it");
        return Err(
            Error::malformed(what).hint("--from oci:DIR reads the platform from the image config")
        );
    }
    Ok(())
}

/// The key of an entry. No two entries of an index may have the same key.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// The platform of an image, with its required features of the operating system.
    Platform(Platform, Vec<String>),
    /// The digest of a manifest that is not chosen by its platform.
    Manifest(Digest),
}

/// Refuses duplicate entries, because readers would use only the first of them.
///
/// # Errors
/// Malformed if two images have the same platform, or if another manifest is listed twice.
pub(crate) fn refuse_duplicates(entries: &[Descriptor]) -> Result<()> {
    let mut seen: HashMap<Key, &Digest> = HashMap::new();
    for entry in entries {
        let digest = &entry.digest;
        let platform = entry.platform().filter(|_| !entry.is_attestation_or_artifact());
        let (key, shown) = match platform {
            Some(platform) => {
                let shown = printable(&platform.to_string());
                (Key::Platform(platform.canonical(), entry.os_features()), Some(shown))
            }
            None => (Key::Manifest(digest.clone()), None),
        };
        if let Some(first) = seen.insert(key, digest) {
            let error = match shown {
                Some(platform) => {
                    Error::malformed(format_args!("{platform} appears twice: {first} and {digest}"))
                }
                None => Error::malformed(format_args!("{digest} appears twice")),
            };
            return Err(error.hint("--allow-duplicates lists both entries"));
        }
    }
    Ok(())
}
