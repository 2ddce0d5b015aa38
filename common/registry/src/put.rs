// SPDX-License-Identifier: Apache-2.0
//! Writing manifests to a registry: sends the exact bytes and interprets the response.
//!
//! Not here: validating the manifest's structure and checking that the blobs it names exist. The
//! caller does both first.

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::manifest;
use common::mediatype::{self, Kind};
use common::reference::is_tag;
use net::failure::{Failure, Retry};
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;

use super::manifest::EntityTag;
use super::{Registry, answer, rejection};

/// The maximum number of times that a manifest is put again after the registry reports a missing
/// blob: a blob that was just pushed may not have reached every replica of the registry.
const MAX_REPEATS: u32 = 2;

/// The maximum number of blobs and manifests that are checked after a rejection without a reason.
const MAX_CHECKED: usize = 64;

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

impl Outgoing<'_> {
    /// The manifest's content, if it can be parsed.
    fn parse(&self) -> Option<manifest::Manifest> {
        let schema1 = manifest::Schema1::Allowed;
        manifest::Manifest::parse(self.bytes, Some(self.media_type), "manifest", schema1).ok()
    }
}

/// The outcome of a manifest's PUT that is not an error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put {
    /// The registry has the manifest under this name.
    Stored {
        /// Whether the registry lists the manifest as a referrer of its subject (header
        /// `OCI-Subject`). `None` if it was stored by an earlier request whose response is not
        /// known.
        knows_subject: Option<bool>,
    },
    /// The manifest to be replaced no longer has the given entity tag.
    Changed,
}

/// A failed attempt to put a manifest.
struct Rejected {
    failure: Failure,
    /// Whether the registry reports that a blob or manifest that this manifest names is missing.
    /// The missing content may still arrive.
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
    /// Puts a manifest under each of these names. If the manifest has a subject and the registry
    /// does not support referrers, the manifest is listed under the referrers fallback tag.
    ///
    /// # Errors
    /// Content if the registry stored another digest. Malformed if it rejects the manifest (the
    /// message lists missing blobs), or if the fallback tag names something other than a list.
    /// Refused or Unavailable, depending on its response.
    pub fn publish(
        &self,
        names: &[String],
        bytes: &[u8],
        digest: &Digest,
        parsed: &manifest::Manifest,
    ) -> Result<()> {
        match self.publish_unlisted(names, bytes, digest, parsed)? {
            Some((subject, referrer)) => self.list_referrers_of(&subject, &[referrer]),
            None => Ok(()),
        }
    }

    /// Puts a manifest as [`publish`](Registry::publish) does, but does not list it. Returns the
    /// subject in whose list it belongs, and its entry. The caller must list it, with
    /// [`list_referrers`](Registry::list_referrers).
    ///
    /// # Errors
    /// Content if the registry stored another digest. Malformed if it rejects the manifest; the
    /// message lists missing blobs. Refused or Unavailable, depending on its response.
    pub fn publish_unlisted(
        &self,
        names: &[String],
        bytes: &[u8],
        digest: &Digest,
        parsed: &manifest::Manifest,
    ) -> Result<Option<(Digest, Descriptor)>> {
        let media_type = parsed.media_type.as_str();
        let manifest = Outgoing { bytes, digest, media_type };
        let mut put = Put::Changed;
        for name in names {
            put = self.put_manifest_if(name, manifest, None)?;
        }
        if parsed.subject.is_some() && matches!(put, Put::Stored { knows_subject: None }) {
            // The response to the PUT of the tag is not known. A second PUT by digest, which an
            // immutable tag does not prevent, returns the header OCI-Subject.
            put = self.put_manifest_if(&digest.to_string(), manifest, None).unwrap_or(put);
        }
        let knows_subject = matches!(put, Put::Stored { knows_subject: Some(true) });
        match &parsed.subject {
            Some(subject) if !knows_subject => {
                let own = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
                Ok(Some((subject.digest.clone(), manifest::referrer(bytes, &own)?)))
            }
            _ => Ok(None),
        }
    }

