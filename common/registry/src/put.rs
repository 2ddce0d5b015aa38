// SPDX-License-Identifier: Apache-2.0
//! Writing manifests to a registry: sends the exact bytes and interprets the response.
//!
//! Not here: validating the manifest's structure and checking that the blobs it names exist. The
//! caller does both first.

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::{json, manifest, mediatype};
use net::failure::{Failure, Retry};
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;

use super::manifest::EntityTag;
use super::{Registry, answer};

/// How often a manifest is put again after the registry reports a missing blob: a blob that was
/// just pushed may not have reached every replica of the registry.
const MAX_REPEATS: u32 = 2;

/// The maximum number of missing digests in a message.
const SHOWN_MISSING: usize = 20;

/// A manifest to put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    /// The exact bytes.
    pub(crate) bytes: &'a [u8],
    /// Their digest.
    pub(crate) digest: &'a Digest,
    /// Their media type: the `mediaType` field, or the type implied by the document's structure.
    pub(crate) media_type: &'a str,
}

/// A registry's response to a manifest that it accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    /// Whether the registry lists the manifest as a referrer of its subject (header `OCI-Subject`).
    pub(crate) knows_subject: bool,
}

/// A failed attempt to put a manifest.
struct Rejected {
    failure: Failure,
    /// Whether the registry reports that something the manifest names is missing. It may still
    /// arrive.
    is_missing: bool,
}

impl From<Failure> for Rejected {
    fn from(failure: Failure) -> Rejected {
        Rejected { failure, is_missing: false }
    }
}

impl From<Error> for Rejected {
    fn from(error: Error) -> Rejected {
        Failure::from(error).into()
    }
}

impl Registry {
    /// Puts a manifest under a tag or its digest.
    ///
    /// # Errors
    /// Content if the registry stored another digest. Malformed if it rejects the manifest; the
    /// message lists missing blobs. Refused or Unavailable as it responds.
    fn put_manifest(&self, name: &str, manifest: Outgoing<'_>) -> Result<Accepted> {
        self.put_manifest_if(name, manifest, None)
    }

    /// Puts a manifest under each of these names. If the manifest has a subject and the registry
    /// does not support referrers, the manifest is listed under the referrers fallback tag.
    ///
    /// # Errors
    /// Content if the registry stored another digest. Malformed if it rejects the manifest (the
    /// message lists missing blobs), or if the fallback tag names something other than an index.
    /// Refused or Unavailable as it responds.
    pub fn publish(
        &self,
        names: &[String],
        bytes: &[u8],
        digest: &Digest,
        parsed: &manifest::Manifest,
    ) -> Result<()> {
        let media_type = parsed.media_type.as_str();
        let mut knows_subject = false;
        for name in names {
            let put = self.put_manifest(name, Outgoing { bytes, digest, media_type })?;
            knows_subject = put.knows_subject;
        }
        match &parsed.subject {
            Some(subject) if !knows_subject => {
                let own = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
                self.list_referrer(&subject.digest, &manifest::referrer(bytes, &own)?)
            }
            _ => Ok(()),
        }
    }

    /// Puts a manifest. If `current` is given, only if the manifest to be replaced still has that
    /// entity tag.
    ///
    /// # Errors
    /// As for [`put_manifest`](Registry::put_manifest). Also Unavailable if the entity tag has
    /// changed.
    pub(super) fn put_manifest_if(
        &self,
        name: &str,
        manifest: Outgoing<'_>,
        current: Option<&EntityTag>,
    ) -> Result<Accepted> {
        let url = self.url(&format!("manifests/{name}"))?;
        let what = self.manifest_name(name);
        let mut headers = vec![("Content-Type", manifest.media_type)];
        headers.extend(current.map(|tag| ("If-Match", tag.0.as_str())));
        let mut repeated = 0;
        with_attempts(self.client(), || {
            let request = Request::new(Method::Put, &url, &headers);
            let payload = &mut Payload::Bytes(manifest.bytes);
            let response = self.session.send(&self.scope, request, payload);
            let response = response.map_err(|failure| failure.context(&what))?;
            self.interpret_put(response, name, manifest, &what).map_err(|rejected| {
                let Rejected { failure, is_missing } = rejected;
                if is_missing && repeated < MAX_REPEATS {
                    repeated += 1;
                    return Failure { retry: Retry::Backoff, ..failure };
                }
                failure
            })
        })
    }

