// SPDX-License-Identifier: Apache-2.0
//! Mirrors from hosts.toml, the configuration of containerd and nerdctl (documented in containerd's
//! docs/hosts.md).
//!
//! Each registry has a directory that is named after it. The files, the keys and their meaning are
//! those of containerd (hosts.go), except:
//! - an invalid file is an error: containerd logs the error and uses the registry as if the file
//!   were absent;
//! - a table below `host` counts in any TOML notation: containerd ignores a table without a header;
//! - a value that is not valid in a URL or a header is refused here, with its line.
//!
//! Not read:
//! - `rewrite` of k3s, and every other unknown key: it causes a warning;
//! - `dial_timeout`, because one flag sets the timeout for all hosts;
//! - certificates in a directory without a hosts.toml, which have docker's layout;
//! - containerd's own configuration, although its `config_path` may name other directories.

use std::path::{Path, PathBuf};

use common::error::{Error, Result, printable};
use common::host::check_host;
use common::notice;
use common::reference::Repository;
use common::secret;

use super::document::{Document, MAX_BYTES, Parsed, Table, Value, ValueKind, Wrong};
use super::{Configured, MAX_MIRRORS, Place, ROOT, Scheme, Serves};
use crate::credentials::config_home;

/// The maximum number of values of one key (such as certificates), and of headers of one host.
const MAX_VALUES: usize = 64;

/// The keys of a host. `dial_timeout` has no effect here.
const KEYS: [&str; 7] =
    ["capabilities", "ca", "client", "skip_verify", "override_path", "header", "dial_timeout"];

/// Reads the hosts.toml for a repository.
///
/// # Errors
/// Malformed if the file is invalid (the message has file and line); Local if the file cannot be
/// read.
pub(super) fn configured(repository: &Repository) -> Result<Configured> {
    let user = config_home().map(|dir| dir.join("containerd/certs.d"));
    let dirs: Vec<PathBuf> =
        user.into_iter().chain([PathBuf::from("/etc/containerd/certs.d")]).collect();
    read(repository, &dirs)
}

/// Reads the first directory that exists for a repository's host.
fn read(repository: &Repository, dirs: &[PathBuf]) -> Result<Configured> {
    for dir in dirs {
        for name in names(repository.host()) {
            let dir = dir.join(name);
            if !exists(&dir)? {
                continue;
            }
            let Some(document) = Document::read(&dir.join("hosts.toml"), &mut MAX_BYTES.clone())?
            else {
                return Ok(Configured::default());
            };
            let configured =
                hosts(&document, &dir, repository).map_err(|wrong| document.wrong(&wrong))?;
            configured.mirrors.iter().chain(&configured.own).try_for_each(has_certificates)?;
            return Ok(configured);
        }
    }
    Ok(Configured::default())
}

/// The directory names for a host, in order.
fn names(host: &str) -> Vec<String> {
    let port = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let escaped = port.map(|(name, port)| format!("{name}_{port}_"));
    escaped.into_iter().chain([host.to_owned(), "_default".to_owned()]).collect()
}

fn exists(path: &Path) -> Result<bool> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => Ok(false),
        Err(cause) => Err(Error::local(printable(&path.display().to_string()), &cause)),
    }
}

/// Checks that the certificate files of a place can be opened. This is done before any request,
/// because later a mirror with missing certificates would only be skipped.
fn has_certificates(place: &Place) -> Result<()> {
    let client =
        place.client.iter().flat_map(|(certificate, key)| [Some(certificate), key.as_ref()]);
    for file in place.ca.iter().chain(client.flatten()) {
        std::fs::File::open(file).map_err(|cause| {
            let file = printable(&file.display().to_string());
            Error::local(format_args!("{}: {file}", place.origin), &cause)
        })?;
    }
    Ok(())
}

