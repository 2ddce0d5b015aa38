// SPDX-License-Identifier: Apache-2.0
//! The list of `no_proxy`: hosts that need no proxy. Entries have the forms that curl or Go
//! programs accept:
//!
//! - A name, with or without a leading dot, matches the domain and its subdomains.
//! - An IP address matches itself. A network (`10.0.0.0/8`) matches its addresses.
//! - A name or an address with a port matches only that port.
//! - `*` matches every host.
//!
//! Names are not looked up: a network never matches a name.

use std::net::IpAddr;

use common::host::address;

use crate::url::Url;

/// The entries of a `no_proxy` list.
#[derive(Clone, Debug)]
pub(crate) struct Exceptions {
    entries: Vec<Exception>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    /// Every host.
    All,
    /// A domain and its subdomains, at this port or at any port.
    Domain(String, Option<u16>),
    /// An address, at this port or at any port.
    Address(IpAddr, Option<u16>),
    /// The addresses that start with the same bits as this address; the number is the prefix
    /// length.
    Network(IpAddr, u32),
}

impl Exceptions {
    /// Parses a list whose entries are separated by commas and white space. Invalid entries are
    /// skipped, as in curl and Go.
    pub(crate) fn read(list: &str) -> Exceptions {
        let words = list.split(|c: char| c == ',' || c.is_whitespace());
        Exceptions { entries: words.filter_map(Exception::read).collect() }
    }

    /// Whether an entry matches a URL.
    pub(crate) fn have(&self, url: &Url) -> bool {
        self.entries.iter().any(|entry| entry.has(url))
    }
}

impl Exception {
    fn read(word: &str) -> Option<Exception> {
        if word == "*" {
            return Some(Exception::All);
        }
        if let Some((network, bits)) = word.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let most = if network.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
            return Some(Exception::Network(network, bits));
        }
        // The colons of an IPv6 address without brackets do not separate a port.
        let (name, port) = match word.rsplit_once(':') {
            Some((name, port)) if word.parse::<IpAddr>().is_err() && !word.ends_with(']') => {
                (name, Some(port.parse().ok()?))
            }
            _ => (word, None),
        };
        if let Some(address) = address(name) {
            return Some(Exception::Address(address, port));
        }
        let name = name.strip_prefix('*').unwrap_or(name);
        let name = name.strip_prefix('.').unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        (!name.is_empty()).then_some(Exception::Domain(name, port))
    }

    /// Whether the entry matches a URL.
    fn has(&self, url: &Url) -> bool {
        let host = url.host();
        let own = address(&host);
        let at = |port: &Option<u16>| port.is_none_or(|port| port == url.port());
        match self {
            Exception::All => true,
            Exception::Domain(name, port) => {
                let below = || host.strip_suffix(name.as_str()).is_some_and(|h| h.ends_with('.'));
                own.is_none() && at(port) && (host == *name || below())
            }
            Exception::Address(address, port) => own == Some(*address) && at(port),
            Exception::Network(network, bits) => match (own, network) {
                (Some(IpAddr::V4(own)), IpAddr::V4(network)) => {
                    let differing = own.to_bits() ^ network.to_bits();
                    differing.checked_shr(32 - bits).unwrap_or(0) == 0
                }
                (Some(IpAddr::V6(own)), IpAddr::V6(network)) => {
                    let differing = own.to_bits() ^ network.to_bits();
                    differing.checked_shr(128 - bits).unwrap_or(0) == 0
                }
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_excepted(list: &str, url: &str) -> bool {
        Exceptions::read(list).have(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_name_matches_its_domain_and_subdomains() {
        for none in ["example.com", ".example.com", "*.example.com", "EXAMPLE.com", "example.com."]
        {
            for (url, excepted) in [
                ("https://example.com/", true),
                ("https://a.example.com/", true),
                ("https://a.b.Example.COM./", true),
                ("https://example.com:8443/", true),
                ("https://notexample.com/", false),
                ("https://example.com.evil.example/", false),
                ("https://com/", false),
            ] {
                assert_eq!(is_excepted(none, url), excepted, "{none} {url}");
            }
        }
    }

    #[test]
    fn lists_are_split_at_commas_and_white_space() {
        for none in ["a,b", " a , b ", "a b", ",a,,b,", "a,\tb\n"] {
            assert!(is_excepted(none, "http://a/") && is_excepted(none, "http://b/"), "{none}");
            assert!(!is_excepted(none, "http://c/"), "{none}");
        }
        assert!(is_excepted("x, *", "http://c/"));
        for none in ["", ",", " ", ".", "*.", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "/8", "a:b"]
        {
            assert!(!is_excepted(none, "http://a.example/"), "{none}");
            assert!(!is_excepted(none, "http://10.0.0.1/"), "{none}");
        }
    }

    #[test]
    fn an_entry_with_a_port_matches_that_port_only() {
        for (none, url, excepted) in [
            ("r.example:5000", "http://r.example:5000/", true),
            ("r.example:5000", "http://a.r.example:5000/", true),
            ("r.example:5000", "http://r.example/", false),
            ("r.example:443", "https://r.example/", true),
            ("r.example:80", "https://r.example/", false),
            ("10.0.0.1:5000", "http://10.0.0.1:5000/", true),
            ("10.0.0.1:5000", "http://10.0.0.1/", false),
            ("[fd00::1]:5000", "http://[fd00::1]:5000/", true),
            ("[fd00::1]:5000", "http://[fd00::1]/", false),
        ] {
            assert_eq!(is_excepted(none, url), excepted, "{none} {url}");
        }
    }

    #[test]
    fn addresses_and_networks_match_addresses_and_not_names() {
        for (none, url, excepted) in [
            ("10.0.0.1", "http://10.0.0.1/", true),
            ("10.0.0.1", "http://10.0.0.2/", false),
            ("10.0.0.1", "http://[::ffff:10.0.0.1]/", true),
            ("0.0.1", "http://10.0.0.1/", false),
            ("1", "http://10.0.0.1/", false),
            ("10.0.0.0/8", "http://10.255.0.1/", true),
            ("10.0.0.0/8", "http://11.0.0.1/", false),
            ("10.1.2.3/8", "http://10.255.0.1/", true),
            ("10.0.0.1/32", "http://10.0.0.1/", true),
            ("10.0.0.1/32", "http://10.0.0.0/", false),
            ("0.0.0.0/0", "http://8.8.8.8/", true),
            ("0.0.0.0/0", "http://[fd00::1]/", false),
            ("0.0.0.0/0", "http://a.example/", false),
            ("::1", "http://[fd00::1]/", false),
            ("fd00::1", "http://[fd00::1]/", true),
            ("[fd00::1]", "http://[fd00:0::1]/", true),
            ("fd00::/8", "http://[fdff::1]/", true),
            ("fd00::/8", "http://[fe00::1]/", false),
            ("fd00::1/128", "http://[fd00::1]/", true),
            ("fd00::1/128", "http://[fd00::2]/", false),
            ("::/0", "http://[fd00::1]/", true),
        ] {
            assert_eq!(is_excepted(none, url), excepted, "{none} {url}");
        }
    }
}
