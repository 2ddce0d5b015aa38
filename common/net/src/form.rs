// SPDX-License-Identifier: Apache-2.0
//! The encoding of names and values in a URL's query and in the body of a form. Not here: decoding.

/// Encodes names and values for a query or a form: `NAME=VALUE&…`. Values are percent-encoded;
/// names are copied.
pub fn form(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        text.push_str(if text.is_empty() { "" } else { "&" });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => text.push(char::from(byte)),
                b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' => text.push(char::from(byte)),
                other => text.push_str(&format!("%{other:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_encoded_in_values() {
        assert_eq!(form(&[("a", "x y&z"), ("b", "ä+:/,~")]), "a=x%20y%26z&b=%C3%A4%2B:/,~");
        assert_eq!(form(&[]), "");
    }
}
