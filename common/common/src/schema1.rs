// SPDX-License-Identifier: Apache-2.0
//! Docker manifests of schema 1: the payload that the digest covers, and the image in it.
//!
//! A signed document (JWS) is its payload with signatures inserted. The digest and the image are
//! taken from the payload. The signatures are not verified, because no keys are trusted here.
//! Docker's own pull does not verify them either. Messages about the image are Docker's, word for
//! word. Not here: building a config from the image, and the check that refuses schema 1 by default
//! ([`manifest`](crate::manifest)).
//!
//! All readers get the image with [`Manifest::parse`](crate::manifest::Manifest::parse), so that
//! every tool refuses the same documents, before any blob is requested.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, Result, printable};
use crate::json;
use crate::mediatype::SCHEMA1_SIGNED;
use crate::platform::Platform;

/// base64url, with or without padding. libtrust writes no padding.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const KNOWN: [&str; 8] = [
    "schemaVersion",
    "mediaType",
    "name",
    "tag",
    "architecture",
    "fsLayers",
    "history",
    "signatures",
];

const KNOWN_COMPATIBILITY: [&str; 10] = [
    "id",
    "parent",
    "throwaway",
    "created",
    "author",
    "comment",
    "container_config",
    "architecture",
    "os",
    "docker_version",
];

/// A validated schema 1 image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The entries, base first. Adjacent entries with the same ID are merged.
    pub entries: Vec<Entry>,
    /// The v1Compatibility of the top entry, as written: the source of the image config. It is a
    /// JSON object.
    pub top: String,
    /// The platform that the top entry states. If it states no architecture, the manifest's
    /// architecture is used. `None` if the operating system or the architecture is missing.
    pub platform: Option<Platform>,
    /// The blobs of all entries in the manifest, base first, including repeated and throwaway
    /// entries. A registry requires all of these blobs.
    pub blobs: Vec<Digest>,
}

/// A layer and its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The digest of the layer's blob.
    pub blob: Digest,
    /// Whether the entry changes no file: its blob is then not part of the image.
    pub throwaway: bool,
    /// The creation time, as written.
    pub created: Option<String>,
    /// The author.
    pub author: String,
    /// The command that created the layer, its arguments joined by spaces.
    pub created_by: String,
    /// The comment.
    pub comment: String,
}

/// The bytes that a document's digest covers: the payload of a signed document, else the complete
/// document.
///
/// Apart from the signatures, the document and its payload must be equal, so that a program that
/// reads either of them sees the same image.
///
/// # Errors
/// Malformed if the document is not JSON, if it is signed but has no signature, if its signatures
/// disagree about the payload, or if the document differs from the payload.
pub fn payload(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    let mut document = json::parse_object(bytes).map_err(Error::malformed)?;
    json::refuse_case_variants(&document, &KNOWN).map_err(Error::malformed)?;
    let is_signed_type = document.get("mediaType").and_then(Value::as_str) == Some(SCHEMA1_SIGNED);
    let signatures = match document.shift_remove("signatures") {
        None if is_signed_type => return Err(Error::malformed("signatures: missing")),
        None => return Ok(Cow::Borrowed(bytes)),
        Some(Value::Array(signatures)) if !signatures.is_empty() => signatures,
        Some(Value::Array(_)) => return Err(Error::malformed("signatures: empty")),
        Some(other) => {
            let kind = json::kind(&other);
            return Err(Error::malformed(format_args!("signatures is {kind}, not an array")));
        }
    };
    let mut formats = signatures.iter().enumerate().map(|(i, signature)| {
        format(signature).map_err(|e| Error::malformed(format_args!("signatures[{i}]: {e}")))
    });
    let first = formats.next().transpose()?.unwrap_or_default();
    for (i, other) in formats.enumerate() {
        if other? != first {
            let at = i + 1;
            let what =
                format_args!("signatures[{at}]: its payload differs from that of signatures[0]");
            return Err(Error::malformed(what));
        }
    }
    let (length, tail) = first;
    let head = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
    let Some(head) = head else {
        let what = format_args!(
            "signatures: formatLength {length} is larger than the document ({} bytes)",
            bytes.len()
        );
        return Err(Error::malformed(what));
    };
    let payload = [head, &tail].concat();
    let signed = json::parse_object(&payload)
        .map_err(|e| Error::malformed(format_args!("signatures: the payload: {e}")))?;
    if signed != document {
        return Err(Error::malformed("signatures: the document differs from the signed payload"));
    }
    Ok(Cow::Owned(payload))
}

