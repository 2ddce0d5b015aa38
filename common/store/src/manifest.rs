// SPDX-License-Identifier: Apache-2.0
//! Reading manifests from a store: exact bytes, verified and parsed.
//!
//! Not here: choosing an entry of an index for a platform, see [`platform`](crate::platform).

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result};
use common::manifest::{MAX_SIZE, Manifest, Schema1};
use common::platform::Platform;
use common::reference::Location;
use common::{mediatype, notice, schema1};
use registry::manifest::{ACCEPT, ACCEPT_SCHEMA1};

use crate::Store;

/// A manifest that was read: its exact, verified bytes and the parsed content.
#[derive(Clone, Debug)]
pub struct Document {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Media type, digest and size. For a layout's entry, also its annotations.
    pub descriptor: Descriptor,
    /// The parsed content.
    pub manifest: Manifest,
}

/// Which manifest of a store to read.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The manifest with this tag, or the entry with this name in a layout.
    Tag(&'a str),
    /// The manifest with this digest.
    Digest(&'a Digest),
    /// No name is given: a layout's only entry, or the tag `latest` in a repository.
    Unnamed,
}

impl<'a> Which<'a> {
    /// The manifest that a location names. If the location has a digest, its tag is ignored.
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

/// Options for reading a manifest.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions<'a> {
    /// The media types for the Accept header. If empty, all supported types.
    pub accept: &'a [String],
    /// Whether schema 1 is allowed.
    pub schema1: Schema1,
    /// Selects among entries with the same name in a layout.
    pub platform: Option<&'a Platform>,
}

impl Document {
    /// Converts the document for a layout. A blob's digest covers all its bytes, so a layout gets
    /// only the payload of a signed schema 1 manifest. The signatures are dropped, with a warning.
    pub fn for_layout(mut self) -> Document {
        if self.descriptor.media_type != mediatype::SCHEMA1_SIGNED {
            return self;
        }
        notice::warn("signatures", || {
            format!("{}: a layout cannot hold the signatures of schema 1", self.descriptor.digest)
        });
        self.bytes = schema1::digested(&self.bytes).into_owned();
        self.manifest.media_type = mediatype::SCHEMA1.to_owned();
        let Descriptor { digest, .. } = self.descriptor;
        self.descriptor = Descriptor::new(mediatype::SCHEMA1, digest, self.bytes.len() as u64);
        self
    }
}

impl Store {
    /// A manifest's descriptor, without reading the manifest. `None` if the store cannot provide it
    /// this way: always for a layout, and for a registry whose response to HEAD is incomplete or
    /// differs from the requested digest.
    ///
    /// # Errors
    /// The errors of [`Registry::manifest_head`](registry::Registry::manifest_head).
    pub fn head(&self, which: Which<'_>, options: ReadOptions<'_>) -> Result<Option<Descriptor>> {
        match (self, which) {
            (Store::Registry(registry), Which::Digest(digest)) => {
                let found = registry.manifest_head(&digest.to_string(), &accept(options))?;
                Ok(found.filter(|found| found.digest == *digest))
            }
            (Store::Registry(registry), Which::Tag(tag)) => {
                registry.manifest_head(tag, &accept(options))
            }
            (Store::Registry(registry), Which::Unnamed) => {
                registry.manifest_head("latest", &accept(options))
            }
            (Store::Layout(_), _) => Ok(None),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// Absent, Refused or Unavailable, depending on the registry's response. Content if the digest
    /// or size differs. Malformed if it is not a valid manifest. For a layout also Usage if no name
    /// is given and several entries exist, and Local if the layout cannot be read.
    pub fn manifest(&self, which: Which<'_>, options: ReadOptions<'_>) -> Result<Document> {
        match self {
            Store::Registry(registry) => {
                let (name, want) = match which {
                    Which::Tag(tag) => (tag.to_owned(), None),
                    Which::Digest(digest) => (digest.to_string(), Some(digest)),
                    Which::Unnamed => ("latest".to_owned(), None),
                };
                let remote = registry.manifest(&name, want, &accept(options))?;
                let separator = if want.is_some() { '@' } else { ':' };
                let shown = format!("{}{separator}{name}", registry.repository());
                let said = remote.said.as_deref();
                let manifest = Manifest::parse(&remote.bytes, said, &shown, options.schema1)
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
                let choose = |named: &[Descriptor]| match options.platform {
                    Some(wanted) => self.choose(named, wanted, options),
                    None => Err(Error::usage("no platform is given")),
                };
                let choose = options.platform.map(|_| &choose as layout::Choose<'_>);
                let entry = layout.resolve(tag, digest, choose)?;
                self.described(entry, options)
            }
        }
    }

    /// Reads the manifest that a descriptor describes. Its size, digest and media type must match.
    ///
    /// # Errors
    /// As for [`manifest`](Store::manifest).
    pub fn described(&self, descriptor: Descriptor, options: ReadOptions<'_>) -> Result<Document> {
        let registry = match self {
            Store::Registry(registry) => registry,
            Store::Layout(layout) => {
                let (bytes, manifest) = layout.read_manifest(&descriptor, options.schema1)?;
                return Ok(Document { bytes, descriptor, manifest });
            }
        };
        let digest = &descriptor.digest;
        let shown = format!("{self}@{digest}");
        if descriptor.size > MAX_SIZE {
            let what = format_args!("{shown}: {} bytes, larger than {}", descriptor.size, MAX_SIZE);
            return Err(Error::malformed(what));
        }
        let bytes = registry.manifest(&digest.to_string(), Some(digest), &accept(options))?.bytes;
        if !schema1::has_size(&bytes, descriptor.size) {
            return Err(Error::content(format_args!(
                "{shown}: size differs: got {}, want {}",
                bytes.len(),
                descriptor.size
            )));
        }
        let said = Some(descriptor.media_type.as_str());
        let manifest = Manifest::parse(&bytes, said, &shown, options.schema1)
            .map_err(|e| e.context(&shown))?;
        Ok(Document { bytes, descriptor, manifest })
    }
}

/// The media types for the Accept header.
fn accept(options: ReadOptions<'_>) -> Vec<&str> {
    if !options.accept.is_empty() {
        return options.accept.iter().map(String::as_str).collect();
    }
    let schema1: &[&str] = if options.schema1 == Schema1::Allowed { &ACCEPT_SCHEMA1 } else { &[] };
    ACCEPT.iter().chain(schema1).copied().collect()
}
