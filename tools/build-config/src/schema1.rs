// SPDX-License-Identifier: Apache-2.0
//! Converts a schema 1 manifest to the image config that Docker 26 makes from it, byte for byte, so
//! that the image ID is the same.
//!
//! The config has the fields of the top entry's v1Compatibility except those in [`DROPPED`], the
//! diff IDs of the lines on standard input, and a history of all entries. Its keys are sorted.
//! Values keep their spelling, except those of images of old versions ([`v1_image`]).

use std::path::Path;

use common::cli::{read_document, schema1};
use common::error::{Error, Result, printable};
use common::manifest::{Content, MAX_SIZE, Manifest};
use common::notice;
use common::platform::Platform;
use common::schema1::{Entry, Image};

use crate::config::{platform_fields, refuse_unreadable};
use crate::created;
use crate::go_json::{self, Fields};
use crate::layers::Layers;
use crate::v1_image;

/// The fields of a v1 image that are not part of a config.
const DROPPED: [&str; 6] = ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"];

/// The hint about the lines' order.
const ORDER: &str = "the lines must be those of the layers, base first, without throwaway entries";

/// Converts the manifest in a file. The descriptor lines of its layers are read from standard
/// input, unless it has no layers.
///
/// # Errors
/// Malformed if the file is not a valid schema 1 manifest, if the user has not allowed schema 1
/// manifests, or if a line does not describe a layer. Content if the number or the digests of the
/// layers differ from those in the manifest.
pub(crate) fn convert(file: &Path, platform: Option<&Platform>) -> Result<Vec<u8>> {
    let name = printable(&file.display().to_string());
    let bytes = read_document(Some(file), MAX_SIZE)?;
    let image = read(&bytes, &name).map_err(|e| e.context(&name))?;
    let fields = v1_image::fields(&image.top)
        .map_err(|e| Error::malformed(printable(&e)).context(format_args!("{name}: top entry")))?;
    let history: Vec<_> =
        image.entries.iter().map(record).collect::<Result<_>>().map_err(|e| e.context(&name))?;
    let has_layers = image.layers().next().is_some();
    let layers = if has_layers { Layers::read()? } else { Layers::none() };
    compare(&image, &layers)?;
    let bytes = config(fields, platform, &layers, &history).into_bytes();
    refuse_unreadable(&bytes)?;
    Ok(bytes)
}

/// The config: the fields of the top entry, the platform if one is given, the layers and the
/// history.
fn config(
    mut fields: Fields,
    platform: Option<&Platform>,
    layers: &Layers,
    history: &[String],
) -> String {
    for name in DROPPED {
        fields.remove(name);
    }
    set_platform(&mut fields, platform);
    let ids: Vec<_> = layers.diff_ids.iter().map(ToString::to_string).collect();
    let ids = go_json::strings(ids.iter().map(String::as_str));
    let kind = go_json::string("layers");
    let mut rootfs = vec![("type", kind.as_str())];
    // Go leaves an empty list out.
    if !layers.diff_ids.is_empty() {
        rootfs.push(("diff_ids", &ids));
    }
    fields.insert("rootfs".to_owned(), go_json::join(rootfs.into_iter()));
    fields.insert("history".to_owned(), format!("[{}]", history.join(",")));
    go_json::object(&fields)
}

/// Sets the platform. If `platform` is `None`, the config keeps the platform of the top entry.
fn set_platform(fields: &mut Fields, platform: Option<&Platform>) {
    let Some(platform) = platform else {
        for key in ["architecture", "os"] {
            if fields.get(key).is_none_or(|value| matches!(value.as_str(), "null" | "\"\"")) {
                notice::warn("platform", || {
                    format!("the config has no {key}, as in Docker: --platform sets it")
                });
            }
        }
        return;
    };
    for (key, text) in platform_fields(platform) {
        if text.is_empty() {
            fields.remove(key);
        } else {
            fields.insert(key.to_owned(), go_json::string(text));
        }
    }
}

fn read(bytes: &[u8], name: &str) -> Result<Image> {
    let manifest = Manifest::parse(bytes, None, name, schema1())?;
    let Content::Schema1(image) = manifest.content else {
        let shown = printable(&manifest.media_type);
        let error = Error::malformed(format_args!(
            "\"{shown}\" is not the media type of a Docker schema 1 manifest"
        ));
        return Err(error.hint("images of newer formats already have a config"));
    };
    Ok(image)
}

/// Checks that the lines describe the layers of the manifest, in the manifest's order.
fn compare(image: &Image, layers: &Layers) -> Result<()> {
    let mut count = 0;
    for want in image.layers() {
        let Some(got) = layers.blobs.get(count) else {
            let got = layers.blobs.len();
            let all = image.layers().count();
            return Err(Error::content(format_args!(
                "got {got} of {all} layers: did the previous command fail?"
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
        let what = format_args!("got {got} layers, want {count}");
        return Err(Error::content(what).hint(ORDER));
    }
    Ok(())
}

/// The history entry of a manifest's entry.
fn record(entry: &Entry) -> Result<String> {
    let created = entry.created.as_deref().map(|text| {
        created::normal(text).ok_or_else(|| {
            Error::malformed(format_args!("created: invalid time \"{}\"", printable(text)))
        })
    });
    let created = created.transpose()?.unwrap_or_default();
    let mut fields = Vec::new();
    for (key, text) in [
        ("created", &created),
        ("created_by", &entry.created_by),
        ("author", &entry.author),
        ("comment", &entry.comment),
    ] {
        if !text.is_empty() {
            fields.push((key, go_json::string(text)));
        }
    }
    if entry.throwaway {
        fields.push(("empty_layer", "true".to_owned()));
    }
    Ok(go_json::join(fields.iter().map(|(key, value)| (*key, value.as_str()))))
}
