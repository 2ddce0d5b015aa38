// SPDX-License-Identifier: Apache-2.0
//! A registry that sends its clients to somebody who wants their secrets, and the search for them in
//! all that this one was told.
//!
//! Every kind of secret that a client can have has a text of its own here. It is looked for as it is, escaped
//! as in a URL, and inside whatever is base64. Where a server may send a client is judged by the tests.

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

/// Who the user is.
pub const NAME: &str = "somebody";

/// His password.
pub const PASSWORD: &str = "hush+6f1d/word";

/// His identity token.
pub const IDENTITY: &str = "identity+77aa/5c";

/// The bearer token that `$REGISTRY_TOKEN` has.
pub const BEARER: &str = "given-41c9-bearer";

/// The bearer token that the registry's own token server gives.
pub const ISSUED: &str = "issued-0b7e-bearer";

/// What a header that `-H` gives authorizes by.
pub const AUTHORIZED: &str = "header-c3d2-bearer";

/// What other headers carry that `-H` gives.
pub const OWN: [(&str, &str); 2] = [("X-Key", "own-9b3e-key"), ("Cookie", "crumb=own-5d2a-cookie")];

/// All of them.
const SECRETS: [&str; 7] =
    [PASSWORD, IDENTITY, BEARER, ISSUED, AUTHORIZED, "own-9b3e-key", "own-5d2a-cookie"];

/// By what a user shows who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A password that the registry itself wants.
    Password,
    /// A password that its token server wants.
    Login,
    /// An identity token, kept in a file.
    Identity,
    /// A bearer token in the environment.
    Given,
    /// A header of his own.
    Header,
}

impl Who {
    /// Every way.
    pub const ALL: [Who; 5] = [Who::Password, Who::Login, Who::Identity, Who::Given, Who::Header];

    /// Whether a token server is asked.
    pub fn asks(self) -> bool {
        matches!(self, Who::Login | Who::Identity)
    }

    /// The Authorization header that lets in.
    fn key(self) -> String {
        match self {
            Who::Password => basic(NAME, PASSWORD),
            Who::Login | Who::Identity => format!("Bearer {ISSUED}"),
            Who::Given => format!("Bearer {BEARER}"),
            Who::Header => format!("Bearer {AUTHORIZED}"),
        }
    }

    /// Whether a token request shows him.
    pub fn is_shown_by(self, request: &Request) -> bool {
        let body = unescaped(&String::from_utf8_lossy(&request.body), false);
        match self {
            Who::Login => request.header("authorization") == Some(&basic(NAME, PASSWORD)),
            Who::Identity => body.contains(&format!("&refresh_token={IDENTITY}")),
            _ => false,
        }
    }
}

