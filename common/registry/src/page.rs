// SPDX-License-Identifier: Apache-2.0
//! Reads one page of a list of names while it arrives: each name is passed on and then forgotten,
//! so the memory does not depend on the size of the page.
//!
//! The strict JSON reader of `common` is not used: it limits the number of values, and a long list
//! has more. It also builds the complete document in memory.

use std::fmt;
use std::io::{self, BufReader, Read};

use common::error::{Error, printable};
use net::failure::Failure;
use net::response::{body_failure, body_words};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The maximum size of a page, in bytes.
pub(crate) const MAX_PAGE: u64 = 64 << 20;

/// The maximum length of one string in a page, in bytes as sent. A repository's path has at most
/// 255 characters.
pub(crate) const MAX_STRING: u64 = 64 << 10;

/// The size of the buffer between the connection and the parser, in bytes.
const BUFFER: usize = 64 << 10;

/// Passes every name in the `field` of a page to `each`, which returns whether to continue. Returns
/// whether all names were passed. An absent field or `null` is an empty list.
///
/// # Errors
/// Malformed if the page is not a list of names, or if it or its framing is too large. Unavailable,
/// and worth a retry, if the connection breaks. `each` may have received names by then.
pub(crate) fn read(
    body: impl Read,
    field: &'static str,
    mut each: impl FnMut(&str) -> bool,
) -> Result<bool, Failure> {
    let bytes = Limited { body, left: MAX_PAGE, string: None, escaped: false };
    let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER, bytes));
    let mut goes_on = true;
    let mut take = |name: &str| {
        goes_on = each(name);
        goes_on
    };
    let parsed =
        parser.deserialize_any(Page { field, each: &mut take }).and_then(|()| parser.end());
    if !goes_on {
        return Ok(false);
    }
    let Err(error) = parsed else { return Ok(true) };
    if !error.is_io() {
        return Err(Error::malformed(printable(&error.to_string())).into());
    }
    let cause = io::Error::from(error);
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => Err(error.clone().into()),
        None => Err(body_failure(&cause, body_words(&cause))),
    }
}

/// A body of limited size whose strings have a limited length. The parser keeps a string in memory
/// until it ends.
struct Limited<R> {
    body: R,
    /// The number of bytes that may still be read.
    left: u64,
    /// The length of the string that has begun.
    string: Option<u64>,
    /// Whether the last byte in the string was a backslash that escapes the next one.
    escaped: bool,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.body.read(buffer)?;
        let too_large = |what: &str, limit: u64| {
            io::Error::other(Error::malformed(format_args!("{what} larger than {limit} bytes")))
        };
        self.left =
            self.left.checked_sub(n as u64).ok_or_else(|| too_large("a page is", MAX_PAGE))?;
        for byte in &buffer[..n] {
            let Some(length) = &mut self.string else {
                self.string = (*byte == b'"').then_some(0);
                continue;
            };
            if self.escaped {
                self.escaped = false;
            } else if *byte == b'"' {
                self.string = None;
                continue;
            } else {
                self.escaped = *byte == b'\\';
            }
            *length += 1;
            if *length > MAX_STRING {
                return Err(too_large("a string in a page is", MAX_STRING));
            }
        }
        Ok(n)
    }
}

/// A page: an object with the field.
struct Page<'a> {
    field: &'static str,
    each: &'a mut dyn FnMut(&str) -> bool,
}

impl<'de> Visitor<'de> for Page<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = entries.next_key::<String>()? {
            if key != self.field {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            if std::mem::replace(&mut seen, true) {
                return Err(serde::de::Error::custom(format_args!("{} appears twice", self.field)));
            }
            entries.next_value_seed(Names(&mut *self.each))?;
        }
        Ok(())
    }
}

/// The list in the field.
struct Names<'a>(&'a mut dyn FnMut(&str) -> bool);

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of names")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Name(self.0))?.is_some() {}
        Ok(())
    }
}

/// One name. It is passed on here.
struct Name<'a>(&'a mut dyn FnMut(&str) -> bool);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<(), E> {
        // The caller knows the reason, and ignores this error.
        if (self.0)(name) { Ok(()) } else { Err(E::custom("stopped")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(body: &str) -> Result<Vec<String>, String> {
        let mut tags = Vec::new();
        let all = read(body.as_bytes(), "tags", |tag| {
            tags.push(tag.to_owned());
            true
        });
        all.map(|_| tags).map_err(|failure| failure.error.to_string())
    }

    #[test]
    fn a_list_may_be_absent_or_null() {
        assert_eq!(tags(r#"{"name":"x","tags":["a","b\"\\"],"y":[{}]}"#).unwrap(), ["a", "b\"\\"]);
        assert!(tags(r#"{"name":"x","tags":null}"#).unwrap().is_empty());
        assert!(tags("{}").unwrap().is_empty());
        for wrong in [
            "[]",
            "x",
            "",
            r#"{"tags":{}}"#,
            r#"{"tags":[1]}"#,
            r#"{"tags":["a"]"#,
            r#"{"tags":["a"]} {}"#,
            r#"{"tags":["a"],"tags":["b"]}"#,
        ] {
            assert!(tags(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_page_and_its_strings_are_bounded_at_the_limits() {
        let long = |n: u64| format!(r#"{{"tags":["\"{}"]}}"#, "x".repeat(n as usize - 2));
        assert!(tags(&long(MAX_STRING)).is_ok());
        assert!(tags(&long(MAX_STRING + 1)).unwrap_err().contains("a string in a page"));
        let page = |left: u64| {
            let mut bytes = Limited { body: "{ }".as_bytes(), left, string: None, escaped: false };
            io::copy(&mut bytes, &mut io::sink()).map_err(|error| error.to_string())
        };
        assert_eq!(page(3), Ok(3));
        assert!(page(2).unwrap_err().contains("a page is larger"));
    }

    #[test]
    fn the_caller_can_stop() {
        let mut taken = 0;
        let read = read(r#"{"tags":["a","b"]}"#.as_bytes(), "tags", |_| {
            taken += 1;
            false
        });
        assert!(matches!((read, taken), (Ok(false), 1)));
    }
}
