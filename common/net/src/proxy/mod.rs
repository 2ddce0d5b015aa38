// SPDX-License-Identifier: Apache-2.0
//! The proxy to use for a URL. The environment variables are read as curl and Go programs read
//! them.
//!
//! `https_proxy` applies to https and `http_proxy` to http. Each is read in lower case first, then
//! in upper case; `all_proxy` is used if neither is set. `no_proxy` lists the hosts that need no
//! proxy. Loopback hosts never use a proxy. A proxy's user name and password are sent to that proxy
//! only.
//!
//! | module | owns |
//! |---|---|
//! | `no_proxy` | the hosts that need no proxy |
//! | `tunnel` | connections to a proxy, and tunnels through it |
//! | `forward` | plain HTTP requests that a proxy forwards |
//!
//! Not here: resolving host names.

mod forward;
mod no_proxy;
pub(super) mod tunnel;

use std::ffi::OsString;
use std::fmt;

use common::error::{Error, Result};
use common::host::is_loopback;
use common::secret;

use crate::basic::basic;
use crate::url::Url;
use no_proxy::Exceptions;

/// The variables with a proxy for https. The first one that is set applies.
const HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables with a proxy for http. The first one that is set applies.
const HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables with the list of hosts that need no proxy.
const NONE: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// A variable that web servers set for the CGI programs that they run. In a CGI program,
/// `HTTP_PROXY` has the value of the request's header `Proxy`. Any client can set this header, so
/// the variable is ignored there.
const WEB_SERVER: &str = "REQUEST_METHOD";

/// The proxies that the environment configures.
#[derive(Clone)]
pub(super) struct Proxies {
    https: Option<Variable>,
    http: Option<Variable>,
    none: Exceptions,
}

/// An environment variable that is not empty.
#[derive(Clone)]
struct Variable {
    name: &'static str,
    value: String,
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    /// The proxy's host and port, with the scheme that connects to it.
    url: Url,
    /// The user name and password for the proxy.
    login: Option<(String, String)>,
    /// The environment variable that configures the proxy.
    variable: &'static str,
}

/// The protocol to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Plain HTTP.
    Http,
    /// HTTPS.
    Https,
    /// SOCKS 5 (RFC 1928).
    Socks,
}

/// Whether any variable that configures a proxy is set and not empty.
pub(super) fn is_any_named() -> bool {
    let has = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    HTTPS.iter().chain(&HTTP).any(has)
}

impl Proxies {
    /// The proxies that the environment of this process configures.
    pub(super) fn of_environment() -> Proxies {
        Proxies::read(|name| std::env::var_os(name))
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Proxies {
        let first = |names: &[&'static str]| {
            let said = |name: &&'static str| {
                let is_foreign = *name == "HTTP_PROXY" && variable(WEB_SERVER).is_some();
                let value = variable(name).filter(|value| !value.is_empty() && !is_foreign)?;
                // Bytes that are not UTF-8 make a proxy's URL invalid, which is reported when the
                // proxy is needed. In a `no_proxy` list they make only their own entry invalid.
                Some(Variable { name, value: value.to_string_lossy().into_owned() })
            };
            names.iter().find_map(said)
        };
        let none = first(&NONE).map_or(String::new(), |none| none.value);
        let none = Exceptions::read(&none);
        Proxies { https: first(&HTTPS), http: first(&HTTP), none }
    }

    /// The proxy for a URL; `None` if no proxy is used.
    ///
    /// # Errors
    /// Usage if the variable is not a valid proxy URL.
    pub(super) fn of(&self, url: &Url) -> Result<Option<Proxy>> {
        let variable = if url.is_https() { &self.https } else { &self.http };
        let Some(Variable { name, value }) = variable else { return Ok(None) };
        if is_loopback(&url.host()) || self.none.have(url) {
            return Ok(None);
        }
        Proxy::parse(name, value)
            .map(Some)
            .map_err(|why| Error::usage(format_args!("${name}: {why}")))
    }
}

