// SPDX-License-Identifier: Apache-2.0
//! Where else a repository may be had, as the machine's configuration or the command line says.
//!
//! | module | reads |
//! |---|---|
//! | `containers` | registries.conf of podman, skopeo, buildah |
//! | `containerd` | hosts.toml of containerd and nerdctl |
//! | `document` | the TOML of both |
//!
//! One source decides on a repository, and they are never mixed: registries.conf if it has a table
//! for it, else hosts.toml. Files are read and nothing is asked; wrong ones are an error, since
//! going elsewhere than configured without a word would be worse. Docker's daemon.json is its
//! daemon's own and is not read. Which place is asked, and what is sent there, is not decided here.

mod containerd;
mod containers;
mod document;

use std::path::PathBuf;

use common::error::{Error, Result};
use common::reference::Repository;

/// The path of the API's root (distribution specification, "Endpoints").
pub const ROOT: &str = "/v2/";

/// The most mirrors that a registry may have.
pub const MAX_MIRRORS: usize = 64;

/// http or https.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain http.
    Http,
    /// http over TLS.
    Https,
}

/// What may be asked for at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Everything.
    All,
    /// What is named by its digest.
    Digests,
    /// Manifests by their tags.
    Tags,
}

/// A place where a repository may be had, as a machine's configuration or the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `https`, `http`, or nothing: https, unless the host is loopback or `insecure` and does not
    /// speak TLS.
    pub scheme: Option<Scheme>,
    /// `HOST[:PORT]`. Docker Hub has its name, `docker.io`, and not the host of its API.
    pub host: String,
    /// The path of the API's root, which ends in a slash: `/v2/`, unless the configuration says
    /// another.
    pub root: String,
    /// The repository's path there.
    pub path: String,
    /// The name by which the registry is known that this is a mirror of: sent as `ns` in the query.
    pub namespace: Option<String>,
    /// Certificates are not checked, and plain http may be spoken.
    pub insecure: bool,
    /// What may be asked for there.
    pub serves: Serves,
    /// Files with certificates to trust.
    pub ca: Vec<PathBuf>,
    /// Certificates to show, each with its key, or in one file.
    pub client: Vec<(PathBuf, Option<PathBuf>)>,
    /// Headers to send.
    pub headers: Vec<(String, String)>,
    /// The file that says so, for messages.
    pub origin: String,
}

/// What a machine's configuration says of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// Where it may be had, in order.
    pub mirrors: Vec<Place>,
    /// Where the registry itself is read, if something is said of that.
    pub own: Option<Place>,
    /// The file that blocks the registry itself. Its mirrors may be read: that is how a source is
    /// never contacted.
    pub blocked: Option<String>,
}

/// What the machine says of a repository.
///
/// # Errors
/// Malformed configuration, naming file and line; local trouble with a file.
pub fn configured(repository: &Repository) -> Result<Configured> {
    match containers::configured(repository)? {
        Some(configured) => Ok(configured),
        None => containerd::configured(repository),
    }
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
    let (scheme, host, path) = parts(text, "x");
    if scheme.is_none() && text.contains("://") {
        return Err("only http and https are spoken".to_owned());
    }
    Repository::at(host, &path).map(|_| text.to_owned())
}

/// The place that `--mirror` names: `[http://|https://]HOST[:PORT][/PATH]`, where PATH stands in
/// the place of the registry's host.
///
/// # Errors
/// Usage.
pub fn named(text: &str, repository: &Repository) -> Result<Place> {
    let (scheme, host, path) = parts(text, repository.path());
    let place = Place { scheme, ..Place::at(host, &path, "--mirror") };
    place.checked().map_err(|why| Error::usage(format_args!("--mirror: {why}")))
}

impl Place {
    /// A place of which no more is known.
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

    /// The place, if its host and path can be a repository's.
    fn checked(self) -> std::result::Result<Place, String> {
        Repository::at(&self.host, &self.path).map(|_| self)
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
    fn a_mirrors_path_stands_in_the_place_of_the_registrys_host() {
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
    fn what_is_no_mirror_is_wrong_usage() {
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
