// SPDX-License-Identifier: Apache-2.0
//! The body of an error response: the specification's JSON, other JSON, XML, HTML, plain text or
//! empty.

use serde_json::Value;

/// The contents of an error body.
#[derive(Default)]
pub struct ErrorBody {
    /// The specification's error code, or the field with the same purpose in other formats. Empty
    /// if there is none.
    pub code: String,
    /// The message. Empty if there is none.
    pub message: String,
    /// The digests in the errors' `detail` fields.
    pub digests: Vec<String>,
}

impl ErrorBody {
    /// Reads an error body. Never fails: if the format is unknown, all fields are empty.
    pub(super) fn parse(body: &[u8]) -> ErrorBody {
        let text = String::from_utf8_lossy(body);
        // serde_json's lenient reader is enough here, because the body only explains the status.
        if let Ok(document) = serde_json::from_str::<Value>(&text) {
            let error =
                document.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&document);
            let field = |names: &[&str]| {
                let value = names.iter().find_map(|name| error.get(*name)?.as_str());
                value.unwrap_or_default().to_owned()
            };
            let code = field(&["code"]);
            let message = field(&["message", "details", "error_description", "error"]);
            let plain = error.as_str().unwrap_or_default().to_owned();
            let message = if message.is_empty() { plain } else { message };
            return ErrorBody { code, message, digests: digests(&document) };
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
        if trimmed.starts_with('<') || trimmed.len() > 200 || trimmed.contains('\n') {
            return ErrorBody::default();
        }
        ErrorBody { message: trimmed.to_owned(), ..ErrorBody::default() }
    }
}

/// The digests in the errors' `detail` fields, which are strings or objects with a `digest` field.
fn digests(document: &Value) -> Vec<String> {
    let errors = document.get("errors").and_then(Value::as_array).into_iter().flatten();
    let details = errors.filter_map(|error| error.get("detail"));
    let named = details.flat_map(|detail| match detail {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    });
    named
        .filter_map(|item| item.get("digest").or(item.get("Digest")).unwrap_or(item).as_str())
        .filter(|text| text.parse::<common::digest::Digest>().is_ok())
        .map(str::to_owned)
        .collect()
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
}