impl Proxy {
    /// Parses a variable's value. Error messages never show the value: in an invalid URL a password
    /// may be anywhere.
    fn parse(variable: &'static str, value: &str) -> std::result::Result<Proxy, String> {
        let wrong = || "invalid proxy URL: expected http://HOST:PORT".to_owned();
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let (kind, url_scheme, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, "http", ""),
            "https" => (Kind::Https, "https", ""),
            "socks5" | "socks5h" => (Kind::Socks, "http", ":1080"),
            "socks" | "socks4" | "socks4a" => {
                return Err(format!(
                    "unsupported proxy scheme {scheme}: expected http, https or socks5"
                ));
            }
            _ => return Err(wrong()),
        };
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let login = login.map(login_of).transpose()?;
        let place = place.split(['/', '?', '#']).next().unwrap_or_default();
        let has_port = place.rsplit_once(']').map_or(place, |(_, rest)| rest).contains(':');
        let port = if has_port { "" } else { port };
        let url = Url::parse(&format!("{url_scheme}://{place}{port}/")).map_err(|_| wrong())?;
        Ok(Proxy { kind, url, login, variable })
    }

    /// The protocol to the proxy.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The proxy's host and port, with the scheme that connects to it.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The user name and password for the proxy.
    pub(super) fn login(&self) -> Option<(&str, &str)> {
        self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// The line with the header Proxy-Authorization, including its CRLF; empty if the proxy has no
    /// user name and password.
    pub(super) fn login_line(&self) -> String {
        let line = |(user, password)| format!("Proxy-Authorization: {}\r\n", basic(user, password));
        self.login().map_or(String::new(), line)
    }

    /// The proxy's URL as shell words for curl: a literal prefix and a parameter expansion. With
    /// the scheme `socks5h`, curl lets a SOCKS proxy resolve host names, as regutils does.
    pub(super) fn of_variable(&self) -> (&'static str, String) {
        match self.kind {
            Kind::Http | Kind::Https => ("", format!("${}", self.variable)),
            Kind::Socks => ("socks5h://", format!("${{{}#*://}}", self.variable)),
        }
    }

    /// The proxy and its variable, for a comment in the trace.
    pub(super) fn description(&self) -> String {
        format!("the proxy {self} from ${}", self.variable)
    }

    /// The error message for a SOCKS proxy that ureq does not accept.
    pub(super) fn unusable(&self) -> String {
        format!("${}: invalid host, name or password of a SOCKS proxy", self.variable)
    }

    /// The hint for a failure of this proxy in a request to `host`.
    pub fn hint(&self, host: &str) -> String {
        format!("the proxy is set in ${}; NO_PROXY={host} bypasses it", self.variable)
    }

    /// The hint for a proxy that requires, or refused, a user name and password.
    pub(super) fn login_hint(&self) -> String {
        match self.login {
            Some(_) => format!("the name and password are set in ${}", self.variable),
            None => format!(
                "${} can contain a name and password: http://NAME:PASSWORD@{self}",
                self.variable
            ),
        }
    }

    /// The error for credentials that the proxy could read on the way to `url`.
    pub(super) fn would_read(&self, url: &Url) -> Error {
        let place = url.authority();
        let what = "could read them over plain http";
        Error::refused(format_args!("{place}: credentials not sent: the proxy {self} {what}"))
            .hint(format_args!("NO_PROXY={} bypasses the proxy", url.host()))
    }
}

impl fmt::Display for Proxy {
    /// The proxy's host and port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.url.uri().host().unwrap_or_default(), self.url.port())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Parses the user name and password before the `@` of a URL.
fn login_of(text: &str) -> std::result::Result<(String, String), String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    secret::keep(password);
    let wrong = || "the name or password is not percent-encoded".to_owned();
    if text.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let user = decoded(user).ok_or_else(wrong)?;
    let password = decoded(password).ok_or_else(wrong)?;
    secret::keep(&password);
    if user.contains(':') {
        return Err("a colon in the user name".to_owned());
    }
    Ok((user, password))
}

