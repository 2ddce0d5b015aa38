// SPDX-License-Identifier: Apache-2.0
//! The fuzz target for the challenges of a WWW-Authenticate header.

use registry::auth::challenge::parse;

/// Schemes and parameter names are lower-case tokens, and no parameter is repeated. A header
/// written from the parsed challenges is parsed to the same challenges.
pub fn challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = parse(text);
    let mut header = String::new();
    for challenge in &read {
        is_token(&challenge.scheme);
        header.push_str(if header.is_empty() { "" } else { ", " });
        header.push_str(&challenge.scheme);
        for (number, (name, value)) in challenge.parameters().iter().enumerate() {
            is_token(name);
            let same = challenge.parameters().iter().filter(|(other, _)| other == name);
            assert_eq!(same.count(), 1, "{text:?}");
            assert_eq!(challenge.parameter(name), Some(value.as_str()), "{text:?}");
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            header.push_str(if number == 0 { " " } else { ", " });
            header.push_str(&format!("{name}=\"{quoted}\""));
        }
    }
    assert_eq!(parse(&header), read, "{text:?}, written as {header:?}");
}

fn is_token(text: &str) {
    let belongs =
        |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase() || b"!#$%&'*+-.^_`|~".contains(&b);
    assert!(!text.is_empty() && text.bytes().all(belongs), "{text:?}");
}
