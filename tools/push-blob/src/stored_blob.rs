// SPDX-License-Identifier: Apache-2.0
//! A blob of the store given with `--from`.

use std::io::Read;

use common::descriptor::Descriptor;
use common::error::{Error, Result};
use layout::Layout;
use store::Store;

use crate::file_bytes::FileBytes;
use crate::upload::rereadable::Rereadable;

/// A blob that a descriptor line names. The store is not asked for the blob before its bytes are
/// read, because the target may have the blob already.
pub(crate) enum StoredBlob<'a> {
    /// The blob is embedded in the descriptor's `data` field.
    Carried(Vec<u8>),
    /// The blob is in a layout. The file is `Some` when it is open.
    InLayout(&'a Layout, &'a Descriptor, Option<FileBytes>),
    /// The blob is in a registry. Its bytes are passed on without touching the disk.
    InRegistry(&'a Store, &'a Descriptor),
}

impl<'a> StoredBlob<'a> {
    /// The blob that `descriptor` describes.
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

/// Opens a layout's blob and checks its size.
fn open(layout: &Layout, descriptor: &Descriptor) -> Result<FileBytes> {
    let Descriptor { digest, size: want, .. } = descriptor;
    let (file, size) = layout.open_blob(digest)?.ok_or_else(|| layout.absent(digest))?;
    if size != *want {
        let what = format_args!("{layout}: {digest}: size differs: got {size}, want {want}");
        return Err(Error::content(what).hint(layout.repair()));
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
