// SPDX-License-Identifier: Apache-2.0
//! Challenges and tokens: how a registry asks who is there, and the answer.
//!
//! Nothing is sent before a challenge. A Bearer challenge (distribution's token specification) is answered
//! by asking its realm for a token; without credentials that is the anonymous token that public
//! registries want even for public images. A program asks for one token for each set of scopes that it needs and
//! shares it among its connections. Whether a realm may be asked at all is
//! [`url::decide`](super::url::decide)'s word.
//!
//! Not here yet: credentials. They belong between a challenge and the request for a token.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Http, Method, Payload, Request, Response};
use super::retry::Failure;
use super::url::{self, Purpose, Url};
use super::{answer, follow, follow_foreign};
use crate::error::{Error, printable};
use crate::{json, secret};

/// The largest answer of a token server, in bytes.
pub(super) const MAX_TOKEN_BODY: u64 = 128 << 10;

/// What a token lives when its server does not say, or says less.
const MIN_LIFE: Duration = Duration::from_secs(60);

/// The longest life that is believed.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How early a token counts as dead.
const MARGIN: Duration = Duration::from_secs(10);

/// One challenge of a WWW-Authenticate header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A bearer token and when it dies.
#[derive(Clone)]
struct Token {
    header: String,
    dies: Instant,
}

/// What a request needs to be allowed to do, as distribution's token specification spells it:
/// `repository:PATH:ACTION,ACTION`, a repository at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope(Vec<String>);

impl Scope {
    /// Pulling from a repository.
    pub(super) fn pull(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull")])
    }

    /// Pushing to a repository, which takes looking there too.
    pub(super) fn push(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull,push")])
    }

    /// The same and pulling from another repository: what mounting from it takes. The target comes first: some
    /// token servers look at one scope alone.
    pub(super) fn and_pull(&self, path: &str) -> Scope {
        let mut both = self.clone();
        both.add(&format!("repository:{path}:pull"));
        both
    }

    /// Adds what a challenge names: actions are joined where the resource is there already.
    fn add(&mut self, scope: &str) {
        let Some((resource, actions)) = scope.rsplit_once(':') else { return };
        for known in &mut self.0 {
            let Some((name, had)) = known.rsplit_once(':') else { continue };
            if name == resource {
                let mut all: Vec<&str> = had.split(',').chain(actions.split(',')).collect();
                all.sort_unstable();
                all.dedup();
                *known = format!("{resource}:{}", all.join(","));
                return;
            }
        }
        self.0.push(scope.to_owned());
    }
}

/// What is known of a registry's wish to know who is there.
#[derive(Default)]
pub(super) struct Auth {
    /// Whether the registry has answered a request at all: until then only one is under way, so that
    /// many connections learn from one challenge.
    pub(super) settled: bool,
    challenge: Option<Challenge>,
    tokens: Vec<(Scope, Token)>,
}

impl Auth {
    /// The Authorization header to send for a scope: none before a challenge. A token near its end is renewed, and
    /// one that is missing is asked for where the registry is known to want one.
    pub(super) fn header(
        &mut self,
        http: &Http,
        base: &Url,
        scope: &Scope,
    ) -> Result<Option<String>, Failure> {
        let Some(challenge) = self.challenge.clone() else { return Ok(None) };
        if let Some(token) = self.token(scope)
            && token.dies.saturating_duration_since(Instant::now()) >= MARGIN
        {
            return Ok(Some(token.header.clone()));
        }
        self.ask(http, base, &challenge, scope).map(Some)
    }

    fn token(&self, scope: &Scope) -> Option<&Token> {
        self.tokens.iter().find(|(of, _)| of == scope).map(|(_, token)| token)
    }

    /// Answers a 401: the header to send now. `sent` is what the refused request carried; if another
    /// connection has a newer token by now, that one is used.
    pub(super) fn answer(
        &mut self,
        http: &Http,
        base: &Url,
        scope: &Scope,
        refused: &Response,
        sent: Option<&str>,
    ) -> Result<String, Failure> {
        if let Some(token) = self.token(scope)
            && sent != Some(token.header.as_str())
        {
            return Ok(token.header.clone());
        }
        let mut challenges = challenges_of(refused);
        if challenges.is_empty() {
            // Some fronts challenge at the API's root alone.
            let root = base.join("/v2/").map_err(Error::malformed)?;
            let ping = Request::new(Method::Get, &root, &[]);
            challenges = challenges_of(&follow(http, base, ping, None, &mut Payload::None)?);
        }
        let challenge =
            choose(challenges).map_err(|why| Error::refused(why).context(base.authority()))?;
        let header = self.ask(http, base, &challenge, scope)?;
        self.challenge = Some(challenge);
        Ok(header)
    }

