// SPDX-License-Identifier: Apache-2.0
//! Reading manifests from a registry: their exact bytes, verified, and the response's metadata.

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::manifest::MAX_SIZE;
use common::mediatype::Kind;
use common::{mediatype, notice, schema1};
use net::failure::Failure;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;
use net::url::Url;

use super::{Registry, answer};

/// The default Accept header: every media type that can be parsed, in one header without
/// preferences. If a type is missing, a server may convert the manifest, which changes its digest.
pub const ACCEPT: [&str; 4] = [
    mediatype::OCI_INDEX,
    mediatype::DOCKER_LIST,
    mediatype::OCI_MANIFEST,
    mediatype::DOCKER_MANIFEST,
];

/// The media types of schema 1, requested only if schema 1 is allowed.
pub const ACCEPT_SCHEMA1: [&str; 2] = [mediatype::SCHEMA1_SIGNED, mediatype::SCHEMA1];

/// The entity tag (ETag) of a manifest. It changes whenever the manifest under a tag changes.
pub(crate) struct EntityTag(pub(crate) String);

/// A manifest as the registry sent it.
pub struct RemoteManifest {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Their computed digest. For signed schema 1, it covers the payload without the signatures.
    pub digest: Digest,
    /// The media type in Content-Type, if present.
    pub said: Option<String>,
    /// The response's entity tag, if present.
    pub(crate) entity_tag: Option<EntityTag>,
}

impl RemoteManifest {
    /// A manifest that was stored earlier and verified again.
    pub fn stored(bytes: Vec<u8>, digest: Digest, media_type: String) -> RemoteManifest {
        RemoteManifest { bytes, digest, said: Some(media_type), entity_tag: None }
    }
}

impl Registry {
    /// Fetches a manifest by tag or digest. If a digest is requested, the bytes must have this
    /// digest. If a tag is requested, the digest is computed, and the manifest is refused if its
    /// Docker-Content-Digest differs.
    ///
    /// # Errors
    /// Absent, Refused or Unavailable, depending on the registry's response. Malformed if the
    /// manifest is larger than [`MAX_SIZE`] or the response is not a registry's. Content if the
    /// digest differs.
    pub fn manifest(
        &self,
        name: &str,
        want: Option<&Digest>,
        accept: &[&str],
    ) -> Result<RemoteManifest> {
        let url = self.url(&format!("manifests/{name}"))?;
        let what = self.manifest_name(name);
        let accept = accept.join(", ");
        with_attempts(self.client(), || {
            let response = self.request(Request::new(Method::Get, &url, &[("Accept", &accept)]));
            let received = response.and_then(|response| self.receive(response, want));
            received.map_err(|failure| failure.context(&what))
        })
    }

    fn receive(
        &self,
        response: Response,
        want: Option<&Digest>,
    ) -> std::result::Result<RemoteManifest, Failure> {
        let status = response.status.as_u16();
        if status != 200 {
            return Err(match status {
                200..400 => Error::malformed(format_args!("unexpected status {status}")).into(),
                _ => answer::failure(response, "manifest"),
            });
        }
        let said = mediatype::of_content_type(response.header("content-type"));
        if answer::is_html(&response) {
            let said = said.unwrap_or_default();
            return Err(Error::malformed(format_args!("not a registry's response ({said})")).into());
        }
        response.refuse_encoding()?;
        let header = response.header("docker-content-digest").map(str::to_owned);
        let entity_tag = response.header("etag").map(|text| EntityTag(text.to_owned()));
        let bytes = response.read(MAX_SIZE)?;
        let too_large = || Error::malformed(format_args!("larger than {MAX_SIZE} bytes"));
        let bytes = bytes.ok_or_else(too_large)?;
        if bytes.is_empty() {
            return Err(Error::malformed("empty response").into());
        }
        let digest = check(&bytes, want, header.as_deref())?;
        Ok(RemoteManifest { bytes, digest, said, entity_tag })
    }

