// SPDX-License-Identifier: Apache-2.0
//! `index.json`: its entries, and the entry that a reference names.

use std::io::ErrorKind;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::json;
use common::manifest::{self, Manifest, Schema1};
use serde_json::{Map, Value};

use crate::{Layout, read_limited};

/// The largest `index.json` that is read, in bytes.
pub(crate) const MAX_INDEX: u64 = manifest::MAX_SIZE;

/// The annotation that holds an entry's name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation in which containerd writes an entry's name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Chooses among entries with the same name.
pub type Choose<'a> = &'a dyn Fn(&[Descriptor]) -> Result<Descriptor>;

impl Layout {
    /// The entries of `index.json`.
    ///
    /// # Errors
    /// Malformed if `index.json` is missing, too large or invalid; Local if it cannot be read.
    pub fn entries(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index()?.1)
    }

    fn index(&self) -> Result<(Map<String, Value>, Vec<Descriptor>)> {
        let wrong =
            |e: &str| Error::malformed(format_args!("{self}: index.json: {}", printable(e)));
        let bytes = match read_limited(&self.dir.join("index.json"), MAX_INDEX) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                return Err(wrong("missing"));
            }
            Err(cause) if cause.kind() == ErrorKind::FileTooLarge => {
                return Err(wrong(&format!("larger than {MAX_INDEX} bytes")));
            }
            Err(cause) => return Err(Error::local(format_args!("{self}: index.json"), &cause)),
        };
        let mut document = json::parse_object(&bytes).map_err(|e| wrong(&e))?;
        let entries = match document.remove("manifests") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(Descriptor::from_value)
                .collect::<std::result::Result<_, _>>()
                .map_err(|e| wrong(&e))?,
            Some(other) => return Err(wrong(&format!("manifests is {}", json::kind(&other)))),
        };
        Ok((document, entries))
    }

    /// The entry that a reference names.
    ///
    /// With a digest: that manifest, even if no entry lists it. With a tag: the entry of that name,
    /// searched first in the OCI annotation, then in containerd's. With neither: the only entry.
    /// `choose` selects among entries with the same name.
    ///
    /// # Errors
    /// Absent if no entry matches; Usage if there are several entries and neither a tag nor a
    /// digest; Malformed if one name has several digests and `choose` is not given, or if
    /// `index.json` is invalid; Content if the digest of an unlisted manifest differs; Local if a
    /// file cannot be read. Otherwise as `choose` fails.
    pub fn resolve(
        &self,
        tag: Option<&str>,
        digest: Option<&Digest>,
        choose: Option<Choose<'_>>,
    ) -> Result<Descriptor> {
        let entries = self.entries()?;
        if let Some(digest) = digest {
            return match entries.into_iter().find(|entry| entry.digest == *digest) {
                Some(entry) => Ok(entry),
                None => self.describe(digest),
            };
        }
        let Some(tag) = tag else { return self.only(entries) };
        for annotation in [REF_NAME, CONTAINERD_NAME] {
            let mut named: Vec<Descriptor> =
                entries.iter().filter(|e| e.annotation(annotation) == Some(tag)).cloned().collect();
            named.dedup_by(|a, b| a.digest == b.digest);
            return match (named.len(), choose) {
                (0, _) => continue,
                (1, _) => Ok(named.remove(0)),
                (_, Some(choose)) => choose(&named),
                (n, None) => {
                    let what = format_args!("{self}: \"{}\" names {n} manifests", printable(tag));
                    Err(Error::malformed(what).hint("choose one with -p OS/ARCH"))
                }
            };
        }
        let what = format_args!("{self}: no entry named \"{}\"", printable(tag));
        Err(Error::absent(what).hint(names_of(&entries)))
    }

    fn only(&self, mut entries: Vec<Descriptor>) -> Result<Descriptor> {
        match entries.len() {
            1 => entries.pop().ok_or_else(|| Error::absent("no entry")),
            0 => Err(Error::absent(format_args!("{self}: no entry in index.json"))),
            n => {
                let what = format_args!("{self}: {n} entries, and neither tag nor digest given");
                Err(Error::usage(what).hint(names_of(&entries)))
            }
        }
    }

    /// The descriptor of a manifest that no entry lists. Its media type is read from the manifest.
    fn describe(&self, digest: &Digest) -> Result<Descriptor> {
        let bytes = self.read_blob(digest, manifest::MAX_SIZE)?;
        let parsed = Manifest::parse(&bytes, None, &digest.to_string(), Schema1::Allowed)
            .map_err(|e| e.context(format_args!("{self}@{digest}")))?;
        Ok(Descriptor::new(&parsed.media_type, digest.clone(), bytes.len() as u64))
    }

    /// Adds a manifest to `index.json`. With `tag`, the entry gets that name and replaces any entry
    /// that had it. Without, the entry has no name, and nothing is added if the manifest is already
    /// listed. The manifest must be stored already.
    ///
    /// # Errors
    /// Malformed if `index.json` is invalid; Local if it cannot be read, locked or written.
    pub fn tag(&self, descriptor: &Descriptor, tag: Option<&str>) -> Result<()> {
        let _lock = self.lock()?;
        let (mut document, mut entries) = self.index()?;
        let entry = match tag {
            Some(tag) => {
                entries.retain(|entry| entry.annotation(REF_NAME) != Some(tag));
                descriptor.clone().with_annotation(REF_NAME, tag)
            }
            None if entries.iter().any(|entry| entry.digest == descriptor.digest) => return Ok(()),
            None => descriptor.clone(),
        };
        entries.push(entry);
        let manifests = entries.into_iter().map(Descriptor::into_value).collect();
        document.insert("manifests".to_owned(), Value::Array(manifests));
        self.replace("index.json", &Value::Object(document).to_string())
    }

    /// The names of the entries, in the order of `index.json`.
    ///
    /// # Errors
    /// As [`entries`](Layout::entries).
    pub fn tags(&self) -> Result<Vec<String>> {
        let name = |entry: &Descriptor| {
            entry.annotation(REF_NAME).or(entry.annotation(CONTAINERD_NAME)).map(str::to_owned)
        };
        Ok(self.entries()?.iter().filter_map(name).collect())
    }
}

/// A hint that lists the names of the entries, or their digests.
fn names_of(entries: &[Descriptor]) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<String> = entries
        .iter()
        .take(SHOWN)
        .map(|entry| match entry.annotation(REF_NAME).or(entry.annotation(CONTAINERD_NAME)) {
            Some(name) => format!(":{}", printable(name)),
            None => format!("@{}", entry.digest),
        })
        .collect();
    if entries.len() > SHOWN {
        names.push(format!("and {} more", entries.len() - SHOWN));
    }
    if names.is_empty() {
        "it has no entry".to_owned()
    } else {
        format!("it has {}", names.join(" "))
    }
}
