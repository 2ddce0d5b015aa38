// SPDX-License-Identifier: Apache-2.0
//! TOML configuration files: tables in their order, and each value with its line number.
//!
//! Keys are looked up as in the Go programs to which these files belong: an exact match first, then
//! a match that ignores case. Unknown keys are ignored. In the tables of a registry or a mirror
//! they cause a warning, because such a key may change the host of a request in other programs. Not
//! here: the meaning of the values.

use std::io::Read;
use std::path::Path;

use common::error::{Error, Result, printable};
use common::notice;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The maximum number of bytes of configuration that one lookup reads, in all files together.
/// Parsing a hostile file takes a hundred times its size in memory.
pub(super) const MAX_BYTES: u64 = 512 << 10;

/// One parsed file.
pub(super) struct Document {
    /// The file's name, printable.
    pub(super) origin: String,
    /// The root table.
    pub(super) root: Table,
}

/// A table. Its keys are in the order of their first appearance in the file.
#[derive(Debug)]
pub(super) struct Table {
    /// The line of its first appearance.
    pub(super) line: usize,
    entries: Vec<(String, Value)>,
}

/// A value and its line.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) line: usize,
    pub(super) kind: ValueKind,
}

/// The type and content of a value.
#[derive(Debug)]
pub(super) enum ValueKind {
    Text(String),
    Flag(bool),
    List(Vec<Value>),
    Table(Table),
    /// A number or a time. The keys that are read have values of other types.
    Other,
}

/// A configuration error and its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) why: String,
}

/// The result of reading a part of a document.
pub(super) type Parsed<T> = std::result::Result<T, Wrong>;

impl Document {
    /// Reads and parses a file; `None` if it does not exist. Its size is subtracted from `left`.
    ///
    /// # Errors
    /// Malformed if the file is not valid TOML (the message has the line) or is larger than `left`;
    /// Local if it cannot be read.
    pub(super) fn read(path: &Path, left: &mut u64) -> Result<Option<Document>> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let origin = printable(&path.display().to_string());
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(*left + 1).read_to_end(&mut bytes));
        match read {
            Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => return Ok(None),
            Err(cause) => return Err(Error::local(origin, &cause)),
            Ok(_) => {}
        }
        *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            Error::malformed(format_args!("{origin}: more than {MAX_BYTES} bytes of configuration"))
        })?;
        Document::parse(origin, &bytes).map(Some)
    }

    /// Parses a file's bytes.
    ///
    /// # Errors
    /// Malformed if the bytes are not valid TOML. The message has the line.
    pub(super) fn parse(origin: String, bytes: &[u8]) -> Result<Document> {
        let wrong = |line, why: &str| wrong(&origin, &Wrong { line, why: why.to_owned() });
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let before = &bytes[..e.valid_up_to()];
            wrong(1 + before.iter().filter(|b| **b == b'\n').count(), "invalid UTF-8")
        })?;
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |at: usize| 1 + ends.partition_point(|end| *end < at);
        let table = DeTable::parse(text).map_err(|e| {
            let at = e.span().map_or(text.len(), |span| span.start);
            wrong(line(at), &printable(e.message()))
        })?;
        let root = Table { line: 1, ..Table::of(table.get_ref(), 1, &line) };
        Ok(Document { origin, root })
    }

    /// The error for a mistake in this file.
    pub(super) fn wrong(&self, what: &Wrong) -> Error {
        wrong(&self.origin, what)
    }
}

/// The error for a mistake in a file.
pub(super) fn wrong(origin: &str, what: &Wrong) -> Error {
    Error::malformed(format_args!("{origin}: line {}: {}", what.line, what.why))
}

