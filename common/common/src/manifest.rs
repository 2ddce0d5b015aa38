// SPDX-License-Identifier: Apache-2.0
//! Manifests: their detection, validation and content.
//!
//! The fields of a document determine its type. A document is never serialised again, because its
//! digest covers the exact bytes. A contradictory document (an index that also lists layers) is
//! refused whatever its stated type is, because two programs could read different images from it
//! (CVE-2021-41190). Docker plugins are refused: they are not images. Schema 1 is recognised, but
//! refused by default, as in Docker. Not here: the structure of a schema 1 image ([`schema1`]).

use std::fmt;

use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, Result, printable};
use crate::json;
use crate::mediatype::{self, Kind};
use crate::schema1;

/// The largest manifest that is read, in bytes: the size that registries and clients commonly
/// support.
pub const MAX_SIZE: u64 = 4 << 20;

/// The largest image config that is read or written, in bytes.
pub const MAX_CONFIG: u64 = MAX_SIZE;

/// The maximum depth of nested indexes.
pub const MAX_DEPTH: usize = 8;

/// The maximum number of digests that a walk down from a manifest remembers. It limits the memory,
/// however many descriptors an index has.
pub const MAX_DIGESTS: usize = 200_000;

/// The environment variable that allows schema 1 if it is not empty. The name is Docker's.
pub const SCHEMA1_VARIABLE: &str = "DOCKER_ENABLE_DEPRECATED_PULL_SCHEMA_1_IMAGE";

const KNOWN: [&str; 9] = [
    "schemaVersion",
    "mediaType",
    "manifests",
    "config",
    "layers",
    "fsLayers",
    "artifactType",
    "subject",
    "annotations",
];

/// A validated image manifest or index.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The media type: from `mediaType`, else from the fields of the document.
    pub media_type: String,
    /// The descriptors in it.
    pub content: Content,
    /// The manifest that this one refers to, if it is a referrer.
    pub subject: Option<Descriptor>,
}

/// The descriptors in a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// An image or an artifact: a config and layers, base first.
    Image {
        /// The config.
        config: Descriptor,
        /// The layers in the manifest's order, repetitions included.
        layers: Vec<Descriptor>,
    },
    /// An index: manifests for platforms, or manifests that describe other entries.
    Index {
        /// The entries in order.
        manifests: Vec<Descriptor>,
    },
    /// A Docker schema 1 manifest. Its layers have no sizes, so they are not descriptors.
    Schema1(schema1::Image),
}

/// Whether schema 1 documents are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema1 {
    /// Refused with Docker's deprecation notice.
    Refused,
    /// Allowed by [`SCHEMA1_VARIABLE`].
    Allowed,
}

/// The error for a schema 1 document while schema 1 is refused.
fn schema1_notice(name: &str) -> Error {
    Error::malformed(format_args!(
        "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 \
         support is disabled by default and will be removed in an upcoming release. Suggest the author \
         of {name} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More \
         information at https://docs.docker.com/go/deprecated-image-specs/"
    ))
    .hint(format_args!("{SCHEMA1_VARIABLE}=1 in the environment allows schema 1"))
}

/// Which of the four fields that identify the type are present in a document. A field that is
/// `null` counts as present, as in Docker's own detection.
struct Shape {
    manifests: bool,
    config: bool,
    layers: bool,
    fs_layers: bool,
}

impl Shape {
    fn of(document: &Map<String, Value>) -> Shape {
        let has = |key| document.contains_key(key);
        Shape {
            manifests: has("manifests"),
            config: has("config"),
            layers: has("layers"),
            fs_layers: has("fsLayers"),
        }
    }
}

