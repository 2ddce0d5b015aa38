// SPDX-License-Identifier: Apache-2.0
//! Manifests in a registry: their exact bytes, verified, and what came with them.

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::manifest::MAX_SIZE;
use common::{mediatype, notice};
use net::failure::Failure;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;

use super::{Registry, answer};

/// What an Accept header asks for by default: every type there is a reader for, in one header,
/// without preferences. A server that misses one of them may convert, and then the digest is
/// another.
pub const ACCEPT: [&str; 4] = [
    mediatype::OCI_INDEX,
    mediatype::DOCKER_LIST,
    mediatype::OCI_MANIFEST,
    mediatype::DOCKER_MANIFEST,
];

/// The types of schema 1, asked for only where it is allowed.
pub const ACCEPT_SCHEMA1: [&str; 2] = [mediatype::SCHEMA1_SIGNED, mediatype::SCHEMA1];

/// The entity tag of a manifest: changes whenever the manifest under a tag does.
pub(crate) struct EntityTag(pub(crate) String);

/// A manifest as it came.
pub struct RemoteManifest {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Their digest, computed.
    pub digest: Digest,
    /// The media type that came with them, when one did.
    pub said: Option<String>,
    /// The entity tag that came with them, when one did.
    pub(crate) entity_tag: Option<EntityTag>,
}

impl Registry {
    /// Fetches a manifest by tag or digest. By digest the bytes are checked against it; by tag
    /// their digest is computed, and a Docker-Content-Digest that says otherwise is refused.
    ///
    /// # Errors
    /// Absent, refused, later; malformed when it is larger than [`MAX_SIZE`] or no registry's
    /// answer; content when the digest differs.
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
                200..400 => Error::malformed(format_args!("unexpected answer {status}")).into(),
                _ => answer::failure(response, "manifest"),
            });
        }
        let said = mediatype::said(response.header("content-type"));
        if answer::is_html(&response) {
            let said = said.unwrap_or_default();
            return Err(Error::malformed(format_args!("not a registry's answer ({said})")).into());
        }
        response.refuse_encoding()?;
        let header = response.header("docker-content-digest").map(str::to_owned);
        let entity_tag = response.header("etag").map(|text| EntityTag(text.to_owned()));
        let bytes = response.read(MAX_SIZE)?;
        let too_large = || Error::malformed(format_args!("larger than {MAX_SIZE} bytes"));
        let bytes = bytes.ok_or_else(too_large)?;
        if bytes.is_empty() {
            return Err(Error::malformed("an empty answer").into());
        }
        let digest = check(&bytes, want, header.as_deref())?;
        Ok(RemoteManifest { bytes, digest, said, entity_tag })
    }

    /// Asks for a manifest's descriptor without the manifest. Nothing when the registry does not
    /// serve that in full: then GET decides, and explains.
    ///
    /// # Errors
    /// Only what GET would fail with too: the network's.
    pub fn manifest_head(&self, name: &str, accept: &[&str]) -> Result<Option<Descriptor>> {
        let url = self.url(&format!("manifests/{name}"))?;
        let accept = accept.join(", ");
        let headers = [("Accept", accept.as_str())];
        let response = match self.request(Request::new(Method::Head, &url, &headers)) {
            Ok(response) if response.status.as_u16() == 200 => response,
            _ => return Ok(None),
        };
        let described = || {
            let said = mediatype::said(response.header("content-type"))?;
            let digest = response.header("docker-content-digest")?.parse().ok()?;
            let size: u64 = response.header("content-length")?.trim().parse().ok()?;
            let fits = mediatype::is_manifest(&said) && (1..=MAX_SIZE).contains(&size);
            fits.then(|| Descriptor::new(&said, digest, size))
        };
        Ok(described())
    }

    /// Whether the repository has a manifest.
    ///
    /// # Errors
    /// The registry's.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        let url = self.url(&format!("manifests/{digest}"))?;
        let accept = ACCEPT.join(", ");
        let headers = [("Accept", accept.as_str())];
        with_attempts(self.client(), || {
            let head = Request::new(Method::Head, &url, &headers);
            let response = self.session.send(&self.scope, head, &mut Payload::None)?;
            match response.status.as_u16() {
                200 => Ok(true),
                404 => Ok(false),
                _ => Err(answer::failure(response, &self.manifest_name(&digest.to_string()))),
            }
        })
    }

    /// How messages name a manifest.
    pub fn manifest_name(&self, name: &str) -> String {
        let separator = if name.contains(':') { '@' } else { ':' };
        format!("{}{separator}{name}", self.repository())
    }
}

/// The digest of a manifest's bytes, after comparing it with what was asked for or else with the
/// header.
fn check(bytes: &[u8], want: Option<&Digest>, header: Option<&str>) -> Result<Digest> {
    let header = header.map(|text| (text, text.trim().parse::<Digest>()));
    if let Some(want) = want {
        let got = want.algorithm().digest(bytes);
        if got != *want {
            return Err(Error::content(format_args!("digest differs: got {got}, want {want}")));
        }
        if header.is_some_and(|(_, parsed)| parsed.as_ref() != Ok(want)) {
            notice::warn("digest header", || {
                format!("{want}: the registry's Docker-Content-Digest says otherwise")
            });
        }
        return Ok(got);
    }
    match header {
        Some((_, Ok(stated))) => match stated.algorithm().digest(bytes) {
            got if got == stated => Ok(got),
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
            Ok(Algorithm::Sha256.digest(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_asked_for_decides_and_a_header_only_without_one() {
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
