// SPDX-License-Identifier: Apache-2.0
//! Names that wait for the blobs of their images.
//!
//! An entry of `index.json` is added only for a complete image. If a manifest is stored before its
//! blobs, its name is recorded in `ingest/names`, and the entry is written when the last blob
//! arrives. Until then an older entry of that name is left unchanged, so after a failed update the
//! name still refers to the complete old image.
//!
//! The file is only a hint. If it is lost or damaged, names do not change, and storing the manifest
//! again records the name again. A waiting name is dropped if a later image got the name, if
//! another program changed the entries that have the name, if the name or the manifest is removed,
//! or if too many names wait.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::notice;
use serde_json::{Value, json};

use crate::index::{Entries, MAX_INDEX, digests_of};
use crate::whole::Missing;
use crate::{Layout, read_limited};

/// The maximum number of names that wait in one layout. If there are more, the oldest are dropped.
const MAX_WAITING: usize = 1000;

/// A name that waits for the blobs of its image.
#[derive(Clone, PartialEq)]
struct Waiting {
    /// The manifest or index.
    descriptor: Descriptor,
    /// The name; `None` for an entry without a name.
    name: Option<String>,
    /// The digests of the entries that had the name when it was recorded.
    replaces: Vec<Digest>,
}

impl Layout {
    /// Adds an entry for a stored manifest, as [`tag`](Layout::tag) does, but only if everything
    /// that the manifest refers to is in the layout. Otherwise
    /// [`name_whole_images`](Layout::name_whole_images) adds the entry later.
    ///
    /// # Errors
    /// As for [`tag`](Layout::tag).
    pub fn name_when_whole(&self, descriptor: &Descriptor, name: Option<&str>) -> Result<()> {
        if self.missing_of(descriptor)? == Missing::Nothing {
            self.tag(descriptor, name.map(str::to_owned).as_slice())?;
            return self.list_referrers([&descriptor.digest]);
        }
        {
            let _lock = self.lock()?;
            let entries = self.index()?;
            let mut waiting = self.waiting();
            waiting.retain(|other| {
                other.is_valid(&entries)
                    && (&other.descriptor, other.name.as_deref()) != (descriptor, name)
            });
            let replaces = digests_of(&entries, name);
            let named_already = match name {
                Some(_) => replaces == [descriptor.digest.clone()],
                None => entries.find(&descriptor.digest).is_some(),
            };
            if named_already {
                // The image already has the name, although a blob is missing now. There is nothing
                // to record, and other images no longer wait for the name.
                waiting.retain(|other| name.is_none() || other.name.as_deref() != name);
            } else {
                let name = name.map(str::to_owned);
                waiting.push(Waiting { descriptor: descriptor.clone(), name, replaces });
            }
            self.write_waiting(waiting)?;
        }
        // The last blob may have arrived since the check.
        self.name_whole_images(&HashSet::new())
    }

    /// Adds the entries that wait for blobs, if all their blobs are in the layout now. Called after
    /// blobs were stored. `stored` has the digests of these blobs. If one of them is the config of
    /// an image that is still incomplete, or a manifest of an index that is still incomplete, a
    /// warning is recorded.
    ///
    /// # Errors
    /// As for [`tag`](Layout::tag).
    pub fn name_whole_images(&self, stored: &HashSet<Digest>) -> Result<()> {
        let mut whole = Vec::new();
        for waiting in self.waiting() {
            match self.missing_of(&waiting.descriptor)? {
                Missing::Nothing => whole.push(waiting),
                Missing::Blob(missing) => {
                    if self.is_about(&waiting.descriptor, stored) {
                        self.warn_of_missing(&waiting, &missing);
                    }
                }
                Missing::TooMany => {}
            }
        }
        if whole.is_empty() {
            return Ok(());
        }
        let lock = self.lock()?;
        let mut entries = self.index()?;
        let mut left: Vec<Waiting> = Vec::new();
        let mut renamed = HashSet::new();
        for mut waiting in self.waiting() {
            if renamed.contains(&waiting.name) {
                waiting.replaces = digests_of(&entries, waiting.name.as_deref());
            }
            if !waiting.is_valid(&entries) {
                continue;
            }
            if !whole
                .iter()
                .any(|w| (&w.descriptor, &w.name) == (&waiting.descriptor, &waiting.name))
            {
                left.push(waiting);
                continue;
            }
            entries.put(&waiting.descriptor, waiting.name.as_deref());
            if waiting.name.is_some() {
                left.retain(|earlier| earlier.name != waiting.name);
                renamed.insert(waiting.name);
            }
        }
        self.write_index(entries)?;
        self.write_waiting(left)?;
        drop(lock);
        self.list_referrers(whole.iter().map(|waiting| &waiting.descriptor.digest))
    }

