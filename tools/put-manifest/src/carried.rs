// SPDX-License-Identifier: Apache-2.0
//! The blobs that a manifest carries itself: the field `data` of a descriptor has the content.
//! build-manifest writes the empty config of an artifact in this way. put-manifest stores these
//! blobs, because no other tool has their bytes.
//!
//! The bytes are bounded by the size of the manifest.

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::manifest::{Content, Manifest};
use common::mediatype;
use common::notice;

/// A blob with its verified bytes.
pub(crate) struct Carried {
    pub(crate) digest: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// The blobs that the descriptors of the config and the layers carry, without duplicates. If `data`
/// has another size or digest than the descriptor, it is ignored with a warning. Entries of an
/// index are manifests, not blobs. Non-distributable layers are not pushed.
pub(crate) fn blobs(manifest: &Manifest) -> Vec<Carried> {
    let Content::Image { config, layers } = &manifest.content else { return Vec::new() };
    let mut blobs: Vec<Carried> = Vec::new();
    for descriptor in std::iter::once(config).chain(layers) {
        let Descriptor { media_type, digest, .. } = descriptor;
        let is_blob = !mediatype::is_manifest(media_type) && !descriptor.is_non_distributable();
        if !is_blob || blobs.iter().any(|blob| blob.digest == *digest) {
            continue;
        }
        match descriptor.data() {
            Some(Ok(bytes)) => blobs.push(Carried { digest: digest.clone(), bytes }),
            Some(Err(why)) => notice::warn("data", || format!("{digest}: {why}: not used")),
            None => {}
        }
    }
    blobs
}
