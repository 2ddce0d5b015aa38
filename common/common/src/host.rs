// SPDX-License-Identifier: Apache-2.0
//! Hosts of URLs: what is one, and which are nobody's on the public internet.
//!
//! By their texts alone: no name is looked up here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::printable;

/// Whether a host is loopback by its name or address.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || address(host).is_some_and(|ip| ip.is_loopback())
}

/// An address literal, IPv4 in IPv6 clothes undressed.
pub fn address(host: &str) -> Option<IpAddr> {
    let ip: IpAddr = bare_host(host).parse().ok()?;
    Some(match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    })
}

/// What kind of address a host is, when it is not one of the public internet's.
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
    // What the protocols themselves use, what measures networks, and what stands in examples.
    let is_special =
        matches!((a, b, c), (192, 0, 0 | 2) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113));
    match () {
        () if ip.is_unspecified() || a == 0 => Some("an unspecified"),
        () if ip.is_link_local() => Some("a link-local"),
        () if ip.is_private() || (a == 100 && b & 0xc0 == 64) => Some("a private"),
        () if ip.is_multicast() || a >= 240 || is_special => Some("a multicast or reserved"),
        () => None,
    }
}

fn v6_not_public(ip: Ipv6Addr) -> Option<&'static str> {
    match () {
        () if ip.is_unspecified() => Some("an unspecified"),
        () if ip.is_unicast_link_local() => Some("a link-local"),
        () if ip.is_unique_local() => Some("a private"),
        () if ip.is_multicast() => Some("a multicast or reserved"),
        () => match ip.segments() {
            // Examples, and what is thrown away.
            [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] => Some("a multicast or reserved"),
            // Site-local, and a network's own NAT64.
            [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Some("a private"),
            // NAT64, 6to4, translated and compatible addresses carry an IPv4 address.
            [0x64, 0xff9b, 0, 0, 0, 0, a, b]
            | [0x2002, a, b, ..]
            | [0, 0, 0, 0, 0xffff, 0, a, b]
            | [0, 0, 0, 0, 0, 0, a, b] => {
                let v4 = Ipv4Addr::from((u32::from(a) << 16) | u32::from(b));
                if v4.is_loopback() { Some("a loopback") } else { v4_not_public(v4) }
            }
            _ => None,
        },
    }
}

/// A host for comparison: lower case, without brackets and without a final dot.
pub fn bare_host(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A host is an IPv6 address in brackets, an IPv4 address in its usual form, or a name whose last
/// label is no number (what a resolver would take for an address otherwise written).
///
/// # Errors
/// A sentence.
pub fn check_host(host: &str) -> Result<(), String> {
    let wrong = || Err(format!("\"{}\" is no host", printable(host)));
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
