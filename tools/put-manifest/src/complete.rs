// SPDX-License-Identifier: Apache-2.0
//! Whether all that a manifest names is there.

use std::collections::HashSet;
use std::sync::Arc;

use common::descriptor::Descriptor;
use common::error::{Error, Result, printable};
use common::manifest::Manifest;
use common::mediatype::{self, Kind};
use common::parallel;
use common::reference::LayoutReference;
use layout::Layout;
use registry::Registry;

/// How many are asked for at once.
const CONNECTIONS: usize = 4;

/// How many missing ones a message names.
const SHOWN: usize = 20;

/// Asks a registry for everything.
///
/// # Errors
/// Malformed with a list of what is missing; the registry's.
pub(crate) fn in_registry(registry: &Arc<Registry>, manifest: &Manifest) -> Result<()> {
    let wanted = wanted(manifest);
    let mut missing = Vec::new();
    let work = {
        let registry = Arc::clone(registry);
        move |descriptor: Descriptor| {
            let Descriptor { media_type, digest, size, .. } = &descriptor;
            let there = match mediatype::is_manifest(media_type) {
                true => registry.has_manifest(digest)?,
                false => registry.has_blob(digest, *size).map_err(|failure| failure.error)?,
            };
            Ok((descriptor, there))
        }
    };
    let take = |answer: Result<(Descriptor, bool)>| {
        let (descriptor, there) = answer?;
        if !there {
            missing.push(descriptor);
        }
        Ok(())
    };
    parallel::in_order(CONNECTIONS, move || wanted.into_iter(), work, take)?;
    verdict(&registry.repository().to_string(), &missing)
}

/// Looks for everything in a layout.
///
/// # Errors
/// Malformed with a list of what is missing; local trouble.
pub(crate) fn in_layout(layout: &Layout, manifest: &Manifest) -> Result<()> {
    let mut missing = Vec::new();
    for descriptor in wanted(manifest) {
        if layout.blob(&descriptor)?.is_none() {
            missing.push(descriptor);
        }
    }
    verdict(&printable(&layout.to_string()), &missing)
}

/// In a layout that is not there, everything is missing.
///
/// # Errors
/// As [`in_layout`], unless the manifest names nothing.
pub(crate) fn in_none(place: &LayoutReference, manifest: &Manifest) -> Result<()> {
    verdict(&printable(&format!("oci:{}", place.dir.display())), &wanted(manifest))
}

/// What must be there, each once: all but non-distributable layers.
fn wanted(manifest: &Manifest) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    let foreign = |d: &Descriptor| {
        matches!(mediatype::kind(&d.media_type), Kind::Layer { foreign: true, .. })
    };
    let named = manifest.named().into_iter().filter(|d| !foreign(d));
    named.filter(|d| seen.insert(d.digest.clone())).cloned().collect()
}

fn verdict(place: &str, missing: &[Descriptor]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> =
        missing.iter().take(SHOWN).map(|descriptor| descriptor.digest.to_string()).collect();
    if missing.len() > SHOWN {
        named.push(format!("and {} more", missing.len() - SHOWN));
    }
    let what = format_args!("{place}: not there, but named by the manifest: {}", named.join(" "));
    Err(Error::malformed(what).hint("push-blob or fetch-blob bring what list-blobs prints"))
}
