// SPDX-License-Identifier: Apache-2.0
//! The two families of media types, OCI's and Docker's, and the conversion between them.
//!
//! All media types of a manifest belong to one family. Both families describe the same contents, so
//! a conversion does not change the bytes or the digest of a blob. Docker has no media types for
//! zstd layers, for the empty config, and for artifacts.

use common::descriptor::Descriptor;
use common::error::{Error, Result, printable};
use common::mediatype::{
    Compression, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Kind, OCI_CONFIG,
    OCI_EMPTY, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST, kind,
};

/// A family of media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// The family of the Open Container Initiative.
    Oci,
    /// The family of Docker's image manifest version 2, schema 2.
    Docker,
}

/// The prefix of Docker's media types.
const DOCKERS: &str = "application/vnd.docker.";

impl Family {
    /// The family of a media type; `None` if it belongs to neither.
    fn of(media_type: &str) -> Option<Family> {
        match kind(media_type) {
            Kind::Config | Kind::Layer { .. } if media_type.starts_with(DOCKERS) => {
                Some(Family::Docker)
            }
            Kind::Config | Kind::Layer { .. } => Some(Family::Oci),
            _ => (media_type == OCI_EMPTY).then_some(Family::Oci),
        }
    }

    /// The media type of this family's manifests.
    pub(crate) fn manifest(self) -> &'static str {
        match self {
            Family::Oci => OCI_MANIFEST,
            Family::Docker => DOCKER_MANIFEST,
        }
    }

    /// This family's media type for the same content; `None` if the family has none.
    fn equivalent(self, media_type: &str) -> Option<&'static str> {
        let (foreign, compression) = match (kind(media_type), self) {
            (Kind::Config, Family::Oci) => return Some(OCI_CONFIG),
            (Kind::Config, Family::Docker) => return Some(DOCKER_CONFIG),
            (Kind::Layer { compression, foreign }, _) => (foreign, compression),
            _ => return None,
        };
        Some(match (self, foreign, compression) {
            (Family::Oci, false, None) => OCI_LAYER,
            (Family::Oci, false, Some(Compression::Gzip)) => OCI_LAYER_GZIP,
            (Family::Oci, false, Some(Compression::Zstd)) => OCI_LAYER_ZSTD,
            (Family::Oci, true, None) => "application/vnd.oci.image.layer.nondistributable.v1.tar",
            (Family::Oci, true, Some(Compression::Gzip)) => {
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            }
            (Family::Oci, true, Some(Compression::Zstd)) => {
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            }
            (Family::Docker, false, None) => DOCKER_LAYER,
            (Family::Docker, false, Some(Compression::Gzip)) => DOCKER_LAYER_GZIP,
            (Family::Docker, true, None) => "application/vnd.docker.image.rootfs.foreign.diff.tar",
            (Family::Docker, true, Some(Compression::Gzip)) => {
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            }
            // ".tar.zstd" is in use, but it is not registered, and not all versions of Docker read
            // it.
            (Family::Docker, _, Some(Compression::Zstd)) => return None,
        })
    }

    /// The same descriptor with the media type of this family. [`Family::Oci`] keeps a media type
    /// that is neither Docker's nor OCI's.
    ///
    /// # Errors
    /// Malformed if the family has no media type for this content.
    pub(crate) fn convert(self, descriptor: Descriptor) -> Result<Descriptor> {
        let media_type = descriptor.media_type.as_str();
        let own = Family::of(media_type);
        match (self, self.equivalent(media_type)) {
            (Family::Oci, _) if own != Some(Family::Docker) => Ok(descriptor),
            (_, Some(_)) if own == Some(self) => Ok(descriptor),
            (_, Some(equivalent)) => Ok(descriptor.with_media_type(equivalent)),
            (_, None) => Err(no_docker_type(&descriptor)),
        }
    }
}

fn no_docker_type(descriptor: &Descriptor) -> Error {
    let Descriptor { digest, media_type, .. } = descriptor;
    let what = match kind(media_type) {
        Kind::Layer { compression: Some(Compression::Zstd), .. } => "a zstd layer".to_owned(),
        _ if media_type == OCI_EMPTY => "the empty config".to_owned(),
        _ => printable(media_type),
    };
    let error = Error::malformed(format_args!("{digest}: Docker has no media type for {what}"));
    error.hint("--oci changes the media types to OCI's")
}

