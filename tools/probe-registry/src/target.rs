// SPDX-License-Identifier: Apache-2.0
//! The operand: a registry, optionally with a repository and the name of a manifest.

use std::str::FromStr;

use common::error::{Error, Result};
use common::reference::{Reference, Repository, StoreName};

/// The target of the probe.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The registry.
    pub(crate) registry: Repository,
    /// The repository to read.
    pub(crate) repository: Option<Repository>,
    /// The tag or digest of the manifest to read in it.
    pub(crate) name: Option<String>,
    /// The repository to write to.
    pub(crate) write: Option<Repository>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Target, String> {
        if text.starts_with("oci:") {
            return Err("got a layout, want HOST[:PORT][/REPO]".to_owned());
        }
        if !text.contains('/') || text.contains("://") {
            let registry = Repository::whole(text)?;
            return Ok(Target { registry, repository: None, name: None, write: None });
        }
        let Reference { repository, tag, digest } = text.parse()?;
        let registry = Repository::whole(repository.host())?;
        let name = digest.map(|digest| digest.to_string()).or(tag);
        Ok(Target { registry, repository: Some(repository), name, write: None })
    }
}

impl Target {
    /// The target with the repository of `--write`. If no repository to read is given, this one is
    /// also read.
    ///
    /// # Errors
    /// Usage if it is a layout, or is not in the same registry.
    pub(crate) fn with_write(self, write: Option<&StoreName>) -> Result<Target> {
        let write = match write {
            None => return Ok(self),
            Some(StoreName::Repository(write)) => write.clone(),
            Some(StoreName::Layout(_)) => {
                return Err(Error::usage("--write: got a layout, want a repository"));
            }
        };
        if write.api_host() != self.registry.api_host() {
            let what = format_args!("--write {write}: not a repository of {}", self.registry);
            return Err(Error::usage(what));
        }
        let repository = self.repository.or_else(|| Some(write.clone()));
        Ok(Target { repository, write: Some(write), ..self })
    }
}
