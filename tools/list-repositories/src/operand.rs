// SPDX-License-Identifier: Apache-2.0
//! The operand: a registry, or a directory with layouts.

use std::path::PathBuf;
use std::str::FromStr;

use common::error::{Error, Result};
use common::reference::{Repository, StoreName};

/// The place whose repositories are listed.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    /// A registry.
    Registry(Repository),
    /// The directory in which layouts are searched for.
    Layouts(PathBuf),
}

impl FromStr for Operand {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Operand, String> {
        if text.starts_with("oci:") {
            return layout(text).map(Operand::Layouts);
        }
        let host = Repository::whole(text);
        host.map(Operand::Registry).map_err(|why| {
            if text.contains('/') && !text.contains("://") {
                "expected HOST[:PORT] without a path, or oci:DIR".to_owned()
            } else {
                why
            }
        })
    }
}

/// The directory in the value of `--last`, which is a line of an earlier list.
///
/// # Errors
/// Usage if it is not `oci:DIR`.
pub(crate) fn last_layout(text: &str) -> Result<PathBuf> {
    layout(text).map_err(|why| Error::usage(format_args!("--last: {why}")))
}

fn layout(text: &str) -> std::result::Result<PathBuf, String> {
    match text.parse::<StoreName>() {
        Ok(StoreName::Layout(dir)) => Ok(dir),
        _ => Err("expected oci:DIR, without tag or digest".to_owned()),
    }
}
