// SPDX-License-Identifier: Apache-2.0
//! Manifests into a registry: the exact bytes, and the registry's answer understood.
//!
//! Whether they may be sent at all (their structure, what they name) is the caller's to check
//! first.

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::{manifest, mediatype};
use net::failure::{Failure, Retry};
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;

use super::manifest::EntityTag;
use super::{Registry, answer};

/// How often a manifest is put again when the registry misses what it names: what was pushed a
/// moment ago may not have reached every part of the registry.
const MAX_ASKED_AGAIN: u32 = 2;

/// The most missing digests that a message names.
const SHOWN_MISSING: usize = 20;

/// A manifest to be put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    /// The exact bytes.
    pub(crate) bytes: &'a [u8],
    /// Their digest.
    pub(crate) digest: &'a Digest,
    /// Their media type, as they name it themselves or as their shape implies.
    pub(crate) media_type: &'a str,
}

/// A registry's answer to a manifest that it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    /// Whether it keeps the manifest as a referrer of its subject (`OCI-Subject`).
    pub(crate) knows_subject: bool,
}

/// A manifest that was not put.
struct Rejected {
    failure: Failure,
    /// Whether the registry misses something that the manifest names, which may arrive.
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
    /// Content when the registry stored something else; malformed when it rejects it, with what is
    /// missing; refused, later.
    fn put_manifest(&self, name: &str, manifest: Outgoing<'_>) -> Result<Accepted> {
        self.put_manifest_if(name, manifest, None)
    }

    /// Puts a manifest under each of these names. Where it has a subject and the registry does not
    /// know of referrers, it is listed under the fallback tag.
    ///
    /// # Errors
    /// Content when the registry stored something else; malformed when it rejects the manifest,
    /// with what is missing, or when the fallback tag is taken by something else; refused; later.
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

    /// Puts a manifest, if the one that it replaces still has the entity tag `current`.
    ///
    /// # Errors
    /// As [`put_manifest`](Registry::put_manifest).
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
        let mut asked_again = 0;
        with_attempts(self.client(), || {
            let request = Request::new(Method::Put, &url, &headers);
            let payload = &mut Payload::Bytes(manifest.bytes);
            let response = self.session.send(&self.scope, request, payload);
            let response = response.map_err(|failure| failure.context(&what))?;
            self.judge(response, name, manifest, &what).map_err(|rejected| {
                let Rejected { failure, is_missing } = rejected;
                if is_missing && asked_again < MAX_ASKED_AGAIN {
                    asked_again += 1;
                    return Failure { retry: Retry::Backoff, ..failure };
                }
                failure
            })
        })
    }

    /// Understands an answer.
    fn judge(
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
                // Any web server answers 200.
                if status != 201 && stored.is_none() && !self.serves(name, manifest) {
                    let what = format_args!("{what}: {status}, but it is not there then");
                    return Err(Error::malformed(what).into());
                }
                Ok(Accepted { knows_subject: response.header("oci-subject").is_some() })
            }
            412 => Err(Error::unavailable(format_args!("{what}: it was changed meanwhile")).into()),
            300..400 => {
                let what = format_args!("{what}: unexpected answer {status}");
                Err(Error::malformed(what).into())
            }
            _ => Err(rejected(response, manifest, what)),
        }
    }

    /// Whether the registry gives back what was put.
    fn serves(&self, name: &str, manifest: Outgoing<'_>) -> bool {
        self.manifest(name, None, &[manifest.media_type])
            .is_ok_and(|remote| remote.bytes == manifest.bytes)
    }
}

/// Understands an answer that is no success, with a hint where one helps.
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
            0 => "something that it names".to_owned(),
            n if n > SHOWN_MISSING => format!("{} and {} more", named.join(" "), n - SHOWN_MISSING),
            _ => named.join(" "),
        };
        let error = Error::malformed(format_args!("{what}: {code}: the registry lacks {list}"))
            .hint("push-blob sends what a manifest names, before it");
        return Rejected { failure: error.into(), is_missing: true };
    }
    let failure = match status {
        _ if code.contains("IMMUTABLE") => {
            let words = printable(&body.message);
            Error::malformed(format_args!("{what}: the tag is immutable: {words}")).into()
        }
        413 => hinted("the manifest is larger than the registry, or a proxy before it, takes"),
        400 | 415 if mediatype::is_docker(manifest.media_type) && code == "MANIFEST_INVALID" => {
            hinted("some registries take OCI's types only")
        }
        400 | 405 | 415 if !has_media_type(manifest.bytes) => {
            hinted("it has no mediaType, which some registries want")
        }
        404 => hinted("some registries want the repository to be created first"),
        _ => failure,
    };
    failure.into()
}

fn has_media_type(bytes: &[u8]) -> bool {
    common::json::parse_object(bytes).is_ok_and(|document| document.contains_key("mediaType"))
}
