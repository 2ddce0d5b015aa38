// SPDX-License-Identifier: Apache-2.0
//! The command-line options for credentials, and reading the sources that they name.
//!
//! A password is read from stdin, a file or the environment. The password itself cannot be given as
//! an option, because every user of a machine can read its command lines. A credential that is
//! given here is used only for the operand's registry.

use std::io::Read;
use std::path::{Path, PathBuf};

use common::error::{Error, Result};
use common::lines::NO_INPUT;
use common::stdio;
use machine::credentials::{Credential, Given, warn_if_open};

/// The maximum length of a password, in bytes.
const MAX_PASSWORD: u64 = 64 << 10;

/// Whether stdin is the run's input. If so, no password can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// Stdin is the run's input.
    Data,
    /// Stdin is not used.
    Free,
}

impl Stdin {
    /// `Free` if a file is named, else `Data`. The name `-` means stdin.
    pub fn unless(file: Option<&Path>) -> Stdin {
        match file {
            Some(path) if path.as_os_str() != "-" => Stdin::Free,
            _ => Stdin::Data,
        }
    }
}

/// The options for credentials.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Network options")]
pub(super) struct Login {
    /// Read credentials only from FILE
    #[arg(long, value_name = "FILE")]
    pub(super) authfile: Option<PathBuf>,
    /// Log in to the registry as NAME
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username", conflicts_with = "password_file")]
    password_stdin: bool,
    /// Read the password from FILE
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
}

impl Login {
    /// Whether a user name was given.
    pub(super) fn is_given(&self) -> bool {
        self.username.is_some()
    }

    /// The credential from the options, or else from the environment.
    ///
    /// # Errors
    /// Usage if a user name is given without a password, if the password would be read from stdin
    /// and stdin is the run's input, or if a header cannot contain the credential. Absent,
    /// Malformed or Local if the password file is missing, invalid or cannot be read. Absent if the
    /// `--authfile` file does not exist.
    pub(super) fn given(&self, stdin: Stdin) -> Result<Option<Given>> {
        if let Some(file) = &self.authfile
            && !file.exists()
        {
            let file = file.display();
            let what = format_args!("--authfile {file}: no such file");
            return Err(Error::absent(what));
        }
        let Some(user) = &self.username else { return token() };
        let credential = |password: &str| {
            Credential::password(user, password)
                .map_err(|why| Error::usage(format_args!("--username: {why}")))
        };
        // Checks the user name before the password is read.
        credential("")?;
        let (password, origin) = match &self.password_file {
            Some(file) if file.as_os_str() != "-" => {
                warn_if_open(file);
                (from_file(file)?, "--password-file")
            }
            None if !self.password_stdin => (from_environment()?, "$REGISTRY_PASSWORD"),
            _ if stdin == Stdin::Data => {
                let what = "no password from standard input: this run reads its data there";
                let hint = "use --password-file or $REGISTRY_PASSWORD";
                return Err(Error::usage(what).hint(hint));
            }
            _ => (from("standard input", stdio::stdin()?)?, "--password-stdin"),
        };
        let origin = format!("--username and {origin}");
        Ok(Some(Given { credential: credential(&password)?, origin }))
    }
}

/// The bearer token in the environment.
fn token() -> Result<Option<Given>> {
    let Some(token) = variable("REGISTRY_TOKEN")? else { return Ok(None) };
    let credential = Credential::bearer(&token)
        .map_err(|why| Error::usage(format_args!("$REGISTRY_TOKEN: {why}")))?;
    Ok(Some(Given { credential, origin: "$REGISTRY_TOKEN".to_owned() }))
}

fn from_environment() -> Result<String> {
    variable("REGISTRY_PASSWORD")?.ok_or_else(|| {
        Error::usage("--username without a password")
            .hint("use --password-stdin, --password-file or $REGISTRY_PASSWORD")
    })
}

/// The value of an environment variable; `None` if it is unset or empty.
fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::usage(format_args!("${name}: not UTF-8")))
        }
    }
}

fn from_file(file: &Path) -> Result<String> {
    let name = file.display().to_string();
    match std::fs::File::open(file) {
        Ok(opened) => from(&name, opened),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::absent(format_args!("--password-file {name}: no such file")))
        }
        Err(cause) => Err(Error::local(format_args!("read {name}"), &cause)),
    }
}

/// Reads a password and removes one line end.
fn from(name: &str, input: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    input
        .take(MAX_PASSWORD + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| Error::local(format_args!("read {name}"), &cause))?;
    let wrong = |why: &str| Error::malformed(format_args!("password: {name}: {why}"));
    if bytes.len() as u64 > MAX_PASSWORD {
        return Err(wrong(&format!("more than {MAX_PASSWORD} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8"))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password {
        "" => Err(wrong(NO_INPUT)),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::error::Status;

    fn read(text: &[u8]) -> std::result::Result<String, Status> {
        from("it", text).map_err(|error| error.status())
    }

    #[test]
    fn a_password_does_not_include_the_end_of_its_line() {
        for text in ["a b", "a b\n", "a b\r\n"] {
            assert_eq!(read(text.as_bytes()), Ok("a b".to_owned()));
        }
        assert_eq!(read(b"a\n\n"), Ok("a\n".to_owned()));
        for nothing in [&b""[..], b"\n", b"\r\n", b"\xff"] {
            assert_eq!(read(nothing), Err(Status::Malformed));
        }
    }

    #[test]
    fn a_password_is_bounded_at_the_limit() {
        let of = |len: u64| "x".repeat(usize::try_from(len).unwrap());
        assert_eq!(read(of(MAX_PASSWORD).as_bytes()), Ok(of(MAX_PASSWORD)));
        assert_eq!(read(of(MAX_PASSWORD + 1).as_bytes()), Err(Status::Malformed));
    }
}