    /// Asks a challenge's realm for a token and keeps it; the header that carries it.
    fn ask(
        &mut self,
        http: &Http,
        base: &Url,
        challenge: &Challenge,
        scope: &Scope,
    ) -> Result<String, Failure> {
        let wrong =
            |why: &str| Error::malformed(format_args!("{}: token realm: {why}", base.authority()));
        let realm = challenge.parameter("realm").ok_or_else(|| wrong("the challenge has none"))?;
        let realm = url::decide(Purpose::Realm, base, base, realm).map_err(|e| wrong(&e))?.url;
        let mut query: Vec<(&str, &str)> = Vec::new();
        if let Some(service) = challenge.parameter("service") {
            query.push(("service", service));
        }
        let mut wanted = scope.clone();
        let named = challenge.parameter("scope").unwrap_or_default();
        named.split_ascii_whitespace().for_each(|scope| wanted.add(scope));
        query.extend(wanted.0.iter().map(|scope| ("scope", scope.as_str())));
        let target = realm.with_query(&query).map_err(|e| wrong(&e))?;
        let place = format!("token server {}", target.authority());
        // Not the registry: the settings' own headers are not for it.
        let response = follow_foreign(http, base, &target, &[])
            .map_err(|failure| failure.context("token server"))?;
        if !response.status.is_success() {
            return Err(answer::failure(response, &place));
        }
        let body = response.read(MAX_TOKEN_BODY)?;
        let wrong = |why: String| Failure::from(Error::malformed(format_args!("{place}: {why}")));
        let body =
            body.ok_or_else(|| wrong(format!("an answer of more than {MAX_TOKEN_BODY} bytes")))?;
        let token = token_of(&body).map_err(wrong)?;
        let header = token.header.clone();
        self.tokens.retain(|(of, _)| of != scope);
        self.tokens.push((scope.clone(), token));
        Ok(header)
    }
}

/// Reads a token server's answer.
fn token_of(body: &[u8]) -> Result<Token, String> {
    let document = json::parse_object(body)?;
    let text =
        |key: &str| document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = match (text("token"), text("access_token")) {
        (Some(token), Some(access)) if token != access => {
            return Err("token and access_token differ".to_owned());
        }
        (Some(token), _) | (None, Some(token)) => token,
        (None, None) => return Err("an answer without a token".to_owned()),
    };
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a token that fits no header".to_owned());
    }
    let life = document.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
    let life = life.unwrap_or(MIN_LIFE).clamp(MIN_LIFE, MAX_LIFE);
    secret::keep(token);
    Ok(Token { header: format!("Bearer {token}"), dies: Instant::now() + life })
}

/// The challenge to answer: Bearer. The inner error says why there is none.
fn choose(challenges: Vec<Challenge>) -> Result<Challenge, String> {
    let schemes: Vec<String> = challenges.iter().map(|c| printable(&c.scheme)).collect();
    let mut bearers = challenges.into_iter().filter(|c| c.scheme == "bearer").peekable();
    if let Some(first) = bearers.peek().cloned() {
        // One that names no realm cannot be answered: another may.
        return Ok(bearers.find(|c| c.parameter("realm").is_some()).unwrap_or(first));
    }
    match schemes.as_slice() {
        [] => Err("401 without a challenge".to_owned()),
        schemes if schemes.iter().any(|s| s == "basic") => Err("401: login needed".to_owned()),
        schemes => Err(format!("401: authentication by {} is not supported", schemes.join(", "))),
    }
}

fn challenges_of(response: &Response) -> Vec<Challenge> {
    let headers = response.headers.get_all("www-authenticate");
    headers.iter().filter_map(|value| value.to_str().ok()).flat_map(parse_challenges).collect()
}

