// SPDX-License-Identifier: Apache-2.0
//! The media types of images and the kind of content of each.
//!
//! The types are from the media-types page of the OCI image specification and from Docker's image
//! manifest version 2 specification. A type that is not listed is [`Kind::Other`], which is not an
//! error by itself.

/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI empty descriptor's content, `{}`.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI layer, a plain tar archive.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker plugin config: a manifest with this config is not an image.
pub const DOCKER_PLUGIN: &str = "application/vnd.docker.plugin.v1+json";
/// Docker layer, a plain tar archive.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker manifest, schema 1.
pub const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker manifest, schema 1, signed.
pub const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// gzip with no tar archive in it.
pub const GZIP: &str = "application/gzip";
/// zstd with no tar archive in it.
pub const ZSTD: &str = "application/zstd";
/// Arbitrary bytes: the type says nothing about the content.
pub const OCTETS: &str = "application/octet-stream";

/// How a layer's archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip, RFC 1952.
    Gzip,
    /// zstd, RFC 8878.
    Zstd,
}

/// The kind of content that a media type identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image index or a manifest list.
    Index,
    /// An image manifest, OCI or Docker schema 2.
    Manifest,
    /// A Docker manifest of schema 1.
    Schema1,
    /// An image config.
    Config,
    /// A Docker plugin's config.
    Plugin,
    /// A layer.
    Layer {
        /// The compression; `None` for a plain tar archive.
        compression: Option<Compression>,
        /// Whether the media type is that of a non-distributable ("foreign") layer. A layer counts
        /// as non-distributable only if its descriptor also has `urls`: see
        /// `Descriptor::is_non_distributable`.
        foreign: bool,
    },
    /// Any other type: the content of an artifact, or an unknown type.
    Other,
}

/// The kind of a media type. Types are compared byte for byte.
pub fn kind(media_type: &str) -> Kind {
    const LAYER_STEMS: [(&str, bool); 4] = [
        (OCI_LAYER, false),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", true),
        (DOCKER_LAYER, false),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar", true),
    ];
    match media_type {
        OCI_INDEX | DOCKER_LIST => return Kind::Index,
        OCI_MANIFEST | DOCKER_MANIFEST => return Kind::Manifest,
        SCHEMA1 | SCHEMA1_SIGNED => return Kind::Schema1,
        OCI_CONFIG | DOCKER_CONFIG => return Kind::Config,
        DOCKER_PLUGIN => return Kind::Plugin,
        _ => {}
    }
    for (stem, foreign) in LAYER_STEMS {
        // ".tar.zstd" is not registered for Docker's types, but some images use it.
        let compression = match media_type.strip_prefix(stem) {
            Some("") => None,
            Some("+gzip" | ".gzip") => Some(Compression::Gzip),
            Some("+zstd" | ".zstd") => Some(Compression::Zstd),
            _ => continue,
        };
        return Kind::Layer { compression, foreign };
    }
    Kind::Other
}

/// Whether a registry has documents of this media type at its manifests endpoint.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(kind(media_type), Kind::Index | Kind::Manifest | Kind::Schema1)
}

/// Whether text is a media type without parameters: two names by RFC 6838, section 4.2, joined by a
/// slash.
pub fn is_media_type(text: &str) -> bool {
    let name = |name: &str| {
        (1..=127).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| name(kind) && name(subtype))
}

/// Whether a media type is one of Docker's.
pub fn is_docker(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.")
}

/// The media type in a Content-Type header: without parameters, trimmed, lower case. `None` if the
/// header is absent or has a generic type, which servers send when they do not know the type.
pub fn of_content_type(content_type: Option<&str>) -> Option<String> {
    let stem = content_type?.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_generic = matches!(stem.as_str(), "" | "text/plain" | OCTETS | "application/json");
    (!is_generic).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_both_families_are_known() {
        let layer = |media_type| match kind(media_type) {
            Kind::Layer { compression, foreign } => (compression, foreign),
            other => panic!("{media_type}: {other:?}"),
        };
        assert_eq!(layer(OCI_LAYER), (None, false));
        assert_eq!(layer(OCI_LAYER_GZIP), (Some(Compression::Gzip), false));
        assert_eq!(layer(OCI_LAYER_ZSTD), (Some(Compression::Zstd), false));
        assert_eq!(layer(DOCKER_LAYER_GZIP), (Some(Compression::Gzip), false));
        assert_eq!(
            layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            (Some(Compression::Gzip), true)
        );
        assert_eq!(
            layer("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"),
            (Some(Compression::Zstd), true)
        );
        assert_eq!(kind("application/vnd.oci.image.layer.v1.tar+xz"), Kind::Other);
    }

    #[test]
    fn a_media_type_has_two_names_and_a_slash() {
        assert!([OCI_LAYER_GZIP, OCTETS, "a/b"].into_iter().all(is_media_type));
        let long = format!("a/{}", "b".repeat(128));
        for wrong in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a/b;c=d",
            "a/b; c=d",
            "a/+b",
            "no type",
            "a/ü",
            long.as_str(),
        ] {
            assert!(!is_media_type(wrong), "{wrong}");
        }
        assert!(is_media_type(&long[..long.len() - 1]));
    }

    #[test]
    fn a_generic_content_type_counts_as_absent() {
        assert_eq!(of_content_type(None), None);
        assert_eq!(of_content_type(Some("application/json; charset=utf-8")), None);
        assert_eq!(of_content_type(Some("text/plain")), None);
        assert_eq!(of_content_type(Some(" Text/HTML ; x=y")), Some("text/html".to_owned()));
    }
}
