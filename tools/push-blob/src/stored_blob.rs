// SPDX-License-Identifier: Apache-2.0
//! A blob of the store that `--from` names.

use std::io::Read;

use common::descriptor::Descriptor;
use common::error::{Error, Result};
use layout::Layout;
use store::Store;

use crate::file_bytes::FileBytes;
use crate::upload::rereadable::Rereadable;

/// A blob of a store that lines name. It is not looked for before its bytes are wanted: the target
/// may have them.
pub(crate) enum StoredBlob<'a> {
    /// Carried by its descriptor.
    Carried(Vec<u8>),
    /// In a layout, with its file once it is open.
    InLayout(&'a Layout, &'a Descriptor, Option<FileBytes>),
    /// In a registry, from which it passes without touching the disk.
    InRegistry(&'a Store, &'a Descriptor),
}

impl<'a> StoredBlob<'a> {
    /// The blob that a descriptor describes.
    pub(crate) fn of(source: &'a Store, descriptor: &'a Descriptor) -> StoredBlob<'a> {
        if let Some(Ok(bytes)) = descriptor.data() {
            return StoredBlob::Carried(bytes);
        }
        match source {
            Store::Registry(_) => StoredBlob::InRegistry(source, descriptor),
            Store::Layout(layout) => StoredBlob::InLayout(layout, descriptor, None),
        }
    }
}

/// A layout's blob, of the size that it must have.
fn open(layout: &Layout, descriptor: &Descriptor) -> Result<FileBytes> {
    let Descriptor { digest, size: want, .. } = descriptor;
    let missing = || Error::absent(format_args!("{layout}: no blob {digest}"));
    let (file, size) = layout.open_blob(digest)?.ok_or_else(missing)?;
    if size != *want {
        let what = format_args!("{layout}: {digest}: size differs: got {size}, want {want}");
        let hint = format_args!("fetch-blob STORE --into {layout} --recheck mends it");
        return Err(Error::content(what).hint(hint));
    }
    FileBytes::new(file, format!("{layout}: {digest}"))
}

impl Rereadable for StoredBlob<'_> {
    fn open(&mut self, offset: u64) -> Result<Box<dyn Read + '_>> {
        match self {
            StoredBlob::Carried(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(&bytes[start..]))
            }
            StoredBlob::InLayout(layout, descriptor, file) => {
                let open = match file.take() {
                    Some(open) => open,
                    None => open(layout, descriptor)?,
                };
                file.insert(open).open(offset)
            }
            StoredBlob::InRegistry(source, descriptor) => {
                Ok(Box::new(source.reader(descriptor, offset)))
            }
        }
    }

    fn check_unchanged(&mut self) -> Result<()> {
        match self {
            StoredBlob::InLayout(_, _, Some(file)) => file.check_unchanged(),
            _ => Ok(()),
        }
    }
}
