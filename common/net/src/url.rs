// SPDX-License-Identifier: Apache-2.0
//! URLs, and the function [`decide`] that checks every URL that a server supplies.
//!
//! A URL is parsed once, into [`Url`]. The check and the connection use the same parsed URL, so
//! that they cannot disagree about the host. A host that a resolver would read as an IP address in
//! an unusual notation (`2130706433`, `0x7f.1`) is refused.
//!
//! Not here: resolving host names. A name that resolves to a private address is not detected.

use std::fmt;

use common::error::{Error, printable};
use common::host::{bare_host, check_host, is_loopback, not_public};
use machine::allowed::AllowedHost;
use machine::mirrors::Scheme;
use ureq::http::Uri;

use crate::advice::Options;
use crate::form::form;
use crate::origin::Origin;

/// The longest URL that is accepted, in bytes.
pub const MAX_URL: usize = 16 << 10;

/// The number of characters of an invalid URL that an error message shows.
const MAX_SHOWN: usize = 200;

/// An absolute http or https URL, without user information or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    uri: Uri,
}

/// The purpose of a URL that a server supplied. Each purpose has its own rules in [`decide`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A Location to follow with GET or HEAD.
    Redirect,
    /// A token server: the realm of a Bearer challenge.
    Realm,
    /// The Location of an upload session: where a blob's bytes are sent.
    Upload,
    /// The next page of a list.
    Link,
    /// A descriptor's `urls`: where a non-distributable layer can be fetched.
    Elsewhere,
}

/// A URL that [`decide`] allows.
#[derive(Clone, Debug)]
pub struct Target {
    /// The URL.
    pub url: Url,
    /// Whether the URL is at the registry's own origin, so that credentials may be sent to it.
    pub same_origin: bool,
}

impl Url {
    /// Parses an absolute URL. A fragment is dropped.
    ///
    /// # Errors
    /// An error message if the URL is invalid, too long, not http or https, contains user
    /// information, or has a host or port that is not allowed.
    pub fn parse(text: &str) -> Result<Url, String> {
        let shown = || shown(text);
        if text.len() > MAX_URL {
            return Err(format!("URL too long: {} bytes, more than {MAX_URL}", text.len()));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("invalid URL: \"{}\"", shown()));
        }
        let stem = text.split('#').next().unwrap_or_default();
        let uri: Uri = stem.parse().map_err(|_| format!("invalid URL: \"{}\"", shown()))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(other) => return Err(format!("unsupported URL scheme \"{}\"", printable(other))),
            None => return Err(format!("not an absolute URL: \"{}\"", shown())),
        }
        let authority = uri.authority().map(|a| a.as_str()).unwrap_or_default();
        if authority.contains('@') {
            return Err("URL contains user information".to_owned());
        }
        check_host(uri.host().unwrap_or_default())?;
        let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
        let port = after_host.split_once(':').map(|(_, port)| port);
        // Checked digit by digit, since the parser also accepts a sign.
        let valid = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        if port.is_some_and(|port| !valid(port) || uri.port_u16().is_none_or(|port| port == 0)) {
            return Err(format!("invalid port in \"{}\"", printable(authority)));
        }
        Ok(Url { uri })
    }

    /// Resolves a URL reference against this URL (RFC 3986, section 5.2). The reference's query is
    /// kept byte for byte.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, text: &str) -> Result<Url, String> {
        let text = text.split('#').next().unwrap_or_default();
        let has_scheme = text.split_once(':').is_some_and(|(scheme, _)| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        if has_scheme {
            return Url::parse(text);
        }
        if let Some(rest) = text.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme()));
        }
        let base = format!("{}://{}", self.scheme(), self.authority());
        let path = self.uri.path();
        if text.starts_with('/') {
            return Url::parse(&format!("{base}{text}"));
        }
        if text.is_empty() || text.starts_with('?') {
            return Url::parse(&format!("{base}{path}{text}"));
        }
        let (relative, query) = text.split_at(text.find('?').unwrap_or(text.len()));
        let directory = &path[..path.rfind('/').map_or(0, |i| i + 1)];
        Url::parse(&format!("{base}{}{query}", without_dots(&format!("{directory}{relative}"))))
    }

    /// The URL with parameters appended. The existing query is kept byte for byte.
    ///
    /// # Errors
    /// An error message if the URL becomes too long.
    pub fn with_query(&self, parameters: &[(&str, &str)]) -> Result<Url, String> {
        let mut text = self.uri.to_string();
        for (name, value) in parameters {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(&form(&[(name, value)]));
        }
        Url::parse(&text)
    }

    /// The parsed URL, for the connection.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The complete URL, with its query, which may be a signature.
    pub fn as_sent(&self) -> String {
        self.uri.to_string()
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Whether the URL has a query.
    pub fn has_query(&self) -> bool {
        self.uri.query().is_some()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.uri.scheme_str().unwrap_or_default()
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.scheme() == "https"
    }

    /// Host and port as they are in the URL.
    pub fn authority(&self) -> &str {
        self.uri.authority().map(|a| a.as_str()).unwrap_or_default()
    }

    /// The host for comparison: lower case, without brackets and without a final dot.
    pub fn host(&self) -> String {
        bare_host(self.uri.host().unwrap_or_default())
    }

    /// The port; the scheme's default port if the URL has none.
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// The URL's scheme, host and port.
    pub fn origin(&self) -> Origin {
        let scheme = if self.is_https() { Scheme::Https } else { Scheme::Http };
        Origin::new(scheme, self.host(), self.port())
    }
}

