// SPDX-License-Identifier: Apache-2.0
//! Decodes the v1Compatibility of images from Docker before 1.8.3 and encodes it again, as Docker
//! 26 does.
//!
//! Docker decodes such an entry into its types and encodes them again: unknown fields are dropped,
//! and missing fields appear with their zero value. The tables here are those types, in their
//! order:
//! `V1Image` of Docker's package `image`, `Config` of `api/types/container` and `HealthcheckConfig`
//! of `docker-image-spec`.

use common::json;
use serde_json::{Map, Value};

use crate::created;
use crate::go_json::{self, Fields};

/// The first version of Docker whose entries are kept without being decoded.
const FIRST_KEPT: &str = "1.8.3";

/// The type of a field.
#[derive(Clone, Copy)]
enum Type {
    /// `string`
    Text,
    /// `bool`
    Flag,
    /// `int` or `int64`; 0 counts as empty
    Number,
    /// `*int`
    Optional,
    /// `[]string`
    List,
    /// `strslice.StrSlice`: an array of strings, or one string
    Words,
    /// `map[string]struct{}`
    Set,
    /// `map[string]string`
    Map,
    /// `*time.Time`
    Time,
    /// `container.Config`
    Config,
    /// `*container.Config`
    ConfigPointer,
    /// `*HealthcheckConfig`
    Health,
}

use Type::*;

