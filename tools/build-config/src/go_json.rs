// SPDX-License-Identifier: Apache-2.0
//! JSON as Go writes it, byte for byte.
//!
//! Go escapes five more characters than other encoders, and sorts the keys of maps. If Go does not
//! decode a value (`json.RawMessage`), the spelling of its numbers, its escapes and the order of
//! its keys are kept, but not its white space.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// The fields of an object. Each value is JSON text.
pub(crate) type Fields = BTreeMap<String, String>;

/// The fields of an object. Each value keeps its spelling. The text must be valid JSON.
///
/// # Errors
/// An error message, if the text is not an object.
pub(crate) fn fields(text: &str) -> Result<Fields, String> {
    let fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"))?;
    Ok(fields.into_iter().map(|(key, value)| (key, compact(value.get()))).collect())
}

/// An object with sorted keys.
pub(crate) fn object(fields: &Fields) -> String {
    join(fields.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// An object with its keys in this order.
pub(crate) fn join<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields: Vec<_> = fields.map(|(key, value)| format!("{}:{value}", string(key))).collect();
    format!("{{{}}}", fields.join(","))
}

/// A string.
pub(crate) fn string(text: &str) -> String {
    escape(&Value::from(text).to_string())
}

/// An array of strings.
pub(crate) fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.map(string).collect();
    format!("[{}]", texts.join(","))
}

/// Removes the white space between the tokens of valid JSON, and escapes as Go does.
fn compact(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in text.chars() {
        if in_string || !matches!(c, ' ' | '\t' | '\n' | '\r') {
            compact.push(c);
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
    }
    escape(&compact)
}

/// Escapes the characters that Go escapes but other encoders do not. They occur only inside
/// strings, so they can be replaced in the complete text.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_spelling_but_not_its_white_space() {
        let text = "{\"b\" : [ 1.0, 1e3,\t-0 ],\n\"a\":{\"z\":\"\\u0041 \\\" \\\\\", \"y\":null}}";
        let got = object(&fields(text).unwrap());
        assert_eq!(got, r#"{"a":{"z":"\u0041 \" \\","y":null},"b":[1.0,1e3,-0]}"#);
    }

    #[test]
    fn five_more_characters_are_escaped() {
        assert_eq!(
            string("<>&\u{2028}\u{2029}é/\u{1}\n"),
            r#""\u003c\u003e\u0026\u2028\u2029é/\u0001\n""#
        );
        let fields = fields("{\"<\":\"<\"}").unwrap();
        assert_eq!(object(&fields), r#"{"\u003c":"\u003c"}"#);
    }
}
