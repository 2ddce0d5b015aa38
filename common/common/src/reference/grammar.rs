// SPDX-License-Identifier: Apache-2.0
//! The grammar of Docker's references: hosts, repository paths and tags. Each part is checked by
//! itself. Not here: the composition of a reference from its parts.

use crate::error::printable;

/// The longest repository path, in characters: the limit of Docker's reference library.
pub const MAX_PATH: usize = 255;

/// The longest tag, in characters.
pub const MAX_TAG: usize = 128;

pub(super) const HUB: &str = "docker.io";
pub(super) const HUB_INDEX: &str = "index.docker.io";
pub(super) const HUB_API: &str = "registry-1.docker.io";
pub(super) const HUB_NAMESPACE: &str = "library/";

/// Whether text has the form of an image ID: 64 lower-case hexadecimal digits.
pub(super) fn is_image_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Splits off the host by Docker's rule: the text before the first slash is a host only if it has a
/// dot, a colon or an upper-case letter, or is `localhost`. Otherwise the host is Docker Hub. A
/// Docker Hub name without a slash gets the prefix `library/`.
pub(super) fn split_host(text: &str) -> (&str, String) {
    let (host, remainder) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (HUB, text),
    };
    let host = if host == HUB_INDEX { HUB } else { host };
    if host == HUB && !remainder.contains('/') {
        return (host, format!("{HUB_NAMESPACE}{remainder}"));
    }
    (host, remainder.to_owned())
}

pub(super) fn check_host(host: &str) -> Result<(), String> {
    let wrong = || format!("invalid host: \"{}\"", printable(host));
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(wrong)?;
            let hex = |b: u8| b.is_ascii_hexdigit() || b == b':';
            if !address.bytes().all(hex) || address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong());
            }
            (
                None,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or_else(wrong)?)
                },
            )
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    let is_component = |part: &str| {
        // Docker's grammar has no underscore in a host, but compose and swarm give services such
        // names, and Docker itself resolves them.
        let inner = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let edge = |c: char| matches!(c, '-' | '_');
        inner && !part.is_empty() && !part.starts_with(edge) && !part.ends_with(edge)
    };
    if name.is_some_and(|name| !name.split('.').all(is_component)) {
        return Err(wrong());
    }
    match port {
        None => Ok(()),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse::<u16>() {
            Ok(1..) => Ok(()),
            _ => Err(format!("port {} is not from 1 to 65535", printable(port))),
        },
        Some(_) => Err(wrong()),
    }
}

/// Whether text is the path of a repository, in the grammar of Docker's reference library.
pub fn is_repository_path(path: &str) -> bool {
    check_path(path).is_ok()
}

pub(super) fn check_path(path: &str) -> Result<(), String> {
    if path.chars().any(char::is_uppercase) {
        return Err(format!("repository name ({}) must be lowercase", printable(path)));
    }
    if !path.split('/').all(is_path_component) {
        return Err(format!("invalid repository name: \"{}\"", printable(path)));
    }
    if path.len() > MAX_PATH {
        return Err(format!(
            "a repository name has at most {MAX_PATH} characters, got {}",
            path.len()
        ));
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
pub(super) fn is_path_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(*first) || !word(*last) {
        return false;
    }
    bytes.chunk_by(|a, b| word(*a) == word(*b)).all(|run| {
        word(run[0]) || matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-')
    })
}

/// Whether text is a tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b == b'.' || b == b'-')
        && tag.len() <= MAX_TAG
}

pub(super) fn check_tag(tag: &str) -> Result<(), String> {
    if is_tag(tag) {
        return Ok(());
    }
    Err(match tag.len() {
        0 => "empty tag".to_owned(),
        n if n > MAX_TAG => format!("a tag has at most {MAX_TAG} characters, got {n}"),
        _ => format!("invalid tag: \"{}\"", printable(tag)),
    })
}