/// A field: its name, its type, and whether it is left out when it is empty.
type Field = (&'static str, Type, bool);

const IMAGE: [Field; 10] = [
    ("comment", Text, true),
    ("created", Time, false),
    ("container", Text, true),
    ("container_config", Config, false),
    ("docker_version", Text, true),
    ("author", Text, true),
    ("config", ConfigPointer, true),
    ("architecture", Text, true),
    ("variant", Text, true),
    ("os", Text, true),
];

const CONFIG: [Field; 25] = [
    ("Hostname", Text, false),
    ("Domainname", Text, false),
    ("User", Text, false),
    ("AttachStdin", Flag, false),
    ("AttachStdout", Flag, false),
    ("AttachStderr", Flag, false),
    ("ExposedPorts", Set, true),
    ("Tty", Flag, false),
    ("OpenStdin", Flag, false),
    ("StdinOnce", Flag, false),
    ("Env", List, false),
    ("Cmd", Words, false),
    ("Healthcheck", Health, true),
    ("ArgsEscaped", Flag, true),
    ("Image", Text, false),
    ("Volumes", Set, false),
    ("WorkingDir", Text, false),
    ("Entrypoint", Words, false),
    ("NetworkDisabled", Flag, true),
    ("MacAddress", Text, true),
    ("OnBuild", List, false),
    ("Labels", Map, false),
    ("StopSignal", Text, true),
    ("StopTimeout", Optional, true),
    ("Shell", Words, true),
];

const HEALTH: [Field; 6] = [
    ("Test", List, true),
    ("Interval", Number, true),
    ("Timeout", Number, true),
    ("StartPeriod", Number, true),
    ("StartInterval", Number, true),
    ("Retries", Number, true),
];

/// The image config's fields that a v1Compatibility has. They keep their spelling, or are encoded
/// again if Docker before 1.8.3 made the image.
///
/// # Errors
/// An error message that names a field of the wrong type.
pub(crate) fn fields(text: &str) -> Result<Fields, String> {
    let image = json::parse_object(text.as_bytes())?;
    let version = match image.get("docker_version") {
        None | Some(Value::Null) => "",
        Some(Value::String(version)) => version,
        Some(other) => return Err(wrong("docker_version", other, "a string")),
    };
    if !is_before(version, FIRST_KEPT) {
        return go_json::fields(text);
    }
    let fields = encode_fields(&image, &IMAGE)?;
    Ok(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Compares versions as Docker does: a part that is not a number counts as 0.
fn is_before(version: &str, other: &str) -> bool {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let numbers = |version: &str| -> Vec<i64> {
        let number = |part: &str| match part.parse::<i64>() {
            Ok(number) => number,
            Err(e) if *e.kind() == PosOverflow => i64::MAX,
            Err(e) if *e.kind() == NegOverflow => i64::MIN,
            Err(_) => 0,
        };
        version.split('.').map(number).collect()
    };
    let mut pair = [numbers(version), numbers(other)];
    let longest = pair.iter().map(Vec::len).max().unwrap_or_default();
    pair.iter_mut().for_each(|numbers| numbers.resize(longest, 0));
    pair[0] < pair[1]
}

/// The fields of a struct, in the order of the struct.
fn encode_fields(
    object: &Map<String, Value>,
    fields: &[Field],
) -> Result<Vec<(&'static str, String)>, String> {
    // Go ignores the case of keys when it decodes into a struct.
    let names: Vec<&str> = fields.iter().map(|(name, ..)| *name).collect();
    json::refuse_case_variants(object, &names)?;
    let mut encoded = Vec::new();
    for (name, kind, may_be_left_out) in fields {
        let value = object.get(*name).unwrap_or(&Value::Null);
        let (text, is_empty) = encode(name, *kind, value)?;
        if !(is_empty && *may_be_left_out) {
            encoded.push((*name, text));
        }
    }
    Ok(encoded)
}

fn encode_struct(name: &str, value: &Value, fields: &[Field]) -> Result<String, String> {
    let none = Map::new();
    let object = match value {
        Value::Null => &none,
        Value::Object(object) => object,
        other => return Err(wrong(name, other, "an object")),
    };
    let encoded = encode_fields(object, fields).map_err(|e| format!("{name}: {e}"))?;
    Ok(go_json::join(encoded.iter().map(|(key, value)| (*key, value.as_str()))))
}

/// The text of a value, and whether Go counts the value as empty. `null` is the zero value.
fn encode(name: &str, kind: Type, value: &Value) -> Result<(String, bool), String> {
    Ok(match (kind, value) {
        (Text, Value::Null) => (go_json::string(""), true),
        (Text, Value::String(text)) => (go_json::string(text), text.is_empty()),
        (Text, other) => return Err(wrong(name, other, "a string")),
        (Flag, Value::Null) => ("false".to_owned(), true),
        (Flag, Value::Bool(flag)) => (flag.to_string(), !flag),
        (Flag, other) => return Err(wrong(name, other, "a boolean")),
        (Number, Value::Null) => ("0".to_owned(), true),
        (Optional, Value::Null) => ("null".to_owned(), true),
        (Number | Optional, value) => {
            let number = value.as_i64().ok_or_else(|| wrong(name, value, "a whole number"))?;
            (number.to_string(), number == 0 && matches!(kind, Number))
        }
        (List | Words | Set | Map, Value::Null) => ("null".to_owned(), true),
        (Words, Value::String(word)) => (go_json::strings([word.as_str()].into_iter()), false),
        (List | Words, Value::Array(items)) => {
            let texts = items.iter().map(|item| text_or_null(name, item));
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            (go_json::strings(texts.iter().copied()), texts.is_empty())
        }
        (List | Words, other) => return Err(wrong(name, other, "an array of strings")),
        (Set, Value::Object(keys)) => {
            if let Some(other) = keys.values().find(|v| !v.is_object() && !v.is_null()) {
                return Err(wrong(name, other, "an object of empty objects"));
            }
            let fields = keys.keys().map(|key| (key.clone(), "{}".to_owned())).collect();
            (go_json::object(&fields), fields.is_empty())
        }
        (Map, Value::Object(texts)) => {
            let mut fields = Fields::new();
            for (key, text) in texts {
                fields.insert(key.clone(), go_json::string(text_or_null(name, text)?));
            }
            (go_json::object(&fields), fields.is_empty())
        }
        (Set | Map, other) => return Err(wrong(name, other, "an object")),
        (Time, Value::Null) => ("null".to_owned(), true),
        (Time, Value::String(text)) => {
            let time = created::normal(text).ok_or_else(|| format!("{name}: invalid time"))?;
            (go_json::string(&time), false)
        }
        (Time, other) => return Err(wrong(name, other, "a string")),
        (ConfigPointer | Health, Value::Null) => ("null".to_owned(), true),
        (Config | ConfigPointer, value) => (encode_struct(name, value, &CONFIG)?, false),
        (Health, value) => (encode_struct(name, value, &HEALTH)?, false),
    })
}

fn text_or_null<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    match value {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        other => Err(wrong(name, other, "a string")),
    }
}

fn wrong(name: &str, value: &Value, want: &str) -> String {
    format!("{name} is {}, not {want}", json::kind(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_docker_does() {
        for old in ["", "1.8.2", "0.6.3", "1.8", "1.8.3-rc1", "1.7.1", "dev", "1.8.x", "-1.9"] {
            assert!(is_before(old, FIRST_KEPT), "{old}");
        }
        for new in ["1.8.3", "1.9.0-dev", "1.10.0", "17.03.0-ce", "2", "1.8.3.1", "+2.0"] {
            assert!(!is_before(new, FIRST_KEPT), "{new}");
        }
        assert!(!is_before("99999999999999999999", FIRST_KEPT));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let fault = |text: &str| fields(text).unwrap_err();
        assert_eq!(fault(r#"{"docker_version":1}"#), "docker_version is a number, not a string");
        assert_eq!(fault(r#"{"config":[]}"#), "config is an array, not an object");
        for config in [
            r#""Tty":1"#,
            r#""Env":"A=1""#,
            r#""Env":[1]"#,
            r#""Cmd":1"#,
            r#""Volumes":{"/a":1}"#,
            r#""Volumes":[]"#,
            r#""Labels":{"a":1}"#,
            r#""StopTimeout":1.5"#,
            r#""Healthcheck":{"Retries":"1"}"#,
            r#""hostname":"x""#,
        ] {
            assert!(fault(&format!("{{\"config\":{{{config}}}}}")).starts_with("config: "));
        }
        assert_eq!(fault(r#"{"created":""}"#), "created: invalid time");
    }
}
