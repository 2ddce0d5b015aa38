// SPDX-License-Identifier: Apache-2.0
//! Puts a manifest into a repository of a registry.

use std::sync::Arc;

use common::error::Result;
use common::reference::Reference;
use registry::Registry;
use store::{Document, Remote};

use crate::{carried, complete};

/// Puts a manifest under the tags, after the blobs that it carries. If there are no tags, or if the
/// reference has a digest and no tag, puts the manifest by its digest. With `check`, first checks
/// that everything the manifest names exists.
///
/// # Errors
/// Malformed if `check` finds something missing. Otherwise as for [`Registry::put_blob`] and
/// [`Registry::publish`].
pub(crate) fn put(
    reference: &Reference,
    tags: &[String],
    check: bool,
    remote: &Remote,
    document: &Document,
) -> Result<()> {
    let registry =
        Arc::new(Registry::open_to_push(&reference.repository, &remote.client, &remote.peer)?);
    let Document { bytes, descriptor, manifest } = document;
    let carried = carried::blobs(manifest);
    if check {
        complete::in_registry(&registry, manifest, &carried)?;
    }
    for blob in &carried {
        registry.put_blob(&blob.digest, &blob.bytes)?;
    }
    // A manifest with a tag is also available by a digest that the registry computes. If the
    // reference has only a digest, the manifest is put by this digest, too: its algorithm may be
    // another one.
    let by_digest = tags.is_empty() || (reference.tag.is_none() && reference.digest.is_some());
    let digest = by_digest.then(|| descriptor.digest.to_string());
    let names: Vec<String> = digest.into_iter().chain(tags.iter().cloned()).collect();
    registry.publish(&names, bytes, &descriptor.digest, manifest)
}
