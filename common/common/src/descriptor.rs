// SPDX-License-Identifier: Apache-2.0
//! Descriptors: each names a blob by media type, digest and size. Tools exchange descriptors.
//!
//! A *descriptor line* is one OCI descriptor as one line of JSON. The fields `mediaType`, `digest`
//! and `size` are required and checked. Each other known field must have the right type or be
//! `null`, which counts as absent. All fields are kept unchanged and in their order. The largest
//! size is 2^63-1, because the specification uses int64.
//!
//! An *early line* has the additional member `"early":true`. It means that fetch-blob is still
//! storing the blob. The member belongs to the line, not to the descriptor: it is removed when a
//! line is read, so tools do not pass it on.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::error::Error;
use crate::json;
use crate::mediatype::{self, Kind};
use crate::platform::Platform;

/// The annotation that contains a layer's diff ID, the digest of the uncompressed layer. containerd
/// defines the name.
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// The annotation with which BuildKit marks an index entry that describes another entry.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The member that marks an early line.
const EARLY: &str = "early";

/// The hint of a tool that cannot use an early line.
pub const EARLY_HINT: &str = "only unpack-layer accepts the early lines of fetch-blob --early";

const KNOWN: [&str; 8] =
    ["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];

/// A validated descriptor.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content, in bytes.
    pub size: u64,
    /// Whether it was read from an early line: the store may not have the content yet.
    pub early: bool,
    /// All fields, unchanged.
    fields: Map<String, Value>,
}

/// A descriptor without a size, because the manifest that names the blob (Docker schema 1) does not
/// state it. Only a tool that reads the blob can add the size.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsized(Descriptor);

/// An output line of a tool that may print descriptors without sizes.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A descriptor.
    Whole(Descriptor),
    /// A descriptor without its size.
    Unsized(Unsized),
}

impl Unsized {
    /// A descriptor without a size, from a media type and a digest.
    pub fn new(media_type: &str, digest: Digest) -> Unsized {
        let mut descriptor = Descriptor::new(media_type, digest, 0);
        descriptor.fields.shift_remove("size");
        Unsized(descriptor)
    }

    /// The digest of the content.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// The media type of the content.
    pub fn media_type(&self) -> &str {
        &self.0.media_type
    }

    /// The descriptor inside. Its size has no meaning.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0
    }

    /// The descriptor with its size, in bytes.
    pub fn complete(self, size: u64) -> Descriptor {
        let mut descriptor = self.0;
        descriptor.fields.insert("size".to_owned(), size.into());
        Descriptor { size, ..descriptor }
    }

    /// The descriptor as one line of JSON, without the newline.
    pub fn line(&self) -> String {
        self.0.line()
    }
}

impl Line {
    /// The digest of the content.
    pub fn digest(&self) -> &Digest {
        match self {
            Line::Whole(descriptor) => &descriptor.digest,
            Line::Unsized(line) => line.digest(),
        }
    }

    /// Parses a descriptor line that need not have a size.
    ///
    /// # Errors
    /// A sentence that describes the fault.
    pub fn from_line(line: &[u8]) -> Result<Line, String> {
        let mut value = json::parse(line)?;
        let Some(fields) = value.as_object_mut().filter(|fields| !fields.contains_key("size"))
        else {
            return Descriptor::from_parsed_line(value).map(Line::Whole);
        };
        fields.insert("size".to_owned(), 0.into());
        let mut descriptor = Descriptor::from_value(value)?;
        descriptor.fields.shift_remove("size");
        Ok(Line::Unsized(Unsized(descriptor)))
    }
}

