// SPDX-License-Identifier: Apache-2.0
//! The image config that is built. It starts as the config of the base or as an empty config, and
//! is then changed.
//!
//! Fields that are not handled here keep their values and their order. New fields are added in the
//! order of the config page of the OCI image specification. If there is a history, it always has
//! one entry for each diff ID, in addition to the entries of empty layers.

use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::json;
use common::lines::looks_like_descriptor;
use common::manifest::{self, MAX_CONFIG};
use common::platform::Platform;
use serde_json::{Map, Value};

use crate::created::{self, EPOCH};

const KNOWN: [&str; 10] = [
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
];

/// An image config.
pub(crate) struct Config {
    fields: Map<String, Value>,
    diff_ids: Vec<Digest>,
    history: Vec<Value>,
    is_new: bool,
    /// The creation time of the image and its new layers.
    created: String,
}

/// The texts in the history entry of a new layer.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) author: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) comment: Option<String>,
}

impl Record {
    /// Whether the entry has a command or a comment. The author does not count, because the image
    /// config itself also has it.
    fn has_text(&self) -> bool {
        self.created_by.is_some() || self.comment.is_some()
    }

    fn entry(&self, created: &str) -> Map<String, Value> {
        let mut entry = Map::new();
        entry.insert("created".to_owned(), created.into());
        let fields = [
            ("author", &self.author),
            ("created_by", &self.created_by),
            ("comment", &self.comment),
        ];
        let texts = fields.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
        entry.extend(texts.map(|(key, text)| (key.to_owned(), text.as_str().into())));
        entry
    }
}

impl Config {
    /// A config without any field.
    pub(crate) fn empty() -> Config {
        Config {
            fields: Map::new(),
            diff_ids: Vec::new(),
            history: Vec::new(),
            is_new: true,
            created: EPOCH.to_owned(),
        }
    }

    /// Starts from the config of another image.
    ///
    /// # Errors
    /// Malformed if the bytes are not an image config, or its fields contradict each other. Usage
    /// if they are a descriptor line.
    pub(crate) fn from_base(bytes: &[u8]) -> Result<Config> {
        if looks_like_descriptor(bytes) {
            let error = Error::usage("got a descriptor line, want an image config");
            return Err(error.hint("fetch-blob prints the bytes of the blob that a line names"));
        }
        let fields = json::parse_object(bytes).map_err(Error::malformed)?;
        if fields.contains_key("schemaVersion") || fields.contains_key("layers") {
            let error = Error::malformed("got a manifest, want an image config");
            return Err(
                error.hint("list-blobs --config | fetch-blob REPO prints the manifest's config")
            );
        }
        json::refuse_case_variants(&fields, &KNOWN).map_err(Error::malformed)?;
        if let Some(Value::Object(rootfs)) = fields.get("rootfs") {
            json::refuse_case_variants(rootfs, &["type", "diff_ids"])
                .map_err(|e| Error::malformed(format_args!("rootfs: {e}")))?;
        }
        let diff_ids = manifest::diff_ids(bytes)?;
        if let Some(kind) = fields.get("rootfs").and_then(|rootfs| rootfs.get("type"))
            && kind != "layers"
        {
            let what = format_args!("rootfs.type is {kind}, not \"layers\"");
            return Err(Error::malformed(what));
        }
        let history = history(fields.get("history"))?;
        Ok(Config { fields, diff_ids, history, is_new: false, created: EPOCH.to_owned() })
    }

    /// The diff IDs of the layers so far, base first.
    pub(crate) fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// Sets the creation time and the author. The default time is the time of the base, or else the
    /// epoch. The time is never left out, since some readers fail without it.
    ///
    /// # Errors
    /// Malformed if no time is given and the time of the base is invalid.
    pub(crate) fn describe(&mut self, created: Option<String>, author: Option<&str>) -> Result<()> {
        let created = match (created, self.fields.get("created")) {
            (Some(created), _) => created,
            (None, None | Some(Value::Null)) => EPOCH.to_owned(),
            (None, Some(Value::String(created))) if created::normal(created).is_some() => {
                created.clone()
            }
            (None, Some(other)) => {
                let shown = printable(&other.to_string());
                return Err(Error::malformed(format_args!("base: created: invalid time {shown}"))
                    .hint("--created sets another time"));
            }
        };
        self.fields.insert("created".to_owned(), created.as_str().into());
        self.created = created;
        if let Some(author) = author {
            self.fields.insert("author".to_owned(), author.into());
        }
        Ok(())
    }

    /// Sets the platform. The default is the platform of the base; without a base it is this
    /// machine's.
    ///
    /// # Errors
    /// Malformed if no platform is given and the base has none.
    pub(crate) fn set_platform(&mut self, platform: Option<&Platform>) -> Result<()> {
        set_platform(&mut self.fields, platform, self.is_new)
    }

    /// The object `config`, which describes the process in a container of the image.
    ///
    /// # Errors
    /// Malformed if the base's value is not an object.
    pub(crate) fn runtime(&mut self) -> Result<&mut Map<String, Value>> {
        let runtime = self.fields.entry("config").or_insert(Value::Null);
        if runtime.is_null() {
            *runtime = Value::Object(Map::new());
        }
        let kind = json::kind(runtime);
        runtime
            .as_object_mut()
            .ok_or_else(|| Error::malformed(format_args!("base: config is {kind}, not an object")))
    }

