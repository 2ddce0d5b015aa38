// SPDX-License-Identifier: Apache-2.0
//! Strict JSON parsing: documents that two parsers may read differently are refused.
//!
//! In addition to the rules of JSON, the following are refused: a byte order mark, invalid UTF-8, a
//! repeated key in one object, nesting deeper than [`MAX_DEPTH`], and more values than
//! [`MAX_VALUES`] (because a small document can need much memory). Unknown fields are never an
//! error, and all fields keep their order.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;

/// The maximum number of values (numbers, strings, arrays, objects…) in one document.
pub const MAX_VALUES: usize = 100_000;

/// Parses one document that fills the complete input.
///
/// # Errors
/// A sentence that describes the fault and its position.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err("not JSON: it begins with a byte order mark".to_owned());
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("not JSON: invalid UTF-8 at byte {}", e.valid_up_to()))?;
    if text.trim_ascii().is_empty() {
        return Err("not JSON: empty".to_owned());
    }
    let values = Cell::new(0);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, values: &values }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|e| format!("not valid JSON: {e}"))
}

/// The number of values in a document, as [`MAX_VALUES`] counts them.
pub fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Parses one document that is an object.
///
/// # Errors
/// A sentence in the cases of [`parse`], and if the document is not an object.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match parse(bytes)? {
        Value::Object(object) => Ok(object),
        other => Err(format!("not a JSON object but {}", kind(&other))),
    }
}

/// A field's value. `null` counts as absent. Go, in which most clients are written, does the same,
/// and the image specification defines it for its optional fields.
pub fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// The type of a value, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Refuses a key that differs from a known key only in case. A parser that ignores case, such as
/// Go's, would treat both as the same key.
///
/// # Errors
/// A sentence with the key and the known key.
pub fn refuse_case_variants(object: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    for key in object.keys() {
        if let Some(name) =
            known.iter().find(|name| name.eq_ignore_ascii_case(key) && **name != key)
        {
            return Err(format!("key \"{key}\" differs from \"{name}\" only in case"));
        }
    }
    Ok(())
}

/// A visitor that builds a [`Value`] and enforces the rules of this module.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    values: &'a Cell<usize>,
}

impl Strict<'_> {
    fn deeper(self) -> Self {
        Strict { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values")));
        }
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper())? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.deeper())?;
            if object.contains_key(&key) {
                let key = crate::error::printable(&key);
                return Err(A::Error::custom(format_args!("key \"{key}\" appears twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_values_survive() {
        let text = r#"{"b":1,"a":[null,true,-2,18446744073709551615,"x\u00e9"]}"#;
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value.to_string(), r#"{"b":1,"a":[null,true,-2,18446744073709551615,"xé"]}"#);
    }

    #[test]
    fn documents_that_parsers_read_differently_are_refused() {
        for text in [
            r#"{"layers":[],"layers":[]}"#,
            r#"{"a":{"x":1,"x":2}}"#,
            r#"{"a":"\u0061","\u0061":1}"#,
            "{} {}",
            "{}x",
            "\u{feff}{}",
            "{\"a\":NaN}",
            "{\"a\":01}",
            "",
            " ",
            "{\"a\":1}\0",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn nesting_is_bounded_at_the_limit() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(MAX_DEPTH + 1).as_bytes()).is_ok());
        assert!(parse(nested(MAX_DEPTH + 2).as_bytes()).unwrap_err().contains("deeper"));
        assert!(parse(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn values_are_bounded_at_the_limit() {
        let array = |n: usize| format!("[{}0]", "0,".repeat(n - 1));
        assert!(parse(array(MAX_VALUES - 1).as_bytes()).is_ok());
        assert!(parse(array(MAX_VALUES).as_bytes()).unwrap_err().contains("more than"));
    }

    #[test]
    fn a_key_that_differs_in_case_alone_is_refused() {
        let object = parse_object(br#"{"Layers":[]}"#).unwrap();
        assert!(refuse_case_variants(&object, &["layers"]).is_err());
        assert!(refuse_case_variants(&object, &["config"]).is_ok());
    }
}