impl Descriptor {
    /// A descriptor with only the three required fields.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        let mut fields = Map::new();
        fields.insert("mediaType".to_owned(), media_type.into());
        fields.insert("digest".to_owned(), digest.to_string().into());
        fields.insert("size".to_owned(), size.into());
        Descriptor { media_type: media_type.to_owned(), digest, size, early: false, fields }
    }

    /// Makes a descriptor from a parsed JSON value.
    ///
    /// # Errors
    /// A sentence that names the invalid field.
    pub fn from_value(value: Value) -> Result<Descriptor, String> {
        let Value::Object(fields) = value else {
            return Err(format!("not a descriptor but {}", json::kind(&value)));
        };
        json::refuse_case_variants(&fields, &KNOWN)?;
        let text = |key: &str| match fields.get(key) {
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(other) => Err(format!("{key} is {}, not a string", json::kind(other))),
            None => Err(format!("no {key}")),
        };
        let media_type = text("mediaType")?.to_owned();
        if media_type.is_empty() || media_type.chars().any(|c| c.is_control() || c == ' ') {
            return Err("mediaType is not a media type".to_owned());
        }
        let digest = text("digest")?.parse::<Digest>().map_err(|e| format!("digest: {e}"))?;
        let size = match fields.get("size") {
            Some(Value::Number(number)) => number
                .as_u64()
                .filter(|size| i64::try_from(*size).is_ok())
                .ok_or_else(|| format!("size {number} is not a whole number from 0 to 2^63-1"))?,
            Some(other) => return Err(format!("size is {}, not a number", json::kind(other))),
            None => return Err("no size".to_owned()),
        };
        for key in ["data", "artifactType"] {
            if json::present(&fields, key).is_some() {
                text(key)?;
            }
        }
        match json::present(&fields, "urls") {
            None => {}
            Some(Value::Array(urls)) if urls.iter().all(Value::is_string) => {}
            Some(_) => return Err("urls is not an array of strings".to_owned()),
        }
        for key in ["annotations", "platform"] {
            match json::present(&fields, key) {
                None | Some(Value::Object(_)) => {}
                Some(other) => {
                    return Err(format!("{key} is {}, not an object", json::kind(other)));
                }
            }
        }
        Ok(Descriptor { media_type, digest, size, early: false, fields })
    }

    /// Parses a descriptor line.
    ///
    /// # Errors
    /// A sentence that describes the fault.
    pub fn from_line(line: &[u8]) -> Result<Descriptor, String> {
        json::parse(line).and_then(Descriptor::from_parsed_line)
    }

    fn from_parsed_line(mut value: Value) -> Result<Descriptor, String> {
        let early = value.get(EARLY) == Some(&Value::Bool(true));
        if early && let Some(fields) = value.as_object_mut() {
            fields.shift_remove(EARLY);
        }
        Ok(Descriptor { early, ..Descriptor::from_value(value)? })
    }

    /// The descriptor as one line of JSON, without the newline.
    pub fn line(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }

    /// The descriptor as an early line, without the newline.
    pub fn early_line(&self) -> String {
        let mut fields = self.fields.clone();
        fields.insert(EARLY.to_owned(), true.into());
        Value::Object(fields).to_string()
    }

    /// The descriptor as a JSON value with all its fields.
    pub fn into_value(self) -> Value {
        Value::Object(self.fields)
    }

    /// Other locations of the content, as written. They are not checked to be URLs.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.fields
            .get("urls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// The content in the descriptor's field `data`, decoded and checked for size and digest.
    /// `None` if there is no `data`. The inner error says why `data` cannot be used.
    pub fn data(&self) -> Option<Result<Vec<u8>, String>> {
        let text = self.fields.get("data")?.as_str()?;
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        Some(match decoded {
            Err(_) => Err("data is not base64".to_owned()),
            Ok(bytes) if bytes.len() as u64 != self.size => {
                Err(format!("data: size differs: got {}, want {}", bytes.len(), self.size))
            }
            Ok(bytes) => match self.digest.algorithm().digest(&bytes) {
                digest if digest == self.digest => Ok(bytes),
                digest => Err(format!("data: digest differs: got {digest}, want {}", self.digest)),
            },
        })
    }

    /// The platform of an index entry.
    pub fn platform(&self) -> Option<Platform> {
        self.fields.get("platform")?.as_object().and_then(Platform::from_object)
    }

    /// The artifact type. `None` if it is empty.
    pub fn artifact_type(&self) -> Option<&str> {
        self.fields.get("artifactType")?.as_str().filter(|text| !text.is_empty())
    }

    /// The features of the operating system that an index entry requires, sorted.
    pub fn os_features(&self) -> Vec<String> {
        let features = self.fields.get("platform").and_then(|platform| platform.get("os.features"));
        let features = features.and_then(Value::as_array).into_iter().flatten();
        let mut features: Vec<_> = features.filter_map(Value::as_str).map(str::to_owned).collect();
        features.sort_unstable();
        features
    }

    /// The text of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.fields.get("annotations")?.get(key)?.as_str()
    }

    /// The same descriptor with an annotation set.
    #[must_use]
    pub fn with_annotation(mut self, key: &str, value: &str) -> Descriptor {
        let annotations = self.fields.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = Map::new().into();
        }
        if let Value::Object(annotations) = annotations {
            annotations.insert(key.to_owned(), value.into());
        }
        self
    }

    /// The same descriptor without an annotation. An `annotations` object that becomes empty is
    /// removed.
    #[must_use]
    pub fn without_annotation(mut self, key: &str) -> Descriptor {
        if let Some(Value::Object(annotations)) = self.fields.get_mut("annotations") {
            annotations.shift_remove(key);
            if annotations.is_empty() {
                self.fields.shift_remove("annotations");
            }
        }
        self
    }

    /// Refuses an early line, for tools that do not read the blob and would not notice that it is
    /// absent.
    ///
    /// # Errors
    /// Malformed if the line is early.
    pub fn refuse_early(&self) -> crate::error::Result<()> {
        if !self.early {
            return Ok(());
        }
        let what =
            format_args!("{}: an early line: the blob may not have arrived yet", self.digest);
        Err(Error::malformed(what).hint(EARLY_HINT))
    }

    /// The same descriptor with another media type. The order of the fields is kept.
    #[must_use]
    pub fn with_media_type(mut self, media_type: &str) -> Descriptor {
        self.fields.insert("mediaType".to_owned(), media_type.into());
        self.media_type = media_type.to_owned();
        self
    }

    /// A layer's diff ID, if it is known: the value of the annotation [`UNCOMPRESSED`], or the
    /// layer's own digest if the media type is that of an uncompressed layer.
    ///
    /// # Errors
    /// A sentence, if the annotation is not a digest, or if it differs from the digest of an
    /// uncompressed layer.
    pub fn diff_id(&self) -> Result<Option<Digest>, String> {
        let is_plain =
            matches!(mediatype::kind(&self.media_type), Kind::Layer { compression: None, .. });
        match self.fields.get("annotations").and_then(|annotations| annotations.get(UNCOMPRESSED)) {
            None => Ok(is_plain.then(|| self.digest.clone())),
            Some(value) => {
                let text = value.as_str().unwrap_or_default();
                let stated: Digest =
                    text.parse().map_err(|e| format!("annotation {UNCOMPRESSED}: {e}"))?;
                // Digests by different algorithms cannot be compared: they may be of the same
                // bytes.
                let same = stated.algorithm() != self.digest.algorithm() || stated == self.digest;
                if is_plain && !same {
                    let own = &self.digest;
                    return Err(format!(
                        "annotation {UNCOMPRESSED}: got {stated}, want {own}, the digest of the \
                         uncompressed layer"
                    ));
                }
                Ok(Some(stated))
            }
        }
    }

    /// Whether this is a non-distributable layer: it has a media type of non-distributable layers,
    /// and it has `urls`. Such a layer is not pushed by default, and may be missing from a store,
    /// because it can be fetched from its `urls`. Without `urls` it is a layer like any other.
    pub fn is_non_distributable(&self) -> bool {
        let foreign =
            matches!(mediatype::kind(&self.media_type), Kind::Layer { foreign: true, .. });
        foreign && self.urls().next().is_some()
    }

    /// Whether an index entry describes another entry (an attestation) or is an artifact. Such an
    /// entry is never chosen for a platform.
    pub fn is_attestation_or_artifact(&self) -> bool {
        self.artifact_type().is_some()
            || self.annotation(REFERENCE_TYPE).is_some()
            || self.platform().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn line(rest: &str) -> String {
        format!(r#"{{"mediaType":"a/b","digest":"sha256:{HEX}"{rest}}}"#)
    }

    #[test]
    fn a_line_without_a_size_is_completed() {
        let digest = Algorithm::Sha256.digest(b"x");
        let text = format!(r#"{{"mediaType":"a/b","digest":"{digest}","x":1}}"#);
        assert_eq!(Descriptor::from_line(text.as_bytes()).unwrap_err(), "no size");
        let Ok(Line::Unsized(line)) = Line::from_line(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(line.line(), text);
        let whole = line.complete(7);
        assert_eq!((whole.size, whole.line()), (7, text.replace("}", ",\"size\":7}")));
        assert_eq!(Line::from_line(whole.line().as_bytes()), Ok(Line::Whole(whole)));
        assert_eq!(Unsized::new("a/b", digest).complete(1).size, 1);
        for wrong in [r#"{"mediaType":"a/b"}"#, r#"{"digest":"x"}"#, "[]", "1"] {
            Line::from_line(wrong.as_bytes()).unwrap_err();
        }
        let other_case = text.replace("\"x\"", "\"Size\"");
        Line::from_line(other_case.as_bytes()).unwrap_err();
    }

    #[test]
    fn the_mark_of_an_early_line_is_read_and_not_passed_on() {
        let text = line(r#","size":7,"x":1"#);
        let plain = Descriptor::from_line(text.as_bytes()).unwrap();
        let marked = plain.early_line();
        assert_eq!(marked, line(r#","size":7,"x":1,"early":true"#));
        let early = Descriptor::from_line(marked.as_bytes()).unwrap();
        assert_eq!((plain.early, early.early, early.line()), (false, true, text));
        assert_eq!(Line::from_line(marked.as_bytes()), Ok(Line::Whole(early)));
        for other in [r#","size":7,"early":false"#, r#","size":7,"early":"true""#] {
            let kept = Descriptor::from_line(line(other).as_bytes()).unwrap();
            assert_eq!((kept.early, kept.line()), (false, line(other)));
        }
    }

    #[test]
    fn unknown_fields_are_kept_unchanged() {
        let text = line(r#","size":0,"x":{"b":1,"a":[2.5,null]},"annotations":{"k":"v"}"#);
        assert_eq!(Descriptor::from_line(text.as_bytes()).unwrap().line(), text);
    }

    #[test]
    fn sizes_at_the_edges() {
        let size =
            |size: &str| Descriptor::from_line(line(&format!(",\"size\":{size}")).as_bytes());
        assert_eq!(size("0").unwrap().size, 0);
        assert_eq!(size("9223372036854775807").unwrap().size, i64::MAX as u64);
        for wrong in ["9223372036854775808", "-1", "1.5", "1e3", "\"10\"", "null"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let wrong = |text: &str| Descriptor::from_line(text.as_bytes()).unwrap_err();
        assert!(wrong("{}").contains("no mediaType"));
        assert!(wrong("[]").contains("an array"));
        assert!(wrong(&line("")).contains("no size"));
        assert!(wrong(&line(r#","size":0,"urls":"x""#)).contains("urls"));
        assert!(wrong(&line(r#","size":0,"Size":1"#)).contains("case"));
        assert!(wrong(&line(r#","size":0,"platform":[]"#)).contains("platform"));
    }

    #[test]
    fn null_is_absence_for_an_optional_field_alone() {
        for key in ["urls", "annotations", "data", "platform", "artifactType"] {
            let text = line(&format!(r#","size":0,"{key}":null"#));
            let read = Descriptor::from_line(text.as_bytes()).unwrap();
            assert_eq!(read.line(), text);
            assert!(!read.is_attestation_or_artifact() && read.data().is_none(), "{key}");
            assert_eq!(read.with_annotation("k", "v").annotation("k"), Some("v"), "{key}");
        }
        assert!(Descriptor::from_line(line(r#","size":null"#).as_bytes()).is_err());
        let right = line(r#","size":0"#);
        for required in [r#""a/b""#, &format!(r#""sha256:{HEX}""#)] {
            let text = right.replace(required, "null");
            assert!(Descriptor::from_line(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn inlined_data_counts_only_when_it_is_the_content() {
        let digest = Algorithm::Sha256.digest(b"{}");
        let with = |data: &str, size: u64| {
            let text = format!(
                r#"{{"mediaType":"a/b","digest":"{digest}","size":{size},"data":"{data}"}}"#
            );
            Descriptor::from_line(text.as_bytes()).unwrap().data().unwrap()
        };
        assert_eq!(with("e30=", 2).unwrap(), b"{}");
        assert!(with("e30=", 3).is_err());
        assert!(with("e31=", 2).is_err());
        assert!(with("!!", 2).is_err());
    }

    #[test]
    fn annotations_are_added_and_removed() {
        let plain = Descriptor::from_line(line(r#","size":0"#).as_bytes()).unwrap();
        let marked = plain.clone().with_annotation(UNCOMPRESSED, "x");
        assert_eq!(marked.annotation(UNCOMPRESSED), Some("x"));
        assert_eq!(marked.without_annotation(UNCOMPRESSED), plain);
    }

    #[test]
    fn a_layer_is_non_distributable_by_its_media_type_and_its_urls() {
        const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
        for (media_type, urls, want) in [
            (FOREIGN, r#"["https://example.com/x"]"#, true),
            (FOREIGN, "[]", false),
            (FOREIGN, "null", false),
            (mediatype::OCI_LAYER_GZIP, r#"["https://example.com/x"]"#, false),
            (mediatype::OCI_CONFIG, r#"["https://example.com/x"]"#, false),
        ] {
            let text = line(&format!(r#","size":0,"urls":{urls}"#)).replace("a/b", media_type);
            let read = Descriptor::from_line(text.as_bytes()).unwrap();
            assert_eq!(read.is_non_distributable(), want, "{text}");
        }
    }

    #[test]
    fn a_media_type_is_changed_in_its_place() {
        let text = line(r#","size":0,"x":1"#);
        let changed = Descriptor::from_line(text.as_bytes()).unwrap().with_media_type("c/d");
        assert_eq!(
            (changed.line(), changed.media_type.as_str()),
            (text.replace("a/b", "c/d"), "c/d")
        );
    }

    #[test]
    fn a_diff_id_is_the_annotations_or_that_of_a_plain_archive() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let other = Algorithm::Sha256.digest(b"x");
        let gzip = Descriptor::new(mediatype::OCI_LAYER_GZIP, digest.clone(), 0);
        let plain = Descriptor::new(mediatype::DOCKER_LAYER, digest.clone(), 0);
        assert_eq!(gzip.diff_id(), Ok(None));
        assert_eq!(plain.diff_id(), Ok(Some(digest)));
        let marked = |descriptor: &Descriptor| {
            descriptor.clone().with_annotation(UNCOMPRESSED, &other.to_string()).diff_id()
        };
        assert_eq!(marked(&gzip), Ok(Some(other.clone())));
        assert!(marked(&plain).unwrap_err().contains(", want sha256:"));
        assert!(
            gzip.with_annotation(UNCOMPRESSED, "x").diff_id().unwrap_err().contains("not a digest")
        );
    }
}
