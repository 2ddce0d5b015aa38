// SPDX-License-Identifier: Apache-2.0
//! The credential files of docker and the containers tools. They are read and never written.
//!
//! Both use one format: `auths` has the credentials themselves, and `credHelpers` and `credsStore`
//! name the helper programs that store credentials.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use common::error::os_message;
use common::json;
use common::reference::Repository;
use serde_json::{Map, Value};

use super::{Credential, config_home, directory, keys, warn_if_open};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// base64, with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A file that may hold credentials.
pub(super) struct AuthFile {
    /// The file.
    pub(super) path: PathBuf,
    /// Whether the user named the file. If so, it is an error if the file is missing.
    named: bool,
}

/// The files that may hold credentials, in order. If a flag or else the environment names a file,
/// only that file is used. Otherwise the files are those of the containers tools, then docker's.
pub(super) fn places(authfile: Option<&Path>) -> Vec<AuthFile> {
    if let Some(path) = authfile.map(Path::to_owned).or_else(|| directory("REGISTRY_AUTH_FILE")) {
        return vec![AuthFile { path, named: true }];
    }
    let home = directory("HOME");
    let runtime = directory("XDG_RUNTIME_DIR").map(|dir| dir.join("containers")).or_else(|| {
        let user = rustix::process::getuid().as_raw();
        Some(PathBuf::from(format!("/run/containers/{user}")))
    });
    let config = config_home().map(|dir| dir.join("containers"));
    let docker = directory("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    let containers = [runtime, config].into_iter().flatten().map(|dir| dir.join("auth.json"));
    let all = containers.chain(docker.map(|dir| dir.join("config.json")));
    all.map(|path| AuthFile { path, named: false }).collect()
}

impl AuthFile {
    /// Reads the file; `None` if a default file does not exist.
    ///
    /// # Errors
    /// A sentence with the file's name, if the file cannot be read or is invalid.
    pub(super) fn read(&self) -> Result<Option<Entries>, String> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let shown = self.path.display();
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        match read {
            Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) && !self.named => {
                return Ok(None);
            }
            Err(cause) => return Err(format!("{shown}: {}", os_message(&cause))),
            Ok(n) if n as u64 > MAX_FILE => {
                return Err(format!("{shown}: larger than {MAX_FILE} bytes"));
            }
            Ok(_) => {}
        }
        // An empty file has no credentials, as for podman. With `--authfile /dev/null`, requests
        // are anonymous.
        if bytes.trim_ascii().is_empty() {
            return Ok(Some(Entries(Map::new())));
        }
        let document = json::parse_object(&bytes).map_err(|why| format!("{shown}: {why}"))?;
        Ok(Some(Entries(document)))
    }

    /// Warns if other users can read the file.
    pub(super) fn warn_if_open(&self) {
        warn_if_open(&self.path);
    }
}

/// The content of a credential file.
pub(super) struct Entries(Map<String, Value>);

impl Entries {
    /// The helpers to ask about a repository's registry, each with the registry name to send, in
    /// order. The helper for all registries is asked only if no helper is configured for this
    /// registry.
    pub(super) fn helpers(&self, repository: &Repository) -> Vec<(String, String)> {
        let own = self.0.get("credHelpers").and_then(Value::as_object);
        let own = own.into_iter().flatten().filter_map(|(key, helper)| {
            // A helper is for a registry, not for a repository: keys with a path are ignored.
            Some((keys::fit(key, repository).filter(|fit| *fit <= 1)?, helper.as_str()?))
        });
        let own = own.filter(|(_, helper)| !helper.is_empty()).max_by_key(|(fit, _)| *fit);
        let all = self.0.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty());
        let Some(helper) = own.map(|(_, helper)| helper).or(all) else { return Vec::new() };
        keys::names(repository).into_iter().map(|name| (helper.to_owned(), name)).collect()
    }

    /// The credential in this file for a repository: that of the most specific key that has one.
    ///
    /// # Errors
    /// A sentence, if the entry of a matching key is invalid.
    pub(super) fn credential(&self, repository: &Repository) -> Result<Option<Credential>, String> {
        let auths = self.0.get("auths").and_then(Value::as_object);
        let fits = auths.into_iter().flatten();
        let mut fits: Vec<(usize, &String, &Value)> = fits
            .filter_map(|(key, value)| Some((keys::fit(key, repository)?, key, value)))
            .collect();
        fits.sort_by_key(|(fit, ..)| std::cmp::Reverse(*fit));
        for (_, key, value) in fits {
            if let Some(credential) = entry(value).map_err(|why| format!("\"{key}\": {why}"))? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// The credential of one key. Docker leaves an empty entry if a helper stores the credential.
fn entry(value: &Value) -> Result<Option<Credential>, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("registrytoken") {
        return Credential::bearer(token).map(Some);
    }
    let pair = match (text("auth"), text("username")) {
        (Some(auth), _) => {
            let decoded = LENIENT.decode(auth.trim()).ok().and_then(|b| String::from_utf8(b).ok());
            let decoded = decoded.ok_or("its \"auth\" is not base64 text")?;
            let pair = decoded.split_once(':').ok_or("its \"auth\" has no colon")?;
            // Old versions of docker padded the password with NUL characters.
            Some((pair.0.to_owned(), pair.1.trim_end_matches('\0').to_owned()))
        }
        (None, Some(user)) => {
            Some((user.to_owned(), text("password").unwrap_or_default().to_owned()))
        }
        (None, None) => None,
    };
    let user = pair.as_ref().map_or("", |(user, _)| user.as_str());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credential::identity(user, token)));
    }
    match &pair {
        Some((user, token)) if user == "<token>" && !token.is_empty() => {
            Ok(Some(Credential::identity(user, token)))
        }
        Some((user, password)) if !user.is_empty() || !password.is_empty() => {
            Credential::password(user, password).map(Some)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn password(user: &str, password: &str) -> Credential {
        Credential::password(user, password).unwrap()
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        let read = |value: Value| entry(&value).unwrap();
        assert_eq!(read(json!({"auth": "bWU6YTpi"})), Some(password("me", "a:b")));
        assert_eq!(read(json!({"auth": "bWU6cA"})), Some(password("me", "p")));
        assert_eq!(read(json!({"auth": "bWU6cAAA"})), Some(password("me", "p")));
        assert_eq!(read(json!({"username": "me", "password": "p"})), Some(password("me", "p")));
        assert_eq!(read(json!({"registrytoken": "t"})), Some(Credential::Bearer("t".to_owned())));
        let identity = |user: Option<&str>| Credential::Identity {
            user: user.map(str::to_owned),
            token: "idt".to_owned(),
        };
        assert_eq!(
            read(json!({"auth": "bWU6", "identitytoken": "idt"})),
            Some(identity(Some("me")))
        );
        assert_eq!(read(json!({"auth": "PHRva2VuPjppZHQ="})), Some(identity(None)));
        for nothing in [json!({}), json!(null), json!({"auth": ""}), json!({"auth": 1}), json!([])]
        {
            assert_eq!(read(nothing), None);
        }
    }

    #[test]
    fn errors_do_not_show_the_entry() {
        for wrong in ["%%%", "bWU=", "/w=="] {
            let why = entry(&json!({"auth": wrong})).unwrap_err();
            assert!(why.starts_with("its \"auth\"") && !why.contains(wrong), "{why}");
        }
        assert!(entry(&json!({"registrytoken": "a b"})).is_err());
    }
}
