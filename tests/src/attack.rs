// SPDX-License-Identifier: Apache-2.0
//! A registry that sends its clients to an attacker who wants their secrets, and the search for
//! these secrets in everything that the attacker received.
//!
//! Each kind of secret that a client can have is a different text here. The search finds it
//! verbatim, percent-encoded as in a URL, and inside base64. Not here: the URLs that a client may
//! follow. They are in [`urls`](crate::urls).

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

use crate::certs::Authority;
use crate::fake::{Intake, Reply, Request, Server, unescaped};
use crate::fake_registry::FakeRegistry;
use crate::logins::{basic, keep};
use crate::scratch::Scratch;
use crate::tools::{Command, Run, tool};

/// The user name.
pub const NAME: &str = "somebody";

/// The user's password.
pub const PASSWORD: &str = "hush+6f1d/word";

/// The user's identity token.
pub const IDENTITY: &str = "identity+77aa/5c";

/// The bearer token in `$REGISTRY_TOKEN`.
pub const BEARER: &str = "given-41c9-bearer";

/// The bearer token that the registry's own token server issues.
pub const ISSUED: &str = "issued-0b7e-bearer";

/// The bearer token of an Authorization header given by `-H`.
pub const AUTHORIZED: &str = "header-c3d2-bearer";

/// The other headers given by `-H`.
pub const OWN: [(&str, &str); 2] = [("X-Key", "own-9b3e-key"), ("Cookie", "crumb=own-5d2a-cookie")];

/// All secrets.
const SECRETS: [&str; 7] =
    [PASSWORD, IDENTITY, BEARER, ISSUED, AUTHORIZED, "own-9b3e-key", "own-5d2a-cookie"];

/// The way in which a user authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A password that the registry itself requires.
    Password,
    /// A password that the token server requires.
    Login,
    /// An identity token, stored in a file.
    Identity,
    /// A bearer token in the environment.
    Given,
    /// An Authorization header given by `-H`.
    Header,
}

impl Credential {
    /// All variants.
    pub const ALL: [Credential; 5] = [
        Credential::Password,
        Credential::Login,
        Credential::Identity,
        Credential::Given,
        Credential::Header,
    ];

    /// Whether the tool sends a request to the token server.
    pub fn asks(self) -> bool {
        matches!(self, Credential::Login | Credential::Identity)
    }

    /// The value of the Authorization header that the registry accepts.
    fn key(self) -> String {
        match self {
            Credential::Password => basic(NAME, PASSWORD),
            Credential::Login | Credential::Identity => format!("Bearer {ISSUED}"),
            Credential::Given => format!("Bearer {BEARER}"),
            Credential::Header => format!("Bearer {AUTHORIZED}"),
        }
    }

    /// Whether this token request carries the user's credential.
    pub fn is_shown_by(self, request: &Request) -> bool {
        let body = unescaped(&String::from_utf8_lossy(&request.body), false);
        match self {
            Credential::Login => request.header("authorization") == Some(&basic(NAME, PASSWORD)),
            Credential::Identity => body.contains(&format!("&refresh_token={IDENTITY}")),
            _ => false,
        }
    }
}

type Detour = Box<dyn Fn(&Request, bool) -> Option<Reply> + Send + Sync>;
type Answer = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A registry that requires a secret, and an attacker on other ports of the same host.
pub struct Attack {
    /// The registry.
    pub registry: FakeRegistry,
    /// The attacker, over plain HTTP.
    pub plain: Server,
    /// The attacker, over TLS.
    pub secure: Server,
    credential: Arc<Mutex<Credential>>,
    detour: Arc<Mutex<Option<Detour>>>,
    answer: Arc<Mutex<Answer>>,
    authority: Authority,
    home: Scratch,
    by_tls: bool,
}