/// The bytes that the digest of any manifest covers: the payload of signed schema 1, else the
/// complete document. An invalid document is returned unchanged: a later check refuses it.
///
/// Only an object with `fsLayers` and `signatures` is signed schema 1. In any other document,
/// `signatures` is an unknown field, which the digest covers.
pub fn digested(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_signed = may_be_signed(bytes)
        && json::parse_object(bytes).is_ok_and(|document| {
            ["fsLayers", "signatures"].iter().all(|k| document.contains_key(*k))
        });
    if !is_signed {
        return Cow::Borrowed(bytes);
    }
    payload(bytes).unwrap_or(Cow::Borrowed(bytes))
}

/// Whether a document may have the key `signatures`. This is much faster than parsing it. A key is
/// written as it is, unless a backslash begins an escape sequence in it.
fn may_be_signed(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| text.contains("\"signatures\"") || text.contains('\\'))
}

/// Whether a manifest has the size that its descriptor states. For signed schema 1, writers of
/// indexes state the size of either the complete document or its payload, so both are accepted. The
/// digest still identifies the content.
pub fn has_size(bytes: &[u8], size: u64) -> bool {
    bytes.len() as u64 == size || digested(bytes).len() as u64 == size
}

/// Refuses to store in a layout a signed schema 1 manifest that an index lists. The digest in the
/// index covers the payload only, but the size in the index may be that of the signed document. In
/// a layout, a blob must have both the digest and the size of its descriptor.
///
/// # Errors
/// Malformed for signed schema 1.
pub fn refuse_in_layout(descriptor: &Descriptor) -> Result<()> {
    if descriptor.media_type != SCHEMA1_SIGNED {
        return Ok(());
    }
    Err(Error::malformed(format_args!(
        "{}: a layout cannot hold a signed schema 1 manifest that an index lists",
        descriptor.digest
    )))
}

/// The `formatLength` and the decoded `formatTail` of one signature: the payload is the first
/// `formatLength` bytes of the document followed by `formatTail`.
fn format(signature: &Value) -> std::result::Result<(u64, Vec<u8>), String> {
    let text = |object: &Value, key: &str| match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{key} is {}, not a string", json::kind(other))),
        None => Err(format!("no {key}")),
    };
    let decoded = |key: &str, text: &str| {
        BASE64URL.decode(text).map_err(|_| format!("{key} is not base64url"))
    };
    let protected = decoded("protected", &text(signature, "protected")?)?;
    let protected = json::parse_object(&protected).map_err(|e| format!("protected: {e}"))?;
    let length = match protected.get("formatLength") {
        None => return Err("protected: no formatLength".to_owned()),
        Some(number) => number.as_u64().ok_or_else(|| {
            format!("protected: invalid formatLength: {}", printable(&number.to_string()))
        })?,
    };
    let protected = Value::Object(protected);
    let tail = text(&protected, "formatTail").map_err(|e| format!("protected: {e}"))?;
    Ok((length, decoded("formatTail", &tail)?))
}

