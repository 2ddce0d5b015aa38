// SPDX-License-Identifier: Apache-2.0
//! Text that other programs accept, or that a user types by mistake, where a reference is expected:
//! names with a transport of skopeo, regctl or oras, URLs, paths, digests without a repository.
//!
//! By the grammar of references, most of these would be names on Docker Hub. They are refused, with
//! a hint that shows what to type. Only `docker://` is accepted, because a reference follows it. A
//! host without a repository is accepted where the grammar makes it a repository of Docker Hub.

use std::path::Path;

use crate::digest::{Algorithm, Digest};
use crate::host::check_host;
use crate::reference::Location;

/// The prefix of skopeo for a reference to a registry.
const DOCKER: &str = "docker://";

/// The transports of other programs: the prefix, and the kind of thing that it names.
const TRANSPORTS: [(&str, &str); 12] = [
    ("containers-storage:", "an image in the storage of podman"),
    ("dir:", "a directory in a format of skopeo"),
    ("docker-archive:", "an archive made by docker save"),
    ("docker-daemon:", "an image in the storage of docker"),
    ("oci-archive:", "an archive of a layout"),
    ("oci-dir:", "a layout"),
    ("oci-layout:", "a layout"),
    ("ocidir:", "a layout"),
    ("oci://", "a repository, or a layout"),
    ("ostree:", "a repository of OSTree"),
    ("sif:", "an image file of Singularity"),
    ("tarball:", "an archive of a root file system"),
];

/// The reference in the text: without `docker://`.
pub(crate) fn reference(text: &str) -> &str {
    text.strip_prefix(DOCKER).unwrap_or(text)
}

/// Whether a repository's name, followed by a colon, would be a transport.
pub(crate) fn is_transport(name: &str) -> bool {
    TRANSPORTS.iter().any(|(prefix, _)| prefix.strip_suffix(':') == Some(name))
}

/// Why the text is not a reference, if it is of a kind that this module knows.
pub(crate) fn refusal(text: &str) -> Option<String> {
    if let Some((prefix, what)) = transport(text) {
        return Some(format!("unsupported prefix {prefix} (it names {what})"));
    }
    if text.contains("://") {
        return Some("a reference is not a URL: remove the scheme".to_owned());
    }
    if text.parse::<Digest>().is_ok() {
        return Some("a digest, without a repository".to_owned());
    }
    if let Some(host) = host_without_repository(text) {
        return Some(format!("{host} is a host: expected {host}/REPOSITORY"));
    }
    is_path(text).then(|| "a path, not a reference".to_owned())
}

/// The host, if the text is a host without a repository: it has a dot or is `localhost`, and after
/// it are at most a port and a slash. `./` and `a.d/`, if there is such a directory, are paths.
pub(crate) fn lone_host(text: &str) -> Option<&str> {
    let host = text.strip_suffix('/').unwrap_or(text);
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_name = name == "localhost" || name.contains('.') && !name.starts_with('.');
    let is_host = is_name
        && check_host(name).is_ok()
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
        && !(text.ends_with('/') && Path::new(text).is_dir());
    is_host.then_some(host)
}

/// The host, if the text can only be a host without a repository: there is a slash, or a port and a
/// tag, and there may be a tag.
fn host_without_repository(text: &str) -> Option<&str> {
    let tagged = text.rsplit_once(':').and_then(|(before, _)| {
        lone_host(before).filter(|host| before.ends_with('/') || host.contains(':'))
    });
    tagged.or_else(|| lone_host(text).filter(|_| text.ends_with('/')))
}

/// How to list the repositories of a host that was given without a repository.
pub(crate) fn host_hint(host: &str) -> String {
    format!("list-repositories {host} lists the repositories of this host")
}

/// What to type instead of text that was refused as a value of this argument. `None` if that is not
/// known.
pub(crate) fn hint(text: &str, argument: &str) -> Option<String> {
    let is_digest = argument.contains("DIGEST");
    let wants_host = argument.contains("HOST");
    let name = reference(text);
    if let Some(host) = lone_host(name).or_else(|| host_without_repository(name)) {
        return Some(if wants_host { format!("did you mean {host}") } else { host_hint(host) });
    }
    if wants_host
        && let Ok(Location::Registry(found)) = text.parse()
        && found.repository.host() != "docker.io"
    {
        return Some(format!("list-tags {} lists the tags of this repository", found.repository));
    }
    if let Some((prefix, _)) = transport(text) {
        return Some(converted(prefix, &text[prefix.len()..]));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        // The user name and password of a URL must not be repeated.
        let rest = rest.trim_end_matches('/');
        let plain = if scheme == "http" { "--plain-http " } else { "" };
        if !wants_host && lone_host(rest).is_some() {
            return Some(host_hint(&format!("{plain}{rest}")));
        }
        return (!rest.contains('@')).then(|| format!("{plain}{rest}"));
    }
    let (before, hex) = text.rsplit_once('@').map_or(("", text), |(name, hex)| (name, hex));
    if let Some(digest) = with_algorithm(hex) {
        let name = match before {
            "" if is_digest => String::new(),
            "" => "REPO@".to_owned(),
            name => format!("{name}@"),
        };
        return Some(format!("a digest names its algorithm: {name}{digest}"));
    }
    if text.parse::<Digest>().is_ok() {
        return Some(format!(
            "use REPO@{text} for a manifest, or fetch-blob REPO {text} for a blob"
        ));
    }
    if is_path(text) && !Path::new(text).is_file() {
        let dir = if text == "/" { text } else { text.trim_end_matches('/') };
        return Some(format!("write oci:{dir} for a layout in that directory"));
    }
    None
}

fn transport(text: &str) -> Option<(&'static str, &'static str)> {
    TRANSPORTS.into_iter().find(|(prefix, _)| text.starts_with(prefix))
}

/// The command or the reference for what follows a transport's prefix.
fn converted(prefix: &str, rest: &str) -> String {
    match prefix {
        "oci-dir:" | "oci-layout:" | "ocidir:" => {
            format!("oci:{}", rest.strip_prefix("//").unwrap_or(rest))
        }
        "oci://" if rest.starts_with('/') => format!("oci:{rest}"),
        "oci://" => format!("{rest} for a repository, or oci:/{rest} for a layout"),
        "oci-archive:" => {
            let file = rest.split(':').next().unwrap_or(rest);
            format!("run mkdir DIR && tar -xf {file} -C DIR, then use oci:DIR")
        }
        "tarball:" => format!("pack-layer {rest} --into oci:DIR makes a layer of the archive"),
        _ => {
            format!("run skopeo copy {prefix}{rest} oci:DIR:TAG, then use oci:DIR:TAG")
        }
    }
}

/// The digest, if the text is only its hexadecimal digits.
fn with_algorithm(hex: &str) -> Option<Digest> {
    Algorithm::ALL.into_iter().find_map(|algorithm| format!("{algorithm}:{hex}").parse().ok())
}

/// Whether the text can only be a path, because no reference begins or ends like this.
fn is_path(text: &str) -> bool {
    text.starts_with(['.', '/', '~']) || text.ends_with('/')
}