type Detour = Box<dyn Fn(&Request, bool) -> Option<Reply> + Send + Sync>;
type Answer = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A registry that lets in only who shows a secret, and an attacker beside it on other ports.
pub struct Attack {
    /// The registry.
    pub registry: FakeRegistry,
    /// The attacker, by plain http.
    pub plain: Server,
    /// The attacker, by https.
    pub secure: Server,
    who: Arc<Mutex<Who>>,
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
    /// Starts it. The attacker answers all there is with 404, until he is told otherwise.
    pub fn start(by_tls: bool) -> Attack {
        let authority = Authority::new();
        let tls = authority.server().server_config();
        let registry = match by_tls {
            true => FakeRegistry::start_tls(Arc::clone(&tls)),
            false => FakeRegistry::start(),
        };
        let who = Arc::new(Mutex::new(Who::Password));
        let detour: Arc<Mutex<Option<Detour>>> = Arc::default();
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(|_| Reply::new(404))));
        let realm = format!("{}/token", registry.server.url());
        let (of, to) = (Arc::clone(&who), Arc::clone(&detour));
        registry.intake(move |request| {
            let who = *lock(&of);
            let refusal = refuse(who, request, &realm);
            let sent_away =
                lock(&to).as_ref().and_then(|detour| detour(request, refusal.is_none()));
            sent_away.or(refusal).map_or_else(Intake::whole, Intake::instead)
        });
        let by = || {
            let answer = Arc::clone(&answer);
            // What he wants to be told next time as well.
            move |request: &Request| lock(&answer)(request).header("Set-Cookie", "track=1")
        };
        let (plain, secure) = (Server::start(by()), Server::start_tls(tls, by()));
        let home = Scratch::new();
        let kept = json!({"auths": {registry.host(): {"identitytoken": IDENTITY}}});
        keep(&home, ".docker/config.json", &kept);
        let attack =
            Attack { registry, plain, secure, who, detour, answer, authority, home, by_tls };
        attack.fault(|_, right| right);
        attack
    }

    /// From now on the registry's answers, but for its token server's, go through this.
    pub fn fault(&self, fault: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        let who = Arc::clone(&self.who);
        self.registry.fault(move |request, right| match request.path.as_str() {
            "/token" => token(*lock(&who), request),
            _ => fault(request, right),
        });
    }

    /// From now on this is asked first of each request, with whether it would be let in.
    pub fn detour(&self, detour: impl Fn(&Request, bool) -> Option<Reply> + Send + Sync + 'static) {
        *lock(&self.detour) = Some(Box::new(detour));
    }

    /// From now on the attacker answers so.
    pub fn answer(&self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *lock(&self.answer) = Box::new(answer);
    }

    /// A tool that is this user and has headers of his own, in an empty directory if need be.
    pub fn tool(&self, name: &str, who: Who) -> Command {
        self.known(tool(name).args(["--max-wait", "0", "--retry-times", "2"]), who)
    }

    /// What a tool needs to be this user to the registry.
    #[must_use]
    pub fn known(&self, command: Command, who: Who) -> Command {
        *lock(&self.who) = who;
        let command = command.arg("--ca-file").arg(self.authority.certificate());
        let command = if self.by_tls { command } else { command.arg("--plain-http") };
        let command = OWN.iter().fold(command, |command, (name, value)| {
            command.args(["-H", &format!("{name}: {value}")])
        });
        match who {
            Who::Password | Who::Login => {
                command.args(["-u", NAME]).env("REGISTRY_PASSWORD", PASSWORD)
            }
            Who::Identity => command.env("HOME", self.home.path()),
            Who::Given => command.env("REGISTRY_TOKEN", BEARER),
            Who::Header => command.args(["-H", &format!("Authorization: Bearer {AUTHORIZED}")]),
        }
    }

    /// Forgets what was asked so far of all of them.
    pub fn forget(&self) {
        [&self.registry.server, &self.plain, &self.secure].into_iter().for_each(Server::forget);
    }

    /// What the attacker was asked.
    pub fn overheard(&self) -> Vec<Request> {
        [&self.plain, &self.secure].map(Server::requests).concat()
    }

    /// Neither the attacker nor whoever reads the terminal learned a secret, and no request to him so much as
    /// had the headers for one.
    #[track_caller]
    pub fn learned_nothing(&self, run: &Run, what: &str) {
        self.learned_only(run, what, &[]);
    }

    /// The same, where he is a token server by the registry's own word: then he may learn these secrets, for
    /// they are for token servers.
    #[track_caller]
    pub fn learned_only(&self, run: &Run, what: &str, may: &[&str]) {
        for request in self.overheard() {
            let told = secrets_in(&wire(&request));
            let told: Vec<_> = told.into_iter().filter(|secret| !may.contains(secret)).collect();
            assert!(told.is_empty(), "{what}: told {told:?} in {request:#?}\n{run}");
            for name in ["authorization", "cookie", "proxy-authorization", "x-key", "referer"] {
                let may = name == "authorization" && !may.is_empty();
                assert!(may || request.header(name).is_none(), "{what}: {request:#?}\n{run}");
            }
        }
        let named = self.registry.host();
        for request in self.registry.server.requests() {
            let told = secrets_in(&wire(&request));
            let is_other = request.header("host") != Some(&named);
            let is_told = told.iter().any(|secret| !may.contains(secret));
            assert!(!(is_other && is_told), "{what}: told {told:?} in {request:#?}\n{run}");
        }
        let said = [run.stdout.as_slice(), run.stderr.as_bytes()].concat();
        assert_eq!(secrets_in(&said), Vec::<&str>::new(), "{what}: {run}");
    }
}

/// A refusal with this challenge.
fn refused(challenge: &str) -> Reply {
    let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
    reply.header("WWW-Authenticate", challenge)
}

/// What is asked of who is not let in.
fn refuse(who: Who, request: &Request, realm: &str) -> Option<Reply> {
    match request.header("authorization") == Some(&who.key()) {
        _ if request.path == "/token" => None,
        true => None,
        false if who == Who::Password => Some(refused("Basic realm=\"it\"")),
        false => Some(refused(&format!("Bearer realm=\"{realm}\",service=\"it\""))),
    }
}

/// The token server's answer.
fn token(who: Who, request: &Request) -> Reply {
    match who.is_shown_by(request) {
        true => Reply::json(200, &json!({"token": ISSUED, "expires_in": 300})),
        false => refused("Basic realm=\"tokens\""),
    }
}

/// All that a request said, in bytes.
pub fn wire(request: &Request) -> Vec<u8> {
    let mut all = request.target.clone().into_bytes();
    for (name, value) in &request.headers {
        all.extend_from_slice(format!("\n{name}: {value}").as_bytes());
    }
    all.extend_from_slice(b"\n");
    all.extend_from_slice(&request.body);
    all
}

/// The secrets that can be read in this.
pub fn secrets_in(bytes: &[u8]) -> Vec<&'static str> {
    found_in(bytes, &SECRETS)
}

/// Those of some texts that can be read in this, in whatever dress.
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

/// How a text looks inside base64, by where it begins there: what does not depend on its neighbours.
fn in_base64(text: &str) -> [String; 3] {
    // The first and the last letters have bits of others.
    [(0, 0), (1, 2), (2, 3)].map(|(before, start)| {
        let padded = [vec![0; before], text.as_bytes().to_vec()].concat();
        STANDARD_NO_PAD.encode(&padded)[start..padded.len() * 8 / 6].to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_dress() {
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
