// SPDX-License-Identifier: Apache-2.0
//! The repository or layout, and the tag or manifest to remove from it.

use common::digest::Digest;
use common::error::{Error, Result, printable};
use common::reference::Location;
use layout::Layout;
use registry::Registry;
use store::Remote;

/// The object to remove.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    /// A tag, or the name of an entry in a layout.
    Tag(String),
    /// A manifest.
    Digest(Digest),
}

impl Name {
    /// The name in a reference; `None` if it has neither a tag nor a digest.
    ///
    /// # Errors
    /// Usage if the reference has both: the tag may name another manifest.
    pub(crate) fn of(location: &Location) -> Result<Option<Name>> {
        let (tag, digest) = match location {
            Location::Registry(reference) => (&reference.tag, &reference.digest),
            Location::Layout(place) => (&place.tag, &place.digest),
        };
        match (tag, digest) {
            (Some(_), Some(_)) => {
                let error = Error::usage(format_args!("{location}: both a tag and a digest"));
                Err(error.hint(
                    "give the tag to remove only the tag, or the digest to remove the manifest",
                ))
            }
            (Some(tag), None) => Ok(Some(Name::Tag(tag.clone()))),
            (None, Some(digest)) => Ok(Some(Name::Digest(digest.clone()))),
            (None, None) => Ok(None),
        }
    }
}

/// The repository or layout.
pub(crate) enum Target {
    Registry(Box<Registry>),
    Layout(Layout),
}

impl Target {
    /// Opens the repository or layout of a reference.
    ///
    /// # Errors
    /// As for [`Registry::open`], or for [`Layout::open`] and [`Layout::create`].
    pub(crate) fn open(location: &Location, remote: &Remote) -> Result<Target> {
        Ok(match location {
            Location::Registry(reference) => {
                let repository = &reference.repository;
                let registry = Registry::open_to_delete(repository, &remote.client, &remote.peer)?;
                Target::Registry(Box::new(registry))
            }
            Location::Layout(place) => {
                // `open` refuses a missing layout. `create` then adds the parts that a layout of
                // another program may lack and that these tools need for writing.
                Layout::open(&place.dir)?;
                Target::Layout(Layout::create(&place.dir)?)
            }
        })
    }

    /// Removes a tag alone, or a manifest.
    ///
    /// # Errors
    /// Absent if it does not exist. Otherwise as for [`Registry::remove_tag`],
    /// [`Registry::remove_manifest`], [`Layout::remove_name`] and [`Layout::remove_manifests`].
    pub(crate) fn remove(&self, name: &Name) -> Result<()> {
        match (self, name) {
            (Target::Registry(registry), Name::Tag(tag)) => registry.remove_tag(tag),
            (Target::Registry(registry), Name::Digest(digest)) => registry.remove_manifest(digest),
            (Target::Layout(layout), Name::Tag(tag)) => {
                if layout.remove_name(tag)? {
                    return Ok(());
                }
                Err(absent(layout, format_args!("no entry named \"{}\"", printable(tag))))
            }
            (Target::Layout(layout), Name::Digest(digest)) => {
                remove_all(layout, std::slice::from_ref(digest), false)
            }
        }
    }
}

/// Removes manifests from a layout, as [`Layout::remove_manifests`] does.
///
/// # Errors
/// Absent if one does not exist, unless `ignore_missing` is set. Otherwise as for
/// [`Layout::remove_manifests`].
pub(crate) fn remove_all(layout: &Layout, digests: &[Digest], ignore_missing: bool) -> Result<()> {
    match layout.remove_manifests(digests, ignore_missing)? {
        Some(missing) if !ignore_missing => {
            Err(absent(layout, format_args!("no entry for {missing}")))
        }
        _ => Ok(()),
    }
}

fn absent(layout: &Layout, what: std::fmt::Arguments<'_>) -> Error {
    Error::absent(format_args!("{}: {what}", printable(&layout.to_string())))
}