impl fmt::Display for Url {
    /// The URL without its query, which may be a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.uri.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of an invalid URL that an error message may show: without a query, which may be a
/// signature, and without possible user information.
fn shown(text: &str) -> String {
    let stem = text.split(['?', '#']).next().unwrap_or_default();
    let (hidden, rest) = stem.rsplit_once('@').map_or(("", stem), |(_, rest)| ("…@", rest));
    hidden.chars().chain(printable(rest).chars().take(MAX_SHOWN)).collect()
}

/// Why a URL was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as a part of an error message.
    pub why: String,
    /// `HOST:PORT`, if the user can allow it.
    allowable: Option<String>,
    /// The options that apply to the registry.
    options: Options,
}

impl Refusal {
    /// The error, with `what` before the reason, and a hint if the user can allow the host.
    pub fn error(self, what: impl fmt::Display) -> Error {
        Error::malformed(format_args!("{what}: {}", self.why))
            .optional_hint(self.allowable.map(|host| self.options.allow(&host)))
    }

    /// The refusal for a registry to which these options apply.
    pub(crate) fn with(self, options: Options) -> Refusal {
        Refusal { options, ..self }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal { why, allowable: None, options: Options::None }
    }
}

/// As [`decide_with`], without allowed hosts.
///
/// # Errors
/// An error message that names the refused URL or host.
pub fn decide(
    purpose: Purpose,
    registry: &Origin,
    from: &Url,
    text: &str,
) -> Result<Target, String> {
    decide_with(purpose, registry, &[], from, text).map_err(|refusal| refusal.why)
}

