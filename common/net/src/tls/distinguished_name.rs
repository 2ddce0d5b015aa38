// SPDX-License-Identifier: Apache-2.0
//! The text of a distinguished name: RFC 4514, with the attributes in reverse order, so that the
//! common name is usually first. The text may contain any character: it must be made printable.

use super::der::{SEQUENCE, any_element, element, object_identifier};
use super::names::dotted;

/// The DER tag of a set.
const SET: u8 = 0x31;

// The DER tags of strings with characters of one byte, two bytes and four bytes.
const TELETEX_STRING: u8 = 0x14;
const BMP_STRING: u8 = 0x1e;
const UNIVERSAL_STRING: u8 = 0x1c;

/// The DER tags of the strings whose content is read as UTF-8: UTF-8, numeric, printable, IA5 and
/// visible strings.
const UTF8_STRINGS: [u8; 5] = [0x0c, 0x12, 0x13, 0x16, 0x1a];

/// Object identifiers of attributes in DER, and their short names.
const ATTRIBUTES: [(&[u8], &str); 10] = [
    (b"\x55\x04\x03", "CN"),
    (b"\x55\x04\x05", "serialNumber"),
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x09", "STREET"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress"),
];

/// The text of a name in DER; `None` if the name is invalid. The text of an empty name is empty.
pub(super) fn text(name: &[u8]) -> Option<String> {
    let mut groups = Vec::new();
    let mut rest = element(name, SEQUENCE)?.0.content;
    while !rest.is_empty() {
        let (group, after) = element(rest, SET)?;
        groups.push(attributes(group.content)?);
        rest = after;
    }
    groups.reverse();
    Some(groups.join(","))
}

/// The attributes of a set, joined by `+`.
fn attributes(mut rest: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let (pair, after) = element(rest, SEQUENCE)?;
        let (identifier, value) = object_identifier(pair.content)?;
        let known = ATTRIBUTES.iter().find(|(known, _)| *known == identifier);
        let key = known.map_or_else(|| dotted(identifier), |(_, name)| (*name).to_owned());
        let (value, _) = any_element(value)?;
        let text = match string(value.tag, value.content) {
            Some(text) => escaped(&text),
            None => value.whole.iter().fold("#".to_owned(), |hex, b| format!("{hex}{b:02x}")),
        };
        texts.push(format!("{key}={text}"));
        rest = after;
    }
    Some(texts.join("+"))
}

/// The text of a string; `None` if the element is not a string.
fn string(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        _ if UTF8_STRINGS.contains(&tag) => Some(String::from_utf8_lossy(content).into_owned()),
        TELETEX_STRING => Some(content.iter().map(|byte| char::from(*byte)).collect()),
        BMP_STRING => {
            let units: Vec<u16> =
                content.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
            Some(String::from_utf16_lossy(&units))
        }
        UNIVERSAL_STRING => {
            let points =
                content.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
            Some(points.map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

/// The text with a backslash before each character that has a meaning in the text of a name.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        let is_edge = (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ');
        if is_edge || "\"+,;<>\\".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut whole = vec![tag, u8::try_from(content.len()).unwrap()];
        whole.extend(content);
        whole
    }

    /// An attribute whose identifier is 2.5.4.`last`.
    fn attribute(last: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let identifier = tagged(6, &[0x55, 4, last]);
        tagged(SEQUENCE, &[identifier, tagged(tag, value)].concat())
    }

    fn name(groups: &[Vec<u8>]) -> Vec<u8> {
        let sets: Vec<_> = groups.iter().map(|group| tagged(SET, group)).collect();
        tagged(SEQUENCE, &sets.concat())
    }

    #[test]
    fn names_are_written_with_the_common_name_first() {
        let country = attribute(6, 0x13, b"US");
        let both = [attribute(10, 0x0c, "Käse, +1".as_bytes()), attribute(99, 0x16, b"x")].concat();
        let common = attribute(3, 0x0c, b" #a\\ ");
        let whole = name(&[country, both, common]);
        assert_eq!(text(&whole).unwrap(), "CN=\\ #a\\\\\\ ,O=Käse\\, \\+1+2.5.4.99=x,C=US");
        for end in 0..whole.len() {
            assert_eq!(text(&whole[..end]), None, "{end}");
        }
        assert_eq!(text(&name(&[])).unwrap(), "");
    }

    #[test]
    fn strings_are_read_in_every_encoding() {
        for (tag, value, want) in [
            (TELETEX_STRING, &b"K\xe4se"[..], "CN=Käse"),
            (BMP_STRING, b"\0K\x20\xac\0", "CN=K€"),
            (UNIVERSAL_STRING, b"\0\x01\xf6\0\x7f\xff\xff\xff", "CN=😀\u{fffd}"),
            (0x0c, b"a\xff", "CN=a\u{fffd}"),
            (2, b"\x05", "CN=#020105"),
        ] {
            assert_eq!(text(&name(&[attribute(3, tag, value)])).unwrap(), want);
        }
    }
}