/// The media type of a document: from `mediaType`, else from the fields that it has.
///
/// The rules are Docker's, but stricter in two cases where Docker accepts a wrong type: a signed
/// schema 1 document counts as schema 1, and a document without any of the fields is an error (for
/// Docker it is an index). `name` is the name of the document in messages.
///
/// # Errors
/// Malformed if the fields contradict the type or each other, if the type cannot be determined, or
/// if it is schema 1 and schema 1 is refused.
pub fn detect(document: &Map<String, Value>, name: &str, schema1: Schema1) -> Result<String> {
    json::refuse_case_variants(document, &KNOWN).map_err(Error::malformed)?;
    let shape = Shape::of(document);
    let stated = match json::present(document, "mediaType") {
        None => "",
        Some(Value::String(text)) => text.as_str(),
        Some(other) => {
            let kind = json::kind(other);
            return Err(Error::malformed(format_args!("mediaType is {kind}, not a string")));
        }
    };
    let contradiction = |fields: &str| {
        Err(Error::malformed(format_args!(
            "media-type: \"{}\" should not have {fields}",
            printable(stated)
        )))
    };
    let gate = || match schema1 {
        Schema1::Allowed => Ok(()),
        Schema1::Refused => Err(schema1_notice(name)),
    };
    match mediatype::kind(stated) {
        Kind::Manifest if shape.manifests || shape.fs_layers => {
            contradiction("\"manifests\" or \"fsLayers\"")
        }
        Kind::Index if shape.config || shape.layers || shape.fs_layers => {
            contradiction("\"config\", \"layers\", or \"fsLayers\"")
        }
        Kind::Schema1 => {
            gate()?;
            if shape.manifests || shape.layers {
                return contradiction("\"manifests\" or \"layers\"");
            }
            Ok(stated.to_owned())
        }
        _ if !stated.is_empty() => Ok(stated.to_owned()),
        _ => match shape {
            Shape { fs_layers: true, manifests: false, config: false, layers: false } => {
                gate()?;
                let signed = document.contains_key("signatures");
                Ok(if signed { mediatype::SCHEMA1_SIGNED } else { mediatype::SCHEMA1 }.to_owned())
            }
            Shape { fs_layers: false, manifests: false, config, layers } if config || layers => {
                Ok(mediatype::OCI_MANIFEST.to_owned())
            }
            Shape { manifests: true, config: false, layers: false, fs_layers: false } => {
                Ok(mediatype::OCI_INDEX.to_owned())
            }
            _ => Err(unknown(document)),
        },
    }
}

/// The error for a document of an unknown type, with a hint.
fn unknown(document: &Map<String, Value>) -> Error {
    let error = Error::malformed("media-type: cannot determine");
    let fields: Vec<String> = ["manifests", "config", "layers", "fsLayers"]
        .into_iter()
        .filter(|field| document.contains_key(*field))
        .map(|field| format!("\"{field}\""))
        .collect();
    match (foreign(document), fields.split_last()) {
        (Some(foreign), _) => error.hint(foreign),
        (None, Some((last, others))) => {
            let fields = format!("{} and {last}", others.join(", "));
            error.hint(format_args!("it has {fields}, fields of different documents"))
        }
        (None, None) => error.hint(
            "a manifest has \"mediaType\", or the field \"config\", \"layers\" or \"manifests\"",
        ),
    }
}

/// A sentence about a document of another kind that users confuse with a manifest.
fn foreign(document: &Map<String, Value>) -> Option<&'static str> {
    if document.get("errors").is_some_and(Value::is_array) {
        return Some("this is the error response of a registry");
    }
    document.contains_key("rootfs").then_some("this is an image config")
}

