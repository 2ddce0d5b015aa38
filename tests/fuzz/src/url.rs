// SPDX-License-Identifier: Apache-2.0
//! The fuzz target for URLs, and for the decision whether a URL from a server may be followed.

use std::net::IpAddr;

use net::url::{Purpose, Url, decide};

/// The purposes for which servers supply URLs.
const PURPOSES: [Purpose; 5] =
    [Purpose::Redirect, Purpose::Realm, Purpose::Upload, Purpose::Link, Purpose::Elsewhere];

/// The first line is a registry's URL, the second the URL that its server supplies. An accepted
/// URL, when printed, is parsed to the same URL. Only a descriptor's `urls` may change from HTTPS
/// to HTTP. Only the registry's own host may have an address that is not public. Credentials are
/// sent to the registry's own origin only.
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (base, said) = text.split_once('\n').unwrap_or(("https://r.example/v2/", text));
    let Ok(base) = Url::parse(base) else { return };
    is_sound(&base);
    for purpose in PURPOSES {
        let Ok(target) = decide(purpose, &base.origin(), &base, said) else { continue };
        let url = &target.url;
        is_sound(url);
        assert_eq!(target.same_origin, url.origin() == base.origin(), "{text:?}");
        if purpose != Purpose::Elsewhere {
            assert!(url.is_https() || !base.is_https(), "{purpose:?} {text:?}");
        }
        if purpose == Purpose::Link {
            assert!(target.same_origin, "{text:?}");
        }
        let is_private = match url.host().parse() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
            Err(_) => url.host() == "localhost",
        };
        let is_own = url.host() == base.host();
        // The names and addresses of loopback count as one host.
        let both_loopback = base.host() == "localhost" || url.host() == "localhost";
        assert!(!is_private || is_own || both_loopback, "{purpose:?} {text:?}");
    }
}

/// The printed URL is parsed to the same URL, and no part of it has another meaning to another
/// parser.
fn is_sound(url: &Url) {
    let sent = url.as_sent();
    let again = Url::parse(&sent).expect("a printed URL is valid");
    assert_eq!(&again, url, "{sent:?}");
    assert_eq!(again.origin(), url.origin(), "{sent:?}");
    assert!(!url.authority().contains(['@', '/', '\\', '?', '#']), "{sent:?}");
    assert!(sent.bytes().all(|b| b.is_ascii_graphic()), "{sent:?}");
    assert!(!url.to_string().contains(['?', '#']), "{sent:?}");
    let origin = Url::parse(&url.origin().to_string()).expect("an origin is a URL");
    assert_eq!(origin.origin(), url.origin(), "{sent:?}");
}
