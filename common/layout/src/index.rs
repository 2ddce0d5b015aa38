// SPDX-License-Identifier: Apache-2.0
//! `index.json`: its entries, and the entry that a reference names.

use std::io::ErrorKind;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status, printable};
use common::json;
use common::manifest::{self, Manifest, Schema1};
use common::mediatype::OCI_INDEX;
use common::referrers::is_fallback_tag;
use serde_json::{Map, Value};

use crate::{Layout, read_limited};

/// The largest `index.json` that is read, in bytes.
pub(crate) const MAX_INDEX: u64 = manifest::MAX_SIZE;

/// The annotation that holds an entry's name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation in which containerd writes an entry's name.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Chooses among entries with the same name.
pub type Choose<'a> = &'a dyn Fn(&[Descriptor]) -> Result<Descriptor>;

/// The hint for an image whose manifest is stored while some of its blobs are missing.
const WAITING: &str = "the name is set when all blobs of the image are stored";

/// The content of `index.json`.
pub(crate) struct Entries {
    entries: Vec<Descriptor>,
    /// The other fields of the document.
    others: Map<String, Value>,
    changed: bool,
}

impl Entries {
    /// The first entry with this digest.
    pub(crate) fn find(&self, digest: &Digest) -> Option<&Descriptor> {
        self.entries.iter().find(|entry| entry.digest == *digest)
    }

    /// The digests of the entries.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().map(|entry| &entry.digest)
    }

    /// The entries with this name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Descriptor> {
        self.entries.iter().filter(move |entry| entry.annotation(REF_NAME) == Some(name))
    }

    /// Removes the unwanted entries. Returns whether any entry was removed.
    pub(crate) fn remove(&mut self, is_unwanted: impl Fn(&Descriptor) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !is_unwanted(entry));
        let is_removed = self.entries.len() < before;
        self.changed |= is_removed;
        is_removed
    }

    /// Adds an entry as [`Layout::tag`] describes.
    pub(crate) fn put(&mut self, descriptor: &Descriptor, tag: Option<&str>) {
        let entry = match tag {
            Some(tag) => descriptor.clone().with_annotation(REF_NAME, tag),
            None => descriptor.clone(),
        };
        let is_same = |other: &Descriptor| match tag {
            Some(tag) => other.annotation(REF_NAME) == Some(tag),
            None => other.digest == descriptor.digest,
        };
        let mut same = self.entries.iter().filter(|other| is_same(other));
        let first = same.next();
        let is_there = first.is_some() && same.next().is_none() && first == Some(&entry);
        if is_there || (tag.is_none() && first.is_some()) {
            return;
        }
        self.entries.retain(|other| !is_same(other));
        self.entries.push(entry);
        self.changed = true;
    }
}

/// The digests of the entries with this name, sorted; empty if `name` is `None`.
pub(crate) fn digests_of(index: &Entries, name: Option<&str>) -> Vec<Digest> {
    let Some(name) = name else { return Vec::new() };
    let mut digests: Vec<Digest> = index.named(name).map(|entry| entry.digest.clone()).collect();
    digests.sort_by_key(Digest::to_string);
    digests
}

