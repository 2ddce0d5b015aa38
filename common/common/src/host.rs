// SPDX-License-Identifier: Apache-2.0
//! Hosts of URLs: their syntax, and the detection of hosts that are not on the public internet.
//!
//! Only the text of a host is examined. Not here: name resolution.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::printable;

/// Whether a host is a loopback name or a loopback address.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || address(host).is_some_and(|ip| ip.is_loopback())
}

/// Parses an address literal. An IPv4-mapped IPv6 address is returned as IPv4.
pub fn address(host: &str) -> Option<IpAddr> {
    let ip: IpAddr = bare_host(host).parse().ok()?;
    Some(match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    })
}

/// The kind of a non-public address, as words for a message. `None` for a public address and for a
/// name other than a loopback name.
pub fn not_public(host: &str) -> Option<&'static str> {
    if is_loopback(host) {
        return Some("a loopback");
    }
    match address(host)? {
        IpAddr::V4(ip) => v4_not_public(ip),
        IpAddr::V6(ip) => v6_not_public(ip),
    }
}

fn v4_not_public(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = ip.octets();
    // Protocol assignments, documentation and benchmarking networks.
    let is_special =
        matches!((a, b, c), (192, 0, 0 | 2) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113));
    if ip.is_unspecified() || a == 0 {
        Some("an unspecified")
    } else if ip.is_link_local() {
        Some("a link-local")
    } else if ip.is_private() || (a == 100 && b & 0xc0 == 64) {
        Some("a private")
    } else if ip.is_multicast() || a >= 240 || is_special {
        Some("a multicast or reserved")
    } else {
        None
    }
}

fn v6_not_public(ip: Ipv6Addr) -> Option<&'static str> {
    if ip.is_unspecified() {
        return Some("an unspecified");
    }
    if ip.is_unicast_link_local() {
        return Some("a link-local");
    }
    if ip.is_unique_local() {
        return Some("a private");
    }
    if ip.is_multicast() {
        return Some("a multicast or reserved");
    }
    match ip.segments() {
        // Documentation addresses, and the discard-only block.
        [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] => Some("a multicast or reserved"),
        // Site-local addresses, and NAT64 prefixes for local use.
        [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Some("a private"),
        // NAT64, 6to4, IPv4-translated and IPv4-compatible addresses contain an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, a, b]
        | [0x2002, a, b, ..]
        | [0, 0, 0, 0, 0xffff, 0, a, b]
        | [0, 0, 0, 0, 0, 0, a, b] => {
            let v4 = Ipv4Addr::from((u32::from(a) << 16) | u32::from(b));
            if v4.is_loopback() { Some("a loopback") } else { v4_not_public(v4) }
        }
        _ => None,
    }
}

/// A host in the form used for comparison: lower case, without brackets and without a final dot.
pub fn bare_host(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Checks that text is a host: an IPv6 address in brackets, an IPv4 address as four decimal
/// numbers, or a name whose last label is not a number. Resolvers accept some numeric names as
/// other spellings of an address (RFC 3986, section 7.4).
///
/// # Errors
/// A sentence, if it is not a host.
pub fn check_host(host: &str) -> Result<(), String> {
    let wrong = || Err(format!("invalid host: \"{}\"", printable(host)));
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or_default();
        return if inner.parse::<Ipv6Addr>().is_ok() { Ok(()) } else { wrong() };
    }
    let bare = bare_host(host);
    let label = |l: &str| {
        !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if bare.is_empty() || !bare.split('.').all(label) {
        return wrong();
    }
    let last = bare.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if numeric && bare.parse::<Ipv4Addr>().is_err() { wrong() } else { Ok(()) }
}
