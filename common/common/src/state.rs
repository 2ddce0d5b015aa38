// SPDX-License-Identifier: Apache-2.0
//! The user's state directory: `$XDG_STATE_HOME/regutils`, or `~/.local/state/regutils` if the
//! variable is unset. Files in it make later runs faster; a run succeeds without them too.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The state directory, which may not exist yet. `None` if the parent directory of
/// `$XDG_STATE_HOME` does not exist. If that variable is unset, `None` if `$HOME` does not exist. A
/// variable whose value is not an absolute path counts as unset.
pub fn directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = match (variable("XDG_STATE_HOME"), variable("HOME")) {
        (Some(state), _) if state.parent().is_some_and(Path::is_dir) => state,
        (None, Some(home)) if home.is_dir() => home.join(".local/state"),
        _ => return None,
    };
    Some(state.join("regutils"))
}

/// Creates a directory and its missing parents. Only the owner may enter the new directories.
///
/// # Errors
/// The error of the system.
pub fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
