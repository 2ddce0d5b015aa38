// SPDX-License-Identifier: Apache-2.0
//! Checks that everything a manifest names exists.

use std::collections::HashSet;
use std::sync::Arc;

use common::descriptor::Descriptor;
use common::error::{Error, Result, printable};
use common::manifest::Manifest;
use common::mediatype::{self, Kind};
use common::notice;
use common::parallel;
use common::reference::LayoutReference;
use layout::{Held, Layout};
use registry::Registry;

/// The number of concurrent checks in a registry.
const CONNECTIONS: usize = 4;

/// The maximum number of missing digests in a message. More would not fit into one.
const SHOWN: usize = 10;

/// Checks that the registry has everything that the manifest names.
///
/// # Errors
/// Malformed if something is missing; the message lists it. Otherwise as the registry responds.
pub(crate) fn in_registry(registry: &Arc<Registry>, manifest: &Manifest) -> Result<()> {
    let wanted = wanted(manifest);
    let mut missing = Vec::new();
    let work = {
        let registry = Arc::clone(registry);
        move |descriptor: Descriptor| {
            let Descriptor { media_type, digest, size, .. } = &descriptor;
            let exists = if mediatype::is_manifest(media_type) {
                registry.has_manifest(digest)?
            } else {
                registry.has_blob(digest, *size).map_err(|failure| failure.error)?
            };
            Ok((descriptor, exists))
        }
    };
    let take = |answer: Result<(Descriptor, bool)>| {
        let (descriptor, exists) = answer?;
        if !exists {
            missing.push(descriptor);
        }
        Ok(())
    };
    parallel::in_order(CONNECTIONS, move || wanted.into_iter(), work, take)?;
    require_none_missing(&registry.repository().to_string(), &missing)
}

/// Checks that the layout has everything that the manifest names.
///
/// # Errors
/// Malformed if something is missing; the message lists it. Local if the layout cannot be read.
pub(crate) fn in_layout(layout: &Layout, manifest: &Manifest) -> Result<()> {
    let mut missing = Vec::new();
    for descriptor in wanted(manifest) {
        let Descriptor { digest, size, .. } = &descriptor;
        match layout.check_blob(digest, Some(*size), false)? {
            Held::Blob(_) => continue,
            Held::Absent => {}
            Held::Wrong(what) => {
                notice::warn("wrong blob", || format!("{digest}: the layout has {what}"));
            }
        }
        missing.push(descriptor);
    }
    require_none_missing(&printable(&layout.to_string()), &missing)
}

/// For a layout that does not exist: everything that the manifest names is missing.
///
/// # Errors
/// Malformed, unless the manifest names nothing.
pub(crate) fn in_absent_layout(place: &LayoutReference, manifest: &Manifest) -> Result<()> {
    require_none_missing(&printable(&format!("oci:{}", place.dir.display())), &wanted(manifest))
}

/// The descriptors to check, without duplicates and without non-distributable layers.
fn wanted(manifest: &Manifest) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    let foreign = |d: &Descriptor| {
        matches!(mediatype::kind(&d.media_type), Kind::Layer { foreign: true, .. })
    };
    let named = manifest.named().into_iter().filter(|d| !foreign(d));
    named.filter(|d| seen.insert(d.digest.clone())).cloned().collect()
}

fn require_none_missing(place: &str, missing: &[Descriptor]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> =
        missing.iter().take(SHOWN).map(|descriptor| descriptor.digest.to_string()).collect();
    if missing.len() > SHOWN {
        named.push(format!("and {} more", missing.len() - SHOWN));
    }
    let what = format_args!("{place}: missing, but named by the manifest: {}", named.join(" "));
    Err(Error::malformed(what).hint("push-blob or fetch-blob copies what list-blobs prints"))
}
