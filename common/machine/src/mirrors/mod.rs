// SPDX-License-Identifier: Apache-2.0
//! Mirrors of a repository, from the machine's configuration or from the command line.
//!
//! | module | reads |
//! |---|---|
//! | `containers` | registries.conf of podman, skopeo, buildah |
//! | `containerd` | hosts.toml of containerd and nerdctl |
//! | `document` | the TOML of both |
//!
//! Each repository uses one source, and sources are never mixed: registries.conf if it has a table
//! for the repository, else hosts.toml. This module only reads files. An invalid file is an error,
//! because silently using another server than the configured one would be worse. Docker's
//! daemon.json belongs to its daemon and is not read. Not here: the choice of the server for a
//! request, and of the headers and credentials sent to it.

mod containerd;
mod containers;
mod document;

use std::path::PathBuf;

use common::error::{Error, Result};
use common::reference::Repository;

/// The path of the API's root (distribution specification, section "Endpoints").
pub const ROOT: &str = "/v2/";

/// The maximum number of mirrors of one registry.
pub const MAX_MIRRORS: usize = 64;

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// The requests for which a place is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Everything.
    All,
    /// Manifests and blobs by digest.
    Digests,
    /// Manifests by tag.
    Tags,
}

/// A server and path from which a repository can be read: a mirror or the registry itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The scheme. `None` means HTTPS, with one exception: if the host does not use TLS, plain HTTP
    /// is used for a loopback host or with `insecure`.
    pub scheme: Option<Scheme>,
    /// `HOST[:PORT]`. For Docker Hub this is `docker.io`, not the host of its API.
    pub host: String,
    /// The path of the API's root, with a slash at the end: `/v2/`, unless the configuration sets
    /// another path.
    pub root: String,
    /// The path of the repository on this server.
    pub path: String,
    /// The host of the mirrored registry, sent to a mirror as `ns` in the query.
    pub namespace: Option<String>,
    /// Whether certificates are not checked and plain HTTP is allowed.
    pub insecure: bool,
    /// The requests for which the place is used.
    pub serves: Serves,
    /// Files with CA certificates to trust.
    pub ca: Vec<PathBuf>,
    /// Client certificates to present, each with a key file, or with the key in the same file.
    pub client: Vec<(PathBuf, Option<PathBuf>)>,
    /// Headers to send.
    pub headers: Vec<(String, String)>,
    /// The file or option that names this place, for messages.
    pub origin: String,
}

/// The machine's configuration for a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// The mirrors, in order.
    pub mirrors: Vec<Place>,
    /// The place of the registry itself, if configured.
    pub own: Option<Place>,
    /// The file that blocks the registry itself. Its mirrors may still be read. In this way an
    /// administrator allows the mirrors and prevents all contact with the registry.
    pub blocked: Option<String>,
}

/// Reads the machine's configuration for a repository.
///
/// # Errors
/// Malformed if a file is invalid (the message has file and line); Local if a file cannot be read.
pub fn configured(repository: &Repository) -> Result<Configured> {
    match containers::configured(repository)? {
        Some(configured) => Ok(configured),
        None => containerd::configured(repository),
    }
}