/// Checks a URL that a server supplied, and decides whether credentials may be sent to it.
///
/// `registry` is the registry's own origin. `from` is the URL of the request whose response
/// contains the URL. The rules:
///
/// - The scheme is http or https. A change from https to http is refused. A descriptor's `urls` may
///   be http: they are not part of an https response, and their bytes are verified.
/// - An address that is loopback, private or otherwise not public is refused, unless it is the
///   registry's own host or in `allowed`.
/// - A redirect to a host in `allowed` may change from https to http. The URL of a token server may
///   not, because that server receives credentials.
/// - Credentials may be sent only to the registry's own origin. A next page must be at that origin.
/// - An https registry behind a proxy that terminates TLS may name its own host with http in the
///   Location of an upload. The URL is then changed to https and the registry's port.
///
/// # Errors
/// The reason, which names the refused URL or host.
pub fn decide_with(
    purpose: Purpose,
    registry: &Origin,
    allowed: &[AllowedHost],
    from: &Url,
    text: &str,
) -> Result<Target, Refusal> {
    let url = match purpose {
        // A realm and a descriptor's `urls` must be absolute.
        Purpose::Realm | Purpose::Elsewhere => Url::parse(text),
        Purpose::Redirect | Purpose::Link => from.join(text),
        Purpose::Upload => from.join(text).and_then(|url| mend_scheme(registry, url)),
    }?;
    let downgrade = match purpose {
        Purpose::Redirect | Purpose::Link | Purpose::Upload => from.is_https(),
        Purpose::Realm => registry.is_https(),
        Purpose::Elsewhere => false,
    };
    let is_allowed = allowed.iter().any(|host| host.includes(&url.host(), url.port()));
    let refused = |why: String, is_allowable: bool| {
        let host = || format!("{}:{}", url.uri.host().unwrap_or_default(), url.port());
        Err(Refusal { why, allowable: is_allowable.then(host), options: Options::None })
    };
    if downgrade && !url.is_https() && !(is_allowed && purpose == Purpose::Redirect) {
        let why = format!("refused to go from https to {url}");
        return refused(why, purpose == Purpose::Redirect && !is_allowed);
    }
    if let Some(kind) = not_public(&url.host())
        && !is_own_host(registry, &url)
        && !is_allowed
    {
        let why = format!("refused to go to {}, {kind} address", url.authority());
        // A hint for a link-local address would help attackers: cloud providers serve secrets
        // there.
        return refused(why, matches!(kind, "a loopback" | "a private"));
    }
    let same_origin = url.origin() == *registry;
    if purpose == Purpose::Link && !same_origin {
        let why = format!("refused a next page at another host, {}", url.authority());
        return refused(why, false);
    }
    Ok(Target { url, same_origin })
}

/// Changes http to https in a URL of an https registry's own host, if its port is 80 or the
/// registry's. A registry behind a proxy that terminates TLS may supply such URLs.
fn mend_scheme(registry: &Origin, url: Url) -> Result<Url, String> {
    let behind = registry.is_https() && !url.is_https() && url.host() == registry.host();
    if !behind || !(url.port() == 80 || url.port() == registry.port()) {
        return Ok(url);
    }
    let rest = url.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    Url::parse(&format!("{registry}{rest}"))
}

/// Whether a URL is at the registry's own host, on any port. `localhost` and all loopback addresses
/// count as the same host.
fn is_own_host(registry: &Origin, url: &Url) -> bool {
    let own = registry.host();
    let other = url.host();
    own == other
        || (own == "localhost" || other == "localhost") && is_loopback(own) && is_loopback(&other)
}

