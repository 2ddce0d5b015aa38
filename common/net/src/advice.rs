// SPDX-License-Identifier: Apache-2.0
//! Hints for failures that an option or a file could prevent. A hint names only options that apply
//! to the host of the failure: options for the operand's registry do not apply to the registry of
//! `--from`.

/// The hint for a certificate of an unknown authority. `--ca-file` applies to all hosts.
pub(crate) const UNKNOWN_AUTHORITY: &str = "--ca-file FILE trusts this authority, and so does a \
                                            .crt file in the host's certs.d directory";

/// The options of the command line that apply to an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Options {
    /// All of them: the registry of the operand.
    Operand,
    /// `--from-plain-http` and `--from-insecure`: the registry of `--from`.
    From,
    /// None: a mirror, a token server, a storage server.
    #[default]
    None,
}

impl Options {
    /// The hint for a host that does not use TLS.
    pub(crate) fn without_tls(self) -> Option<String> {
        let option = match self {
            Options::Operand => "--plain-http",
            Options::From => "--from-plain-http",
            Options::None => return None,
        };
        Some(format!(
            "{option} uses http for this host, and so does \"insecure = true\" in registries.conf"
        ))
    }

    /// The hint for a missing client certificate.
    pub fn client_certificate(self) -> &'static str {
        match self {
            Options::Operand => "--cert-file FILE and --key-file FILE present a client certificate",
            Options::From | Options::None => {
                "a .cert and a .key file in the host's certs.d directory present a client \
                 certificate"
            }
        }
    }

    /// The hint for a host that a server named and that is not allowed.
    pub(crate) fn allow(self, host: &str) -> String {
        match self {
            Options::Operand => format!("--allow-host {host} permits this host"),
            Options::From | Options::None => {
                format!("a line {host} in ~/.config/regutils/allowed-hosts permits this host")
            }
        }
    }

    /// The hint for a registry that requires a login.
    pub fn login(self, host: &str) -> String {
        let stored = format!("store credentials with podman login {host} or docker login {host}");
        match self {
            Options::Operand => format!("use -u NAME, or {stored}"),
            Options::From | Options::None => stored,
        }
    }
}