    /// Puts a manifest under a tag or its digest. If `current` is given, the manifest is put only
    /// if the one to be replaced still has that entity tag.
    ///
    /// # Errors
    /// Content if the registry stored another digest. Malformed if it rejects the manifest; the
    /// message lists missing blobs. Refused or Unavailable, depending on its response.
    pub(super) fn put_manifest_if(
        &self,
        name: &str,
        manifest: Outgoing<'_>,
        current: Option<&EntityTag>,
    ) -> Result<Put> {
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
            let is_conditional = current.is_some();
            let put = self.interpret_put(response, name, manifest, is_conditional);
            put.map_err(|rejected| {
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
        is_conditional: bool,
    ) -> std::result::Result<Put, Rejected> {
        let what = &self.manifest_name(name);
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
                    let what = format_args!("{what}: the registry stored {other}, not {want}");
                    return Err(Error::content(what).into());
                }
                // Any web server may answer 200, so the manifest is read back.
                if status != 201 && stored.is_none() && !self.serves(name, manifest) {
                    let what = format_args!("{what}: {status}, but the registry does not have it");
                    return Err(Error::malformed(what).into());
                }
                let knows_subject = Some(response.header("oci-subject").is_some());
                Ok(Put::Stored { knows_subject })
            }
            300..400 => {
                let what = format_args!("{what}: unexpected status {status}");
                Err(Error::malformed(what).into())
            }
            _ => self.rejected(response, name, manifest, is_conditional),
        }
    }

    /// Whether the registry returns the manifest that was put. It may return a schema 1 manifest
    /// with other signatures.
    fn serves(&self, name: &str, manifest: Outgoing<'_>) -> bool {
        self.manifest(name, None, &[manifest.media_type])
            .is_ok_and(|remote| remote.bytes == manifest.bytes || remote.digest == *manifest.digest)
    }

    /// Interprets an error response to a PUT, and adds a hint where possible.
    fn rejected(
        &self,
        response: Response,
        name: &str,
        manifest: Outgoing<'_>,
        is_conditional: bool,
    ) -> std::result::Result<Put, Rejected> {
        let what = &self.manifest_name(name);
        let status = response.status.as_u16();
        let (failure, body) = answer::failure_with_body(response, what);
        let is_immutable = is_tag(name) && rejection::is_immutable(status, &body);
        // Without a condition, 412 is a rejection like any other: Harbor uses it for its policies.
        if status == 412 && is_conditional && !is_immutable {
            return Ok(Put::Changed);
        }
        // An earlier attempt may have stored the manifest, and its response was lost.
        let may_be_stored = is_immutable || matches!(status, 409 | 412);
        if is_tag(name) && may_be_stored && self.serves(name, manifest) {
            return Ok(Put::Stored { knows_subject: None });
        }
        if is_immutable {
            let words = printable(if body.message.is_empty() { &body.code } else { &body.message });
            return Err(
                Error::malformed(format_args!("{what}: the tag is immutable: {words}")).into()
            );
        }
        let parsed = manifest.parse();
        let code = body.code.to_ascii_uppercase();
        let is_missing = rejection::is_missing(status, &code);
        let mut missing = rejection::missing_digests(&body, parsed.as_ref());
        // Some registries do not report which blobs are missing. zot does not even report that a
        // blob is missing.
        if (is_missing && missing.is_empty()) || code == "MANIFEST_INVALID" {
            missing = parsed.as_ref().map(|parsed| self.absent(parsed)).unwrap_or_default();
        }
        if is_missing || !missing.is_empty() {
            let error = rejection::lacking(what, status, &code, &missing, parsed.as_ref());
            // With a status of 500 or more, a later attempt does not help.
            let may_arrive = is_missing && status < 500;
            return Err(Rejected { failure: error.into(), is_missing: may_arrive });
        }
        Err(rejection::hinted(failure, status, &code, manifest, parsed.as_ref()).into())
    }

    /// The digests in a manifest that the repository does not have. At most [`MAX_CHECKED`] are
    /// checked. If a check fails, the digests found so far are returned.
    fn absent(&self, parsed: &manifest::Manifest) -> Vec<String> {
        let mut absent = Vec::new();
        for descriptor in parsed.named().into_iter().take(MAX_CHECKED) {
            let digest = &descriptor.digest;
            let exists = match mediatype::kind(&descriptor.media_type) {
                _ if descriptor.is_non_distributable() => Ok(true),
                Kind::Manifest | Kind::Index | Kind::Schema1 => self.has_manifest(digest),
                _ => self.has_blob(digest, descriptor.size).map_err(|failure| failure.error),
            };
            match exists {
                Ok(true) => {}
                Ok(false) => absent.push(digest.to_string()),
                Err(_) => break,
            }
        }
        absent.dedup();
        absent
    }
}