/// Decodes percent-encoded text; `None` if the text is invalid.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    /// The host and port of the proxy for a URL.
    fn chosen(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxy = proxies(variables).of(&Url::parse(url).unwrap()).unwrap();
        proxy.map(|proxy| proxy.to_string())
    }

    #[test]
    fn each_scheme_has_its_variables_and_all_proxy_is_last() {
        let (http, https) = ("http://r.example/", "https://r.example/");
        for (variables, for_http, for_https) in [
            (&[][..], None, None),
            (&[("http_proxy", "a:1")], Some("a:1"), None),
            (&[("https_proxy", "a:1")], None, Some("a:1")),
            (&[("HTTP_PROXY", "a:1")], Some("a:1"), None),
            (&[("HTTPS_PROXY", "a:1")], None, Some("a:1")),
            (&[("http_proxy", "a:1"), ("HTTP_PROXY", "b:1")], Some("a:1"), None),
            (&[("https_proxy", "a:1"), ("HTTPS_PROXY", "b:1")], None, Some("a:1")),
            (&[("ALL_PROXY", "a:1")], Some("a:1"), Some("a:1")),
            (&[("all_proxy", "a:1"), ("ALL_PROXY", "b:1")], Some("a:1"), Some("a:1")),
            (&[("all_proxy", "a:1"), ("HTTPS_PROXY", "b:1")], Some("a:1"), Some("b:1")),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "b:1")], None, Some("b:1")),
            (&[("HTTP_PROXY", "a:1"), ("REQUEST_METHOD", "GET")], None, None),
            (&[("http_proxy", "a:1"), ("REQUEST_METHOD", "GET")], Some("a:1"), None),
        ] {
            assert_eq!(chosen(variables, http).as_deref(), for_http, "{variables:?}");
            assert_eq!(chosen(variables, https).as_deref(), for_https, "{variables:?}");
        }
    }

    #[test]
    fn loopback_hosts_never_use_a_proxy() {
        for host in ["localhost", "a.localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]"] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}:5000/");
                assert_eq!(chosen(&[("all_proxy", "p:1")], &url), None, "{url}");
            }
        }
        assert!(chosen(&[("all_proxy", "p:1")], "http://localhost.example/").is_some());
        assert!(chosen(&[("all_proxy", "p:1")], "http://128.0.0.1/").is_some());
    }

    #[test]
    fn scheme_and_port_of_a_proxy_are_optional() {
        for (value, kind, place) in [
            ("p.example", Kind::Http, "p.example:80"),
            ("p.example:3128", Kind::Http, "p.example:3128"),
            ("http://p.example:3128/", Kind::Http, "p.example:3128"),
            ("HTTP://p.example:3128/x?y#z", Kind::Http, "p.example:3128"),
            ("https://p.example", Kind::Https, "p.example:443"),
            ("socks5://p.example", Kind::Socks, "p.example:1080"),
            ("socks5h://p.example:1", Kind::Socks, "p.example:1"),
            ("http://[fd00::1]", Kind::Http, "[fd00::1]:80"),
            ("socks5://[fd00::1]", Kind::Socks, "[fd00::1]:1080"),
            ("http://[fd00::1]:3128", Kind::Http, "[fd00::1]:3128"),
        ] {
            let proxy = Proxy::parse("http_proxy", value).unwrap();
            assert_eq!((proxy.kind(), proxy.to_string().as_str()), (kind, place), "{value}");
            assert_eq!(proxy.login(), None);
            assert_eq!(proxy.login_line(), "");
        }
    }

    #[test]
    fn a_proxys_login_is_decoded_and_not_shown() {
        for (value, user, password) in [
            ("http://me:hushed@p:1", "me", "hushed"),
            ("me:hushed@p:1", "me", "hushed"),
            ("http://me@p:1", "me", ""),
            ("http://me:@p:1", "me", ""),
            ("http://:hushed@p:1", "", "hushed"),
            ("http://a%40b:%3a%2F%25%c3%a4+@p:1", "a@b", ":/%ä+"),
            ("http://me:a:b@p:1", "me", "a:b"),
        ] {
            let proxy = Proxy::parse("http_proxy", value).unwrap();
            assert_eq!(proxy.login(), Some((user, password)), "{value}");
            assert_eq!(format!("{proxy} {proxy:?}"), "p:1 Proxy(p:1)");
        }
        let line = Proxy::parse("http_proxy", "http://me:hushed@p:1").unwrap().login_line();
        assert_eq!(line, "Proxy-Authorization: Basic bWU6aHVzaGVk\r\n");
    }

    #[test]
    fn an_invalid_proxy_is_refused_and_its_value_is_not_shown() {
        for value in [
            "ftp://me:hunter2@p:1",
            "http://me:hunter2@",
            "http://me:hunter2@p:0",
            "http://me:hunter2@p:99999",
            "http://me:hunter2@p:x",
            "http://me:hunter2@a b:1",
            "http://me:hunter2@[::1:1",
            "http://me:hunter2@2130706433:1",
            "http://me:hunter2/@p:1",
            "http://me:hunter2#@p:1",
            "http://me:hun@ter2@p:1",
            "http://me:hunter2%@p:1",
            "http://me:hunter2%f@p:1",
            "http://me:hunter2%zz@p:1",
            "http://me:hunter2%ff@p:1",
            "http://m%3ae:hunter2@p:1",
            "http://",
            "://p:1",
            "socks4://me:hunter2@p:1",
            "socks4a://p:1",
        ] {
            let variables = [("https_proxy", value)];
            let error = proxies(&variables).of(&Url::parse("https://r.example/").unwrap());
            let error = error.unwrap_err();
            assert_eq!(error.status(), common::error::Status::Usage, "{value}");
            assert!(error.to_string().starts_with("$https_proxy: "), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_invalid_proxy_is_an_error_only_where_it_is_needed() {
        let malformed = proxies(&[("https_proxy", "http://"), ("no_proxy", "a.example")]);
        for url in ["http://r.example/", "https://a.example/", "https://localhost/"] {
            assert_eq!(malformed.of(&Url::parse(url).unwrap()).unwrap(), None, "{url}");
        }
    }
}
