// SPDX-License-Identifier: Apache-2.0
//! Token checks: the scopes that a request needs, and the challenge if it has no token for them.

use std::collections::BTreeMap;

use serde_json::json;

use super::{TOKEN, lock};
use crate::fake::{Reply, Request};
use crate::images::sha256;

/// `repository:NAME:ACTIONS`
pub(super) type Scope = String;

/// The tokens issued, and their scopes.
#[derive(Default)]
pub(super) struct Access {
    issued: std::sync::Mutex<BTreeMap<String, Vec<Scope>>>,
}

impl Access {
    /// Issues a token for those scopes of the request that `grants` allows.
    pub(super) fn give(&self, request: &Request, grants: impl Fn(&str) -> bool) -> Reply {
        let asked = request.params("scope").join(" ");
        let granted: Vec<Scope> =
            asked.split(' ').filter(|scope| grants(scope)).map(str::to_owned).collect();
        let token = format!("{TOKEN}{}", &sha256(asked.as_bytes())[7..23]);
        lock(&self.issued).insert(token.clone(), granted);
        Reply::json(200, &json!({"token": token, "expires_in": 300}))
    }

    /// A challenge, unless the request has a token for all scopes that it needs.
    pub(super) fn refuse(&self, request: &Request, name: &str) -> Option<Reply> {
        let needed = needed(request, name);
        let token = request.header("authorization").and_then(|h| h.strip_prefix("Bearer "));
        let granted = token.and_then(|token| lock(&self.issued).get(token).cloned());
        let error = match granted {
            Some(granted) if needed.iter().all(|scope| allows(&granted, scope)) => return None,
            Some(_) => ",error=\"insufficient_scope\"",
            None if token.is_some() => ",error=\"invalid_token\"",
            None => "",
        };
        let host = request.header("host").unwrap_or_default();
        let mut challenge = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
        if !needed.is_empty() {
            challenge.push_str(&format!(",scope=\"{}\"", needed.join(" ")));
        }
        challenge.push_str(error);
        let refusal = Reply::error(401, "UNAUTHORIZED", "authentication required");
        Some(refusal.header("WWW-Authenticate", challenge))
    }
}

/// The scopes that a request needs, as in CNCF Distribution. Cancelling an upload needs `delete`,
/// not the scopes of the upload.
fn needed(request: &Request, name: &str) -> Vec<Scope> {
    if request.path == "/v2/_catalog" {
        return vec!["registry:catalog:*".to_owned()];
    }
    if name.is_empty() {
        return Vec::new();
    }
    let actions = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "pull,push",
    };
    let source = request.param("from").filter(|_| request.is_start());
    let source = source.map(|source| format!("repository:{source}:pull"));
    [format!("repository:{name}:{actions}")].into_iter().chain(source).collect()
}

/// Whether the granted scopes include one that is needed.
fn allows(granted: &[Scope], needed: &str) -> bool {
    let Some((name, actions)) = needed.rsplit_once(':') else { return false };
    let same = granted.iter().filter_map(|scope| scope.rsplit_once(':'));
    let granted: Vec<&str> =
        same.filter(|(n, _)| *n == name).flat_map(|(_, actions)| actions.split(',')).collect();
    actions.split(',').all(|action| granted.contains(&action))
}
