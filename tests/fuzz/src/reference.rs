// SPDX-License-Identifier: Apache-2.0
//! The fuzz target for references.

use common::reference::{Location, MAX_PATH, StoreName, is_tag};

/// A parsed reference is printed in a form that is parsed to the same reference. Its parts are safe
/// in a path or a URL.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(location) = text.parse::<Location>() {
        let printed = location.to_string();
        let again: Location = printed.parse().expect("a printed reference is valid");
        match (&location, &again) {
            (Location::Registry(first), Location::Registry(second)) => {
                assert_eq!(first.repository, second.repository, "{text:?}, printed {printed:?}");
                assert_eq!(first.digest, second.digest, "{text:?}, printed {printed:?}");
                // Without a digest, the default tag is printed as well.
                let tag = match first.digest {
                    Some(_) => first.tag.as_deref(),
                    None => Some(first.tag_or_latest()),
                };
                assert_eq!(tag, second.tag.as_deref(), "{text:?}, printed {printed:?}");
                is_safe(first.repository.host(), first.repository.path());
                assert!(first.tag.as_deref().is_none_or(is_tag), "{text:?}");
            }
            (Location::Layout(_), Location::Layout(_)) => assert_eq!(location, again),
            _ => panic!("{text:?}, printed {printed:?}"),
        }
    }
    if let Ok(store) = text.parse::<StoreName>() {
        assert_eq!(store.to_string().parse(), Ok(store), "{text:?}");
    }
}

/// Checks that host and path have no character with a special meaning in a URL or a path, except
/// for the slashes between components.
fn is_safe(host: &str, path: &str) {
    let in_host = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b);
    assert!(!host.is_empty() && host.bytes().all(in_host), "{host:?}");
    let in_path = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._/".contains(&b);
    assert!(path.bytes().all(in_path) && path.len() <= MAX_PATH, "{path:?}");
    assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
}
