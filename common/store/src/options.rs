// SPDX-License-Identifier: Apache-2.0
//! The network options of the command line, and parsing their values.
//!
//! A tool includes a group of options with clap's `flatten`. Only names, defaults and help texts
//! are defined here; the options take effect in the lower crates.

use std::path::PathBuf;
use std::time::Duration;

use common::error::{Error, Result};
use common::exit;
use common::secret;
use machine::allowed::{self, AllowedHost};
use machine::mirrors::{self, Scheme};
use net::advice::Options;
use net::client::{Attempts, Client};
use net::peer::{ClientCertificate, Peer, Verification};
use net::trace::transcript::Trace;

use crate::Remote;
use crate::login::Login;
pub use crate::login::Stdin;
use crate::place::Mirrors;

/// The options of every tool that uses the network.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Network options")]
pub struct Network {
    /// Use plain HTTP for the registry
    #[arg(long)]
    plain_http: bool,
    /// Do not check the registry's certificate
    #[arg(long, conflicts_with = "plain_http")]
    insecure: bool,
    /// Also trust the certificates in FILE
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Present the client certificate in FILE to the registry
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    cert_file: Option<PathBuf>,
    /// Read the key of the client certificate from FILE, if it is not in --cert-file
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Send this header to the registry (repeatable)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Allow HOST as token server or storage server at a private address, or as storage server
    /// with plain HTTP (repeatable)
    #[arg(long = "allow-host", value_name = "HOST[:PORT]")]
    allowed: Vec<AllowedHost>,
    /// The number of attempts without progress [default: 5, or 2 if connecting times out]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    retry_times: Option<u32>,
    /// The longest wait between attempts; if the registry asks for a longer wait, the run fails
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    max_wait: Duration,
    /// End an attempt if no data arrives for this time
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = positive_seconds)]
    idle_timeout: Duration,
    /// End an attempt to connect after this time
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = positive_seconds)]
    connect_timeout: Duration,
    /// End the complete run after this time
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    timeout: Option<Duration>,
    /// Print the requests to standard error, as curl commands that you can run again
    #[arg(short = 'v', long)]
    trace: bool,
    #[command(flatten)]
    login: Login,
}

impl Network {
    /// The settings for the operand's registry. Starts the time limit of `--timeout`. Reads the
    /// password from stdin if that is requested and stdin is free.
    ///
    /// # Errors
    /// Usage if a header is invalid, or if credentials conflict or are incomplete. Absent,
    /// Malformed or Local if the password file is missing, invalid or cannot be read. Malformed or
    /// Local if a file with allowed hosts is invalid or cannot be read.
    pub fn remote(&self, stdin: Stdin) -> Result<Remote> {
        if let Some(limit) = self.timeout {
            exit::end_after(limit);
        }
        let headers: Vec<_> = self.headers.iter().map(|h| header(h)).collect::<Result<_>>()?;
        headers.iter().for_each(|(name, value)| secret::keep_header(name, value));
        let own = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if own.is_some() && self.login.is_given() {
            return Err(Error::usage("-H Authorization and --username contradict each other"));
        }
        let login = if own.is_some() { None } else { self.login.given(stdin)? };
        let client = Client {
            attempts: Attempts::of(self.retry_times),
            max_wait: self.max_wait,
            idle_timeout: self.idle_timeout,
            connect_timeout: self.connect_timeout,
            ca_file: self.ca_file.clone(),
            authfile: self.login.authfile.clone(),
            allowed: allowed::configured()?,
            trace: self.trace.then(|| Trace::new(exit::trace(), login.as_ref())),
        };
        let verification =
            if self.insecure { Verification::Skipped } else { Verification::Required };
        let certificate = self.cert_file.clone();
        let peer = Peer {
            options: Options::Operand,
            scheme: self.plain_http.then_some(Scheme::Http),
            verification,
            certificate: certificate
                .map(|file| ClientCertificate { file, key: self.key_file.clone() }),
            headers,
            login,
            allowed: self.allowed.clone(),
            ..Peer::unconfigured()
        };
        Ok(Remote { client, peer, mirrors: Mirrors::Configured })
    }
}

/// The options of the tools that can read from mirrors.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Network options")]
pub struct Mirrored {
    /// Ask the mirror MIRROR (HOST[:PORT] or URL) before the registry (repeatable); "none" disables
    /// all mirrors
    #[arg(long = "mirror", value_name = "MIRROR", value_parser = mirrors::check)]
    mirrors: Vec<String>,
}

impl Mirrored {
    /// The option's name, if the option was given.
    pub fn given(&self) -> Option<&'static str> {
        (!self.mirrors.is_empty()).then_some("--mirror")
    }

    /// The given settings with the mirrors from the option.
    ///
    /// # Errors
    /// Usage if `none` is combined with other mirrors.
    pub fn remote(&self, remote: Remote) -> Result<Remote> {
        let is_none = |name: &String| name == "none";
        let mirrors = match self.mirrors.as_slice() {
            [] => Mirrors::Configured,
            [name] if is_none(name) => Mirrors::None,
            names if names.iter().any(is_none) => {
                return Err(Error::usage("--mirror: none and other mirrors contradict each other"));
            }
            names => Mirrors::Named(names.to_vec()),
        };
        Ok(Remote { mirrors, ..remote })
    }
}

/// The options for the registry that `--from` names.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Network options")]
pub struct FromNetwork {
    /// Use plain HTTP for the registry of --from
    #[arg(long, requires = "from")]
    from_plain_http: bool,
    /// Do not check the certificate of the registry of --from
    #[arg(long, requires = "from", conflicts_with = "from_plain_http")]
    from_insecure: bool,
}

impl FromNetwork {
    /// The name of the first of these options that was given.
    pub fn given(self) -> Option<&'static str> {
        match self {
            FromNetwork { from_plain_http: true, .. } => Some("--from-plain-http"),
            FromNetwork { from_insecure: true, .. } => Some("--from-insecure"),
            FromNetwork { .. } => None,
        }
    }

    /// The settings for the registry of `--from`. The settings for the operand's registry apply
    /// only if it is the same registry (`is_same`).
    pub fn remote(self, operand: &Remote, is_same: bool) -> Remote {
        let mut peer = if is_same {
            operand.peer.clone()
        } else {
            Peer { options: Options::From, ..Peer::unconfigured() }
        };
        if self.from_plain_http {
            peer.scheme = Some(Scheme::Http);
        }
        if self.from_insecure && peer.verification == Verification::Required {
            peer.verification = Verification::Skipped;
        }
        Remote { client: operand.client.clone(), peer, mirrors: Mirrors::Configured }
    }
}

fn header(text: &str) -> Result<(String, String)> {
    let wrong = || Error::usage("--header: expected \"NAME: VALUE\"");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let visible = |c: char| c == '\t' || (' '..='~').contains(&c);
    if name.is_empty() || !name.bytes().all(token) || !value.chars().all(visible) {
        return Err(wrong());
    }
    if FRAMING.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(Error::usage(format_args!("--header: {name} cannot be set")));
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// Headers that frame a message or determine its destination. With a wrong value, a peer could wait
/// forever, or a response could be assigned to another request.
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Parses a number of seconds greater than 0.
fn positive_seconds(text: &str) -> std::result::Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("must be greater than 0".to_owned()),
        some => Ok(some),
    }
}

/// Parses a number of seconds, which may have a fraction.
fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("invalid number of seconds: {text}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("invalid number of seconds: {text}"))
}
