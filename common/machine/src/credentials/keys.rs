// SPDX-License-Identifier: Apache-2.0
//! Matching the keys of a credential file with a repository, and the registry names to send to a
//! helper.
//!
//! A key is `HOST[:PORT]`, optionally followed by a path (a namespace of the containers tools), or
//! a form that old versions of docker wrote: `https://HOST`, `https://HOST/v1/`. Docker Hub has
//! several names. This module only compares text.

use common::reference::Repository;

/// Docker Hub's names, and the key under which docker stores its credential.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The names of a repository's registry: its host, or all names of Docker Hub.
fn hosts(repository: &Repository) -> Vec<String> {
    let host = repository.host().to_ascii_lowercase();
    if HUB.contains(&host.as_str()) {
        HUB.iter().map(|host| (*host).to_owned()).collect()
    } else {
        vec![host]
    }
}

/// The names of a registry to send to a helper, in order.
pub(super) fn names(repository: &Repository) -> Vec<String> {
    match hosts(repository) {
        hosts if hosts.len() > 1 => vec![HUB_KEY.to_owned(), hosts[0].clone()],
        hosts => hosts,
    }
}

/// How well a key matches a repository: a larger number is better. `None` if it does not match. A
/// longer path is better than a shorter path, then the host alone, then an old form.
pub(super) fn fit(key: &str, repository: &Repository) -> Option<usize> {
    let hosts = hosts(repository);
    let is_own = |host: &str| hosts.iter().any(|own| host.eq_ignore_ascii_case(own));
    if let Some(host) = old_host(key) {
        return is_own(host).then_some(0);
    }
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    if !is_own(host) {
        return None;
    }
    let rest = repository.path().strip_prefix(path)?;
    let whole = path.is_empty() || rest.is_empty() || rest.starts_with('/');
    whole.then_some(1 + path.len())
}

/// The host of a key in an old form: a URL, or a host with `/v1/` or `/v2/`.
fn old_host(key: &str) -> Option<&str> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    match bare {
        Some(rest) => rest.split('/').next(),
        None => key.strip_suffix("/v1/").or_else(|| key.strip_suffix("/v2/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse::<common::reference::Reference>().unwrap().repository
    }

    #[test]
    fn the_most_specific_key_fits_best() {
        let of = repository("a.example:5000/b/c");
        let fits = |key: &str| fit(key, &of);
        let order = [
            "https://a.example:5000/v1/",
            "a.example:5000",
            "A.Example:5000/b",
            "a.example:5000/b/c",
        ];
        assert!(order.iter().all(|key| fits(key).is_some()));
        assert!(order.is_sorted_by_key(|key| fits(key)));
        assert_eq!(fits("http://a.example:5000"), Some(0));
        assert_eq!(fits("a.example:5000/v2/"), Some(0));
        for other in [
            "a.example",
            "a.example:5000/b/",
            "a.example:5000/b/c/d",
            "a.example:5000/bc",
            "a.example:5000/c",
            "b/c",
            "https://a.example:50",
            "https://b.example/a.example:5000",
            "",
        ] {
            assert_eq!(fits(other), None, "{other}");
        }
    }

    #[test]
    fn docker_hub_has_several_names() {
        let of = repository("alpine");
        for key in
            ["docker.io", "index.docker.io", HUB_KEY, "registry-1.docker.io", "docker.io/library"]
        {
            assert!(fit(key, &of).is_some(), "{key}");
        }
        assert_eq!(fit("hub.docker.com", &of), None);
        assert_eq!(names(&of), [HUB_KEY, "docker.io"]);
        assert_eq!(names(&repository("localhost:5000/a")), ["localhost:5000"]);
    }
}