/// The scheme and the host of a mirror, and the path of a repository on it.
fn parts<'a>(text: &'a str, path: &str) -> (Option<Scheme>, &'a str, String) {
    let (scheme, rest) = if let Some(rest) = text.strip_prefix("http://") {
        (Some(Scheme::Http), rest)
    } else if let Some(rest) = text.strip_prefix("https://") {
        (Some(Scheme::Https), rest)
    } else {
        (None, text)
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let path = match prefix {
        "" => path.to_owned(),
        prefix => format!("{prefix}/{path}"),
    };
    (scheme, host, path)
}

/// Checks the text of a `--mirror` option.
///
/// # Errors
/// A sentence, if the text is not a mirror.
pub fn check(text: &str) -> std::result::Result<String, String> {
    if text.contains('@') {
        return Err("a mirror must not contain user information".to_owned());
    }
    let (scheme, host, path) = parts(text, "x");
    if scheme.is_none() && text.contains("://") {
        return Err("unsupported scheme (only http and https are supported)".to_owned());
    }
    Repository::at(host, &path).map(|_| text.to_owned())
}

/// The place that `--mirror` names: `[http://|https://]HOST[:PORT][/PATH]`, where PATH replaces the
/// registry's host.
///
/// # Errors
/// Usage, if host and path are not valid for a repository.
pub fn named(text: &str, repository: &Repository) -> Result<Place> {
    let (scheme, host, path) = parts(text, repository.path());
    let place = Place { scheme, ..Place::at(host, &path, "--mirror") };
    place.checked().map_err(|why| Error::usage(format_args!("--mirror: {why}")))
}

impl Place {
    /// A place with default values for everything else.
    fn at(host: &str, path: &str, origin: &str) -> Place {
        Place {
            scheme: None,
            host: host.to_owned(),
            root: ROOT.to_owned(),
            path: path.to_owned(),
            namespace: None,
            insecure: false,
            serves: Serves::All,
            ca: Vec::new(),
            client: Vec::new(),
            headers: Vec::new(),
            origin: origin.to_owned(),
        }
    }

    /// The place, if its host and path are valid for a repository, or for a registry as a whole.
    fn checked(self) -> std::result::Result<Place, String> {
        match self.path.as_str() {
            "" => Repository::whole(&self.host).map(|_| self),
            path => Repository::at(&self.host, path).map(|_| self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::error::Status;
    use common::reference::{MAX_PATH, Reference};

    pub(super) fn repository(text: &str) -> Repository {
        text.parse::<Reference>().unwrap_or_else(|e| panic!("{text}: {e}")).repository
    }

    #[test]
    fn a_mirrors_path_replaces_the_registrys_host() {
        let cases = [
            ("m.example", "alpine", None, "m.example", "library/alpine"),
            ("m.example/hub", "alpine", None, "m.example", "hub/library/alpine"),
            ("m.example/hub/", "alpine", None, "m.example", "hub/library/alpine"),
            ("http://m:5000/a/b", "x.io/y", Some(Scheme::Http), "m:5000", "a/b/y"),
            ("https://m/", "x.io/y/z", Some(Scheme::Https), "m", "y/z"),
            ("[::1]:5000", "x.io/y", None, "[::1]:5000", "y"),
        ];
        for (text, of, scheme, host, path) in cases {
            let place = named(text, &repository(of)).unwrap();
            let expected = Place { scheme, ..Place::at(host, path, "--mirror") };
            assert_eq!(place, expected, "{text}");
            assert_eq!(check(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn an_invalid_mirror_is_wrong_usage() {
        let of = repository("alpine");
        for text in [
            "",
            "/",
            "/hub",
            "http://",
            "https:///hub",
            "ftp://m.example",
            "http://http://m",
            "m e",
            "me:you@m.example",
            "m.example/Hub",
            "m.example//hub",
            "m.example/hub?a",
            "m:0",
            "m:x",
            "m.example/hub:1",
            "m.example/..",
            "-m",
            "oci:dir",
            "m.example/hub//",
            "m#",
        ] {
            assert!(check(text).is_err(), "{text}");
            assert_eq!(named(text, &of).unwrap_err().status(), Status::Usage, "{text}");
        }
    }

    #[test]
    fn a_mirrors_path_may_be_as_long_as_any() {
        let of = repository("x.example/y");
        let prefix = |len: usize| format!("m.example/{}", "a".repeat(len));
        assert!(named(&prefix(MAX_PATH - 2), &of).is_ok());
        assert_eq!(named(&prefix(MAX_PATH - 1), &of).unwrap_err().status(), Status::Usage);
    }
}
