// SPDX-License-Identifier: Apache-2.0
//! Credentials: those that the command line gives, or that the user keeps already.
//!
//! | module | owns |
//! |---|---|
//! | `files` | where docker and the containers tools keep them, and how |
//! | `keys` | which of a file's keys are for a repository |
//! | `helper` | programs that keep them: docker-credential-helpers' protocol |
//!
//! They are looked for only when a registry has asked. What cannot be read is warned of and passed
//! over, so that it never breaks what needs no credentials; a refusal says it again. Nothing is
//! ever written.
//!
//! Not here: to whom they are sent, which is `auth`'s word.

mod files;
mod helper;
mod keys;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::notice;
use common::reference::Repository;
use common::secret;

/// Who the user is to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name, without a colon.
        user: String,
        /// The password.
        password: String,
    },
    /// An identity token: good for getting bearer tokens at a token server.
    Identity {
        /// The name that stands beside it, if one does.
        user: Option<String>,
        /// The token.
        token: String,
    },
    /// A bearer token: sent as it is.
    Bearer(String),
}

impl Credential {
    /// A name and a password.
    ///
    /// # Errors
    /// A sentence: HTTP's Basic authentication ends the name at the first colon.
    pub fn password(user: &str, password: &str) -> Result<Credential, String> {
        if user.is_empty() {
            return Err("an empty user name".to_owned());
        }
        if user.contains(':') {
            return Err("a colon in the user name".to_owned());
        }
        secret::keep(password);
        Ok(Credential::Password { user: user.to_owned(), password: password.to_owned() })
    }

    /// A bearer token.
    ///
    /// # Errors
    /// A sentence, when it cannot be part of a header.
    pub fn bearer(token: &str) -> Result<Credential, String> {
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a token that fits no header".to_owned());
        }
        secret::keep(token);
        Ok(Credential::Bearer(token.to_owned()))
    }

    /// An identity token, with the name that stands beside it, if one does.
    fn identity(user: &str, token: &str) -> Credential {
        secret::keep(token);
        let user = Some(user).filter(|user| !user.is_empty() && *user != "<token>");
        Credential::Identity { user: user.map(str::to_owned), token: token.to_owned() }
    }
}

impl fmt::Debug for Credential {
    /// Which kind it is, and nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password { .. } => "Password",
            Credential::Identity { .. } => "Identity",
            Credential::Bearer(_) => "Bearer",
        })
    }
}

/// A credential that the command line or the environment gives, for one registry alone.
#[derive(Clone, Debug)]
pub struct Given {
    /// The credential.
    pub credential: Credential,
    /// How it was given, in words.
    pub origin: String,
}

/// What was found for a repository.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// The credential; nothing for nobody.
    pub credential: Option<Credential>,
    /// Where it was found, in words.
    pub origin: String,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// Looks for the credential of a repository in the user's files: the first that has one. `authfile`
/// is read instead of the default places; a credential helper may take as long as `patience`.
pub fn find(repository: &Repository, authfile: Option<&Path>, patience: Duration) -> Lookup {
    let mut found = Lookup::default();
    for file in files::places(authfile) {
        let entries = match file.read() {
            Ok(Some(entries)) => entries,
            Ok(None) => continue,
            Err(why) => {
                found.pass_over("authfile", why);
                continue;
            }
        };
        let asked = entries.helpers(repository).into_iter().find_map(|(helper, name)| {
            match helper::ask(&helper, &name, patience) {
                Ok(credential) => credential.map(|credential| (credential, helper)),
                Err(why) => {
                    found.pass_over("helper", format!("docker-credential-{helper}: {why}"));
                    None
                }
            }
        });
        if let Some((credential, helper)) = asked {
            (found.credential, found.origin) =
                (Some(credential), format!("docker-credential-{helper}"));
            return found;
        }
        match entries.credential(repository) {
            Ok(Some(credential)) => {
                file.warn_if_open();
                (found.credential, found.origin) =
                    (Some(credential), file.path.display().to_string());
                return found;
            }
            Ok(None) => {}
            Err(why) => found.pass_over("authfile", format!("{}: {why}", file.path.display())),
        }
    }
    found
}

impl Lookup {
    fn pass_over(&mut self, kind: &'static str, why: String) {
        notice::say(kind, &format!("credentials not read: {why}"));
        self.unread.push(why);
    }
}

/// Whether other people may read a file, by its mode: then its mode.
pub(crate) fn open_to_others(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    (metadata.is_file() && mode & 0o044 != 0).then_some(mode)
}

/// Warns of a file with a secret that other people may read.
pub fn warn_if_open(path: &Path) {
    if let Some(mode) = std::fs::metadata(path).ok().as_ref().and_then(open_to_others) {
        notice::warn("open", || {
            format!("{}: others can read it (mode {mode:04o})", path.display())
        });
    }
}

/// Where the user keeps configuration, by the XDG Base Directory specification: a relative path is
/// none.
pub fn config_home() -> Option<PathBuf> {
    let config = directory("XDG_CONFIG_HOME");
    let config = config.or_else(|| directory("HOME").map(|home| home.join(".config")));
    config.filter(|config| config.is_absolute())
}

/// A directory that a variable names; nothing when it is empty.
pub(super) fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_shows_nothing_of_itself() {
        let shown = format!("{:?}", Credential::password("me", "open sesame"));
        assert_eq!(shown, "Ok(Password)");
    }

    #[test]
    fn what_fits_no_header_is_refused() {
        assert!(Credential::password("a:b", "x").is_err());
        assert!(Credential::password("", "x").is_err());
        for wrong in ["", "a b", "a\nb", "ä"] {
            assert!(Credential::bearer(wrong).is_err(), "{wrong}");
        }
    }
}
