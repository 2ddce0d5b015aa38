// SPDX-License-Identifier: Apache-2.0
//! Finds the cause of a registry's rejection of a manifest, and a hint for it.
//!
//! Registries differ in their error codes, and some describe the error only in the text of the
//! message.

use common::descriptor::Descriptor;
use common::digest::Algorithm;
use common::error::Error;
use common::json;
use common::manifest::Manifest;
use common::mediatype::{self, Kind, kind};
use net::failure::Failure;

use super::answer::ErrorBody;
use super::put::Outgoing;

/// The maximum number of missing digests in a message. More digests would make the message too
/// long.
const SHOWN_MISSING: usize = 10;

/// Words for a tag that cannot be moved, in codes and messages in upper case: those of Harbor, Quay
/// and Google, Amazon ECR, Artifactory and Nexus.
const IMMUTABLE: [&str; 5] =
    ["IMMUTABLE", "ALREADY_EXISTS", "ALREADYEXISTS", "OVERWRIT", "NOT ALLOW UPDATING"];

/// Whether the registry reports that the tag cannot be moved.
pub(crate) fn is_immutable(status: u16, body: &ErrorBody) -> bool {
    let text = format!("{} {}", body.code, body.message).to_ascii_uppercase();
    status < 500 && IMMUTABLE.iter().any(|words| text.contains(words))
}

/// Whether the registry reports that a blob or manifest that the manifest names is missing.
pub(crate) fn is_missing(status: u16, code: &str) -> bool {
    matches!(code, "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN")
        || (code == "MANIFEST_UNKNOWN" && status != 404)
}

/// The digests that the registry reports as missing. A digest in a message counts only if the
/// manifest names it: it may be the manifest's own.
pub(crate) fn missing_digests(body: &ErrorBody, parsed: Option<&Manifest>) -> Vec<String> {
    if !body.digests.is_empty() {
        return body.digests.clone();
    }
    let named: Vec<String> = parsed
        .map(|parsed| parsed.named().iter().map(|named| named.digest.to_string()).collect())
        .unwrap_or_default();
    body.said_digests.iter().filter(|digest| named.contains(digest)).cloned().collect()
}

/// The error for blobs or manifests that the manifest names and the registry does not have, or
/// reports as missing.
pub(crate) fn lacking(
    what: &str,
    status: u16,
    code: &str,
    missing: &[String],
    parsed: Option<&Manifest>,
) -> Error {
    let shown: Vec<&str> = missing.iter().take(SHOWN_MISSING).map(String::as_str).collect();
    let list = match missing.len() {
        0 => "something that the manifest names".to_owned(),
        n if n > SHOWN_MISSING => format!("{} and {} more", shown.join(" "), n - SHOWN_MISSING),
        _ => shown.join(" "),
    };
    let error = Error::malformed(format_args!("{what}: {code}: the registry lacks {list}"));
    error.hint(hint_for_missing(status, missing, parsed))
}

/// The hint for blobs that an image's manifest names and the registry lacks.
pub const PUSH_BLOBS_FIRST: &str = "push the blobs of the manifest first, with push-blob";

/// The hint for manifests that an index names and the registry lacks.
const PUSH_MANIFESTS_FIRST: &str =
    "push-blob copies the blobs and manifests that list-blobs --recursive prints";

/// The hint for digests that the registry reports as missing.
///
/// docker-registry 2.8 and distribution 3 also report a blob as missing if they do not accept the
/// `urls` in its descriptor. The status is then 500, and sending the blob does not help.
fn hint_for_missing(status: u16, missing: &[String], parsed: Option<&Manifest>) -> &'static str {
    let named: Vec<&Descriptor> = parsed.into_iter().flat_map(Manifest::named).collect();
    let all_are = |is: &dyn Fn(&Descriptor) -> bool| {
        let is_one = |digest: &String| {
            named.iter().any(|named| named.digest.to_string() == *digest && is(named))
        };
        !missing.is_empty() && missing.iter().all(is_one)
    };
    let has_urls = |named: &Descriptor| named.urls().next().is_some();
    let is_foreign =
        |named: &Descriptor| matches!(kind(&named.media_type), Kind::Layer { foreign: true, .. });
    if status >= 500 && all_are(&has_urls) {
        "the registry may not permit the urls of these layers: its administrator can permit them"
    } else if status >= 500 && all_are(&|named| is_foreign(named) && !has_urls(named)) {
        "the registry may require urls for layers of this media type: \
         build-manifest --oci changes the media types"
    } else if all_are(&Descriptor::is_non_distributable) {
        "the registry requires these non-distributable layers: push-blob \
         --allow-nondistributable sends them"
    } else if named.iter().any(|named| mediatype::is_manifest(&named.media_type)) {
        PUSH_MANIFESTS_FIRST
    } else {
        PUSH_BLOBS_FIRST
    }
}

/// Adds a hint to any other rejection, where its cause can be guessed.
pub(crate) fn hinted(
    failure: Failure,
    status: u16,
    code: &str,
    manifest: Outgoing<'_>,
    parsed: Option<&Manifest>,
) -> Failure {
    let uses_sha512 = || {
        let mut named = parsed.into_iter().flat_map(Manifest::named).map(|named| &named.digest);
        manifest.digest.algorithm() != Algorithm::Sha256
            || named.any(|digest| digest.algorithm() != Algorithm::Sha256)
    };
    let hint = match status {
        413 => "the manifest exceeds the size limit of the registry or of a proxy in front of it",
        400 | 404 | 405 | 415 | 422 | 501 if uses_sha512() => {
            "some registries support only sha256 digests"
        }
        400 | 415 if mediatype::is_docker(manifest.media_type) && code == "MANIFEST_INVALID" => {
            "some registries accept only OCI media types"
        }
        400 | 405 | 415 if !has_media_type(manifest.bytes) => {
            "the manifest has no mediaType, which some registries require"
        }
        404 if code.is_empty() => {
            "the registry may not accept this media type, or may require that the repository is \
             created first"
        }
        404 => "some registries require that the repository is created first",
        _ => return failure,
    };
    Failure { error: failure.error.hint(hint), ..failure }
}

fn has_media_type(bytes: &[u8]) -> bool {
    json::parse_object(bytes).is_ok_and(|document| json::present(&document, "mediaType").is_some())
}
