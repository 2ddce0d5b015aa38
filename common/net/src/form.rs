// SPDX-License-Identifier: Apache-2.0
//! Names and values as a URL's query and a form's body have them. Only written: nothing is read
//! back.

/// Names and values as a query or a form has them, what is special encoded in the values.
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
    fn what_is_special_is_encoded_in_values() {
        assert_eq!(form(&[("a", "x y&z"), ("b", "ä+:/,~")]), "a=x%20y%26z&b=%C3%A4%2B:/,~");
        assert_eq!(form(&[]), "");
    }
}
