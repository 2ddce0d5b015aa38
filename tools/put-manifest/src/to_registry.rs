// SPDX-License-Identifier: Apache-2.0
//! Puts a manifest into a registry under all its names.

use std::sync::Arc;

use common::error::{Error, Result};
use common::reference::{Reference, is_tag};
use registry::Registry;
use store::Document;
use store::Remote;

use crate::complete;

/// Puts a manifest under the reference and the tags. With `check`, first checks that everything the
/// manifest names exists.
///
/// # Errors
/// Usage if a tag is invalid. Malformed if `check` finds something missing. Otherwise as for
/// [`Registry::publish`].
pub(crate) fn put(
    reference: &Reference,
    tags: &[String],
    check: bool,
    remote: &Remote,
    document: &Document,
) -> Result<()> {
    if let Some(wrong) = tags.iter().find(|tag| !is_tag(tag)) {
        return Err(Error::usage(format_args!("--tag {wrong}: not a tag")));
    }
    let registry =
        Arc::new(Registry::open_to_push(&reference.repository, &remote.client, &remote.peer)?);
    let Document { bytes, descriptor, manifest } = document;
    if check {
        complete::in_registry(&registry, manifest)?;
    }
    // A manifest that is put under a tag is also available by its digest.
    let first = match (&reference.tag, &reference.digest) {
        (None, Some(digest)) => digest.to_string(),
        _ => reference.tag_or_latest().to_owned(),
    };
    let mut names = vec![first];
    names.extend(tags.iter().filter(|tag| **tag != names[0]).cloned().collect::<Vec<_>>());
    registry.publish(&names, bytes, &descriptor.digest, manifest)
}