impl Image {
    /// Parses a document. `name` is its name in messages.
    ///
    /// # Errors
    /// Malformed if the document is not a valid schema 1 image, with Docker's message where Docker
    /// has one.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Image> {
        let payload = payload(bytes)?;
        let document = json::parse_object(&payload).map_err(Error::malformed)?;
        json::refuse_case_variants(&document, &KNOWN).map_err(Error::malformed)?;
        match document.get("schemaVersion") {
            Some(version) if version.as_u64() == Some(1) => {}
            version => {
                let got = version.map_or("null".to_owned(), |v| printable(&v.to_string()));
                let what = format_args!("unsupported schema version {got} for \"{name}\"");
                return Err(Error::malformed(what));
            }
        }
        let layers = list(&document, "fsLayers")?;
        let history = list(&document, "history")?;
        if layers.len() != history.len() {
            return Err(Error::malformed(format_args!(
                "length of history not equal to number of layers for \"{name}\""
            )));
        }
        if layers.is_empty() {
            return Err(Error::malformed(format_args!("no FSLayers in manifest for \"{name}\"")));
        }
        let mut blobs = Vec::with_capacity(layers.len());
        let mut generations = Vec::with_capacity(layers.len());
        for (i, (layer, record)) in layers.iter().zip(history).enumerate() {
            let within = |e: String| Error::malformed(format_args!("history[{i}]: {e}"));
            let blob = text_of(layer, "blobSum")
                .and_then(|text| text.parse::<Digest>().map_err(|e| format!("blobSum: {e}")))
                .map_err(|e| Error::malformed(format_args!("fsLayers[{i}]: {}", printable(&e))))?;
            blobs.push(blob.clone());
            let text = text_of(record, "v1Compatibility").map_err(within)?;
            let compatibility = json::parse_object(text.as_bytes())
                .map_err(|e| within(format!("v1Compatibility: {e}")))?;
            let generation = Generation::of(&compatibility, blob, text)
                .map_err(|e| within(format!("v1Compatibility: {e}")))?;
            if !is_id(&generation.id) {
                let id = printable(&generation.id);
                let what = format_args!("image ID '{id}' is invalid");
                return Err(Error::malformed(what));
            }
            generations.push(generation);
        }
        blobs.reverse();
        let (entries, top) = chain(generations)?;
        let platform = platform(&document, &top);
        Ok(Image { entries, top, platform, blobs })
    }

    /// The layers of the image, base first, without throwaway entries.
    pub fn layers(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().filter(|entry| !entry.throwaway).map(|entry| &entry.blob)
    }
}

/// The platform of an image. Old entries state no architecture. In that case the manifest's
/// architecture is used.
fn platform(document: &Map<String, Value>, top: &str) -> Option<Platform> {
    let mut fields = json::parse_object(top.as_bytes()).ok()?;
    let architecture = fields.get("architecture").or(document.get("architecture")).cloned();
    fields.insert("architecture".to_owned(), architecture?);
    Platform::from_object(&fields)
}

/// An entry with its ID, the ID of its parent, and its v1Compatibility.
struct Generation<'a> {
    id: String,
    parent: String,
    entry: Entry,
    text: &'a str,
}

impl Generation<'_> {
    fn of<'a>(
        compatibility: &Map<String, Value>,
        blob: Digest,
        text_of_entry: &'a str,
    ) -> std::result::Result<Generation<'a>, String> {
        json::refuse_case_variants(compatibility, &KNOWN_COMPATIBILITY)?;
        let text = |key: &str| match compatibility.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(format!("{key} is {}, not a string", json::kind(other))),
        };
        let throwaway = match compatibility.get("throwaway") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(throwaway)) => *throwaway,
            Some(other) => {
                return Err(format!("throwaway is {}, not a boolean", json::kind(other)));
            }
        };
        let created = match compatibility.get("created") {
            None | Some(Value::Null) => None,
            Some(Value::String(created)) => Some(created.clone()),
            Some(other) => return Err(format!("created is {}, not a string", json::kind(other))),
        };
        let command = compatibility.get("container_config").and_then(|config| config.get("Cmd"));
        let words = match command {
            None | Some(Value::Null) => Vec::new(),
            // Docker reads one string as an array of one string.
            Some(Value::String(word)) => vec![word.as_str()],
            Some(Value::Array(words)) if words.iter().all(Value::is_string) => {
                words.iter().filter_map(Value::as_str).collect()
            }
            Some(_) => return Err("container_config: Cmd is not an array of strings".to_owned()),
        };
        Ok(Generation {
            id: text("id")?,
            parent: text("parent")?,
            text: text_of_entry,
            entry: Entry {
                blob,
                throwaway,
                created,
                author: text("author")?,
                created_by: words.join(" "),
                comment: text("comment")?,
            },
        })
    }
}