impl Manifest {
    /// Parses an image manifest or an index.
    ///
    /// `declared` is the media type declared outside the document: by a Content-Type header that is
    /// not generic, or by a descriptor. `name` is the name of the document in messages.
    ///
    /// # Errors
    /// Malformed if the document is not JSON by the strict rules, is contradictory, differs in type
    /// from `declared`, has an unsupported type, is a plugin, or is schema 1 while schema 1 is
    /// refused.
    pub fn parse(
        bytes: &[u8],
        declared: Option<&str>,
        name: &str,
        schema1: Schema1,
    ) -> Result<Manifest> {
        let mut document = json::parse_object(bytes).map_err(Error::malformed)?;
        let stated = json::present(&document, "mediaType").is_some();
        let mut media_type = detect(&document, name, schema1)?;
        if let Some(declared) = declared
            && declared != media_type
        {
            // Without `mediaType`, a document of an OCI type can have the same fields as one of a
            // Docker type.
            if stated || mediatype::kind(declared) != mediatype::kind(&media_type) {
                return Err(Error::malformed(format_args!(
                    "declared as \"{}\", but the document is \"{}\"",
                    printable(declared),
                    printable(&media_type)
                )));
            }
            // The document itself shows whether schema 1 is signed, so the declared type is not
            // compared.
            if mediatype::kind(declared) != Kind::Schema1 {
                media_type = declared.to_owned();
            }
        }
        let kind = mediatype::kind(&media_type);
        match kind {
            Kind::Schema1 => {
                let content = Content::Schema1(schema1::Image::parse(bytes, name)?);
                return Ok(Manifest { media_type, content, subject: None });
            }
            Kind::Manifest | Kind::Index => {}
            _ => {
                return Err(Error::malformed(format_args!(
                    "unsupported manifest format \"{}\"",
                    printable(&media_type)
                )));
            }
        }
        match document.get("schemaVersion") {
            Some(Value::Number(number)) if number.as_u64() == Some(2) => {}
            None => {
                return Err(Error::malformed("no schemaVersion").optional_hint(foreign(&document)));
            }
            Some(other) => {
                let got = printable(&other.to_string());
                let wrong = format_args!("schemaVersion: got {got}, want 2 for {media_type}");
                return Err(Error::malformed(wrong));
            }
        }
        // A second check: `detect` already refuses contradictory fields for each of these types.
        let shape = Shape::of(&document);
        if shape.manifests && (shape.config || shape.layers || shape.fs_layers) {
            return Err(Error::malformed("fields of both an index and an image manifest"));
        }
        let subject = document.remove("subject").filter(|value| !value.is_null());
        let subject = subject.map(|value| descriptor(value, "subject")).transpose()?;
        let content = if kind == Kind::Index {
            Content::Index { manifests: list(document.remove("manifests"), "manifests")? }
        } else {
            let config = document.remove("config").ok_or_else(|| Error::malformed("no config"))?;
            let config = descriptor(config, "config")?;
            if mediatype::kind(&config.media_type) == Kind::Plugin {
                return Err(Error::malformed("target is a plugin"));
            }
            // An artifact may have no layers, and Go writes an empty list as null.
            Content::Image { config, layers: list(document.remove("layers"), "layers")? }
        };
        Ok(Manifest { media_type, content, subject })
    }
}

fn descriptor(value: Value, place: impl fmt::Display) -> Result<Descriptor> {
    Descriptor::from_value(value)
        .map_err(|e| Error::malformed(format_args!("{place}: {}", printable(&e))))
}

/// The descriptors of a list; empty if the field is absent or `null`.
fn list(value: Option<Value>, field: &str) -> Result<Vec<Descriptor>> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(i, item)| descriptor(item, format_args!("{field}[{i}]")))
            .collect(),
        Some(other) => {
            Err(Error::malformed(format_args!("{field} is {}, not an array", json::kind(&other))))
        }
    }
}

impl Manifest {
    /// All descriptors in the manifest, in order: the config and the layers, or the entries of an
    /// index. The subject is not included, because it need not exist. A schema 1 manifest has no
    /// descriptors: its blobs are in [`schema1::Image::blobs`].
    pub fn named(&self) -> Vec<&Descriptor> {
        match &self.content {
            Content::Image { config, layers } => std::iter::once(config).chain(layers).collect(),
            Content::Index { manifests } => manifests.iter().collect(),
            Content::Schema1(_) => Vec::new(),
        }
    }
}

