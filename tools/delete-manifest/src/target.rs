// SPDX-License-Identifier: Apache-2.0
//! The repository or layout, and the tag or manifest to remove from it.

use common::digest::Digest;
use common::error::{Error, Result, Status, printable};
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
pub(crate) struct Target {
    store: Store,
    ignore_missing: bool,
}

enum Store {
    Registry(Box<Registry>),
    Layout(Layout),
    /// A layout that does not exist, and that may be missing.
    MissingLayout,
}

impl Target {
    /// Opens the repository or layout of a reference. If `ignore_missing` is set, it is not an
    /// error that the layout, or a tag or manifest to remove, does not exist.
    ///
    /// # Errors
    /// As for [`Registry::open_to_delete`], or for [`Layout::open`] and [`Layout::create`].
    pub(crate) fn open(
        location: &Location,
        remote: &Remote,
        ignore_missing: bool,
    ) -> Result<Target> {
        let store = match location {
            Location::Registry(reference) => {
                let repository = &reference.repository;
                let registry = Registry::open_to_delete(repository, &remote.client, &remote.peer)?;
                Store::Registry(Box::new(registry))
            }
            // `open` refuses a missing layout. `create` then adds the parts that a layout of
            // another program may lack and that these tools need for writing.
            Location::Layout(place) => match Layout::open(&place.dir) {
                Err(error) if ignore_missing && error.status() == Status::Absent => {
                    Store::MissingLayout
                }
                opened => opened.and_then(|_| Layout::create(&place.dir)).map(Store::Layout)?,
            },
        };
        Ok(Target { store, ignore_missing })
    }

    /// Removes a tag alone, or a manifest.
    ///
    /// # Errors
    /// Absent if it does not exist. Otherwise as for [`Registry::remove_tag`],
    /// [`Registry::remove_manifest`], [`Layout::remove_name`] and [`Layout::remove_manifests`].
    pub(crate) fn remove(&self, name: &Name) -> Result<()> {
        let removed = match (&self.store, name) {
            (Store::Registry(registry), Name::Tag(tag)) => registry.remove_tag(tag),
            (Store::Registry(registry), Name::Digest(digest)) => registry.remove_manifest(digest),
            (Store::Layout(layout), Name::Tag(tag)) => match layout.remove_name(tag) {
                Ok(false) => {
                    Err(absent(layout, format_args!("no entry named \"{}\"", printable(tag))))
                }
                removed => removed.map(drop),
            },
            (Store::Layout(layout), Name::Digest(digest)) => {
                self.remove_entries(layout, std::slice::from_ref(digest))
            }
            (Store::MissingLayout, _) => Ok(()),
        };
        match removed {
            Err(error) if self.ignore_missing && error.status() == Status::Absent => Ok(()),
            removed => removed,
        }
    }

    /// Removes manifests, up to the first error in `digests`.
    ///
    /// # Errors
    /// As for [`remove`](Target::remove), and the errors in `digests`.
    pub(crate) fn remove_each(
        &self,
        mut digests: impl Iterator<Item = Result<Digest>>,
    ) -> Result<()> {
        let Store::Layout(layout) = &self.store else {
            return digests.try_for_each(|digest| self.remove(&Name::Digest(digest?)));
        };
        // A layout's index.json is written once for all manifests. If it were written once for
        // each, the time would be quadratic in their number.
        let mut found = Vec::new();
        let read = digests.try_for_each(|digest| {
            found.push(digest?);
            Ok(())
        });
        self.remove_entries(layout, &found)?;
        read
    }

    /// Removes manifests from a layout, as [`Layout::remove_manifests`] does.
    ///
    /// # Errors
    /// Absent if one does not exist, unless that is to be ignored. Otherwise as for
    /// [`Layout::remove_manifests`].
    fn remove_entries(&self, layout: &Layout, digests: &[Digest]) -> Result<()> {
        match layout.remove_manifests(digests, self.ignore_missing)? {
            Some(missing) if !self.ignore_missing => {
                Err(absent(layout, format_args!("no entry for {missing}")))
            }
            _ => Ok(()),
        }
    }
}

fn absent(layout: &Layout, what: std::fmt::Arguments<'_>) -> Error {
    Error::absent(format_args!("{}: {what}", printable(&layout.to_string())))
}
