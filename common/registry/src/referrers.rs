// SPDX-License-Identifier: Apache-2.0
//! Referrers in a registry without referrers support: an index under a tag that is derived from the
//! subject's digest (the referrers fallback tag).
//!
//! Follows the distribution specification's "unavailable referrers API". The tag may name another
//! manifest: some registries read `sha256-HEX` as the digest `sha256:HEX` and return the subject.
//! Anything that is not a list of referrers is left unchanged.
//!
//! If the registry has no entity tags, two writers that update the index at the same time may
//! overwrite each other's entry. To make a lost entry rare, the index is read again a moment after
//! each write. This does not make it impossible.

use std::time::Duration;

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::json;
use common::manifest::{Content, MAX_SIZE, Manifest, Schema1};
use common::mediatype::OCI_INDEX;
use net::retry::jitter;
use serde_json::{Map, Value};

use super::Registry;
use super::manifest::{ACCEPT, EntityTag, RemoteManifest};
use super::put::{Outgoing, Put};

/// The maximum number of writes when another writer changes the index at the same time.
const MAX_ROUNDS: u32 = 8;

/// The minimum wait after a write, so that a concurrent writer finishes before the index is read
/// again.
const SETTLING: Duration = Duration::from_millis(150);

/// The maximum length, in characters, of the two parts of a fallback tag: the digest's algorithm
/// and its hexadecimal digits.
const MAX_ALGORITHM: usize = 32;
const MAX_DIGITS: usize = 64;

const NO_LIST: &str = "not a list of referrers";

const UNLISTED: &str = "the manifest is stored, but not listed as a referrer of its subject";

/// The referrers fallback tag of a digest.
fn fallback_tag(subject: &Digest) -> String {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let algorithm = cut(subject.algorithm().name(), MAX_ALGORITHM);
    format!("{algorithm}-{}", cut(subject.hex(), MAX_DIGITS))
}

impl Registry {
    /// Lists a manifest as a referrer of `subject`, if it is not listed yet.
    ///
    /// # Errors
    /// Malformed if the tag names something other than a list of referrers, which is left
    /// unchanged. Unavailable if other writers keep changing the index. Otherwise the errors of
    /// reading or putting a manifest.
    pub(super) fn list_referrer(&self, subject: &Digest, referrer: &Descriptor) -> Result<()> {
        let tag = fallback_tag(subject);
        for _ in 0..MAX_ROUNDS {
            let Some((bytes, current)) = self.with_referrer(&tag, subject, referrer)? else {
                return Ok(());
            };
            let digest = &Algorithm::Sha256.digest(&bytes);
            let manifest = Outgoing { bytes: &bytes, digest, media_type: OCI_INDEX };
            match self.put_manifest_if(&tag, manifest, current.as_ref())? {
                Put::Stored { .. } => std::thread::sleep(jitter(SETTLING)),
                // Another writer changed the index in the meantime.
                Put::Changed => {}
            }
        }
        let what = self.manifest_name(&tag);
        Err(Error::unavailable(format_args!("{what}: gave up: other writers keep changing it")))
    }

    /// The new index with the referrer added, and the entity tag of the index that it replaces.
    /// `None` if the referrer is listed already.
    fn with_referrer(
        &self,
        tag: &str,
        subject: &Digest,
        referrer: &Descriptor,
    ) -> Result<Option<(Vec<u8>, Option<EntityTag>)>> {
        let what = self.manifest_name(tag);
        let wrong = |why: &str| {
            Error::malformed(format_args!("{what}: {why}: left unchanged")).hint(UNLISTED)
        };
        // Every type is accepted: some registries answer 404 for a manifest of another type, and
        // that manifest would be overwritten.
        let (mut document, current) = match self.manifest(tag, None, &ACCEPT) {
            Ok(remote) => {
                refuse_other(&remote, subject).map_err(|why| wrong(&why))?;
                let document = json::parse_object(&remote.bytes).map_err(|e| wrong(&e))?;
                (document, remote.entity_tag)
            }
            Err(error) if error.status() == Status::Absent => (empty_index(), None),
            Err(error) => return Err(error),
        };
        let manifests = document.entry("manifests").or_insert(Value::Null);
        if manifests.is_null() {
            *manifests = Value::Array(Vec::new());
        }
        let Value::Array(manifests) = manifests else { return Err(wrong(NO_LIST)) };
        let digest = referrer.digest.to_string();
        if manifests.iter().any(|entry| entry.get("digest") == Some(&Value::from(digest.as_str())))
        {
            return Ok(None);
        }
        manifests.push(referrer.clone().into_value());
        let bytes = Value::Object(document).to_string().into_bytes();
        if bytes.len() as u64 > MAX_SIZE {
            return Err(wrong("no room for another referrer in this index"));
        }
        Ok(Some((bytes, current)))
    }
}

/// Refuses a manifest that is not a list of referrers: the subject itself, a manifest of another
/// type, or an index of images for platforms.
fn refuse_other(remote: &RemoteManifest, subject: &Digest) -> std::result::Result<(), String> {
    if subject.algorithm().digest(&remote.bytes) == *subject {
        return Err("the subject itself, not a list of its referrers".to_owned());
    }
    let parsed = Manifest::parse(&remote.bytes, remote.said.as_deref(), "it", Schema1::Allowed)
        .map_err(|error| error.to_string())?;
    let Content::Index { manifests } = parsed.content else { return Err(NO_LIST.to_owned()) };
    // A referrer is listed with its artifact type, and an image with its platform.
    let is_image =
        |entry: &Descriptor| entry.platform().is_some() && entry.artifact_type().is_none();
    if parsed.media_type != OCI_INDEX || manifests.iter().any(is_image) {
        return Err(NO_LIST.to_owned());
    }
    Ok(())
}

fn empty_index() -> Map<String, Value> {
    let mut index = Map::new();
    index.insert("schemaVersion".to_owned(), 2.into());
    index.insert("mediaType".to_owned(), OCI_INDEX.into());
    index.insert("manifests".to_owned(), Value::Array(Vec::new()));
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_digest_is_cut_to_fit_a_tag() {
        let short = Algorithm::Sha256.digest(b"");
        assert_eq!(fallback_tag(&short), format!("sha256-{}", short.hex()));
        let long = Algorithm::Sha512.digest(b"");
        assert_eq!(fallback_tag(&long), format!("sha512-{}", &long.hex()[..64]));
    }
}
