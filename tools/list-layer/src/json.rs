// SPDX-License-Identifier: Apache-2.0
//! Lines of JSON, without loss: a name that is not UTF-8 also appears in base64, and the values of
//! extended attributes are in base64.

use std::io::Write as _;

use archive::{Entry, EntryType, Time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::calendar::Moment;
use serde_json::{Map, Value};

use crate::line::Line;

/// Appends a line without the newline.
pub(crate) fn make(line: &Line<'_>, text: &mut Vec<u8>) {
    let entry = line.entry;
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put_bytes(&mut put, "name", line.name);
    put("type", type_name(line.entry_type).into());
    put("mode", format!("{:04o}", entry.mode).into());
    put("uid", entry.uid.into());
    put("gid", entry.gid.into());
    if line.entry_type == EntryType::Regular {
        put("size", entry.size.into());
    }
    put("mtime", time(entry.mtime).into());
    // The link name of any other entry has no meaning.
    if matches!(line.entry_type, EntryType::Symlink | EntryType::Hardlink) {
        put_bytes(&mut put, "link", line.link);
    }
    if matches!(line.entry_type, EntryType::CharacterDevice | EntryType::BlockDevice) {
        put("device", vec![entry.device.0, entry.device.1].into());
    }
    if !entry.xattrs.is_empty() {
        put("xattrs", xattrs(entry));
    }
    if let Some(whiteout) = line.whiteout {
        put("whiteout", whiteout.into());
    }
    if line.implied {
        put("implied", true.into());
    }
    put("layer", line.layer.map(ToString::to_string).into());
    if let Some(digest) = line.hidden_by {
        put("hiddenBy", digest.to_string().into());
    }
    // Writing to a vector does not fail.
    let _ = write!(text, "{}", Value::Object(object));
}

/// Adds bytes as text. If they are not UTF-8, the text has replacement characters, and the bytes
/// follow in base64.
fn put_bytes(put: &mut impl FnMut(&str, Value) -> Option<Value>, key: &str, bytes: &[u8]) {
    put(key, String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        put(&format!("{key}Base64"), STANDARD.encode(bytes).into());
    }
}

fn xattrs(entry: &Entry) -> Value {
    let one = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put_bytes(&mut put, "name", name);
        put("valueBase64", STANDARD.encode(value).into());
        Value::Object(object)
    };
    entry.xattrs.iter().map(one).collect()
}

fn type_name(entry_type: EntryType) -> &'static str {
    match entry_type {
        EntryType::Regular => "file",
        EntryType::Directory => "directory",
        EntryType::Symlink => "symlink",
        EntryType::Hardlink => "hardlink",
        EntryType::CharacterDevice => "character",
        EntryType::BlockDevice => "block",
        EntryType::Fifo => "fifo",
    }
}

/// A time as in RFC 3339, with as many digits after the second as needed.
fn time(time: Time) -> String {
    let whole = Moment::from_seconds(time.seconds).to_string();
    if time.nanoseconds == 0 {
        return whole;
    }
    let fraction = format!("{:09}", time.nanoseconds);
    format!("{}.{}Z", whole.trim_end_matches('Z'), fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        let at = |seconds, nanoseconds| time(Time { seconds, nanoseconds });
        assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(at(-1, 500_000_000), "1969-12-31T23:59:59.5Z");
        assert_eq!(at(1, 1), "1970-01-01T00:00:01.000000001Z");
    }
}