    /// Fetches a manifest's descriptor by HEAD. `None` if the response is not 200 or lacks a part
    /// of the descriptor: then the caller uses GET, whose response also explains an error. `None`
    /// also for schema 1: registries disagree about the bytes that its digest header covers.
    ///
    /// # Errors
    /// Usage if the URL is too long. A failed request is `None`, not an error.
    pub fn manifest_head(&self, name: &str, accept: &[&str]) -> Result<Option<Descriptor>> {
        let url = self.url(&format!("manifests/{name}"))?;
        let accept = accept.join(", ");
        let headers = [("Accept", accept.as_str())];
        let response = match self.request(Request::new(Method::Head, &url, &headers)) {
            Ok(response) if response.status.as_u16() == 200 => response,
            _ => return Ok(None),
        };
        let described = || {
            let said = mediatype::of_content_type(response.header("content-type"))?;
            let digest = response.header("docker-content-digest")?.parse().ok()?;
            let size: u64 = response.header("content-length")?.trim().parse().ok()?;
            let fits = matches!(mediatype::kind(&said), Kind::Manifest | Kind::Index)
                && (1..=MAX_SIZE).contains(&size);
            fits.then(|| Descriptor::new(&said, digest, size))
        };
        Ok(described())
    }

    /// Whether the repository has a manifest.
    ///
    /// # Errors
    /// The failure that the response reports, for any status except 200 and 404.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        let url = self.url(&format!("manifests/{digest}"))?;
        self.has_at(&url, &ACCEPT.join(", "), &self.manifest_name(&digest.to_string()))
    }

    /// Whether the registry has a manifest at this URL. `what` names it in messages.
    pub(super) fn has_at(&self, url: &Url, accept: &str, what: &str) -> Result<bool> {
        let headers = [("Accept", accept)];
        with_attempts(self.client(), || {
            let head = Request::new(Method::Head, url, &headers);
            let response = self.session.send(&self.scope, head, &mut Payload::None)?;
            match response.status.as_u16() {
                200 => Ok(true),
                404 => Ok(false),
                _ => Err(answer::failure(response, what)),
            }
        })
    }

    /// The name of a manifest in messages.
    pub fn manifest_name(&self, name: &str) -> String {
        let separator = if name.contains(':') { '@' } else { ':' };
        format!("{}{separator}{name}", self.repository())
    }
}

/// Returns the digest of a manifest's bytes. It is compared with the requested digest or, if none
/// was requested, with the Docker-Content-Digest header.
///
/// The digest of signed schema 1 covers its payload. A header may cover the signatures too: some
/// registries compute it from the bytes that they send.
fn check(bytes: &[u8], want: Option<&Digest>, header: Option<&str>) -> Result<Digest> {
    let header = header.map(|text| (text, text.trim().parse::<Digest>()));
    let digested = schema1::digested(bytes);
    if let Some(want) = want {
        let got = want.algorithm().digest(&digested);
        if got != *want {
            return Err(Error::content(format_args!("digest differs: got {got}, want {want}")));
        }
        let covers_all = |digest: &Digest| digest.algorithm().digest(bytes) == *digest;
        let agrees = |stated: &Digest| stated == want || covers_all(stated);
        if header.is_some_and(|(_, parsed)| !parsed.as_ref().is_ok_and(agrees)) {
            notice::warn("digest header", || {
                format!("{want}: the registry's Docker-Content-Digest differs")
            });
        }
        return Ok(got);
    }
    match header {
        Some((_, Ok(stated))) => match stated.algorithm().digest(&digested) {
            got if got == stated || stated.algorithm().digest(bytes) == stated => Ok(got),
            got => Err(Error::content(format_args!(
                "digest differs: got {got}, but its Docker-Content-Digest is {stated}"
            ))),
        },
        other => {
            if let Some((text, Err(why))) = other {
                notice::warn("digest header", || {
                    let text = common::error::printable(text);
                    format!("Docker-Content-Digest \"{text}\" is ignored: {why}")
                });
            }
            Ok(Algorithm::Sha256.digest(&digested))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_decides_only_without_a_requested_digest() {
        let right = Algorithm::Sha256.digest(b"x");
        let wrong = Algorithm::Sha256.digest(b"y");
        let header = wrong.to_string();
        assert_eq!(check(b"x", Some(&right), Some(&header)).unwrap(), right);
        assert!(check(b"x", Some(&wrong), Some(&header)).is_err());
        assert!(check(b"x", None, Some(&header)).is_err());
        assert_eq!(check(b"x", None, Some(&right.to_string())).unwrap(), right);
        assert_eq!(check(b"x", None, Some(right.hex())).unwrap(), right);
        assert_eq!(check(b"x", None, None).unwrap(), right);
    }
}
