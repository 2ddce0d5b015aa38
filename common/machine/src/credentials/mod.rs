// SPDX-License-Identifier: Apache-2.0
//! Credentials from the command line, from the user's files and from credential helpers.
//!
//! | module | owns |
//! |---|---|
//! | `files` | the credential files of docker and the containers tools |
//! | `keys` | matching the keys of such a file with a repository |
//! | `helper` | credential helper programs: the protocol of docker-credential-helpers |
//!
//! A lookup is made only after a registry has asked for credentials. A source that cannot be read
//! is skipped with a warning, so that it does not break a request that needs no credential. If the
//! registry then refuses access, the hint of the error repeats the reason. Nothing is ever written.
//!
//! Not here: the choice of the server to which a credential is sent (in `auth` of the crate
//! `registry`).

mod files;
mod helper;
mod keys;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::notice;
use common::reference::Repository;
use common::secret;

/// A credential for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password.
    Password {
        /// The user name, without a colon.
        user: String,
        /// The password.
        password: String,
    },
    /// An identity token, which a token server exchanges for bearer tokens.
    Identity {
        /// The user name stored with the token, if any.
        user: Option<String>,
        /// The token.
        token: String,
    },
    /// A bearer token, sent unchanged.
    Bearer(String),
}

impl Credential {
    /// Makes a credential from a user name and a password, and registers the password as a secret.
    ///
    /// # Errors
    /// A sentence, if the name is empty or has a colon: HTTP Basic authentication ends the name at
    /// the first colon.
    pub fn password(user: &str, password: &str) -> Result<Credential, String> {
        if user.is_empty() {
            return Err("empty user name".to_owned());
        }
        if user.contains(':') {
            return Err("the user name contains a colon".to_owned());
        }
        secret::keep(password);
        Ok(Credential::Password { user: user.to_owned(), password: password.to_owned() })
    }

    /// Makes a credential from a bearer token, and registers the token as a secret.
    ///
    /// # Errors
    /// A sentence, if the token cannot be sent in a header.
    pub fn bearer(token: &str) -> Result<Credential, String> {
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("invalid token: empty, or not printable ASCII without spaces".to_owned());
        }
        secret::keep(token);
        Ok(Credential::Bearer(token.to_owned()))
    }

    /// Makes a credential from an identity token and the user name stored with it, which may be
    /// empty.
    fn identity(user: &str, token: &str) -> Credential {
        secret::keep(token);
        let user = Some(user).filter(|user| !user.is_empty() && *user != "<token>");
        Credential::Identity { user: user.map(str::to_owned), token: token.to_owned() }
    }
}

impl fmt::Debug for Credential {
    /// Shows only the kind, never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password { .. } => "Password",
            Credential::Identity { .. } => "Identity",
            Credential::Bearer(_) => "Bearer",
        })
    }
}

/// A credential given by the command line or the environment, for one registry only.
#[derive(Clone, Debug)]
pub struct Given {
    /// The credential.
    pub credential: Credential,
    /// The option or variable that gave it, for messages.
    pub origin: String,
}

/// The result of a lookup for a repository.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// The credential; `None` means anonymous.
    pub credential: Option<Credential>,
    /// The source of the credential, for messages.
    pub origin: String,
    /// The sources that could not be read, each with the reason.
    pub unread: Vec<String>,
}

/// Looks up the credential of a repository in the user's files. The first file that has one is
/// used. `authfile` replaces the default files. A credential helper may take `patience` at most.
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
            found.credential = Some(credential);
            found.origin = format!("docker-credential-{helper}");
            return found;
        }
        match entries.credential(repository) {
            Ok(Some(credential)) => {
                file.warn_if_open();
                found.credential = Some(credential);
                found.origin = file.path.display().to_string();
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

/// The mode of a file, if it lets other users read the file.
pub(crate) fn open_to_others(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    (metadata.is_file() && mode & 0o044 != 0).then_some(mode)
}

/// Warns if other users can read a file that holds a secret.
pub fn warn_if_open(path: &Path) {
    if let Some(mode) = std::fs::metadata(path).ok().as_ref().and_then(open_to_others) {
        notice::warn("open", || {
            format!("{}: others can read it (mode {mode:04o})", path.display())
        });
    }
}

/// The user's configuration directory by the XDG Base Directory specification. A relative path is
/// ignored.
pub fn config_home() -> Option<PathBuf> {
    let config = directory("XDG_CONFIG_HOME");
    let config = config.or_else(|| directory("HOME").map(|home| home.join(".config")));
    config.filter(|config| config.is_absolute())
}

/// The path in an environment variable; `None` if it is unset or empty.
pub(super) fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let shown = format!("{:?}", Credential::password("me", "open sesame"));
        assert_eq!(shown, "Ok(Password)");
    }

    #[test]
    fn invalid_credentials_are_refused() {
        assert!(Credential::password("a:b", "x").is_err());
        assert!(Credential::password("", "x").is_err());
        for wrong in ["", "a b", "a\nb", "ä"] {
            assert!(Credential::bearer(wrong).is_err(), "{wrong}");
        }
    }
}
