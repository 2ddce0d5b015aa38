// SPDX-License-Identifier: Apache-2.0
//! Challenges: parses a registry's WWW-Authenticate headers and chooses the challenge to answer.
//!
//! Not here: answering a challenge.

use common::error::printable;
use net::response::Response;

/// One challenge of a WWW-Authenticate header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, in lower case.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value. `name` is in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameters, in order.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// Whether this is a Bearer challenge. The only other scheme that is ever chosen is Basic.
    pub(super) fn is_bearer(&self) -> bool {
        self.scheme == "bearer"
    }

    /// The scopes in the challenge.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.parameter("scope").unwrap_or_default().split_ascii_whitespace()
    }
}

/// Chooses the challenge to answer: Bearer if it names a realm, else Basic, else a Bearer challenge
/// without a realm. The inner error says why no challenge can be answered.
pub(super) fn choose(challenges: Vec<Challenge>) -> Result<Challenge, String> {
    let best = |c: &&Challenge| match (c.scheme.as_str(), c.parameter("realm")) {
        ("bearer", Some(_)) => 2,
        ("basic", _) => 1,
        _ => 0,
    };
    // Reversed, because max_by_key returns the last of equal elements and the first is wanted.
    if let Some(found) = challenges.iter().rev().max_by_key(best)
        && matches!(found.scheme.as_str(), "bearer" | "basic")
    {
        return Ok(found.clone());
    }
    if let Some(bearer) = challenges.iter().find(|c| c.is_bearer()) {
        return Ok(bearer.clone());
    }
    let schemes: Vec<String> = challenges.iter().map(|c| printable(&c.scheme)).collect();
    match schemes.as_slice() {
        [] => Err("401 without a challenge".to_owned()),
        schemes => Err(format!("401: authentication by {} is not supported", schemes.join(", "))),
    }
}

/// The challenges in a response.
pub(super) fn challenges_of(response: &Response) -> Vec<Challenge> {
    let headers = response.headers.get_all("www-authenticate");
    headers.iter().filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
}

/// Parses the challenges of one header (RFC 9110, section 11.6.1). Handles several challenges in
/// one header, commas in quotes, unquoted values and empty elements. Malformed elements are
/// skipped; the others are still used. If a parameter is repeated, the first value is used.
pub fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let (word, after) = split_while(rest, is_token);
        if word.is_empty() {
            // A token is missing: skip to the next element.
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

/// Skips a token68 that is the only content of its challenge, and returns the rest. `None` if there
/// is no such token68.
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
        parse(text).into_iter().map(|c| (c.scheme, c.parameters)).collect()
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
    fn one_header_may_have_several_challenges() {
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
    fn malformed_elements_are_skipped() {
        assert_eq!(parsed("=x, \"q\", Bearer realm=a"), [challenge("bearer", &[("realm", "a")])]);
        assert_eq!(
            parsed("Bearer realm=\"unterminated"),
            [challenge("bearer", &[("realm", "unterminated")])]
        );
        assert_eq!(parsed(""), []);
        assert_eq!(parsed(",,,"), []);
    }

    #[test]
    fn bearer_is_preferred_and_errors_name_the_reason() {
        let choose = |text: &str| choose(parse(text)).map(|c| c.scheme);
        assert_eq!(choose("Basic realm=x, Bearer realm=y"), Ok("bearer".to_owned()));
        assert_eq!(choose("Bearer x=y, Basic realm=x"), Ok("basic".to_owned()));
        assert_eq!(choose("Bearer x=y"), Ok("bearer".to_owned()));
        assert_eq!(choose(""), Err("401 without a challenge".to_owned()));
        assert!(choose("Negotiate").unwrap_err().contains("negotiate"));
    }
}