    /// Interprets the response to a PUT.
    fn interpret_put(
        &self,
        response: Response,
        name: &str,
        manifest: Outgoing<'_>,
        what: &str,
    ) -> std::result::Result<Accepted, Rejected> {
        let status = response.status.as_u16();
        let stored = response.header("docker-content-digest").map(str::trim);
        let stored: Option<Digest> = stored.and_then(|text| text.parse().ok());
        let other = stored.as_ref().filter(|stored| {
            stored.algorithm() == manifest.digest.algorithm() && *stored != manifest.digest
        });
        match status {
            200 | 201 | 202 | 204 => {
                if let Some(other) = other {
                    let want = manifest.digest;
                    let what = format_args!("{what}: the registry stored {other}, want {want}");
                    return Err(Error::content(what).into());
                }
                // Any web server may answer 200, so the manifest is read back.
                if status != 201 && stored.is_none() && !self.serves(name, manifest) {
                    let what = format_args!("{what}: {status}, but the registry does not serve it");
                    return Err(Error::malformed(what).into());
                }
                Ok(Accepted { knows_subject: response.header("oci-subject").is_some() })
            }
            412 => {
                Err(Error::unavailable(format_args!("{what}: changed by another writer")).into())
            }
            300..400 => {
                let what = format_args!("{what}: unexpected answer {status}");
                Err(Error::malformed(what).into())
            }
            _ => Err(rejected(response, manifest, what)),
        }
    }

    /// Whether the registry serves the same bytes that were put.
    fn serves(&self, name: &str, manifest: Outgoing<'_>) -> bool {
        self.manifest(name, None, &[manifest.media_type])
            .is_ok_and(|remote| remote.bytes == manifest.bytes)
    }
}

/// Interprets an error response to a PUT, and adds a hint where possible.
fn rejected(response: Response, manifest: Outgoing<'_>, what: &str) -> Rejected {
    let status = response.status.as_u16();
    let (failure, body) = answer::failure_with_body(response, what);
    let code = body.code.to_ascii_uppercase();
    let hinted = |hint: &str| Failure { error: failure.error.clone().hint(hint), ..failure };
    let missing = matches!(code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN")
        || (code == "MANIFEST_UNKNOWN" && status == 400);
    if missing {
        let named: Vec<&str> =
            body.digests.iter().take(SHOWN_MISSING).map(String::as_str).collect();
        let list = match body.digests.len() {
            0 => "something that the manifest names".to_owned(),
            n if n > SHOWN_MISSING => format!("{} and {} more", named.join(" "), n - SHOWN_MISSING),
            _ => named.join(" "),
        };
        let error = Error::malformed(format_args!("{what}: {code}: the registry lacks {list}"))
            .hint("push its blobs with push-blob first");
        return Rejected { failure: error.into(), is_missing: true };
    }
    let failure = match status {
        _ if code.contains("IMMUTABLE") => {
            let words = printable(&body.message);
            Error::malformed(format_args!("{what}: the tag is immutable: {words}")).into()
        }
        413 => hinted(
            "the manifest exceeds the size limit of the registry or of a proxy in front of it",
        ),
        400 | 415 if mediatype::is_docker(manifest.media_type) && code == "MANIFEST_INVALID" => {
            hinted("some registries accept only OCI media types")
        }
        400 | 405 | 415 if !has_media_type(manifest.bytes) => {
            hinted("the manifest has no mediaType, which some registries require")
        }
        404 => hinted("some registries want the repository to be created first"),
        _ => failure,
    };
    failure.into()
}

fn has_media_type(bytes: &[u8]) -> bool {
    json::parse_object(bytes).is_ok_and(|document| json::present(&document, "mediaType").is_some())
}