impl std::fmt::Debug for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attack({:?})", self.registry)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Attack {
    /// Starts the servers. The attacker responds 404 to every request until [`Attack::answer`]
    /// changes that.
    pub fn start(by_tls: bool) -> Attack {
        let authority = Authority::new();
        let tls = authority.server().server_config();
        let registry =
            if by_tls { FakeRegistry::start_tls(Arc::clone(&tls)) } else { FakeRegistry::start() };
        let credential = Arc::new(Mutex::new(Credential::Password));
        let detour: Arc<Mutex<Option<Detour>>> = Arc::default();
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(|_| Reply::new(404))));
        let realm = format!("{}/token", registry.server.url());
        let of = Arc::clone(&credential);
        let to = Arc::clone(&detour);
        registry.intake(move |request| {
            let credential = *lock(&of);
            let refusal = refuse(credential, request, &realm);
            let sent_away =
                lock(&to).as_ref().and_then(|detour| detour(request, refusal.is_none()));
            sent_away.or(refusal).map_or_else(Intake::whole, Intake::instead)
        });
        let by = || {
            let answer = Arc::clone(&answer);
            // A cookie that a careless client would send with its next request.
            move |request: &Request| lock(&answer)(request).header("Set-Cookie", "track=1")
        };
        let (plain, secure) = (Server::start(by()), Server::start_tls(tls, by()));
        let home = Scratch::new();
        let kept = json!({"auths": {registry.host(): {"identitytoken": IDENTITY}}});
        keep(&home, ".docker/config.json", &kept);
        let attack =
            Attack { registry, plain, secure, credential, detour, answer, authority, home, by_tls };
        attack.fault(|_, right| right);
        attack
    }

    /// From now on `fault` may change every response of the registry, except those of its token
    /// server.
    pub fn fault(&self, fault: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        let credential = Arc::clone(&self.credential);
        self.registry.fault(move |request, right| match request.path.as_str() {
            "/token" => token(*lock(&credential), request),
            _ => fault(request, right),
        });
    }

    /// From now on `detour` receives each request first, with a flag that says whether the registry
    /// would accept it. If `detour` returns a response, the registry sends it instead of its own.
    pub fn detour(&self, detour: impl Fn(&Request, bool) -> Option<Reply> + Send + Sync + 'static) {
        *lock(&self.detour) = Some(Box::new(detour));
    }

    /// Sets the attacker's responses from now on.
    pub fn answer(&self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *lock(&self.answer) = Box::new(answer);
    }

    /// A tool with the user's credential and own headers.
    pub fn tool(&self, name: &str, credential: Credential) -> Command {
        self.known(tool(name).args(["--max-wait", "0", "--retry-times", "2"]), credential)
    }

    /// Adds the options and variables that a command needs to authenticate as this user.
    #[must_use]
    pub fn known(&self, command: Command, credential: Credential) -> Command {
        *lock(&self.credential) = credential;
        let command = command.arg("--ca-file").arg(self.authority.certificate());
        let command = if self.by_tls { command } else { command.arg("--plain-http") };
        let command = OWN.iter().fold(command, |command, (name, value)| {
            command.args(["-H", &format!("{name}: {value}")])
        });
        match credential {
            Credential::Password | Credential::Login => {
                command.args(["-u", NAME]).env("REGISTRY_PASSWORD", PASSWORD)
            }
            Credential::Identity => command.env("HOME", self.home.path()),
            Credential::Given => command.env("REGISTRY_TOKEN", BEARER),
            Credential::Header => {
                command.args(["-H", &format!("Authorization: Bearer {AUTHORIZED}")])
            }
        }
    }

    /// Forgets the requests that the registry and the attacker have received so far.
    pub fn forget(&self) {
        [&self.registry.server, &self.plain, &self.secure].into_iter().for_each(Server::forget);
    }

    /// The requests that the attacker received.
    pub fn received(&self) -> Vec<Request> {
        [&self.plain, &self.secure].map(Server::requests).concat()
    }

    /// Checks that no secret reached the attacker or the terminal. A request to the attacker must
    /// not have any header that could hold a secret.
    #[track_caller]
    pub fn received_no_secret(&self, run: &Run, what: &str) {
        self.received_only(run, what, &[]);
    }

    /// Like [`Attack::received_no_secret`], for an attacker that the registry named as its token
    /// server. The attacker may then receive the secrets in `may`, because they are for token
    /// servers.
    #[track_caller]
    pub fn received_only(&self, run: &Run, what: &str, may: &[&str]) {
        for request in self.received() {
            let found = secrets_in(&wire(&request));
            let found: Vec<_> = found.into_iter().filter(|secret| !may.contains(secret)).collect();
            assert!(found.is_empty(), "{what}: secrets {found:?} in {request:#?}\n{run}");
            for name in ["authorization", "cookie", "proxy-authorization", "x-key", "referer"] {
                let may = name == "authorization" && !may.is_empty();
                assert!(may || request.header(name).is_none(), "{what}: {request:#?}\n{run}");
            }
        }
        let named = self.registry.host();
        for request in self.registry.server.requests() {
            let found = secrets_in(&wire(&request));
            let is_other = request.header("host") != Some(&named);
            let is_leaked = found.iter().any(|secret| !may.contains(secret));
            assert!(!(is_other && is_leaked), "{what}: secrets {found:?} in {request:#?}\n{run}");
        }
        let said = [run.stdout.as_slice(), run.stderr.as_bytes()].concat();
        assert_eq!(secrets_in(&said), Vec::<&str>::new(), "{what}: {run}");
    }
}

