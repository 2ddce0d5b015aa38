// SPDX-License-Identifier: Apache-2.0
//! Converts a schema 1 manifest to the image config that Docker makes of it, byte for byte, so that
//! the image ID is the same.
//!
//! The config has the fields of the top entry's v1Compatibility without the ones in [`NAMES`], the
//! diff IDs of the lines on standard input, and a history of all entries. Its keys are sorted, and
//! it is encoded as Go does. From images of Docker before 1.8.3, Docker also removes the fields
//! that it does not know; this is not done here.

use std::path::Path;

use common::cli::{read_document, schema1};
use common::error::{Error, Result, printable};
use common::manifest::{MAX_SIZE, detect};
use common::platform::Platform;
use common::schema1::{Entry, Image};
use common::{json, mediatype};
use serde_json::{Map, Value, json};

use crate::config::{refuse_unreadable, set_platform};
use crate::created;
use crate::layers::Layers;

/// The fields of a v1 image that are not part of a config.
const NAMES: [&str; 6] = ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"];

/// The zero value of Go's time type, which Go writes if no time is given.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The hint about the lines' order.
const ORDER: &str = "the lines must be those of the layers, base first, without throwaway entries";

/// Converts the manifest in a file. The descriptor lines of its layers are read from standard
/// input.
///
/// # Errors
/// Malformed if the file is not a valid schema 1 manifest, if the user has not allowed schema 1
/// manifests, or if a line does not describe a layer. Content if the number or the digests of the
/// layers are not those of the manifest.
pub(crate) fn convert(file: &Path, platform: Option<&Platform>) -> Result<Vec<u8>> {
    let name = printable(&file.display().to_string());
    let bytes = read_document(Some(file), MAX_SIZE)?;
    let image = read(&bytes, &name).map_err(|e| e.context(&name))?;
    let layers = Layers::read()?;
    compare(&image, &layers)?;
    let mut fields = json::parse_object(image.top.as_bytes()).map_err(Error::malformed)?;
    for field in NAMES {
        fields.shift_remove(field);
    }
    set_platform(&mut fields, platform, false)?;
    let history =
        image.entries.iter().map(record).collect::<Result<_>>().map_err(|e| e.context(&name))?;
    let diff_ids: Vec<_> = layers.diff_ids.iter().map(ToString::to_string).collect();
    fields.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
    fields.insert("history".to_owned(), Value::Array(history));
    fields.sort_keys();
    let bytes = encoded_as_go(fields);
    refuse_unreadable(&bytes)?;
    Ok(bytes)
}

fn read(bytes: &[u8], name: &str) -> Result<Image> {
    let document = json::parse_object(bytes).map_err(Error::malformed)?;
    let media_type = detect(&document, name, schema1())?;
    if mediatype::kind(&media_type) != mediatype::Kind::Schema1 {
        let shown = printable(&media_type);
        let error = Error::malformed(format_args!(
            "\"{shown}\" is not the media type of a Docker schema 1 manifest"
        ));
        return Err(error.hint("images of newer formats already have a config"));
    }
    Image::parse(bytes, name)
}

/// Checks that the lines describe the layers of the manifest, in the manifest's order.
fn compare(image: &Image, layers: &Layers) -> Result<()> {
    let mut count = 0;
    for want in image.layers() {
        let Some(got) = layers.blobs.get(count) else {
            let got = layers.blobs.len();
            let all = image.layers().count();
            return Err(Error::content(format_args!(
                "{got} of {all} layers came: did the command before it fail?"
            )));
        };
        count += 1;
        if got != want {
            let what = format_args!("layer {count}: digest differs: got {got}, want {want}");
            return Err(Error::content(what).hint(ORDER));
        }
    }
    let got = layers.blobs.len();
    if got != count {
        let what = format_args!("got {got} layers, the manifest has {count}");
        return Err(Error::content(what).hint(ORDER));
    }
    Ok(())
}

/// The history entry of a manifest's entry.
fn record(entry: &Entry) -> Result<Value> {
    let created = match &entry.created {
        None => NO_TIME.to_owned(),
        Some(text) => created::normal(text).ok_or_else(|| {
            Error::malformed(format_args!("created: invalid time \"{}\"", printable(text)))
        })?,
    };
    let mut record = Map::new();
    record.insert("created".to_owned(), created.into());
    for (key, text) in
        [("author", &entry.author), ("created_by", &entry.created_by), ("comment", &entry.comment)]
    {
        if !text.is_empty() {
            record.insert(key.to_owned(), text.as_str().into());
        }
    }
    if entry.throwaway {
        record.insert("empty_layer".to_owned(), true.into());
    }
    Ok(Value::Object(record))
}

/// Encodes the document as Go does, which escapes five more characters. They occur only inside
/// strings, so they can be replaced in the whole text.
fn encoded_as_go(fields: Map<String, Value>) -> Vec<u8> {
    let mut text = Value::Object(fields).to_string();
    for (plain, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        if text.contains(plain) {
            text = text.replace(plain, escaped);
        }
    }
    text.into_bytes()
}