    /// Adds layers on top, each with an entry in the history. If `record` is `None`, the history is
    /// removed. If there are no layers, but `record` has a text, the history gets an entry for an
    /// empty layer.
    ///
    /// # Errors
    /// Malformed if the base's history has entries for a different number of layers than the base
    /// has.
    pub(crate) fn add_layers(
        &mut self,
        diff_ids: Vec<Digest>,
        record: Option<&Record>,
    ) -> Result<()> {
        let base_layers = self.diff_ids.len();
        let new_layers = diff_ids.len();
        self.diff_ids.extend(diff_ids);
        let Some(record) = record else {
            self.history.clear();
            self.fields.shift_remove("history");
            return Ok(());
        };
        let recorded = self.history.iter().filter(|entry| entry["empty_layer"] != true).count();
        if recorded != base_layers && !self.history.is_empty() {
            let what = format_args!(
                "base: history has {recorded} layers, rootfs.diff_ids has {base_layers}"
            );
            return Err(Error::malformed(what).hint("--no-history leaves the history out"));
        }
        if new_layers == 0 && !record.has_text() {
            return Ok(());
        }
        // If the base has no history, its layers get entries too. Otherwise readers would assign
        // the entries of the new layers to the layers of the base.
        let empty_record = Record::default();
        let entries = std::iter::repeat_n(&empty_record, base_layers - recorded)
            .chain(std::iter::repeat_n(record, new_layers))
            .map(|record| Value::Object(record.entry(&self.created)));
        self.history.extend(entries);
        if new_layers == 0 {
            let mut entry = record.entry(&self.created);
            entry.insert("empty_layer".to_owned(), true.into());
            self.history.push(Value::Object(entry));
        }
        Ok(())
    }

    /// The document, compact, without a newline at its end.
    ///
    /// # Errors
    /// Malformed if the document is larger than our readers accept.
    pub(crate) fn into_bytes(mut self) -> Result<Vec<u8>> {
        let ids = self.diff_ids.iter().map(|id| Value::from(id.to_string())).collect();
        let rootfs = self.fields.entry("rootfs").or_insert_with(|| {
            Value::Object([("type".to_owned(), "layers".into())].into_iter().collect())
        });
        if let Value::Object(rootfs) = rootfs {
            rootfs.insert("diff_ids".to_owned(), Value::Array(ids));
        }
        if !self.history.is_empty() {
            self.fields.insert("history".to_owned(), Value::Array(self.history));
        }
        let bytes = Value::Object(self.fields).to_string().into_bytes();
        refuse_unreadable(&bytes)?;
        Ok(bytes)
    }
}

/// The fields of a config that state its platform. An empty value means that the field is absent.
pub(crate) fn platform_fields(platform: &Platform) -> [(&'static str, &str); 4] {
    [
        ("architecture", &platform.architecture),
        ("os", &platform.os),
        ("os.version", &platform.os_version),
        ("variant", &platform.variant),
    ]
}

/// Sets the platform of a config. If `platform` is `None` and `may_be_local` is true, sets this
/// machine's platform. If neither gives a platform, the config must already have one.
///
/// # Errors
/// Malformed if the config must have a platform, but `os` or `architecture` is absent.
pub(crate) fn set_platform(
    fields: &mut Map<String, Value>,
    platform: Option<&Platform>,
    may_be_local: bool,
) -> Result<()> {
    let local = may_be_local.then(Platform::local);
    let Some(platform) = platform.or(local.as_ref()) else {
        for key in ["architecture", "os"] {
            let value = fields.get(key).and_then(Value::as_str);
            if value.is_none_or(str::is_empty) {
                let error = Error::malformed(format_args!("the config has no {key}"));
                return Err(error.hint("--platform OS/ARCH sets the platform"));
            }
        }
        return Ok(());
    };
    for (key, text) in platform_fields(platform) {
        if text.is_empty() {
            fields.shift_remove(key);
        } else {
            fields.insert(key.to_owned(), text.into());
        }
    }
    Ok(())
}

/// Refuses a document that our own readers would refuse.
///
/// # Errors
/// Malformed if the document is too large, or our JSON parser refuses it.
pub(crate) fn refuse_unreadable(bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > MAX_CONFIG {
        let what = format_args!("the config: {} bytes, larger than {MAX_CONFIG}", bytes.len());
        return Err(Error::malformed(what));
    }
    json::parse_object(bytes).map(drop).map_err(|e| Error::malformed(e).context("the config"))
}

/// The history entries of the base.
fn history(value: Option<&Value>) -> Result<Vec<Value>> {
    let entries = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(other) => {
            let kind = json::kind(other);
            return Err(Error::malformed(format_args!("history is {kind}, not an array")));
        }
    };
    for (i, entry) in entries.iter().enumerate() {
        let wrong = |why: &str| Error::malformed(format_args!("history[{i}]{why}"));
        let Value::Object(fields) = entry else {
            return Err(wrong(&format!(" is {}, not an object", json::kind(entry))));
        };
        json::refuse_case_variants(fields, &["empty_layer"])
            .map_err(|e| wrong(&format!(": {e}")))?;
        match fields.get("empty_layer") {
            None | Some(Value::Null | Value::Bool(_)) => {}
            Some(other) => {
                let kind = json::kind(other);
                return Err(wrong(&format!(": empty_layer is {kind}, not a boolean")));
            }
        }
    }
    Ok(entries.clone())
}
