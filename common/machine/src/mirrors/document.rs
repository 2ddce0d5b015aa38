// SPDX-License-Identifier: Apache-2.0
//! Configuration in TOML: a file's tables in their order, each value with its line.
//!
//! Keys are looked up as the programs do whose files these are, which is Go's way: as they are
//! written, else whatever their case. What is not asked for is not looked at. Not here: what the
//! values mean.

use std::io::Read;
use std::path::Path;

use common::error::{Error, Result, printable};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The most bytes of configuration that are read for one question, in all its files together. A
/// hostile file takes a hundred times its size in memory while it is parsed.
pub(super) const MAX_BYTES: u64 = 512 << 10;

/// One file's tables.
pub(super) struct Document {
    /// The file, as it is shown.
    pub(super) origin: String,
    /// All of it.
    pub(super) root: Table,
}

/// A table, its keys in the order in which the file first speaks of them.
#[derive(Debug)]
pub(super) struct Table {
    /// Where it is first spoken of.
    pub(super) line: usize,
    entries: Vec<(String, Value)>,
}

/// A value, and where it stands.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) line: usize,
    pub(super) kind: ValueKind,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum ValueKind {
    Text(String),
    Flag(bool),
    List(Vec<Value>),
    Table(Table),
    /// A number or a time: nothing that is read here.
    Other,
}

/// What is wrong, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) why: String,
}

/// What is read of a document, or what is wrong with it.
pub(super) type Parsed<T> = std::result::Result<T, Wrong>;

impl Document {
    /// Reads a file; nothing when it is not there. What it has is taken off `left`.
    ///
    /// # Errors
    /// Malformed, naming the line; more than is left; local trouble.
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
    /// Malformed, naming the line.
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

    /// Says what is wrong in this file.
    pub(super) fn wrong(&self, what: &Wrong) -> Error {
        wrong(&self.origin, what)
    }
}

/// Says what is wrong in a file.
pub(super) fn wrong(origin: &str, what: &Wrong) -> Error {
    Error::malformed(format_args!("{origin}: line {}: {}", what.line, what.why))
}

/// Where a key is first spoken of: a table may be named after those below it.
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

    /// Its keys and their values, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether a key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key.
    pub(super) fn find(&self, key: &str) -> Option<&Value> {
        let exact = self.entries.iter().find(|(name, _)| name == key);
        let any = || self.entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        exact.or_else(any).map(|(_, value)| value)
    }

    /// The line of a key, or else of the table.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.find(key).map_or(self.line, |value| value.line)
    }

    /// A text; an empty one when there is none.
    pub(super) fn text(&self, key: &str) -> Parsed<&str> {
        self.find(key).map_or(Ok(""), |value| value.text(key))
    }

    /// A yes or no, if it is said.
    pub(super) fn flag(&self, key: &str) -> Parsed<Option<bool>> {
        match self.find(key) {
            None => Ok(None),
            Some(Value { kind: ValueKind::Flag(flag), .. }) => Ok(Some(*flag)),
            Some(value) => Err(value.wrong(key, "true or false")),
        }
    }

    /// The texts of a list, if there is one.
    pub(super) fn texts(&self, key: &str) -> Parsed<Option<Vec<&str>>> {
        match self.find(key) {
            None => Ok(None),
            Some(Value { kind: ValueKind::List(list), .. }) => {
                list.iter().map(|value| value.text(key)).collect::<Parsed<_>>().map(Some)
            }
            Some(value) => Err(value.wrong(key, "a list")),
        }
    }

    /// A table, if there is one.
    pub(super) fn table(&self, key: &str) -> Parsed<Option<&Table>> {
        self.find(key).map(|value| value.table(key)).transpose()
    }

    /// The tables of a list, which are written as `[[key]]`.
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

    /// Its text.
    pub(super) fn text(&self, key: &str) -> Parsed<&str> {
        match &self.kind {
            ValueKind::Text(text) => Ok(text),
            _ => Err(self.wrong(key, "a text")),
        }
    }

    /// The table that it is.
    pub(super) fn table(&self, key: &str) -> Parsed<&Table> {
        match &self.kind {
            ValueKind::Table(table) => Ok(table),
            _ => Err(self.wrong(key, "a table")),
        }
    }

    /// That it is something else than what is wanted.
    pub(super) fn wrong(&self, key: &str, want: &str) -> Wrong {
        let got = match &self.kind {
            ValueKind::Text(_) => "a text",
            ValueKind::Flag(_) => "true or false",
            ValueKind::List(_) => "a list",
            ValueKind::Table(_) => "a table",
            ValueKind::Other => "a number or a time",
        };
        Wrong { line: self.line, why: format!("{}: {want} is wanted, not {got}", printable(key)) }
    }
}