/// Removes `.` and `..` segments from a path (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." if !last => {}
            "." => kept.push(""),
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn allowed(purpose: Purpose, registry: &str, text: &str) -> Result<bool, String> {
        let registry = url(registry);
        decide(purpose, &registry.origin(), &registry, text).map(|target| target.same_origin)
    }

    #[test]
    fn unusual_and_invalid_hosts_are_refused() {
        for text in [
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://a@b/",
            "http://user:pass@b/",
            "ftp://a/",
            "file:///etc/passwd",
            "/relative",
            "http://",
            "http:///x",
            "http://a:0/",
            "http://a:99999/",
            "http://a:+80/",
            "http://a b/",
            "http://[::1/",
            "http://..../",
            "http://a\nb/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(Url::parse(&format!("http://a/{}", "x".repeat(MAX_URL - 9))).is_ok());
        assert!(Url::parse(&format!("http://a/{}", "x".repeat(MAX_URL - 8))).is_err());
    }

    #[test]
    fn error_messages_do_not_show_secrets_of_a_url() {
        for text in [
            "https://a b/x?signature=hush",
            "https://me:hush@a b/",
            "https://a:b:c/x?signature=hush",
            "relative?signature=hush",
            "me:hush@a.example/x",
            "https://a.example/\u{e4}?hush",
            "https:\\\\me:hush@a.example/x",
            "https://me:hush\u{e4}@a.example/x",
        ] {
            let said = Url::parse(text).unwrap_err();
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn relative_locations_resolve_and_keep_their_query() {
        let base = url("https://r.example:444/v2/a/blobs/x?y=z");
        let joined = |text: &str| base.join(text).unwrap().uri.to_string();
        assert_eq!(joined("/p?_state=a%2Fb=="), "https://r.example:444/p?_state=a%2Fb==");
        assert_eq!(joined("other"), "https://r.example:444/v2/a/blobs/other");
        assert_eq!(joined("../up?x"), "https://r.example:444/v2/a/up?x");
        assert_eq!(joined("?n=1"), "https://r.example:444/v2/a/blobs/x?n=1");
        assert_eq!(joined("//cdn.example/q"), "https://cdn.example/q");
        assert_eq!(joined("http://h.example/q#f"), "http://h.example/q");
    }

    #[test]
    fn credentials_go_to_the_same_scheme_host_and_port_alone() {
        let registry = "https://r.example/v2/";
        for (text, same) in [
            ("https://r.example:443/x", true),
            ("https://R.EXAMPLE./x", true),
            ("/x", true),
            ("https://r.example:444/x", false),
            ("https://s.example/x", false),
        ] {
            assert_eq!(allowed(Purpose::Redirect, registry, text), Ok(same), "{text}");
        }
    }

    #[test]
    fn targets_that_are_not_public_are_refused() {
        for text in [
            "https://127.0.0.1/",
            "https://localhost/",
            "https://a.localhost/",
            "https://169.254.169.254/",
            "https://10.0.0.1/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://224.0.0.1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[::127.0.0.1]/",
            "https://[::ffff:0:127.0.0.1]/",
            "https://[64:ff9b:1::10.0.0.1]/",
            "https://[fec0::1]/",
            "https://192.0.0.192/",
            "https://198.18.0.1/",
            "https://192.0.2.1/",
            "https://198.51.100.1/",
            "https://203.0.113.5/",
            "https://[2001:db8::1]/",
            "https://[100::1]/",
            "http://r.example/",
        ] {
            for purpose in [Purpose::Redirect, Purpose::Realm, Purpose::Link] {
                assert!(
                    allowed(purpose, "https://r.example/", text).is_err(),
                    "{purpose:?} {text}"
                );
            }
        }
        assert!(
            allowed(Purpose::Elsewhere, "https://r.example/", "http://169.254.169.254/").is_err()
        );
        assert!(allowed(Purpose::Elsewhere, "https://r.example/", "http://cdn.example/").is_ok());
    }

    #[test]
    fn an_allowed_host_may_be_private_and_a_redirect_may_be_plain() {
        let decided = |purpose, registry: &str, text: &str| {
            let registry = url(registry);
            let allowed = ["10.0.0.1:9000", "minio.example"].map(|host| host.parse().unwrap());
            decide_with(purpose, &registry.origin(), &allowed, &registry, text)
                .map(|target| target.same_origin)
                .map_err(|refusal| refusal.allowable)
        };
        let registry = "https://r.example/";
        for (purpose, text, expected) in [
            (Purpose::Redirect, "https://10.0.0.1:9000/", Ok(false)),
            (Purpose::Redirect, "http://10.0.0.1:9000/", Ok(false)),
            (Purpose::Redirect, "http://minio.example/", Ok(false)),
            (Purpose::Redirect, "https://10.0.0.1/", Err(Some("10.0.0.1:443"))),
            (Purpose::Redirect, "http://other.example/", Err(Some("other.example:80"))),
            (Purpose::Redirect, "https://169.254.169.254/", Err(None)),
            (Purpose::Redirect, "https://[fd00::1]/", Err(Some("[fd00::1]:443"))),
            (Purpose::Realm, "https://10.0.0.1:9000/token", Ok(false)),
            (Purpose::Realm, "http://10.0.0.1:9000/token", Err(None)),
            (Purpose::Realm, "http://minio.example/token", Err(None)),
            (Purpose::Upload, "https://10.0.0.1:9000/", Ok(false)),
            (Purpose::Upload, "http://minio.example/", Err(None)),
            (Purpose::Elsewhere, "http://10.0.0.1:9000/", Ok(false)),
            (Purpose::Link, "https://10.0.0.1:9000/", Err(None)),
            (Purpose::Link, "http://minio.example/", Err(None)),
        ] {
            let expected = expected.map_err(|host| host.map(str::to_owned));
            assert_eq!(decided(purpose, registry, text), expected, "{purpose:?} {text}");
        }
        let plain = decided(Purpose::Realm, "http://r.example/", "http://10.0.0.1:9000/token");
        assert_eq!(plain, Ok(false));
    }

    #[test]
    fn the_registrys_own_host_is_allowed_on_another_port() {
        for (registry, text) in [
            ("http://127.0.0.1:5000/", "http://127.0.0.1:6000/"),
            ("http://localhost:5000/", "http://127.0.0.1:6000/"),
            ("http://10.0.0.1/", "https://10.0.0.1/"),
        ] {
            assert_eq!(allowed(Purpose::Redirect, registry, text), Ok(false), "{registry} {text}");
        }
        assert!(allowed(Purpose::Redirect, "http://127.0.0.1:5000/", "http://10.0.0.1/").is_err());
        assert!(allowed(Purpose::Redirect, "http://10.0.0.1/", "http://127.0.0.1/").is_err());
    }

    #[test]
    fn a_next_page_is_at_the_same_origin() {
        assert_eq!(allowed(Purpose::Link, "https://r.example/", "/v2/x?last=1"), Ok(true));
        assert!(allowed(Purpose::Link, "https://r.example/", "https://s.example/").is_err());
        assert!(allowed(Purpose::Link, "https://r.example/", "https://r.example:8443/").is_err());
    }

    #[test]
    fn a_realm_is_absolute() {
        assert!(allowed(Purpose::Realm, "https://r.example/", "/token").is_err());
        assert!(allowed(Purpose::Realm, "http://r.example/", "http://auth.example/token").is_ok());
    }

    #[test]
    fn a_query_is_added_to_the_urls_own() {
        let url = url("https://a/t?x=y%3D")
            .with_query(&[("service", "a b&c"), ("scope", "repository:x/y:pull")])
            .unwrap();
        assert_eq!(
            url.uri().to_string(),
            "https://a/t?x=y%3D&service=a%20b%26c&scope=repository:x/y:pull"
        );
    }

    #[test]
    fn an_uploads_location_keeps_https_at_the_registrys_own_host() {
        let at = |registry: &str, text: &str| {
            let registry = url(registry);
            decide(Purpose::Upload, &registry.origin(), &registry, text)
                .map(|target| (target.url.uri().to_string(), target.same_origin))
        };
        let here = |text: &str| Ok((text.to_owned(), true));
        assert_eq!(at("https://a/", "http://a/u?_state=x%2F"), here("https://a/u?_state=x%2F"));
        assert_eq!(at("https://a:5000/", "http://a/u"), here("https://a:5000/u"));
        assert_eq!(at("https://a/", "https://a:443/u"), here("https://a:443/u"));
        assert_eq!(at("http://a/", "http://a:80/u"), here("http://a:80/u"));
        assert_eq!(at("https://a/", "//a/u"), here("https://a/u"));
        assert_eq!(at("https://a/", "https://b/u"), Ok(("https://b/u".to_owned(), false)));
        assert!(at("https://a/", "http://b/u").is_err());
        assert!(at("https://a/", "http://a:8080/u").is_err());
        assert!(at("https://a/", "https://169.254.169.254/u").is_err());
    }
}
