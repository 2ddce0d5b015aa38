// SPDX-License-Identifier: Apache-2.0
//! Where else a repository may be read, as the command line says.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::reference::Repository;

/// http or https.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// What may be asked for at a place.
#[expect(dead_code, reason = "only a machine's configuration says less than all")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// Everything.
    All,
    /// What is named by its digest.
    Digests,
    /// Manifests by their tags.
    Tags,
}

/// A place where a repository may be had, as a machine's configuration or the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) scheme: Option<Scheme>,
    pub(super) host: String,
    pub(super) root: String,
    pub(super) path: String,
    pub(super) namespace: Option<String>,
    pub(super) insecure: bool,
    pub(super) serves: Serves,
    pub(super) ca: Vec<PathBuf>,
    pub(super) client: Vec<(PathBuf, Option<PathBuf>)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) origin: String,
}

/// What a machine's configuration says of a repository.
#[derive(Clone, Debug, Default)]
pub(super) struct Configured {
    pub(super) mirrors: Vec<Place>,
    pub(super) own: Option<Place>,
    pub(super) blocked: Option<String>,
}

/// Reads what the machine says.
pub(super) fn configured(_repository: &Repository) -> Result<Configured> {
    Ok(Configured::default())
}

/// Scheme and host of a mirror, and the path of a repository there.
fn parts<'a>(text: &'a str, path: &str) -> (Option<Scheme>, &'a str, String) {
    let (scheme, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (Some(Scheme::Http), rest),
        (_, Some(rest)) => (Some(Scheme::Https), rest),
        _ => (None, text),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let path = match prefix {
        "" => path.to_owned(),
        prefix => format!("{prefix}/{path}"),
    };
    (scheme, host, path)
}

/// Whether a text may be a value of `--mirror`.
///
/// # Errors
/// A sentence.
pub fn check(text: &str) -> std::result::Result<String, String> {
    if text.contains('@') {
        return Err("a mirror with user information".to_owned());
    }
    let (_, host, path) = parts(text, "x");
    Repository::at(host, &path).map(|_| text.to_owned())
}

/// The place that `--mirror` names.
pub(super) fn named(text: &str, repository: &Repository) -> Result<Place> {
    let (scheme, host, path) = parts(text, repository.path());
    if let Err(why) = Repository::at(host, &path) {
        return Err(Error::usage(format_args!("--mirror: {why}")));
    }
    Ok(Place {
        scheme,
        host: host.to_owned(),
        root: "/v2/".to_owned(),
        path,
        namespace: None,
        insecure: false,
        serves: Serves::All,
        ca: Vec::new(),
        client: Vec::new(),
        headers: Vec::new(),
        origin: "--mirror".to_owned(),
    })
}
