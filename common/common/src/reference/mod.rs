// SPDX-License-Identifier: Apache-2.0
//! References: names of images in a registry or in a layout.
//!
//! Registry references are `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`, with the grammar and the
//! normalisation of Docker's reference library. Layout references are `oci:DIR[:TAG|@DIGEST]`. The
//! module `grammar` checks all text before it can become part of a path or a URL. Not here: looking
//! up hosts and opening directories.

use std::fmt;
use std::path::PathBuf;

use crate::digest::{Digest, DigestError};
use crate::transports;

mod grammar;

use grammar::{
    HUB, HUB_API, HUB_INDEX, HUB_NAMESPACE, check_host, check_path, check_tag, is_image_id,
    split_host,
};
pub use grammar::{MAX_PATH, MAX_TAG, is_repository_path, is_tag};

/// The text before the first colon of a layout reference.
const LAYOUT: &str = "oci";

/// A repository: the registry's host and the path on it, normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// Makes a repository from a host and a path, without Docker's defaults.
    ///
    /// # Errors
    /// A sentence, if the host or the path is invalid.
    pub fn at(host: &str, path: &str) -> Result<Repository, String> {
        check_host(host)?;
        check_path(path)?;
        Ok(Repository { host: host.to_owned(), path: path.to_owned() })
    }

    /// The registry at a host as a whole, for requests that do not concern one repository, such as
    /// the list of all repositories. Its path is empty. `docker.io` is Docker Hub.
    ///
    /// # Errors
    /// A sentence, if the text is not `HOST[:PORT]`.
    pub fn whole(host: &str) -> Result<Repository, String> {
        if host.contains("://") {
            return Err("a registry is not a URL: remove the scheme".to_owned());
        }
        check_host(host)?;
        let host = if host == HUB_INDEX { HUB } else { host };
        Ok(Repository { host: host.to_owned(), path: String::new() })
    }

    /// Whether this is a registry as a whole, as [`whole`](Repository::whole) makes it.
    pub fn is_whole(&self) -> bool {
        self.path.is_empty()
    }

    /// The host as written, with its port; `docker.io` if the reference had no host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host of the registry's API, lower case, with its port. For Docker Hub it differs from
    /// [`host`](Repository::host).
    pub fn api_host(&self) -> String {
        match self.host.as_str() {
            HUB => HUB_API.to_owned(),
            host => host.to_ascii_lowercase(),
        }
    }

    /// The path on the registry; empty for a registry as a whole.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Repository {
    /// The short form, without `docker.io/` and `library/`, unless the short form would be parsed
    /// as another repository.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repository { host, path } = self;
        if self.is_whole() {
            return f.write_str(host);
        }
        let familiar = path.strip_prefix(HUB_NAMESPACE).unwrap_or(path);
        let is_same = || {
            let (read_host, read_path) = split_host(familiar);
            let is_other =
                familiar == LAYOUT || is_image_id(familiar) || transports::is_transport(familiar);
            read_host == HUB && read_path == *path && !is_other
        };
        if host == HUB && is_same() { f.write_str(familiar) } else { write!(f, "{host}/{path}") }
    }
}

/// A repository with a tag or a digest. If both are given, the digest decides and the tag is only
/// displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag, if given.
    pub tag: Option<String>,
    /// The digest, if given.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The tag to request if there is no digest.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        match (&self.tag, &self.digest) {
            (tag, Some(digest)) => {
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                write!(f, "@{digest}")
            }
            (_, None) => write!(f, ":{}", self.tag_or_latest()),
        }
    }
}

/// An image in an OCI image layout: a directory and an optional tag or digest. It never has both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutReference {
    /// The layout's directory.
    pub dir: PathBuf,
    /// The name of an entry in index.json, compared byte for byte.
    pub tag: Option<String>,
    /// The digest of a manifest.
    pub digest: Option<Digest>,
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.dir.display())?;
        match (&self.tag, &self.digest) {
            (Some(tag), _) => write!(f, ":{tag}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (None, None) => Ok(()),
        }
    }
}

/// A parsed reference of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a registry.
    Registry(Reference),
    /// In a layout.
    Layout(LayoutReference),
}

