// SPDX-License-Identifier: Apache-2.0
//! Chooses the manifest for a platform from an index, including nested indexes.

use common::error::{Error, Result, Status};
use common::manifest::{self, Content};
use common::mediatype::{self, Kind};
use common::platform::Platform;

use crate::Store;
use crate::manifest::{Asking, Document};

/// The maximum depth of nested indexes.
pub const MAX_DEPTH: usize = 8;

impl Store {
    /// Finds the manifest for a platform in an index and its nested indexes. A document that is not
    /// an index is returned unchanged, whatever its platform.
    ///
    /// # Errors
    /// Absent if no entry matches the platform; the message lists the platforms in the index.
    /// Malformed if the indexes are nested too deep. Otherwise as for
    /// [`manifest`](Store::manifest).
    pub fn for_platform(
        &self,
        document: Document,
        wanted: &Platform,
        asking: Asking<'_>,
    ) -> Result<Document> {
        self.descend(document, wanted, asking, 0)
    }

    fn descend(
        &self,
        document: Document,
        wanted: &Platform,
        asking: Asking<'_>,
        depth: usize,
    ) -> Result<Document> {
        let Content::Index { manifests } = &document.manifest.content else { return Ok(document) };
        let digest = &document.descriptor.digest;
        if depth >= MAX_DEPTH {
            return Err(Error::malformed(format_args!(
                "{self}@{digest}: indexes nested deeper than {MAX_DEPTH}"
            )));
        }
        let missing =
            || manifest::no_platform(manifests, wanted).context(format_args!("{self}@{digest}"));
        for entry in manifest::candidates(manifests, wanted) {
            let chosen = match mediatype::kind(&entry.media_type) {
                Kind::Manifest | Kind::Index | Kind::Schema1 => {
                    self.described(entry.clone(), asking)?
                }
                _ => continue,
            };
            match self.descend(chosen, wanted, asking, depth + 1) {
                // The nested index does not have the platform. The next entry may have it.
                Err(error) if entry.platform().is_none() && error.status() == Status::Absent => {}
                outcome => return outcome,
            }
        }
        Err(missing())
    }
}
