// SPDX-License-Identifier: Apache-2.0
//! The body of an error response: the specification's JSON, other JSON, XML, HTML, plain text or
//! empty.
//!
//! A body can contain several errors. Some registries put general ones first (`UNKNOWN`), so the
//! first error with a specific code is reported.

use common::digest::Digest;
use serde_json::Value;

/// The longest detail and the longest plain text that are part of a message, in bytes.
const MAX_TEXT: usize = 200;

/// The contents of an error body.
#[derive(Default)]
pub struct ErrorBody {
    /// The specification's error code, or the field with the same purpose in other formats. Empty
    /// if there is none.
    pub code: String,
    /// The message, and a short textual `detail`. Empty if there is none.
    pub message: String,
    /// The digests in the errors' `detail` fields.
    pub digests: Vec<String>,
    /// The digests in the errors' messages.
    pub said_digests: Vec<String>,
}

impl ErrorBody {
    /// Reads an error body. Never fails: if the format is unknown, all fields are empty.
    pub(super) fn parse(body: &[u8]) -> ErrorBody {
        let text = String::from_utf8_lossy(body);
        // serde_json's lenient reader is enough here, because the body only explains the status.
        if let Ok(document) = serde_json::from_str::<Value>(&text) {
            let errors = document.get("errors").and_then(Value::as_array);
            let errors = errors.filter(|errors| !errors.is_empty());
            let errors = errors.map_or(std::slice::from_ref(&document), Vec::as_slice);
            let all: Vec<Said> = errors.iter().map(Said::of).collect();
            let said = all.iter().find(|said| said.is_specific());
            let said = said.or(all.iter().find(|said| !said.message.is_empty())).or(all.first());
            let said_digests = all.iter().flat_map(|said| digests_in(said.message)).collect();
            return ErrorBody {
                code: said.map_or("", |said| said.code).to_owned(),
                message: said.map(Said::text).unwrap_or_default(),
                digests: errors
                    .iter()
                    .filter_map(|error| error.get("detail"))
                    .flat_map(digests)
                    .collect(),
                said_digests,
            };
        }
        let trimmed = text.trim();
        if trimmed.starts_with("<?xml") || trimmed.starts_with("<Error") {
            let between = |tag: &str| {
                let (_, rest) = trimmed.split_once(&format!("<{tag}>"))?;
                rest.split_once(&format!("</{tag}>")).map(|(inner, _)| inner.to_owned())
            };
            return ErrorBody {
                code: between("Code").unwrap_or_default(),
                message: between("Message").unwrap_or_default(),
                ..ErrorBody::default()
            };
        }
        if trimmed.starts_with('<') || trimmed.len() > MAX_TEXT || trimmed.contains('\n') {
            return ErrorBody::default();
        }
        ErrorBody { message: trimmed.to_owned(), ..ErrorBody::default() }
    }
}

/// The fields of one error.
struct Said<'a> {
    code: &'a str,
    message: &'a str,
    detail: &'a str,
}

impl Said<'_> {
    fn of(error: &Value) -> Said<'_> {
        let field = |names: &[&str]| {
            let mut texts = names.iter().filter_map(|name| error.get(*name)?.as_str());
            texts.find(|text| !text.is_empty()).unwrap_or_default()
        };
        let message = field(&["message", "details", "error_description", "error"]);
        let message = if message.is_empty() { error.as_str().unwrap_or_default() } else { message };
        Said { code: field(&["code"]), message, detail: field(&["detail"]).trim() }
    }

    /// Whether the code is more specific than a general failure.
    fn is_specific(&self) -> bool {
        !self.code.is_empty() && !self.code.eq_ignore_ascii_case("UNKNOWN")
    }

    /// The message, with the detail if the detail is short and adds information.
    fn text(&self) -> String {
        let Said { message, detail, .. } = self;
        let is_short = detail.len() <= MAX_TEXT && !detail.contains('\n');
        if detail.is_empty() || !is_short || message.contains(detail) {
            return (*message).to_owned();
        }
        if message.is_empty() { (*detail).to_owned() } else { format!("{message} ({detail})") }
    }
}

