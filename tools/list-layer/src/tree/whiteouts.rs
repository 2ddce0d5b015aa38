// SPDX-License-Identifier: Apache-2.0
//! Applies whiteouts: they hide files of lower layers, but never files of the current layer. The
//! order of entries does not matter.

use common::error::Result;

use super::walk::{Missing, last};
use super::{DirectoryId, Tree, What};

impl Tree {
    /// Hides the file `hidden` of lower layers.
    pub(super) fn hide(&mut self, parent: &[u8], hidden: &[u8]) -> Result<()> {
        let Some(chain) = self.enter(parent, Missing::Stop)? else { return Ok(()) };
        if self.layer() == 0 {
            return Ok(());
        }
        let here = last(&chain);
        let layer = Some(self.layer());
        let Some(file) = self.directories[here].files.get(hidden) else { return Ok(()) };
        match file.what {
            _ if file.upper != layer => {
                let what = file.what;
                self.directories[here].files.remove(hidden);
                self.forget(what);
            }
            What::Directory(id) => {
                if file.own != layer {
                    self.reset(id);
                }
                self.hide_below(id);
            }
            What::Other { .. } => {}
        }
        Ok(())
    }

    /// Takes the attributes that a lower layer gave to a directory.
    fn reset(&mut self, id: DirectoryId) {
        let layer = self.layer();
        if let Some(entry) = self.directories[id].entry.take() {
            self.entries[entry].hidden_by = Some(layer);
        }
        self.directories[id].layer = layer;
    }

    /// Hides all files of lower layers in the directory with this name.
    pub(super) fn hide_all_in(&mut self, name: &[u8]) -> Result<()> {
        let chain = self.enter(name, Missing::Make)?.unwrap_or_default();
        self.mark(&chain);
        if self.layer() > 0 {
            self.hide_below(last(&chain));
        }
        Ok(())
    }

    /// Hides all files of lower layers below a directory.
    fn hide_below(&mut self, id: DirectoryId) {
        let layer = Some(self.layer());
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            // Then it has no files of lower layers any more. A layer may repeat a whiteout as often
            // as it likes.
            if self.directories[id].cleared == layer {
                continue;
            }
            self.directories[id].cleared = layer;
            let files = std::mem::take(&mut self.directories[id].files);
            for (name, file) in files {
                if file.upper != layer {
                    self.forget(file.what);
                    continue;
                }
                if let What::Directory(below) = file.what {
                    pending.push(below);
                }
                self.directories[id].files.insert(name, file);
            }
        }
    }
}