/// The places in a file.
fn hosts(document: &Document, dir: &Path, repository: &Repository) -> Parsed<Configured> {
    let root = &document.root;
    let at = |table: &Table, host: Place| place(table, dir, host);
    root.warn_unknown(&[&KEYS[..], &["server", "host"]].concat(), &document.origin);
    let mut mirrors = Vec::new();
    if let Some(hosts) = root.table("host")? {
        for (count, (text, value)) in hosts.entries().enumerate() {
            if count == MAX_MIRRORS {
                let why = format!("more than {MAX_MIRRORS} hosts");
                return Err(Wrong { line: value.line, why });
            }
            let table = value.table("host")?;
            // containerd accepts these keys; `server` has a separate warning.
            table.warn_unknown(&[&KEYS[..], &["server"]].concat(), &document.origin);
            if table.has("server") {
                // By TOML's rules this `server` belongs to the host's table, where it has no
                // meaning.
                let (origin, line) = (&document.origin, table.line_of("server"));
                notice::warn("hosts.toml", || {
                    format!("{origin}: line {line}: \"server\" in the table of a host is ignored")
                });
            }
            let there = server(text, table, repository, &document.origin, value.line)?;
            mirrors.extend(at(table, there)?);
        }
    }
    let own = match root.text("server")? {
        "" => {
            // Without `server`, the registry's own host has all capabilities.
            let host = Place::at(repository.host(), repository.path(), &document.origin);
            let own = Place { serves: Serves::All, ..tls_and_headers(root, dir, host.clone())? };
            capabilities(root)?;
            Some(own).filter(|own| *own != host)
        }
        text => {
            let line = root.line_of("server");
            let there = server(text, root, repository, &document.origin, line)?;
            let own = at(root, there)?;
            if own.is_none() {
                let why = "capabilities: the server needs pull or resolve".to_owned();
                return Err(Wrong { line: root.line_of("capabilities"), why });
            }
            own
        }
    };
    Ok(Configured { mirrors, own, blocked: None })
}

/// The place of a URL `[http://|https://]HOST[:PORT][/PATH]`. The API's root is PATH followed by
/// `/v2/`. It is PATH itself if PATH ends in `v2` or `override_path` is set.
fn server(
    text: &str,
    table: &Table,
    repository: &Repository,
    origin: &str,
    line: usize,
) -> Parsed<Place> {
    let wrong = |why: String| Wrong { line, why };
    let (scheme, authority, whole) = split(text).map_err(wrong)?;
    let mut path: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    let has_root = path.last() == Some(&"v2") || table.flag("override_path")?.unwrap_or_default();
    let path: String = path.iter().map(|part| format!("/{part}")).collect();
    let root = format!("{path}{}", if has_root { "/" } else { ROOT });
    // In a place, Docker Hub has the host name `docker.io`. Its API has other host names.
    let hub = ["docker.io", "registry-1.docker.io", "index.docker.io"];
    let host = if hub.contains(&authority) { hub[0] } else { authority };
    let own = repository.host();
    let namespace = Some(own.to_owned()).filter(|own| own != host);
    let place = Place::at(host, repository.path(), origin).checked().map_err(wrong)?;
    Ok(Place { scheme: Some(scheme), root, namespace, ..place })
}

/// The scheme (https if there is none), the authority and the path of a URL. The query is dropped.
///
/// # Errors
/// A sentence, if it is not an http or https URL with a valid host.
fn split(text: &str) -> std::result::Result<(Scheme, &str, &str), String> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("invalid URL: \"{}\"", printable(text)));
    }
    let (scheme, rest) = match text.split_once("://") {
        None => (Scheme::Https, text),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
        Some((other, _)) => return Err(format!("unsupported URL scheme \"{}\"", printable(other))),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("a URL must not contain user information".to_owned());
    }
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if after_host.split_once(':').is_some_and(|(_, port)| !is_port(port)) {
        return Err(format!("invalid port: \"{}\"", printable(authority)));
    }
    let host = authority.strip_suffix(after_host).unwrap_or(authority);
    let host =
        if host.is_empty() { after_host.split(':').next().unwrap_or_default() } else { host };
    check_host(host)?;
    Ok((scheme, authority, path))
}

/// A place with the settings of a table; `None` if its capabilities do not allow reading.
fn place(table: &Table, dir: &Path, host: Place) -> Parsed<Option<Place>> {
    let place = tls_and_headers(table, dir, host)?;
    Ok(capabilities(table)?.map(|serves| Place { serves, ..place }))
}

