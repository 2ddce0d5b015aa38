// SPDX-License-Identifier: Apache-2.0
//! Completes an entry from the manifest and the image config that a layout has.

use common::descriptor::Descriptor;
use common::error::{Error, Result, printable};
use common::json;
use common::manifest::{Content, MAX_CONFIG, Schema1};
use common::mediatype::{Kind, OCI_EMPTY, kind};
use common::platform::Platform;
use layout::Layout;
use serde_json::{Map, Value};

/// The fields of a platform that an image config has too, in the order of the specification.
const FIELDS: [&str; 5] = ["architecture", "os", "os.version", FEATURES, "variant"];
const FEATURES: &str = "os.features";

/// Adds the platform and the artifact type to an entry that lacks them. If `annotations` is set,
/// also adds the annotations of the manifest.
///
/// # Errors
/// Content if a digest or size differs, or if the platform of the entry is not that of the image.
/// Malformed if the manifest or the config is not valid, or if the image has no platform. Absent or
/// Local if a blob cannot be read.
pub(crate) fn complete(
    entry: Descriptor,
    layout: &Layout,
    annotations: bool,
) -> Result<Descriptor> {
    let (bytes, manifest) = layout.read_manifest(&entry, Schema1::Refused)?;
    let document = json::parse_object(&bytes).map_err(Error::malformed)?;
    let stated = document.get("artifactType").and_then(Value::as_str).filter(|own| !own.is_empty());
    let mut artifact_type = stated.map(str::to_owned);
    let mut platform = None;
    if let Content::Image { config, .. } = &manifest.content {
        let is_image = kind(&config.media_type) == Kind::Config;
        if is_image {
            let found = read_platform(config, layout)?;
            refuse_other_platform(&entry, found.as_ref())?;
            if found.is_none() && artifact_type.is_none() && entry.platform().is_none() {
                let what = format_args!(
                    "{}: image config {} has no platform",
                    entry.digest, config.digest
                );
                return Err(Error::malformed(what).hint("add the platform to the descriptor line"));
            }
            platform = found;
        } else if artifact_type.is_none() && config.media_type != OCI_EMPTY {
            // If a manifest states no artifact type, the image specification uses the media type of
            // its config.
            artifact_type = Some(config.media_type.clone());
        }
    }
    let digest = entry.digest.clone();
    let has_platform = entry.platform().is_some();
    let Value::Object(mut fields) = entry.into_value() else {
        return Err(Error::malformed(format_args!("{digest}: not a descriptor")));
    };
    if let Some(Value::Object(own)) = document.get("annotations").filter(|_| annotations) {
        let mut all = own.clone();
        if let Some(Value::Object(of_line)) = fields.get("annotations") {
            all.extend(of_line.clone());
        }
        fields.insert("annotations".to_owned(), all.into());
    }
    if let Some(platform) = platform.filter(|_| !has_platform) {
        fields.insert("platform".to_owned(), platform.into());
    }
    if let Some(artifact_type) = artifact_type {
        fields.entry("artifactType").or_insert(artifact_type.into());
    }
    Descriptor::from_value(fields.into())
        .map_err(|why| Error::malformed(format_args!("{digest}: {}", printable(&why))))
}

/// The platform in an image config; `None` if it names no operating system or no architecture.
fn read_platform(config: &Descriptor, layout: &Layout) -> Result<Option<Map<String, Value>>> {
    let wrong = |why: &str| {
        let name = format_args!("image config {}", config.digest);
        Error::malformed(format_args!("{name}: {}", printable(why)))
    };
    let bytes = layout.read_described(config, MAX_CONFIG)?;
    let document = json::parse_object(&bytes).map_err(|why| wrong(&why))?;
    json::refuse_case_variants(&document, &FIELDS).map_err(|why| wrong(&why))?;
    let mut platform = Map::new();
    for key in FIELDS {
        let is_empty = match document.get(key) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) if key != FEATURES => text.is_empty(),
            Some(Value::Array(features))
                if key == FEATURES && features.iter().all(Value::is_string) =>
            {
                features.is_empty()
            }
            Some(_) if key == FEATURES => {
                return Err(wrong(&format!("{FEATURES} is not an array of strings")));
            }
            Some(other) => {
                return Err(wrong(&format!("{key} is {}, not a string", json::kind(other))));
            }
        };
        if let Some(value) = document.get(key).filter(|_| !is_empty) {
            platform.insert(key.to_owned(), value.clone());
        }
    }
    Ok(Platform::from_object(&platform).is_some().then_some(platform))
}

/// Refuses a line whose platform is not the platform of its image.
fn refuse_other_platform(entry: &Descriptor, found: Option<&Map<String, Value>>) -> Result<()> {
    let found = found.and_then(Platform::from_object);
    let (Some(stated), Some(found)) = (entry.platform(), found) else { return Ok(()) };
    if (&stated.os, &stated.architecture) == (&found.os, &found.architecture) {
        return Ok(());
    }
    let digest = &entry.digest;
    let (stated, found) = (printable(&stated.to_string()), printable(&found.to_string()));
    let what =
        format_args!("{digest}: platform differs: the line has {stated}, the config has {found}");
    Err(Error::content(what).hint("without --from, the platform of the line is used"))
}