/// Reads the challenges of one header (RFC 9110, section 11.6.1): several in one, commas inside quotes,
/// tokens unquoted, empty elements. What is malformed is passed over and does not spoil the rest; of a
/// parameter that comes twice the first counts.
fn parse_challenges(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let (word, after) = split_while(rest, is_token);
        if word.is_empty() {
            // No token where one must be: on to the next element.
            rest = rest.find(',').map_or("", |i| &rest[i..]);
            continue;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        if let (Some(value), Some(challenge)) = (value, challenges.last_mut()) {
            let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
            let name = word.to_ascii_lowercase();
            if challenge.parameter(&name).is_none() {
                challenge.parameters.push((name, value));
            }
            rest = after;
            continue;
        }
        challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
        rest = skip_token68(after.trim_start_matches([' ', '\t'])).unwrap_or(after);
    }
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = split_while(text, |c| !matches!(c, ',' | ' ' | '\t'));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[i + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// What follows a token68, if one stands here alone: it is the whole of its challenge.
fn skip_token68(text: &str) -> Option<&str> {
    let (word, rest) = split_while(text, |c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
    let rest = rest.trim_start_matches('=').trim_start_matches([' ', '\t']);
    (!word.is_empty() && (rest.is_empty() || rest.starts_with(','))).then_some(rest)
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, Vec<(String, String)>)> {
        parse_challenges(text).into_iter().map(|c| (c.scheme, c.parameters)).collect()
    }

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        (scheme.to_owned(), parameters.iter().map(owned).collect())
    }

    #[test]
    fn commas_in_quotes_are_part_of_a_value() {
        assert_eq!(
            parsed(r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#),
            [challenge(
                "bearer",
                &[("realm", "https://a/t"), ("service", "s"), ("scope", "repository:x:pull,push")]
            )]
        );
    }

    #[test]
    fn several_challenges_stand_in_one_header() {
        assert_eq!(
            parsed(r#"Negotiate, NTLM TlRM==, Basic realm="a \"b\"", , BEARER Realm = x ,realm=y"#),
            [
                challenge("negotiate", &[]),
                challenge("ntlm", &[]),
                challenge("basic", &[("realm", "a \"b\"")]),
                challenge("bearer", &[("realm", "x")]),
            ]
        );
    }

    #[test]
    fn what_is_malformed_does_not_spoil_the_rest() {
        assert_eq!(parsed("=x, \"q\", Bearer realm=a"), [challenge("bearer", &[("realm", "a")])]);
        assert_eq!(
            parsed("Bearer realm=\"unterminated"),
            [challenge("bearer", &[("realm", "unterminated")])]
        );
        assert_eq!(parsed(""), []);
        assert_eq!(parsed(",,,"), []);
    }

    #[test]
    fn bearer_is_preferred_and_what_is_missing_is_said() {
        let choose = |text: &str| choose(parse_challenges(text)).map(|c| c.scheme);
        assert_eq!(choose("Basic realm=x, Bearer realm=y"), Ok("bearer".to_owned()));
        assert_eq!(choose("Basic realm=x"), Err("401: login needed".to_owned()));
        assert_eq!(choose(""), Err("401 without a challenge".to_owned()));
        assert!(choose("Negotiate").unwrap_err().contains("negotiate"));
    }

    #[test]
    fn tokens_are_believed_within_limits() {
        let life = |body: &str| token_of(body.as_bytes()).unwrap().dies - Instant::now();
        assert!(life(r#"{"token":"x"}"#) <= MIN_LIFE);
        assert!(life(r#"{"access_token":"x","expires_in":0}"#) > Duration::from_secs(50));
        assert!(life(r#"{"token":"x","expires_in":1000000000000}"#) <= MAX_LIFE);
        assert!(life(r#"{"token":"x","expires_in":"junk"}"#) <= MIN_LIFE);
        for wrong in [
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\nb"}"#,
            r#"{"token":"ä"}"#,
            r#"{"token":"a","access_token":"b"}"#,
            "<html>",
        ] {
            assert!(token_of(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scopes_of_one_resource_are_joined() {
        let mut scope = Scope::push("a/b").and_pull("c");
        for named in ["repository:a/b:pull", "repository:a/b:delete", "junk", "registry:catalog:*"]
        {
            scope.add(named);
        }
        let want = ["repository:a/b:delete,pull,push", "repository:c:pull", "registry:catalog:*"];
        assert_eq!(scope.0, want);
    }
}
