// SPDX-License-Identifier: Apache-2.0
//! Applies whiteouts: they hide files of lower layers, but never files of the current layer. The
//! order of entries does not matter. [`archive::walk`] decides which directory a whiteout refers
//! to, and which whiteouts wait for the end of the layer.

use archive::names::{self, join};
use archive::shown;
use archive::walk::{Mark, Reached, Waiting, When};
use common::error::Result;

use super::{DirectoryId, Tree, What};

impl Tree {
    /// Applies the whiteouts that waited for the end of the layer.
    pub(super) fn apply_waiting(&mut self) -> Result<()> {
        for Waiting { mark, path } in self.waiting.take() {
            let (parent, name) = names::split(&path);
            match mark {
                Mark::Whiteout => self.hide(parent, name, When::End),
                Mark::Opaque => self.hide_all(&path, When::End),
            }
            .map_err(|error| error.context(format_args!("whiteout of {}", shown(&path))))?;
        }
        Ok(())
    }

    /// Hides the file `hidden` of lower layers.
    pub(super) fn hide(&mut self, parent: &[u8], hidden: &[u8], when: When) -> Result<()> {
        match self.enter_for_marker(parent, Mark::Whiteout, when)? {
            Reached::Directory => {}
            Reached::Nothing => return Ok(()),
            Reached::Undecided => {
                return self.waiting.add(Mark::Whiteout, join(parent.to_vec(), hidden));
            }
        }
        let here = self.walk.here();
        let Some(file) = self.directories[here].files.get(hidden) else { return Ok(()) };
        let has_entry = file.own == Some(self.layer());
        match file.what {
            what if !self.is_own(file) => {
                self.directories[here].files.remove(hidden);
                self.forget(what);
            }
            What::Directory(id) => {
                if !has_entry {
                    self.reset(id);
                }
                self.hide_below(id);
            }
            What::Other { .. } => {}
        }
        Ok(())
    }

    /// Removes the attributes that a lower layer gave to a directory. The entry that gave them is
    /// now hidden.
    fn reset(&mut self, id: DirectoryId) {
        let layer = self.layer();
        if let Some(entry) = self.directories[id].entry.take() {
            self.entries[entry].hidden_by = Some(layer);
        }
        self.directories[id].layer = layer;
    }

    /// Hides all files of lower layers in the directory with this name.
    pub(super) fn hide_all(&mut self, name: &[u8], when: When) -> Result<()> {
        match self.enter_for_marker(name, Mark::Opaque, when)? {
            Reached::Directory => {
                self.mark();
                self.hide_below(self.walk.here());
                Ok(())
            }
            Reached::Nothing => Ok(()),
            Reached::Undecided => self.waiting.add(Mark::Opaque, name.to_vec()),
        }
    }

    /// Hides all files of lower layers below a directory.
    fn hide_below(&mut self, id: DirectoryId) {
        if self.layer() == 0 {
            return;
        }
        let layer = Some(self.layer());
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            // Such a directory has no files of lower layers any more. Without this check, a layer
            // that repeats a whiteout very often would take very long.
            if self.directories[id].cleared == layer {
                continue;
            }
            self.directories[id].cleared = layer;
            let files = std::mem::take(&mut self.directories[id].files);
            for (name, file) in files {
                if !self.is_own(&file) {
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