impl Layout {
    /// The entries of `index.json`.
    ///
    /// # Errors
    /// Malformed if `index.json` is missing, too large or invalid; Local if it cannot be read.
    pub fn entries(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index()?.entries)
    }

    pub(crate) fn index(&self) -> Result<Entries> {
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
        Ok(Entries { entries, others: document, changed: false })
    }

    /// Replaces `index.json`, if the entries changed. The caller must hold the lock.
    pub(crate) fn write_index(&self, index: Entries) -> Result<()> {
        let Entries { entries, others: mut document, changed } = index;
        if !changed {
            return Ok(());
        }
        let manifests = entries.into_iter().map(Descriptor::into_value).collect();
        document.insert("manifests".to_owned(), Value::Array(manifests));
        let text = Value::Object(document).to_string();
        // An index.json that cannot be read again would make the layout unusable.
        if text.len() as u64 > MAX_INDEX || json::parse_object(text.as_bytes()).is_err() {
            let what = format_args!("{self}: too many entries: index.json would be too large");
            return Err(Error::new(Status::Local, what));
        }
        self.replace("index.json", &text)
    }

    /// The entry that a reference names.
    ///
    /// If the reference has a digest, it names that manifest, even if no entry lists it. If it has
    /// a tag, it names the entry of that name, which is searched first in the OCI annotation, then
    /// in containerd's. If it has neither, it names the only entry; lists of referrers are counted
    /// only if there are no other entries. `choose` selects among entries with the same name.
    ///
    /// # Errors
    /// Absent if no entry matches; Usage if there are several entries and neither a tag nor a
    /// digest; Malformed if one name has several digests and `choose` is not given, or if
    /// `index.json` is invalid; Content if the digest of an unlisted manifest differs; Local if a
    /// file cannot be read. Otherwise the error of `choose`.
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
                    Err(Error::malformed(what)
                        .hint("fetch-manifest -p OS/ARCH selects one of them"))
                }
            };
        }
        let error = Error::absent(format_args!("{self}: no entry named \"{}\"", printable(tag)));
        if self.is_waiting(Some(tag)) {
            return Err(error.hint(WAITING));
        }
        Err(error.hint(names_of(&entries)))
    }

    fn only(&self, mut entries: Vec<Descriptor>) -> Result<Descriptor> {
        let is_list = |entry: &Descriptor| {
            entry.media_type == OCI_INDEX && entry.annotation(REF_NAME).is_some_and(is_fallback_tag)
        };
        if !entries.iter().all(is_list) {
            entries.retain(|entry| !is_list(entry));
        }
        match entries.len() {
            1 => entries.pop().ok_or_else(|| Error::absent("no entry")),
            0 => {
                let error = Error::absent(format_args!("{self}: no entry in index.json"));
                Err(if self.is_waiting(None) { error.hint(WAITING) } else { error })
            }
            n => {
                let what = format_args!("{self}: {n} entries, and neither tag nor digest given");
                Err(Error::usage(what).hint(names_of(&entries)))
            }
        }
    }

    /// The descriptor of a manifest that no entry lists. Its media type is read from the manifest.
    fn describe(&self, digest: &Digest) -> Result<Descriptor> {
        let bytes = self
            .read_blob(digest, manifest::MAX_SIZE)
            .map_err(|error| self.with_manifest_hint(digest, error))?;
        let parsed = Manifest::parse(&bytes, None, &digest.to_string(), Schema1::Allowed)
            .map_err(|e| e.context(format_args!("{self}@{digest}")))?;
        Ok(Descriptor::new(&parsed.media_type, digest.clone(), bytes.len() as u64))
    }

    /// Adds a manifest to `index.json`, which is written once. The entry of each tag gets that name
    /// and replaces any entry that had it. Without tags, the entry has no name, and nothing is added
    /// if the manifest is already listed. The manifest must be stored already. The names are also
    /// removed from the waiting names.
    ///
    /// # Errors
    /// Malformed if `index.json` is invalid; Local if it cannot be read, locked or written, or
    /// would be too large to be read again.
    pub fn tag(&self, descriptor: &Descriptor, tags: &[String]) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        if tags.is_empty() {
            index.put(descriptor, None);
        }
        tags.iter().for_each(|tag| index.put(descriptor, Some(tag)));
        self.write_index(index)?;
        let is_one = |name: Option<&str>| name.is_some_and(|n| tags.iter().any(|tag| tag == n));
        self.drop_waiting_if(|name, _| is_one(name)).map(|_| ())
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
        "the layout has no entries".to_owned()
    } else {
        format!("the entries of the layout are {}", names.join(" "))
    }
}
