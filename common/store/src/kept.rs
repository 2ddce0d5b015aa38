// SPDX-License-Identifier: Apache-2.0
//! Manifests that a layout has already, so that they need not be fetched again.
//!
//! A manifest of the layout is used only for a request by digest, and only if the repository has
//! it: either the layout has recorded that, or the repository confirms it with HEAD. Therefore a
//! manifest is never returned for a repository that never had it. If the layout's manifest cannot
//! be used, the manifest is fetched. Schema 1 is always fetched: a layout keeps it without its
//! signatures.

use common::digest::Digest;
use common::manifest::{MAX_SIZE, Manifest, Schema1};
use common::mediatype::{self, Kind};
use layout::Layout;
use registry::manifest::RemoteManifest;

use crate::Store;
use crate::place::Places;

impl Store {
    /// Uses the manifests of a layout for requests by digest to this repository. Has no effect on a
    /// store that is a layout.
    #[must_use]
    pub fn with_kept(self, layout: Layout) -> Store {
        match self {
            Store::Registry(mut places) => {
                places.kept = Some(layout);
                Store::Registry(places)
            }
            store => store,
        }
    }
}

impl Places {
    /// The manifest from the layout; `None` if it has to be fetched.
    pub(crate) fn kept_manifest(&self, digest: &Digest, accept: &[&str]) -> Option<RemoteManifest> {
        let layout = self.kept.as_ref()?;
        let bytes = layout.read_blob(digest, MAX_SIZE).ok()?;
        let media_type = layout.resolve(None, Some(digest), None).ok()?.media_type;
        Manifest::parse(&bytes, Some(&media_type), "", Schema1::Refused).ok()?;
        let is_usable = matches!(mediatype::kind(&media_type), Kind::Manifest | Kind::Index)
            && accept.contains(&media_type.as_str());
        if !is_usable || !(self.is_recorded(layout, digest) || self.confirms(digest, accept)) {
            return None;
        }
        Some(RemoteManifest::stored(bytes, digest.clone(), media_type))
    }

    fn is_recorded(&self, layout: &Layout, digest: &Digest) -> bool {
        let known = layout.distribution_sources().read();
        let paths = known.repositories(digest, self.repository().host());
        paths.iter().any(|path| path == self.repository().path())
    }

    fn confirms(&self, digest: &Digest, accept: &[&str]) -> bool {
        let head = self.manifest_head(&digest.to_string(), accept);
        matches!(head, Ok(Some(descriptor)) if descriptor.digest == *digest)
    }
}