impl Location {
    /// Whether neither a tag nor a digest was given: the reference then names a repository or a
    /// complete layout.
    pub fn is_bare(&self) -> bool {
        match self {
            Location::Registry(reference) => reference.tag.is_none() && reference.digest.is_none(),
            Location::Layout(layout) => layout.tag.is_none() && layout.digest.is_none(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Registry(reference) => reference.fmt(f),
            Location::Layout(layout) => layout.fmt(f),
        }
    }
}

impl std::str::FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Location, String> {
        match text.strip_prefix("oci:") {
            Some(rest) if !rest.starts_with("//") => parse_layout(rest).map(Location::Layout),
            _ => text.parse().map(Location::Registry),
        }
    }
}

/// A repository or a layout, without tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreName {
    /// A repository in a registry.
    Repository(Repository),
    /// A layout's directory.
    Layout(PathBuf),
}

impl StoreName {
    /// The store that a reference is in. Its tag and its digest are ignored.
    ///
    /// # Errors
    /// A sentence, if the text is not a reference, or if it looks like a host and a port without a
    /// repository, which would otherwise be a repository of Docker Hub with a tag.
    pub fn of_reference(text: &str) -> Result<StoreName, String> {
        let location: Location = text.parse()?;
        refuse_host(text)?;
        Ok(StoreName::in_which(location))
    }

    fn in_which(location: Location) -> StoreName {
        match location {
            Location::Registry(reference) => StoreName::Repository(reference.repository),
            Location::Layout(layout) => StoreName::Layout(layout.dir),
        }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreName::Repository(repository) => repository.fmt(f),
            StoreName::Layout(dir) => write!(f, "oci:{}", dir.display()),
        }
    }
}

impl std::str::FromStr for StoreName {
    type Err = String;

    /// Parses the name of a store without tag and digest.
    fn from_str(text: &str) -> Result<StoreName, String> {
        let location: Location = text.parse()?;
        refuse_host(text)?;
        if !location.is_bare() {
            return Err("expected a repository or oci:DIR, without tag or digest".to_owned());
        }
        Ok(StoreName::in_which(location))
    }
}

/// Refuses a host with a port, without a repository. By the grammar it is a tag on Docker Hub.
fn refuse_host(text: &str) -> Result<(), String> {
    let name = text.split('@').next().unwrap_or_default();
    match transports::lone_host(transports::reference(name)) {
        Some(host) if host.contains(':') => {
            Err(format!("{host} is a host: expected {host}/REPOSITORY"))
        }
        _ => Ok(()),
    }
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|why: DigestError| why.to_string())
}

/// `DIR[:TAG|@DIGEST]`: the directory ends at the first `:` or `@`.
fn parse_layout(rest: &str) -> Result<LayoutReference, String> {
    let end = rest.find([':', '@']).unwrap_or(rest.len());
    let (dir, name) = rest.split_at(end);
    if dir.is_empty() {
        return Err("no directory after oci: (expected oci:DIR[:TAG|@DIGEST])".to_owned());
    }
    if dir.contains('\0') {
        return Err("the directory name contains a NUL".to_owned());
    }
    let mut layout = LayoutReference { dir: PathBuf::from(dir), tag: None, digest: None };
    if let Some(tag) = name.strip_prefix(':') {
        if tag.is_empty() {
            return Err(format!("oci:{dir}: empty tag"));
        }
        layout.tag = Some(tag.to_owned());
    } else if let Some(digest) = name.strip_prefix('@') {
        layout.digest = Some(parse_digest(digest)?);
    }
    Ok(layout)
}