/// Checks that each entry is the parent of the one above it, and merges adjacent repetitions. The
/// input is ordered top first, the result base first. Also returns the v1Compatibility of the top
/// entry after merging, which need not be the first of the input.
fn chain(generations: Vec<Generation<'_>>) -> Result<(Vec<Entry>, String)> {
    if generations.last().is_some_and(|base| !base.parent.is_empty()) {
        let what = "Invalid parent ID in the base layer of the image.";
        return Err(Error::malformed(what));
    }
    let mut seen = HashSet::new();
    let mut last = "";
    for generation in &generations {
        if !seen.insert(generation.id.as_str()) && generation.id != last {
            let id = &generation.id;
            return Err(Error::malformed(format_args!(
                "ID {id} appears multiple times in manifest"
            )));
        }
        last = &generation.id;
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(generations.len());
    let mut below: Option<String> = None;
    let mut top = "";
    for Generation { id, parent, entry, text } in generations.into_iter().rev() {
        match &below {
            // The repeated entry nearest to the base is kept.
            Some(below) if *below == id => continue,
            Some(below) if *below != parent => {
                let got = printable(&parent);
                let what = format_args!("Invalid parent ID. Expected {below}, got {got}.");
                return Err(Error::malformed(what));
            }
            _ => {}
        }
        below = Some(id);
        top = text;
        entries.push(entry);
    }
    Ok((entries, top.to_owned()))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The array of a field; empty if the field is absent or `null`.
fn list<'a>(document: &'a Map<String, Value>, field: &str) -> Result<&'a [Value]> {
    match document.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => {
            Err(Error::malformed(format_args!("{field} is {}, not an array", json::kind(other))))
        }
    }
}

