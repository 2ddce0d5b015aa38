// SPDX-License-Identifier: Apache-2.0
//! Matching the prefix of a registries.conf table with a repository, by the rules of
//! containers-registries.conf(5).
//!
//! A prefix is HOST[:PORT] followed by any number of path components, or `*.DOMAIN` for all hosts
//! below a domain. A prefix may also have a tag or a digest, but a repository is matched without
//! them: podman, skopeo and buildah do so too.

/// The number of bytes of a repository's name, `HOST/PATH`, that a prefix matches; `None` if it
/// does not match.
///
/// A host without a port matches that host with any port. The manual does not state this rule, but
/// those programs follow it, and a registry that such a prefix blocks must stay blocked.
pub(super) fn matched(name: &str, prefix: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*').filter(|domain| domain.starts_with('.')) {
        None => name.starts_with(prefix).then_some(prefix.len())?,
        // Only the first occurrence of the domain counts, even if a later one would match.
        Some(domain) => {
            let start = name.find(domain)?;
            if name[..start].contains('/') {
                return None;
            }
            start + domain.len()
        }
    };
    let next = name.as_bytes().get(end);
    next.is_none_or(|next| b":/@".contains(next)).then_some(end)
}

/// Whether a prefix that begins with `*.` has more than a domain, which is invalid.
pub(super) fn is_wrong_domain(prefix: &str) -> bool {
    prefix.starts_with("*.") && prefix.contains(['/', '@', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_a_component_does() {
        let name = "r.example:5000/team/app";
        for prefix in ["r.example:5000", "r.example:5000/team", name] {
            assert_eq!(matched(name, prefix), Some(prefix.len()), "{prefix}");
        }
        for prefix in [
            "r.example:500",
            "r.example:5000/te",
            "r.example:5000/team/app/x",
            "r.example:5000/team/app:1",
            "r.example:5000/team/",
            "example:5000",
            "R.example:5000",
            "q.example",
            "*",
        ] {
            assert_eq!(matched(name, prefix), None, "{prefix}");
        }
        // A host without a port matches any port.
        assert_eq!(matched(name, "r.example"), Some("r.example".len()));
    }

    #[test]
    fn a_domain_is_for_all_hosts_below_it() {
        let cases = [
            ("docker.io/library/foo", "*.io", Some("docker.io")),
            ("a.b.example.com/foo", "*.example.com", Some("a.b.example.com")),
            ("a.b.example.com/foo", "*.b.example.com", Some("a.b.example.com")),
            ("a.example.com:5000/foo", "*.example.com", Some("a.example.com")),
            ("a.example.com/x.com/foo", "*.example.com", Some("a.example.com")),
            ("example.com/foo", "*.example.com", None),
            ("example.com/foo", "*.co", None),
            ("example.net/ends-in.com/foo", "*.com", None),
            ("a.example.com/namespace.com/foo", "*.namespace.com", None),
            ("a.example.com/foo", "**.example.com", None),
            ("a.example.com.example.com/foo", "*.example.com", None),
            ("a.example.com/foo", "a.*.com", None),
        ];
        for (name, prefix, expected) in cases {
            assert_eq!(matched(name, prefix), expected.map(str::len), "{name} by {prefix}");
        }
    }

    #[test]
    fn a_domain_has_neither_port_nor_path() {
        for wrong in ["*.example.com/foo", "*.example.com:5000", "*.example.com@x"] {
            assert!(is_wrong_domain(wrong), "{wrong}");
        }
        for right in ["*.example.com", "example.com/foo", "*", "*foo/bar"] {
            assert!(!is_wrong_domain(right), "{right}");
        }
    }
}
