// SPDX-License-Identifier: Apache-2.0
//! A token server for a real registry: RSA-signed JSON web tokens, made by the `openssl` command.
//!
//! A request with the right user name and password gets a token for the scope it asks for; an
//! anonymous request gets a token for pulling only. The clock does not matter: a token is valid for
//! many years, or expired many years ago.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::fake::{Reply, Request, Server};
use crate::logins::has_login;
use crate::peers::{must, peer};
use crate::scratch::Scratch;

/// The issuer of its tokens.
pub const ISSUER: &str = "a-test";

/// A token server that runs until it is dropped.
pub struct TokenServer {
    /// The HTTP server, which records the requests.
    pub server: Server,
    keys: Arc<Scratch>,
    expired: Arc<AtomicUsize>,
}

impl TokenServer {
    /// Starts a token server with a new key.
    #[expect(clippy::new_without_default, reason = "it runs a program")]
    pub fn new() -> TokenServer {
        let keys = Arc::new(Scratch::new());
        let mut openssl = peer("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "36500"]);
        openssl.args(["-subj", "/CN=a test", "-keyout", "key.pem", "-out", "cert.pem"]);
        must(openssl.current_dir(keys.path()));
        let expired = Arc::new(AtomicUsize::new(0));
        let own = Arc::clone(&keys);
        let next = Arc::clone(&expired);
        let server = Server::start(move |request| {
            let one_less = |left: usize| left.checked_sub(1);
            let is_expired =
                next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
            answer(request, &own, is_expired)
        });
        TokenServer { server, keys, expired }
    }

    /// Makes the next `count` tokens expired ones.
    pub fn next_are_expired(&self, count: usize) {
        self.expired.store(count, Ordering::SeqCst);
    }

    /// The certificate that verifies its tokens.
    pub fn certificate(&self) -> PathBuf {
        self.keys.join("cert.pem")
    }
}

impl std::fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenServer({})", self.server.url())
    }
}

fn answer(request: &Request, keys: &Scratch, is_expired: bool) -> Reply {
    if request.header("authorization").is_some() && !has_login(request) {
        return Reply::error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    let access: Vec<Value> = request
        .params("scope")
        .iter()
        .flat_map(|scopes| scopes.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let allowed = |action: &&str| has_login(request) || *action == "pull";
            let actions: Vec<&str> = actions.split(',').filter(allowed).collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let expiry = if is_expired { 1_000_000_000_u64 } else { 4_102_444_800 };
    let claims = json!({
        "iss": ISSUER, "sub": "me", "aud": "a test", "exp": expiry, "nbf": 0, "iat": 0,
        "jti": "1", "access": access,
    });
    Reply::json(200, &json!({"token": signed(&claims, keys), "expires_in": 300}))
}

/// A JSON web token (RFC 7519) signed with RS256.
fn signed(claims: &Value, keys: &Scratch) -> String {
    let pem = std::fs::read_to_string(keys.join("cert.pem")).unwrap();
    let chain: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let head = json!({"alg": "RS256", "typ": "JWT", "x5c": [chain]});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&head), part(claims));
    let mut openssl = peer("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(keys.join("key.pem"));
    let mut signing = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    signing.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let signature = signing.wait_with_output().unwrap().stdout;
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