fn text_of<'a>(value: &'a Value, key: &str) -> std::result::Result<&'a str, String> {
    let Value::Object(object) = value else {
        return Err(format!("not an object but {}", json::kind(value)));
    };
    json::refuse_case_variants(object, &[key])?;
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("{key} is {}, not a string", json::kind(other))),
        None => Err(format!("no {key}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Algorithm;

    /// The v1Compatibility of an entry: its ID and its parent's ID, each one repeated digit, and
    /// `more` fields.
    fn generation(id: char, parent: &str, more: &str) -> String {
        let [id, parent] = [id.to_string(), parent.to_owned()].map(|digit| digit.repeat(64));
        format!(r#"{{"id":"{id}","parent":"{parent}"{more}}}"#)
    }

    /// A document with these entries, top first. Each layer's digest is the digest of its number,
    /// counted from the base.
    fn document(compatibilities: &[String]) -> String {
        let count = compatibilities.len();
        let layers = (0..count).map(
            |i| json!({"blobSum": Algorithm::Sha256.digest(&[(count - i) as u8]).to_string()}),
        );
        let history = compatibilities.iter().map(|text| json!({ "v1Compatibility": text }));
        json!({
            "schemaVersion": 1,
            "name": "app",
            "fsLayers": layers.collect::<Vec<_>>(),
            "history": history.collect::<Vec<_>>(),
        })
        .to_string()
    }

    fn image(compatibilities: &[String]) -> std::result::Result<Image, String> {
        Image::parse(document(compatibilities).as_bytes(), "x").map_err(|e| e.to_string())
    }

    fn signature(length: usize, tail: &str) -> Value {
        let encode = |text: &str| BASE64URL.encode(text).trim_end_matches('=').to_owned();
        let protected = json!({"formatLength": length, "formatTail": encode(tail)}).to_string();
        json!({"header": {}, "signature": "", "protected": encode(&protected)})
    }

    /// A payload with signatures inserted before its last two bytes.
    fn signed(payload: &str, signatures: &[Value]) -> String {
        let (head, tail) = payload.split_at(payload.len() - 2);
        format!("{head},\"signatures\":{}{tail}", Value::from(signatures))
    }

    #[test]
    fn layers_are_base_first_without_throwaways() {
        let image = image(&[
            generation('c', "b", r#","throwaway":true,"container_config":{"Cmd":["a","b"]}"#),
            generation('b', "a", r#","created":"x","author":"y","comment":"z""#),
            generation('a', "", ""),
        ])
        .unwrap();
        let layers: Vec<_> = image.layers().cloned().collect();
        assert_eq!(layers, [1_u8, 2].map(|i| Algorithm::Sha256.digest(&[i])));
        assert_eq!(image.entries[2].created_by, "a b");
        assert_eq!(image.entries[1].author, "y");
        let top: Value = serde_json::from_str(&image.top).unwrap();
        assert_eq!(top["id"], "c".repeat(64));
        assert_eq!(image.blobs, [1_u8, 2, 3].map(|i| Algorithm::Sha256.digest(&[i])));
    }

    #[test]
    fn the_top_entry_is_the_one_that_merging_keeps() {
        let [dropped, kept] = [",\"comment\":\"dropped\"", ",\"comment\":\"kept\""]
            .map(|comment| generation('b', "a", comment));
        let base = generation('a', "", "");
        let image = image(&[dropped.clone(), dropped, kept.clone(), base]).unwrap();
        assert_eq!(image.top, kept);
        assert_eq!((image.entries.len(), image.blobs.len()), (2, 4));
    }

    #[test]
    fn only_signed_schema_1_is_digested_without_signatures() {
        let text = document(&[generation('a', "", "")]).replace("]}", "]\n}");
        let ours = signature(text.len() - 2, "\n}");
        let signed = signed(&text, &[ours]);
        assert_eq!(*digested(signed.as_bytes()), *text.as_bytes());
        let escaped = signed.replace("\"signatures\"", r#""signat\u0075res""#);
        assert_ne!(escaped, signed);
        assert_eq!(*digested(escaped.as_bytes()), *text.as_bytes());
        for other in [r#"{"layers":[],"signatures":[]}"#, r#"{"fsLayers":[],"signatures":[]}"#, "{"]
        {
            assert_eq!(*digested(other.as_bytes()), *other.as_bytes());
        }
    }

    #[test]
    fn adjacent_repetitions_are_merged_and_others_refused() {
        let [a, b, c] = [("a", ""), ("b", "a"), ("c", "b")]
            .map(|(id, parent)| generation(id.chars().next().unwrap(), parent, ""));
        let merged = image(&[c.clone(), b.clone(), b.clone(), b.clone(), a.clone()]).unwrap();
        let layers: Vec<_> = merged.layers().cloned().collect();
        assert_eq!(layers, [1_u8, 2, 5].map(|i| Algorithm::Sha256.digest(&[i])));
        let again = image(&[b.clone(), c, b, a]).unwrap_err();
        assert_eq!(again, format!("ID {} appears multiple times in manifest", "b".repeat(64)));
    }

    #[test]
    fn a_broken_chain_is_refused_with_dockers_message() {
        let orphan = image(&[generation('b', "a", ""), generation('a', "9", "")]).unwrap_err();
        assert_eq!(orphan, "Invalid parent ID in the base layer of the image.");
        let unrelated = image(&[generation('b', "9", ""), generation('a', "", "")]).unwrap_err();
        let (want, got) = ("a".repeat(64), "9".repeat(64));
        assert_eq!(unrelated, format!("Invalid parent ID. Expected {want}, got {got}."));
        let invalid = image(&[r#"{"id":"../etc"}"#.to_owned()]).unwrap_err();
        assert_eq!(invalid, "image ID '../etc' is invalid");
    }

    #[test]
    fn a_document_of_the_wrong_shape_is_refused_with_dockers_message() {
        let wrong = |text: &str| Image::parse(text.as_bytes(), "r:t").unwrap_err().to_string();
        let empty = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#;
        assert_eq!(wrong(empty), "no FSLayers in manifest for \"r:t\"");
        let uneven = r#"{"schemaVersion":1,"fsLayers":[{}],"history":[]}"#;
        assert_eq!(wrong(uneven), "length of history not equal to number of layers for \"r:t\"");
        for (version, shown) in [("2", "2"), ("\"1\"", "\"1\""), ("null", "null")] {
            let text = format!(r#"{{"schemaVersion":{version}}}"#);
            assert_eq!(wrong(&text), format!("unsupported schema version {shown} for \"r:t\""));
        }
        for text in [
            "",
            "[]",
            r#"{"schemaVersion":1,"fsLayers":3}"#,
            r#"{"schemaVersion":1,"fsLayers":[1],"history":[1]}"#,
            r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:.."}],"history":[{}]}"#,
            r#"{"schemaVersion":1,"FSLayers":[]}"#,
        ] {
            wrong(text);
        }
        for compatibility in ["", "[]", r#"{"id":1}"#, r#"{"ID":"a"}"#] {
            image(&[compatibility.to_owned()]).unwrap_err();
        }
        for more in [r#","throwaway":1"#, r#","container_config":{"Cmd":1}"#, r#","created":1"#] {
            image(&[generation('a', "", more)]).unwrap_err();
        }
        let word = image(&[generation('a', "", r#","container_config":{"Cmd":"x"}"#)]).unwrap();
        assert_eq!(word.entries[0].created_by, "x");
    }

    #[test]
    fn the_payload_is_the_document_without_its_signatures() {
        let text = document(&[generation('a', "", "")]).replace(r#""name":"app","#, "") + " ";
        let text = text.trim_end().replace("]}", "]\n}");
        let ours = signature(text.len() - 2, "\n}");
        for signatures in [vec![ours.clone()], vec![ours.clone(), ours.clone()]] {
            let document = signed(&text, &signatures);
            assert_eq!(payload(document.as_bytes()).unwrap(), text.as_bytes());
            assert!(Image::parse(document.as_bytes(), "x").is_ok());
        }
        assert_eq!(payload(text.as_bytes()).unwrap(), text.as_bytes());
    }

    #[test]
    fn signatures_that_disagree_are_refused() {
        let text = document(&[generation('a', "", "")]).replace("]}", "]\n}");
        let fault = |signatures: &[Value]| {
            payload(signed(&text, signatures).as_bytes()).unwrap_err().to_string()
        };
        let at = text.len() - 2;
        let protected = |text: &str| json!({"protected": BASE64URL.encode(text)});
        assert!(fault(&[]).contains("signatures: empty"));
        assert!(fault(&[signature(1 << 40, "\n}")]).contains("is larger than the document"));
        let another = fault(&[signature(at, "\n}"), signature(at - 1, "\n}")]);
        assert!(another.contains("signatures[1]: its payload differs"));
        assert!(
            fault(&[signature(at, ",\"tag\":\"x\"}")]).contains("differs from the signed payload")
        );
        assert!(fault(&[signature(0, "")]).contains("the payload: not JSON"));
        assert!(fault(&[json!(1)]).contains("no protected"));
        assert!(fault(&[json!({"protected": "!"})]).contains("not base64url"));
        for wrong in ["", "[]", "{}", r#"{"formatLength":-1}"#, r#"{"formatLength":1.5}"#] {
            assert!(
                fault(&[protected(wrong)]).starts_with("signatures[0]: protected: "),
                "{wrong}"
            );
        }
        let unsigned = r#"{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+prettyjws"}"#;
        assert!(
            payload(unsigned.as_bytes()).unwrap_err().to_string().contains("signatures: missing")
        );
    }
}