    /// Whether the image is complete and already has the name. If so, this call also drops the
    /// other images that wait for the name. Without a name: whether the image is complete and has
    /// an entry.
    ///
    /// # Errors
    /// As for [`tag`](Layout::tag).
    pub fn is_named(&self, digest: &Digest, name: Option<&str>) -> Result<bool> {
        let entries = self.index()?;
        let Some(entry) = entries.find(digest) else { return Ok(false) };
        let is_its_name = name.is_none() || digests_of(&entries, name) == [digest.clone()];
        if !is_its_name || self.missing_of(entry)? != Missing::Nothing {
            return Ok(false);
        }
        if let Some(name) = name.filter(|name| self.is_waiting(Some(name))) {
            let _lock = self.lock()?;
            self.drop_waiting(name)?;
        }
        Ok(true)
    }

    /// Whether a name waits for the blobs of its image.
    pub(crate) fn is_waiting(&self, name: Option<&str>) -> bool {
        self.waiting().iter().any(|waiting| name.is_none() || waiting.name.as_deref() == name)
    }

    /// The digests of the manifests and indexes whose names wait.
    pub(crate) fn waiting_digests(&self) -> HashSet<Digest> {
        self.waiting().into_iter().map(|waiting| waiting.descriptor.digest).collect()
    }

    /// Drops the waiting images of a name. The caller must hold the lock.
    pub(crate) fn drop_waiting(&self, name: &str) -> Result<()> {
        self.drop_waiting_if(|other, _| other == Some(name)).map(|_| ())
    }

    /// Drops waiting images by their name and digest. Returns whether any image was dropped. The
    /// caller must hold the lock.
    pub(crate) fn drop_waiting_if(
        &self,
        is_unwanted: impl Fn(Option<&str>, &Digest) -> bool,
    ) -> Result<bool> {
        let mut waiting = self.waiting();
        let before = waiting.len();
        waiting.retain(|other| !is_unwanted(other.name.as_deref(), &other.descriptor.digest));
        if waiting.len() == before {
            return Ok(false);
        }
        self.write_waiting(waiting)?;
        Ok(true)
    }

    fn names_file(&self) -> PathBuf {
        self.ingest_dir().join("names")
    }

    /// The waiting names, oldest first. A damaged file counts as empty.
    fn waiting(&self) -> Vec<Waiting> {
        let Ok(bytes) = read_limited(&self.names_file(), MAX_INDEX) else { return Vec::new() };
        let Ok(Value::Array(items)) = common::json::parse(&bytes) else { return Vec::new() };
        items.into_iter().filter_map(Waiting::from_value).take(MAX_WAITING).collect()
    }

    /// Replaces the waiting names. The oldest are dropped if there are too many. The caller must
    /// hold the lock.
    fn write_waiting(&self, mut waiting: Vec<Waiting>) -> Result<()> {
        waiting.drain(..waiting.len().saturating_sub(MAX_WAITING));
        let text = loop {
            if waiting.is_empty() {
                break None;
            }
            let text = Value::Array(waiting.iter().map(Waiting::to_value).collect()).to_string();
            if text.len() as u64 <= MAX_INDEX {
                break Some(text);
            }
            waiting.remove(0);
        };
        let file = self.names_file();
        match text {
            Some(text) => common::output::write_whole(&file, &self.ingest_dir(), text.as_bytes()),
            None => match std::fs::remove_file(&file) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => {
                    Err(Error::local(format_args!("remove {}", file.display()), &cause))
                }
                _ => Ok(()),
            },
        }
    }

    fn warn_of_missing(&self, waiting: &Waiting, missing: &Digest) {
        notice::warn("incomplete image", || match &waiting.name {
            Some(name) => {
                let name = printable(name);
                format!("{self}: the name \"{name}\" is not set yet: no blob {missing}")
            }
            None => {
                let digest = &waiting.descriptor.digest;
                format!("{self}: {digest} has no entry yet: no blob {missing}")
            }
        });
    }
}

impl Waiting {
    /// Whether the entries that have the name are still those that had it when this name was
    /// recorded.
    fn is_valid(&self, entries: &Entries) -> bool {
        match &self.name {
            Some(name) => self.replaces == digests_of(entries, Some(name)),
            None => entries.find(&self.descriptor.digest).is_none(),
        }
    }

    fn to_value(&self) -> Value {
        let replaces: Vec<String> = self.replaces.iter().map(Digest::to_string).collect();
        let descriptor = self.descriptor.clone().into_value();
        json!({"descriptor": descriptor, "name": self.name, "replaces": replaces})
    }

    fn from_value(mut value: Value) -> Option<Waiting> {
        let descriptor = Descriptor::from_value(value.get_mut("descriptor")?.take()).ok()?;
        let name = match value.get("name")? {
            Value::Null => None,
            name => Some(name.as_str()?.to_owned()),
        };
        let replaces = value.get("replaces")?.as_array()?.iter();
        let replaces =
            replaces.map(|digest| digest.as_str()?.parse().ok()).collect::<Option<_>>()?;
        Some(Waiting { descriptor, name, replaces })
    }
}
