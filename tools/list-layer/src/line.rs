// SPDX-License-Identifier: Apache-2.0
//! A line of output about an entry: its content and its two forms.

use archive::{Entry, EntryType};
use common::digest::Digest;

use crate::columns::Columns;
use crate::json;

/// The content of a line.
pub(crate) struct Line<'a> {
    /// The entry with the attributes to print.
    pub(crate) entry: &'a Entry,
    /// The type to print.
    pub(crate) entry_type: EntryType,
    /// The name to print.
    pub(crate) name: &'a [u8],
    /// The target of a symbolic or hard link.
    pub(crate) link: &'a [u8],
    /// The kind of whiteout, if the entry is one.
    pub(crate) whiteout: Option<&'static str>,
    /// The digest of the entry's layer, if known.
    pub(crate) layer: Option<&'a Digest>,
    /// The digest of the layer that hides the entry.
    pub(crate) hidden_by: Option<&'a Digest>,
    /// Whether no layer has an entry for this directory.
    pub(crate) implied: bool,
}

impl<'a> Line<'a> {
    /// A line about an entry with the name and the attributes in its layer.
    pub(crate) fn of(entry: &'a Entry) -> Line<'a> {
        Line {
            entry,
            entry_type: entry.entry_type,
            name: &entry.name,
            link: &entry.link,
            whiteout: None,
            layer: None,
            hidden_by: None,
            implied: false,
        }
    }
}

/// The form of the lines.
pub(crate) enum Form {
    /// The columns of `tar -tv`. With `layers`, the digests of layers precede them.
    Columns {
        /// The widths of the columns so far.
        columns: Columns,
        /// Whether each line begins with the digest of its layer.
        layers: bool,
    },
    /// JSON.
    Json,
}

impl Form {
    /// The form that the command line selects.
    pub(crate) fn new(json: bool, layers: bool) -> Form {
        if json { Form::Json } else { Form::Columns { columns: Columns::default(), layers } }
    }

    /// Makes a line, with the newline at its end.
    pub(crate) fn make(&mut self, line: &Line<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        match self {
            Form::Json => json::make(line, &mut text),
            Form::Columns { columns, layers } => {
                if *layers {
                    for digest in [line.layer, line.hidden_by].into_iter().flatten() {
                        text.extend(digest.hex().bytes().take(SHORT));
                        text.push(b' ');
                    }
                }
                columns.make(line, &mut text);
            }
        }
        text.push(b'\n');
        text
    }
}

/// The number of hexadecimal digits of a digest in the columns.
const SHORT: usize = 12;