impl std::str::FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Reference, String> {
        if text.is_empty() {
            return Err("empty reference".to_owned());
        }
        let text = transports::reference(text);
        if let Some(why) = transports::refusal(text) {
            return Err(why);
        }
        if is_image_id(text) {
            return Err("64 hexadecimal digits are an image ID, not a repository".to_owned());
        }
        let (host, remainder) = split_host(text);
        let (name, digest) = match remainder.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        check_host(host)?;
        check_path(path)?;
        if host == HUB && path == "library/scratch" {
            return Err("\"scratch\" is a reserved name".to_owned());
        }
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let digest = digest.map(parse_digest).transpose()?;
        let repository = Repository { host: host.to_owned(), path: path.to_owned() };
        Ok(Reference { repository, tag: tag.map(str::to_owned), digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parts(text: &str) -> (String, String, Option<String>, bool) {
        let r: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let Repository { host, path } = r.repository;
        (host, path, r.tag, r.digest.is_some())
    }

    #[test]
    fn a_repository_is_printed_so_that_it_is_read_again() {
        let id = "0123456789abcdef".repeat(4);
        let id = format!("docker.io/library/{id}");
        for (text, want) in [
            ("docker.io/library/alpine", "alpine"),
            ("docker.io/me/app", "me/app"),
            ("docker.io/library/a/b", "docker.io/library/a/b"),
            ("docker.io/a.b/c", "docker.io/a.b/c"),
            ("docker.io/localhost/c", "docker.io/localhost/c"),
            ("oci", "docker.io/library/oci"),
            ("dir", "docker.io/library/dir"),
            ("docker.io/library/docker-archive:1", "docker.io/library/docker-archive"),
            (&id, &id),
        ] {
            let repository = text.parse::<Reference>().unwrap().repository;
            assert_eq!(repository.to_string(), want);
            assert_eq!(want.parse::<Reference>().unwrap().repository, repository);
        }
    }

    #[test]
    fn a_reference_is_taken_for_its_store() {
        let digest = format!("sha256:{HEX}");
        for (text, want) in [
            ("a.example/b/c:1".to_owned(), "a.example/b/c"),
            ("localhost:5000/b:1".to_owned(), "localhost:5000/b"),
            ("localhost:5000/b".to_owned(), "localhost:5000/b"),
            (format!("[::1]:5000/b:1@{digest}"), "[::1]:5000/b"),
            ("alpine:3".to_owned(), "alpine"),
            ("a.b:edge".to_owned(), "a.b"),
            (format!("a.b@{digest}"), "a.b"),
            ("oci:a/b:tag".to_owned(), "oci:a/b"),
            ("oci:a:localhost:5000".to_owned(), "oci:a"),
            (format!("oci:a@{digest}"), "oci:a"),
            ("oci:a".to_owned(), "oci:a"),
        ] {
            assert_eq!(StoreName::of_reference(&text).unwrap().to_string(), want, "{text}");
        }
        for text in ["localhost:5000", "localhost:0", "registry.example:443", "127.0.0.1:5000"] {
            let error = StoreName::of_reference(text).unwrap_err();
            assert!(error.contains("is a host: expected"), "{text}: {error}");
        }
        for text in ["", "oci:", "oci:a:", "oci:a@x", "a b", "a:", "UPPER"] {
            StoreName::of_reference(text).unwrap_err();
        }
        assert!("a.example/b:1".parse::<StoreName>().is_err());
    }

    #[test]
    fn every_valid_example_reads_as_docker_reads_it() {
        let hub64 = format!("docker.io/{HEX}");
        let hub64_path = format!("library/{HEX}");
        let both = format!("test:5000/repo:tag@sha256:{HEX}");
        let cases: Vec<(&str, &str, &str, Option<&str>, bool)> = vec![
            ("debian", "docker.io", "library/debian", None, false),
            ("localhost/debian", "localhost", "debian", None, false),
            ("localhost:5000/debian:10", "localhost:5000", "debian", Some("10"), false),
            ("192.168.0.1/debian", "192.168.0.1", "debian", None, false),
            ("192.168.0.1:80", "docker.io", "library/192.168.0.1", Some("80"), false),
            ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", Some("8080"), false),
            ("docker---rules/docker", "docker.io", "docker---rules/docker", None, false),
            ("dock__er/docker", "docker.io", "dock__er/docker", None, false),
            ("LOCALDOMAIN/debian", "LOCALDOMAIN", "debian", None, false),
            ("[fc00::1]:5000/docker", "[fc00::1]:5000", "docker", None, false),
            ("[::1]/x/y:z", "[::1]", "x/y", Some("z"), false),
            (&hub64, "docker.io", &hub64_path, None, false),
            (
                "xn--n3h.com/myimage:xn--n3h.com",
                "xn--n3h.com",
                "myimage",
                Some("xn--n3h.com"),
                false,
            ),
            (&both, "test:5000", "repo", Some("tag"), true),
            (
                "sub-dom1.foo.com/bar/baz/quux:some-long-tag",
                "sub-dom1.foo.com",
                "bar/baz/quux",
                Some("some-long-tag"),
                false,
            ),
            ("qual_registry:5000/a/b:1", "qual_registry:5000", "a/b", Some("1"), false),
            ("a_b.c-d.example/e", "a_b.c-d.example", "e", None, false),
            ("index.docker.io/debian", "docker.io", "library/debian", None, false),
            ("docker.io/library/debian", "docker.io", "library/debian", None, false),
        ];
        for (text, host, path, tag, digest) in cases {
            let want = (host.to_owned(), path.to_owned(), tag.map(str::to_owned), digest);
            assert_eq!(parts(text), want, "{text}");
        }
    }

    #[test]
    fn every_invalid_example_is_refused() {
        let hex34 = &HEX[..34];
        let cases = [
            "https://github.com/docker/docker".to_owned(),
            "docker/Docker".to_owned(),
            "-docker".to_owned(),
            "-docker/docker".to_owned(),
            "docker-/docker".to_owned(),
            "docker///docker".to_owned(),
            "docker/".to_owned(),
            "dock..er/x".to_owned(),
            "dock_.er".to_owned(),
            "dock-.er".to_owned(),
            "dock___er".to_owned(),
            "____/____".to_owned(),
            "_docker/_docker".to_owned(),
            ":justtag".to_owned(),
            format!("@sha256:{HEX}"),
            format!("repo@sha256:{hex34}"),
            format!("validname@invalidDigest:{HEX}"),
            "Uppercase:tag".to_owned(),
            "[fc00::1]:5000".to_owned(),
            "fc00::1:5000/debian".to_owned(),
            "[fe80::1%eth0]:5000/debian".to_owned(),
            "[2001:db8:3:4::192.0.2.33]:5000/debian".to_owned(),
            "-test.com/x".to_owned(),
            "_test.com/x".to_owned(),
            "test_.com/x".to_owned(),
            HEX.to_owned(),
            format!("localhost/{}", "a".repeat(256)),
            format!("x:{}", "t".repeat(129)),
            String::new(),
            "scratch".to_owned(),
            "localhost:0/x".to_owned(),
            "localhost:65536/x".to_owned(),
            "localhost:/x".to_owned(),
            "x:".to_owned(),
            "x y".to_owned(),
            "x\ny".to_owned(),
        ];
        for text in cases {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lengths_at_their_edges() {
        assert!(format!("localhost/{}", "a".repeat(MAX_PATH)).parse::<Reference>().is_ok());
        assert!(format!("x:{}", "t".repeat(MAX_TAG)).parse::<Reference>().is_ok());
    }

    #[test]
    fn upper_case_in_a_path_has_a_message_of_its_own() {
        let error = "docker/Docker".parse::<Reference>().unwrap_err();
        assert_eq!(error, "repository name (docker/Docker) must be lowercase");
    }

    #[test]
    fn the_familiar_form_is_shown() {
        let shown = |text: &str| text.parse::<Reference>().unwrap().to_string();
        assert_eq!(shown("docker.io/library/debian"), "debian:latest");
        assert_eq!(shown("docker.io/a/b:c"), "a/b:c");
        assert_eq!(shown("localhost:5000/b"), "localhost:5000/b:latest");
    }

    #[test]
    fn docker_hubs_api_has_another_host() {
        let host = |text: &str| text.parse::<Reference>().unwrap().repository.api_host();
        assert_eq!(host("debian"), "registry-1.docker.io");
        assert_eq!(host("EXAMPLE.com/x"), "example.com");
        assert_eq!(host("registry.hub.docker.com/x"), "registry.hub.docker.com");
    }

    #[test]
    fn a_registry_as_a_whole_has_an_empty_path() {
        for (text, host, api) in [
            ("registry.example:5000", "registry.example:5000", "registry.example:5000"),
            ("localhost", "localhost", "localhost"),
            ("index.docker.io", "docker.io", "registry-1.docker.io"),
        ] {
            let whole = Repository::whole(text).unwrap();
            assert!(whole.is_whole() && whole.to_string() == host && whole.api_host() == api);
        }
        for wrong in ["", "a/b", "https://a", "a:0", "a@b", "-a", "a b", "a:b"] {
            assert!(Repository::whole(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_layout_ends_at_the_first_colon_or_at() {
        let layout = |text: &str| match text.parse::<Location>().unwrap() {
            Location::Layout(l) => (l.dir, l.tag, l.digest.is_some()),
            Location::Registry(_) => panic!("{text}"),
        };
        assert_eq!(layout("oci:dir"), ("dir".into(), None, false));
        assert_eq!(layout("oci:a/b:1:2@x"), ("a/b".into(), Some("1:2@x".to_owned()), false));
        assert_eq!(layout(&format!("oci:a@sha256:{HEX}")), ("a".into(), None, true));
        for wrong in ["oci:", "oci::x", "oci:a:", "oci:a@x"] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_store_has_neither_tag_nor_digest() {
        assert!("localhost:5000/x".parse::<StoreName>().is_ok());
        assert!("oci:dir".parse::<StoreName>().is_ok());
        assert!("x:1".parse::<StoreName>().is_err());
        assert!("oci:dir:1".parse::<StoreName>().is_err());
    }
}