/// The digests in an error's `detail`: a text, an object with a `digest` field, or a list of these.
fn digests(detail: &Value) -> Vec<String> {
    let items = match detail {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    let texts = items
        .iter()
        .filter_map(|item| item.get("digest").or(item.get("Digest")).unwrap_or(item).as_str());
    texts.flat_map(digests_in).collect()
}

/// The digests in a text.
fn digests_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'));
    let words = words.map(|word| word.trim_matches(':'));
    words.filter(|word| word.parse::<Digest>().is_ok()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_error_body_is_read() {
        for (body, code, message) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m","detail":{}}]}"#,
                "MANIFEST_UNKNOWN",
                "m",
            ),
            (r#"{"errors":[{"message":"m"}]}"#, "", "m"),
            (r#"{"errors":[]}"#, "", ""),
            (
                r#"{"errors":[{"code":"UNKNOWN","message":"u","detail":{}},{"code":"A","message":"m"}]}"#,
                "A",
                "m",
            ),
            (r#"{"errors":[{"code":"unknown"},{"message":"m"}]}"#, "", "m"),
            (r#"{"errors":[{"code":"UNKNOWN"},null,1,[]]}"#, "UNKNOWN", ""),
            (r#"{"errors":[{"code":"A","message":"m","detail":" more "}]}"#, "A", "m (more)"),
            (r#"{"errors":[{"code":"A","message":"","detail":"more"}]}"#, "A", "more"),
            (r#"{"errors":[{"code":"A","message":"no more","detail":"more"}]}"#, "A", "no more"),
            (r#"{"errors":[{"code":"A","message":"m","detail":"a\nb"}]}"#, "A", "m"),
            (r#"{"errors":["plain"]}"#, "", "plain"),
            (
                r#"{"details":"incorrect username or password"}"#,
                "",
                "incorrect username or password",
            ),
            (r#"{"error":"invalid_scope","error_description":"no"}"#, "", "no"),
            (
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Expired</Message></Error>",
                "AccessDenied",
                "Expired",
            ),
            ("<html><body>x</body></html>", "", ""),
            ("too busy", "", "too busy"),
            ("", "", ""),
            ("\u{0}\u{1}", "", "\u{0}\u{1}"),
        ] {
            let read = ErrorBody::parse(body.as_bytes());
            assert_eq!((read.code.as_str(), read.message.as_str()), (code, message), "{body}");
        }
    }

    #[test]
    fn digests_are_found_in_every_shape_of_detail() {
        let [a, b] = ["a", "b"].map(|hex| format!("sha256:{}", hex.repeat(64)));
        for detail in [
            format!(r#""{a}""#),
            format!(r#""blob {a}: not found""#),
            format!(r#""[{a}]""#),
            format!(r#"{{"digest":"{a}"}}"#),
            format!(r#"[{{"Digest":"{a}"}},null,1]"#),
            format!(r#"["layer '{a}',"]"#),
        ] {
            let body = format!(r#"{{"errors":[{{}},{{"message":"({b})","detail":{detail}}}]}}"#);
            let read = ErrorBody::parse(body.as_bytes());
            assert_eq!((read.digests, read.said_digests), (vec![a.clone()], vec![b.clone()]));
        }
    }

    #[test]
    fn a_detail_is_shown_up_to_the_limit() {
        for (length, is_shown) in [(MAX_TEXT, true), (MAX_TEXT + 1, false)] {
            let detail = "x".repeat(length);
            let body = format!(r#"{{"errors":[{{"message":"m","detail":"{detail}"}}]}}"#);
            assert_eq!(ErrorBody::parse(body.as_bytes()).message.contains(&detail), is_shown);
        }
    }
}