/// A 401 response with this challenge.
fn refused(challenge: &str) -> Reply {
    let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
    reply.header("WWW-Authenticate", challenge)
}

/// The 401 response to a request without the right credential; `None` if the request is accepted.
fn refuse(credential: Credential, request: &Request, realm: &str) -> Option<Reply> {
    let is_accepted = request.header("authorization") == Some(&credential.key());
    if is_accepted || request.path == "/token" {
        None
    } else if credential == Credential::Password {
        Some(refused("Basic realm=\"it\""))
    } else {
        Some(refused(&format!("Bearer realm=\"{realm}\",service=\"it\"")))
    }
}

/// The token server's response.
fn token(credential: Credential, request: &Request) -> Reply {
    if credential.is_shown_by(request) {
        Reply::json(200, &json!({"token": ISSUED, "expires_in": 300}))
    } else {
        refused("Basic realm=\"tokens\"")
    }
}

/// A request's target, headers and body, as bytes.
pub fn wire(request: &Request) -> Vec<u8> {
    let mut all = request.target.clone().into_bytes();
    for (name, value) in &request.headers {
        all.extend_from_slice(format!("\n{name}: {value}").as_bytes());
    }
    all.extend_from_slice(b"\n");
    all.extend_from_slice(&request.body);
    all
}

/// The secrets that these bytes contain.
pub fn secrets_in(bytes: &[u8]) -> Vec<&'static str> {
    found_in(bytes, &SECRETS)
}

/// The texts that these bytes contain: verbatim, percent-encoded or in base64.
pub fn found_in<'a>(bytes: &[u8], texts: &[&'a str]) -> Vec<&'a str> {
    let text = String::from_utf8_lossy(bytes);
    let plain = unescaped(&text, false);
    let is_in = |secret: &&&str| {
        plain.contains(**secret)
            || text.contains(**secret)
            || in_base64(secret).iter().any(|form| plain.contains(form) || text.contains(form))
    };
    texts.iter().filter(is_in).copied().collect()
}

/// The forms of a text inside base64 for its three possible offsets, without the characters that
/// depend on its neighbours.
fn in_base64(text: &str) -> [String; 3] {
    // The first and the last character also encode bits of the neighbours.
    [(0, 0), (1, 2), (2, 3)].map(|(before, start)| {
        let padded = [vec![0; before], text.as_bytes().to_vec()].concat();
        STANDARD_NO_PAD.encode(&padded)[start..padded.len() * 8 / 6].to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_encoding() {
        for secret in SECRETS {
            for before in ["", "a", "ab", "abc"] {
                let text = format!("{before}:{secret}:x");
                assert_eq!(secrets_in(text.as_bytes()), [secret]);
                let hidden = STANDARD_NO_PAD.encode(&text);
                assert_eq!(secrets_in(hidden.as_bytes()), [secret], "{text}");
            }
        }
        assert_eq!(secrets_in(b"?refresh_token=identity%2B77aa%2f5c"), [IDENTITY]);
        assert_eq!(secrets_in(b"nothing"), Vec::<&str>::new());
    }
}