/// The family that all parts belong to. Parts that belong to neither family do not count. If no
/// part counts, the family is OCI's.
///
/// # Errors
/// Malformed if the parts belong to two families.
pub(crate) fn common_family<'a>(parts: impl Iterator<Item = &'a Descriptor>) -> Result<Family> {
    let mut first: Option<(&Descriptor, Family)> = None;
    for part in parts {
        match (first, Family::of(&part.media_type)) {
            (None, Some(family)) => first = Some((part, family)),
            (Some((one, family)), Some(other)) if other != family => {
                let what = format_args!(
                    "media types of two families: {} ({}) and {} ({})",
                    one.digest,
                    printable(&one.media_type),
                    part.digest,
                    printable(&part.media_type)
                );
                let error = Error::malformed(what);
                return Err(error.hint("--oci or --docker converts the media types, not the blobs"));
            }
            _ => {}
        }
    }
    Ok(first.map_or(Family::Oci, |(_, family)| family))
}

#[cfg(test)]
mod tests {
    use common::digest::Algorithm;

    use super::*;

    fn blob(media_type: &str) -> Descriptor {
        Descriptor::new(media_type, Algorithm::Sha256.digest(media_type.as_bytes()), 1)
    }

    const PAIRS: [(&str, &str); 5] = [
        (OCI_CONFIG, DOCKER_CONFIG),
        (OCI_LAYER, DOCKER_LAYER),
        (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        ),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ),
    ];

    #[test]
    fn every_pair_converts_both_ways() {
        for (oci, docker) in PAIRS {
            assert_eq!(Family::Docker.convert(blob(oci)).unwrap().media_type, docker);
            assert_eq!(Family::Oci.convert(blob(docker)).unwrap().media_type, oci);
            assert_eq!(Family::Docker.convert(blob(docker)).unwrap(), blob(docker));
            assert_eq!(Family::Oci.convert(blob(oci)).unwrap(), blob(oci));
            assert_eq!(kind(oci), kind(docker));
        }
    }

    #[test]
    fn types_of_neither_family_stay_in_oci() {
        for media_type in ["application/spdx+json", "application/vnd.docker.ai.gguf.v3"] {
            assert_eq!(Family::Oci.convert(blob(media_type)).unwrap(), blob(media_type));
            assert_eq!(common_family([blob(media_type)].iter()).unwrap(), Family::Oci);
        }
    }

    #[test]
    fn types_without_a_docker_equivalent_are_refused() {
        for media_type in [
            OCI_LAYER_ZSTD,
            OCI_EMPTY,
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            "application/spdx+json",
        ] {
            let error = Family::Docker.convert(blob(media_type)).unwrap_err().to_string();
            assert!(error.contains("Docker has no media type"), "{error}");
        }
        let zstd = |stem: &str| blob(&format!("application/vnd.{stem}"));
        let converted = Family::Oci.convert(zstd("docker.image.rootfs.diff.tar.zstd")).unwrap();
        assert_eq!(converted.media_type, OCI_LAYER_ZSTD);
        let converted =
            Family::Oci.convert(zstd("docker.image.rootfs.foreign.diff.tar.zstd")).unwrap();
        let foreign = zstd("oci.image.layer.nondistributable.v1.tar+zstd").media_type;
        assert_eq!(converted.media_type, foreign);
    }

    #[test]
    fn the_family_is_that_of_all_parts() {
        let of = |types: &[&str]| {
            let parts: Vec<_> = types.iter().map(|media_type| blob(media_type)).collect();
            common_family(parts.iter())
        };
        assert_eq!(of(&[OCI_CONFIG, OCI_LAYER]).unwrap(), Family::Oci);
        assert_eq!(of(&[DOCKER_CONFIG, DOCKER_LAYER]).unwrap(), Family::Docker);
        assert_eq!(of(&["a/b"]).unwrap(), Family::Oci);
        assert_eq!(of(&["a/b", DOCKER_LAYER]).unwrap(), Family::Docker);
        assert!(of(&[OCI_CONFIG, "a/b", DOCKER_LAYER]).is_err());
    }
}