/// A place with the certificates and headers of a table.
fn tls_and_headers(table: &Table, dir: &Path, host: Place) -> Parsed<Place> {
    let insecure = table.flag("skip_verify")?.unwrap_or_default();
    let ca = ca(table, dir)?;
    let client = client(table, dir)?;
    let has_port =
        host.host.rsplit_once(':').is_some_and(|(_, port)| port != "80" && !port.contains(']'));
    // If an http URL has TLS settings and a port other than 80, the server may use TLS, so TLS is
    // tried first. Plain HTTP is tried next only if certificates are not checked.
    let scheme = match host.scheme {
        Some(Scheme::Http) if insecure && has_port => None,
        Some(Scheme::Http) if has_port && !(ca.is_empty() && client.is_empty()) => {
            Some(Scheme::Https)
        }
        scheme => scheme,
    };
    Ok(Place { scheme, insecure, ca, client, headers: headers(table)?, ..host })
}

/// The requests for which a host is used: `pull` is reading by digest, `resolve` is reading by tag.
/// `None` if it has neither capability.
fn capabilities(table: &Table) -> Parsed<Option<Serves>> {
    let names = table.texts("capabilities")?.unwrap_or_default();
    if names.is_empty() {
        return Ok(Some(Serves::All));
    }
    let mut pull = false;
    let mut resolve = false;
    for name in names {
        match name.to_lowercase().as_str() {
            "pull" => pull = true,
            "resolve" => resolve = true,
            "push" | "referrers" => {}
            _ => {
                let why = format!("unknown capability \"{}\"", printable(name));
                return Err(Wrong { line: table.line_of("capabilities"), why });
            }
        }
    }
    Ok(match (pull, resolve) {
        (true, true) => Some(Serves::All),
        (true, false) => Some(Serves::Digests),
        (false, true) => Some(Serves::Tags),
        (false, false) => None,
    })
}

/// `ca`: a file, or a list of files.
fn ca(table: &Table, dir: &Path) -> Parsed<Vec<PathBuf>> {
    let Some(value) = table.find("ca") else { return Ok(Vec::new()) };
    let texts = one_or_many(value, "ca")?;
    texts.into_iter().map(|value| value.text("ca").map(|text| dir.join(text))).collect()
}

/// `client`: a file with a certificate and its key, a list of such files, or a list of pairs.
fn client(table: &Table, dir: &Path) -> Parsed<Vec<(PathBuf, Option<PathBuf>)>> {
    let Some(value) = table.find("client") else { return Ok(Vec::new()) };
    let pair = |value: &Value| match &value.kind {
        ValueKind::List(pair) => match pair.as_slice() {
            [certificate, key] => {
                let key = Some(key.text("client")?).filter(|key| !key.is_empty());
                Ok((dir.join(certificate.text("client")?), key.map(|key| dir.join(key))))
            }
            _ => Err(value.wrong("client", "a certificate and its key")),
        },
        _ => value.text("client").map(|text| (dir.join(text), None)),
    };
    one_or_many(value, "client")?.into_iter().map(pair).collect()
}

/// `header`: names, each with a value or a list of values.
fn headers(table: &Table) -> Parsed<Vec<(String, String)>> {
    let Some(table) = table.table("header")? else { return Ok(Vec::new()) };
    let mut headers = Vec::new();
    for (name, value) in table.entries() {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let is_name = !name.is_empty() && name.bytes().all(token);
        for value in one_or_many(value, name)? {
            let text = value.text(name)?;
            // The message does not show the value, which may be a secret.
            if !is_name || !text.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
                let why = format!("header {}: invalid name or value", printable(name));
                return Err(Wrong { line: value.line, why });
            }
            if headers.len() == MAX_VALUES {
                let why = format!("more than {MAX_VALUES} headers");
                return Err(Wrong { line: value.line, why });
            }
            secret::keep_header(name, text);
            headers.push((name.to_owned(), text.trim().to_owned()));
        }
    }
    Ok(headers)
}

/// The values of a list; any other value counts as a list of one.
fn one_or_many<'a>(value: &'a Value, key: &str) -> Parsed<Vec<&'a Value>> {
    match &value.kind {
        ValueKind::List(list) if list.len() > MAX_VALUES => {
            let why = format!("{}: more than {MAX_VALUES} values", printable(key));
            Err(Wrong { line: value.line, why })
        }
        ValueKind::List(list) => Ok(list.iter().collect()),
        _ => Ok(vec![value]),
    }
}

#[cfg(test)]
mod tests;
