// SPDX-License-Identifier: Apache-2.0
//! Reading a manifest from a store: its exact bytes, verified and parsed.
//!
//! Which entry of an index serves a platform is decided in [`platform`](crate::platform).

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::manifest::{MAX_SIZE, Manifest, Schema1};
use common::platform::Platform;
use common::reference::Location;
use registry::manifest::{ACCEPT, ACCEPT_SCHEMA1};

use crate::Store;

/// A manifest that was read: its exact bytes, verified, and what they say.
#[derive(Clone, Debug)]
pub struct Document {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Type, digest and size; in a layout, the entry's annotations too.
    pub descriptor: Descriptor,
    /// What they say.
    pub manifest: Manifest,
}

/// Which manifest is meant.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// By its tag, or the name of a layout's entry.
    Tag(&'a str),
    /// By its digest.
    Digest(&'a Digest),
    /// The only one: a layout's only entry, a repository's `latest`.
    Unnamed,
}

impl<'a> Which<'a> {
    /// What a location means in its store: the digest decides when there is one.
    pub fn of(location: &'a Location) -> Which<'a> {
        let (tag, digest) = match location {
            Location::Registry(reference) => (&reference.tag, &reference.digest),
            Location::Layout(layout) => (&layout.tag, &layout.digest),
        };
        match (digest, tag) {
            (Some(digest), _) => Which::Digest(digest),
            (None, Some(tag)) => Which::Tag(tag),
            (None, None) => Which::Unnamed,
        }
    }
}

/// How a manifest is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The media types of the Accept header; empty for all that can be read.
    pub accept: &'a [String],
    /// Whether schema 1 is let through.
    pub schema1: Schema1,
    /// Decides between entries of one name in a layout.
    pub platform: Option<&'a Platform>,
}

impl Store {
    /// A manifest's descriptor, without reading the manifest when the store can tell. Nothing when
    /// it cannot, and when the manifest itself must say whether it may be believed.
    ///
    /// # Errors
    /// Absent, refused, later, or trouble with a layout.
    pub fn head(&self, which: Which<'_>, asking: Asking<'_>) -> Result<Option<Descriptor>> {
        match (self, which) {
            (Store::Registry(registry), Which::Digest(digest)) => {
                let found = registry.manifest_head(&digest.to_string(), &accept(asking))?;
                Ok(found.filter(|found| found.digest == *digest))
            }
            (Store::Registry(registry), Which::Tag(tag)) => {
                registry.manifest_head(tag, &accept(asking))
            }
            (Store::Registry(registry), Which::Unnamed) => {
                registry.manifest_head("latest", &accept(asking))
            }
            (Store::Layout(_), _) => Ok(None),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// Absent, refused, later; content when its digest or size differs; malformed when it is no
    /// manifest that may be believed.
    pub fn manifest(&self, which: Which<'_>, asking: Asking<'_>) -> Result<Document> {
        match self {
            Store::Registry(registry) => {
                let (name, want) = match which {
                    Which::Tag(tag) => (tag.to_owned(), None),
                    Which::Digest(digest) => (digest.to_string(), Some(digest)),
                    Which::Unnamed => ("latest".to_owned(), None),
                };
                let remote = registry.manifest(&name, want, &accept(asking))?;
                let separator = if want.is_some() { '@' } else { ':' };
                let shown = format!("{}{separator}{name}", registry.repository());
                let said = remote.said.as_deref();
                let manifest = Manifest::parse(&remote.bytes, said, &shown, asking.schema1)
                    .map_err(|e| e.context(&shown))?;
                let size = remote.bytes.len() as u64;
                let descriptor = Descriptor::new(&manifest.media_type, remote.digest, size);
                Ok(Document { bytes: remote.bytes, descriptor, manifest })
            }
            Store::Layout(layout) => {
                let (tag, digest) = match which {
                    Which::Tag(tag) => (Some(tag), None),
                    Which::Digest(digest) => (None, Some(digest)),
                    Which::Unnamed => (None, None),
                };
                let entry = layout.resolve(tag, digest, asking.platform)?;
                self.described(entry, asking)
            }
        }
    }

    /// Reads the manifest that a descriptor describes: its size, digest and type must be those.
    ///
    /// # Errors
    /// As [`manifest`](Store::manifest).
    pub fn described(&self, descriptor: Descriptor, asking: Asking<'_>) -> Result<Document> {
        let digest = &descriptor.digest;
        let shown = format!("{self}@{digest}");
        if descriptor.size > MAX_SIZE {
            let what = format_args!("{shown}: {} bytes, larger than {}", descriptor.size, MAX_SIZE);
            return Err(Error::malformed(what));
        }
        let bytes = match self {
            Store::Registry(registry) => {
                registry.manifest(&digest.to_string(), Some(digest), &accept(asking))?.bytes
            }
            Store::Layout(layout) => layout.read_blob(digest, MAX_SIZE)?,
        };
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::content(format_args!(
                "{shown}: size differs: got {}, want {}",
                bytes.len(),
                descriptor.size
            )));
        }
        let said = Some(descriptor.media_type.as_str());
        let manifest =
            Manifest::parse(&bytes, said, &shown, asking.schema1).map_err(|e| e.context(&shown))?;
        Ok(Document { bytes, descriptor, manifest })
    }
}

/// The media types to ask for.
fn accept(asking: Asking<'_>) -> Vec<&str> {
    if !asking.accept.is_empty() {
        return asking.accept.iter().map(String::as_str).collect();
    }
    let schema1: &[&str] = if asking.schema1 == Schema1::Allowed { &ACCEPT_SCHEMA1 } else { &[] };
    ACCEPT.iter().chain(schema1).copied().collect()
}