/// The descriptor of a manifest for the list of its subject's referrers: the manifest's annotations
/// and artifact type are added. If the manifest has no artifact type, its config's media type is
/// used.
///
/// # Errors
/// Malformed if the bytes are not JSON by the strict rules, or if an added field has the wrong
/// type.
pub fn referrer(bytes: &[u8], descriptor: &Descriptor) -> Result<Descriptor> {
    let document = json::parse_object(bytes).map_err(Error::malformed)?;
    let Value::Object(mut fields) = descriptor.clone().into_value() else {
        return Ok(descriptor.clone());
    };
    let of_config = document.get("config").and_then(|config| config.get("mediaType"));
    let own = json::present(&document, "artifactType").filter(|own| *own != "");
    if let Some(artifact_type) = own.or(of_config) {
        fields.insert("artifactType".to_owned(), artifact_type.clone());
    }
    if let Some(annotations) = document.get("annotations").filter(|a| a.is_object()) {
        fields.insert("annotations".to_owned(), annotations.clone());
    }
    Descriptor::from_value(Value::Object(fields)).map_err(Error::malformed)
}

/// The diff IDs of an image config: the digests of its uncompressed layers, base first.
///
/// # Errors
/// Malformed if the config is not JSON, has no `rootfs.diff_ids`, or if an entry of it is not a
/// digest.
pub fn diff_ids(config: &[u8]) -> Result<Vec<Digest>> {
    let document = json::parse_object(config).map_err(Error::malformed)?;
    let ids = match document.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")) {
        Some(Value::Array(ids)) => ids.as_slice(),
        // Go writes an empty list as null.
        Some(Value::Null) => &[],
        _ => return Err(Error::malformed("invalid rootfs in image configuration")),
    };
    ids.iter()
        .enumerate()
        .map(|(i, id)| {
            let text = id.as_str().unwrap_or_default();
            text.parse().map_err(|e| Error::malformed(format_args!("rootfs.diff_ids[{i}]: {e}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn detected(text: &str) -> std::result::Result<String, String> {
        let document = json::parse_object(text.as_bytes())?;
        detect(&document, "x", Schema1::Refused).map_err(|e| e.to_string())
    }

    #[test]
    fn a_shape_without_a_type_is_determined() {
        assert_eq!(detected(r#"{"config":{},"layers":[]}"#).unwrap(), mediatype::OCI_MANIFEST);
        assert_eq!(detected(r#"{"layers":null}"#).unwrap(), mediatype::OCI_MANIFEST);
        assert_eq!(detected(r#"{"manifests":[]}"#).unwrap(), mediatype::OCI_INDEX);
    }

    #[test]
    fn a_mixed_or_empty_shape_cannot_be_determined() {
        for text in [
            "{}",
            r#"{"manifests":[],"layers":[]}"#,
            r#"{"manifests":[],"config":{}}"#,
            r#"{"fsLayers":[],"config":{}}"#,
            r#"{"fsLayers":[],"manifests":[]}"#,
        ] {
            assert_eq!(detected(text).unwrap_err(), "media-type: cannot determine", "{text}");
        }
    }

    #[test]
    fn a_type_with_anothers_fields_is_a_contradiction() {
        let with = |media_type: &str, field: &str| {
            detected(&format!(r#"{{"mediaType":"{media_type}","{field}":null}}"#)).unwrap_err()
        };
        for media_type in [mediatype::OCI_MANIFEST, mediatype::DOCKER_MANIFEST] {
            for field in ["manifests", "fsLayers"] {
                let want = format!(
                    "media-type: \"{media_type}\" should not have \"manifests\" or \"fsLayers\""
                );
                assert_eq!(with(media_type, field), want);
            }
        }
        for media_type in [mediatype::OCI_INDEX, mediatype::DOCKER_LIST] {
            for field in ["config", "layers", "fsLayers"] {
                let want = format!(
                    "media-type: \"{media_type}\" should not have \"config\", \"layers\", or \"fsLayers\""
                );
                assert_eq!(with(media_type, field), want);
            }
        }
    }

    #[test]
    fn every_form_of_schema_1_is_refused_by_default() {
        for text in [
            r#"{"fsLayers":[]}"#.to_owned(),
            format!(r#"{{"mediaType":"{}"}}"#, mediatype::SCHEMA1),
            format!(r#"{{"mediaType":"{}"}}"#, mediatype::SCHEMA1_SIGNED),
        ] {
            assert!(detected(&text).unwrap_err().starts_with("[DEPRECATION NOTICE]"), "{text}");
        }
        let document = json::parse_object(br#"{"fsLayers":[]}"#).unwrap();
        assert_eq!(detect(&document, "x", Schema1::Allowed).unwrap(), mediatype::SCHEMA1);
        let text = format!(r#"{{"mediaType":"{}","layers":[]}}"#, mediatype::SCHEMA1);
        let document = json::parse_object(text.as_bytes()).unwrap();
        let error = detect(&document, "x", Schema1::Allowed).unwrap_err().to_string();
        assert!(error.ends_with(r#"should not have "manifests" or "layers""#), "{error}");
    }

    fn parse(text: &str, declared: Option<&str>) -> Result<Manifest> {
        Manifest::parse(text.as_bytes(), declared, "x", Schema1::Refused)
    }

    fn image(config_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"sha256:{HEX}","size":0}},"layers":[]}}"#
        )
    }

    #[test]
    fn schema_1_has_its_structure_checked() {
        let parse = |text: &str| Manifest::parse(text.as_bytes(), None, "r:t", Schema1::Allowed);
        let error = parse(r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#).unwrap_err();
        assert_eq!(error.to_string(), "no FSLayers in manifest for \"r:t\"");
        let error = parse(r#"{"schemaVersion":2,"fsLayers":[]}"#).unwrap_err();
        assert_eq!(error.to_string(), "unsupported schema version 2 for \"r:t\"");
        let error = Manifest::parse(b"{\"fsLayers\":[]}", None, "r:t", Schema1::Refused);
        assert!(error.unwrap_err().hint_text().unwrap().starts_with(SCHEMA1_VARIABLE));
    }

    #[test]
    fn a_document_declared_as_another_type_is_refused() {
        let text = image(mediatype::OCI_CONFIG);
        let docker = parse(&text, Some(mediatype::DOCKER_MANIFEST)).unwrap();
        assert_eq!(docker.media_type, mediatype::DOCKER_MANIFEST);
        assert!(parse(&text, Some(mediatype::OCI_INDEX)).is_err());
        let typed =
            text.replacen('{', &format!(r#"{{"mediaType":"{}","#, mediatype::OCI_MANIFEST), 1);
        assert!(parse(&typed, Some(mediatype::DOCKER_MANIFEST)).is_err());
        assert!(parse(&typed, Some(mediatype::OCI_MANIFEST)).is_ok());
    }

    #[test]
    fn a_plugin_is_refused() {
        let error = parse(&image(mediatype::DOCKER_PLUGIN), None).unwrap_err();
        assert_eq!(error.to_string(), "target is a plugin");
    }

    #[test]
    fn the_schema_version_must_fit() {
        let text = image(mediatype::OCI_CONFIG);
        assert!(parse(&text.replace(":2,", ":1,"), None).is_err());
        assert!(parse(&text.replace("\"schemaVersion\":2,", ""), None).is_err());
        assert!(parse(&text.replace(":2,", ":\"2\","), None).is_err());
    }

    #[test]
    fn diff_ids_are_required_and_checked() {
        let text = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["sha256:{HEX}"]}}}}"#);
        assert_eq!(diff_ids(text.as_bytes()).unwrap().len(), 1);
        assert_eq!(diff_ids(br#"{"rootfs":{"diff_ids":null}}"#).unwrap(), []);
        assert!(diff_ids(br#"{"rootfs":{}}"#).is_err());
        assert!(diff_ids(br#"{"rootfs":{"diff_ids":[1]}}"#).is_err());
        assert!(diff_ids(b"{}").unwrap_err().to_string().contains("invalid rootfs"));
    }
}
