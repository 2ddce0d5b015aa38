// SPDX-License-Identifier: Apache-2.0
//! Hosts that are allowed in URLs from a registry, although the rules for such URLs refuse them:
//! token servers and storage at private addresses, and storage that uses plain HTTP.
//!
//! The files have one `HOST[:PORT]` per line, and comments after `#`. The user's file and the
//! administrator's file are both read. An invalid file is an error, with its name and line. Not
//! here: the rules themselves (crate `net`, module `url`).

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use common::error::{Error, Result, printable};
use common::host::{bare_host, check_host};

use crate::credentials::config_home;

/// The administrator's file. The user's file has the same name below the configuration directory.
const SYSTEM: &str = "/etc/regutils/allowed-hosts";

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// The maximum number of hosts in a file.
const MAX_HOSTS: usize = 256;

/// A host, and a port if only that port is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

impl AllowedHost {
    /// Whether this entry allows the host and the port of a URL. `host` is in the form of
    /// [`bare_host`].
    pub fn includes(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<AllowedHost, String> {
        let wrong = || format!("got \"{}\", want HOST[:PORT]", printable(text));
        let end = text.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match text[end..].find(':') {
            Some(colon) => (&text[..end + colon], Some(&text[end + colon + 1..])),
            None => (text, None),
        };
        check_host(host).map_err(|_| wrong())?;
        let number = |port: &str| {
            let is_digits = port.bytes().all(|b| b.is_ascii_digit());
            port.parse().ok().filter(|port| is_digits && *port > 0).ok_or_else(wrong)
        };
        Ok(AllowedHost { host: bare_host(host), port: port.map(number).transpose()? })
    }
}

/// The hosts in the files of the user and of the administrator.
///
/// # Errors
/// Malformed if a file is invalid or too large. Local if a file cannot be read.
pub fn configured() -> Result<Vec<AllowedHost>> {
    let user = config_home().map(|dir| dir.join("regutils/allowed-hosts"));
    let mut hosts = Vec::new();
    for path in user.into_iter().chain([PathBuf::from(SYSTEM)]) {
        hosts.extend(read(&path)?);
    }
    Ok(hosts)
}

fn read(path: &Path) -> Result<Vec<AllowedHost>> {
    let name = printable(&path.display().to_string());
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match read {
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(cause) if cause.kind() == ErrorKind::InvalidData => {
            return Err(Error::malformed(format_args!("{name}: invalid UTF-8")));
        }
        Err(cause) => return Err(Error::local(name, &cause)),
        Ok(size) if size as u64 > MAX_FILE => {
            return Err(Error::malformed(format_args!("{name}: larger than {MAX_FILE} bytes")));
        }
        Ok(_) => {}
    }
    parse(&text).map_err(|(line, why)| Error::malformed(format_args!("{name}: line {line}: {why}")))
}

/// Parses a file. The error has the number of the line.
fn parse(text: &str) -> std::result::Result<Vec<AllowedHost>, (usize, String)> {
    let mut hosts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        if hosts.len() == MAX_HOSTS {
            return Err((index + 1, format!("more than {MAX_HOSTS} hosts")));
        }
        hosts.push(entry.parse().map_err(|why| (index + 1, why))?);
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_includes_its_ports() {
        for (text, host, port, includes) in [
            ("10.0.0.1", "10.0.0.1", 443, true),
            ("10.0.0.1:443", "10.0.0.1", 443, true),
            ("10.0.0.1:443", "10.0.0.1", 80, false),
            ("10.0.0.1", "10.0.0.10", 443, false),
            ("Minio.Example.:9000", "minio.example", 9000, true),
            ("[FD00::1]:80", "fd00::1", 80, true),
            ("[fd00::1]", "fd00::1", 80, true),
            ("a_b:1", "a_b", 1, true),
        ] {
            let allowed: AllowedHost = text.parse().unwrap();
            assert_eq!(allowed.includes(host, port), includes, "{text}");
        }
        for wrong in [
            "", ":80", "a:", "a:0", "a:x", "a:+1", "a:65536", "http://a", "a/b", "*", "fd00::1",
            "a b",
        ] {
            assert!(wrong.parse::<AllowedHost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_has_comments_and_a_limit() {
        let hosts = parse("# storage\n\n 10.0.0.1:9000 # minio\nauth.example\n").unwrap();
        assert_eq!(hosts, ["10.0.0.1:9000", "auth.example"].map(|text| text.parse().unwrap()));
        assert_eq!(parse("a\nb c\n").unwrap_err().0, 2);
        assert_eq!(parse(&"a\n".repeat(MAX_HOSTS)).unwrap().len(), MAX_HOSTS);
        assert_eq!(parse(&"a\n".repeat(MAX_HOSTS + 1)).unwrap_err().0, MAX_HOSTS + 1);
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let path = std::env::temp_dir().join(format!("regutils-allowed-{}", std::process::id()));
        for (size, is_read) in [(MAX_FILE, true), (MAX_FILE + 1, false)] {
            std::fs::write(&path, "\n".repeat(usize::try_from(size).unwrap())).unwrap();
            assert_eq!(read(&path).is_ok(), is_read, "{size}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&path).unwrap(), []);
    }
}