/// The position of the first appearance of a key. A table below it may be defined earlier in the
/// file.
fn first(key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> usize {
    let below = match value.get_ref() {
        DeValue::Table(table) => table.iter().map(|(key, value)| first(key, value)).min(),
        _ => None,
    };
    below.map_or(key.span().start, |below| below.min(key.span().start))
}

impl Table {
    fn of(table: &DeTable<'_>, line: usize, line_of: &impl Fn(usize) -> usize) -> Table {
        let mut keys: Vec<_> =
            table.iter().map(|(key, value)| (first(key, value), key, value)).collect();
        keys.sort_by_key(|(at, ..)| *at);
        let entries = keys.into_iter().map(|(at, key, value)| {
            (key.get_ref().to_string(), Value::of(value.get_ref(), line_of(at), line_of))
        });
        Table { line, entries: entries.collect() }
    }

    /// The keys and their values, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Warns of the keys that are not in `known`: other programs may use them to change the host or
    /// the name in a request.
    pub(super) fn warn_unknown(&self, known: &[&str], origin: &str) {
        for (name, value) in self.entries() {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let (name, line) = (printable(name), value.line);
                notice::warn("unknown mirror key", || {
                    format!("{origin}: line {line}: \"{name}\" is not supported and is ignored")
                });
            }
        }
    }

    /// Whether the key exists, with any value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key.
    pub(super) fn find(&self, key: &str) -> Option<&Value> {
        let exact = self.entries.iter().find(|(name, _)| name == key);
        let any = || self.entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        exact.or_else(any).map(|(_, value)| value)
    }

    /// The line of a key, or of the table if the key is missing.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.find(key).map_or(self.line, |value| value.line)
    }

    /// The string of a key; empty if the key is missing.
    pub(super) fn text(&self, key: &str) -> Parsed<&str> {
        self.find(key).map_or(Ok(""), |value| value.text(key))
    }

    /// The boolean of a key, if the key exists.
    pub(super) fn flag(&self, key: &str) -> Parsed<Option<bool>> {
        match self.find(key) {
            None => Ok(None),
            Some(Value { kind: ValueKind::Flag(flag), .. }) => Ok(Some(*flag)),
            Some(value) => Err(value.wrong(key, "true or false")),
        }
    }

    /// The strings of a list, if the key exists.
    pub(super) fn texts(&self, key: &str) -> Parsed<Option<Vec<&str>>> {
        match self.find(key) {
            None => Ok(None),
            Some(Value { kind: ValueKind::List(list), .. }) => {
                list.iter().map(|value| value.text(key)).collect::<Parsed<_>>().map(Some)
            }
            Some(value) => Err(value.wrong(key, "a list")),
        }
    }

    /// The table of a key, if the key exists.
    pub(super) fn table(&self, key: &str) -> Parsed<Option<&Table>> {
        self.find(key).map(|value| value.table(key)).transpose()
    }

    /// The tables of a list, written as `[[key]]`; empty if the key is missing.
    pub(super) fn tables(&self, key: &str) -> Parsed<Vec<&Table>> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(Value { kind: ValueKind::List(list), .. }) => {
                list.iter().map(|value| value.table(key)).collect()
            }
            Some(value) => Err(value.wrong(key, "a list of tables, [[…]]")),
        }
    }
}

impl Value {
    fn of(value: &DeValue<'_>, line: usize, line_of: &impl Fn(usize) -> usize) -> Value {
        let kind = match value {
            DeValue::String(text) => ValueKind::Text(text.to_string()),
            DeValue::Boolean(flag) => ValueKind::Flag(*flag),
            DeValue::Array(list) => ValueKind::List(
                list.iter()
                    .map(|value| Value::of(value.get_ref(), line_of(value.span().start), line_of))
                    .collect(),
            ),
            DeValue::Table(table) => ValueKind::Table(Table::of(table, line, line_of)),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => ValueKind::Other,
        };
        Value { line, kind }
    }

    /// The value as a string.
    pub(super) fn text(&self, key: &str) -> Parsed<&str> {
        match &self.kind {
            ValueKind::Text(text) => Ok(text),
            _ => Err(self.wrong(key, "a string")),
        }
    }

    /// The value as a table.
    pub(super) fn table(&self, key: &str) -> Parsed<&Table> {
        match &self.kind {
            ValueKind::Table(table) => Ok(table),
            _ => Err(self.wrong(key, "a table")),
        }
    }

    /// The error that the value has another type than `want`.
    pub(super) fn wrong(&self, key: &str, want: &str) -> Wrong {
        let got = match &self.kind {
            ValueKind::Text(_) => "a string",
            ValueKind::Flag(_) => "a boolean",
            ValueKind::List(_) => "a list",
            ValueKind::Table(_) => "a table",
            ValueKind::Other => "a number or a time",
        };
        Wrong { line: self.line, why: format!("{}: got {got}, want {want}", printable(key)) }
    }
}
