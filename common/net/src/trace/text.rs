// SPDX-License-Identifier: Apache-2.0
//! The text of a trace: comments, and quoted words of a command.
//!
//! A shell expands nothing inside a word, even if a server supplied its text. The same applies to
//! comments: an interactive shell may not recognise a comment, and may run it as a command.

use common::secret;
use common::shell::{inert, is_plain, quoted};
use ureq::http::HeaderMap;

use crate::url::Url;

/// The maximum number of bytes of a body that a command contains.
pub(super) const MAX_INLINE: u64 = 8 << 10;

/// The maximum number of headers of a response that are shown.
pub(super) const MAX_HEADERS: usize = 32;

/// Replaces a word that contains a secret. Other words never contain this character. A line with it
/// is left out of the trace.
pub(super) const SECRET: char = '\0';

/// Replaces a word that cannot be quoted for a shell. A line with it is left out of the trace.
pub(super) const UNQUOTABLE: char = '\u{1}';

/// Replaces the part of a URL that is not shown.
const WITHHELD: &str = "(withheld)";

/// The headers of a response that the trace shows.
const SHOWN_HEADERS: [&str; 12] = [
    "content-type",
    "content-encoding",
    "content-length",
    "content-range",
    "docker-content-digest",
    "docker-upload-uuid",
    "link",
    "location",
    "range",
    "retry-after",
    "warning",
    "www-authenticate",
];

/// Quotes text as one shell word. Secrets are searched for before quoting, since quotes inside a
/// secret would hide it.
pub(super) fn word(text: &str) -> String {
    if secret::redact(text) != text {
        return SECRET.into();
    }
    quoted(text).unwrap_or_else(|| UNQUOTABLE.into())
}

/// One shell word that consists of text, an expansion (`$NAME`), and text.
pub(super) fn expanded(before: &str, expansion: &str, after: &str) -> String {
    // `?` and `&` have no special meaning in double quotes.
    let bare = |text: &str| is_plain(text.strip_prefix(['?', '&']).unwrap_or(text));
    let head = if bare(before) { format!("\"{before}") } else { format!("{}\"", word(before)) };
    let tail = if bare(after) { format!("{after}\"") } else { format!("\"{}", word(after)) };
    format!("{head}{expansion}{tail}")
}

/// A comment line. Parts that a shell would act on are quoted, and secrets are redacted.
pub(super) fn comment(text: &str) -> String {
    format!("# {}\n", inert(text))
}

/// The headers of a response that are shown, each as a comment line.
pub(super) fn shown_headers(headers: &HeaderMap, from: &Url) -> String {
    let is_shown = |name: &str| {
        SHOWN_HEADERS.contains(&name) || name.starts_with("oci-") || name.contains("ratelimit")
    };
    let shown = headers.iter().filter(|(name, _)| is_shown(name.as_str())).take(MAX_HEADERS);
    let lines = shown.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let value = if name == "location" { place(&value, from) } else { value };
        comment(&format!("{}: {value}", spelled(name.as_str())))
    });
    lines.collect()
}

/// The URL of a Location without its query, which may be a signature or the state of an upload
/// session.
pub(super) fn place(location: &str, from: &Url) -> String {
    match from.join(location.trim()) {
        Ok(url) if location.contains('?') => format!("{url}?{WITHHELD}"),
        Ok(url) => url.to_string(),
        Err(_) => WITHHELD.to_owned(),
    }
}

/// A header's name in the spelling of the specifications.
fn spelled(name: &str) -> String {
    let word = |word: &str| match word {
        "www" | "oci" | "uuid" => word.to_ascii_uppercase(),
        word => {
            let (first, rest) = word.split_at(word.len().min(1));
            format!("{}{rest}", first.to_ascii_uppercase())
        }
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// A literal prefix and an expansion that together make `url` in a shell. The `variable` holds the
/// server's `text`, which was resolved to `url`. The prefix contains scheme, host and port, so that
/// the command's secrets cannot go to another origin, whatever the variable holds.
///
/// Returns `None` if the expansion cannot be written without showing the query.
pub(super) fn resolved(text: &str, url: &Url, variable: &str) -> Option<(String, String)> {
    let text = text.trim();
    let whole = url.uri().to_string();
    // The longest common suffix. The query must be part of it, since the query is not shown.
    let cut = |whole: &str, text: &str| {
        let common = whole.bytes().rev().zip(text.bytes().rev());
        let length = common.take_while(|(a, b)| a == b).count();
        let path = format!("{}://{}/", url.scheme(), url.authority()).len();
        let length = length.min(whole.len().saturating_sub(path));
        (whole.len() - length, text.len() - length)
    };
    let (start, stripped) = cut(&whole, text);
    let before = whole.get(..start)?;
    let prefix = text.get(..stripped)?;
    if before.contains('?') || prefix.contains('?') || text.contains('#') {
        return None;
    }
    let pattern: String = prefix
        .chars()
        .flat_map(|c| ("[]".contains(c).then_some('\\')).into_iter().chain([c]))
        .collect();
    let is_simple = |c: char| c.is_ascii_alphanumeric() || "_-.,/:@%+=[]".contains(c);
    let simple = prefix.chars().all(is_simple);
    let expansion = match prefix {
        "" => format!("${{{variable}}}"),
        _ if simple => format!("${{{variable}#{pattern}}}"),
        _ => return None,
    };
    Some((before.to_owned(), expansion))
}

/// The names and values of a form. The values are decoded.
pub(super) fn fields(form: &str) -> Vec<(String, String)> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match number.filter(|_| byte == b'%') {
            Some(number) => {
                bytes.push(number);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Quotes a body as one shell word, if it is a small JSON document that a shell passes to curl
/// without changing a byte.
pub(super) fn document(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    // curl would use text that begins with "@" as the name of a file.
    if bytes.len() as u64 > MAX_INLINE || !text.starts_with('{') {
        return None;
    }
    let broken = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    // A shell removes the newlines at the end of a command substitution.
    if text.contains(broken) || text.ends_with('\n') {
        return None;
    }
    Some(word(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn an_expansion_is_joined_with_quoted_text() {
        assert_eq!(expanded("me:", "$P", ""), "\"me:$P\"");
        assert_eq!(expanded("", "$L", "&digest=sha256:0"), "\"$L&digest=sha256:0\"");
        assert_eq!(expanded("`a`: ", "$H", ""), "'`a`: '\"$H\"");
        assert_eq!(expanded("a", "$H", "!"), "\"a$H\"'!'");
    }

    #[test]
    fn a_word_with_a_secret_is_replaced_even_if_quoting_would_split_it() {
        secret::keep("it's broken");
        assert_eq!(word("so it's broken"), SECRET.to_string());
        assert_eq!(expanded("so it's broken", "$P", ""), format!("{SECRET}\"$P\""));
        assert_eq!(document(b"{\n\"it's broken\"}"), Some(SECRET.to_string()));
        assert_eq!(word("so\n"), UNQUOTABLE.to_string());
    }

    #[test]
    fn headers_are_shown_up_to_the_limit() {
        let mut headers = HeaderMap::new();
        for _ in 0..MAX_HEADERS {
            headers.append("www-authenticate", "Basic".parse().unwrap());
            headers.append("server", "x".parse().unwrap());
        }
        let lines =
            |headers: &HeaderMap| shown_headers(headers, &url("http://r.example/")).lines().count();
        assert_eq!(lines(&headers), MAX_HEADERS);
        headers.append("ratelimit-limit", "1".parse().unwrap());
        assert_eq!(lines(&headers), MAX_HEADERS);
    }

    #[test]
    fn a_place_is_shown_without_its_query() {
        let from = url("https://r.example/v2/a");
        assert_eq!(place("/x?_state=y", &from), "https://r.example/x?(withheld)");
        assert_eq!(place("https://cdn.example/x", &from), "https://cdn.example/x");
        assert_eq!(place("https://me:secret@cdn.example/x", &from), "(withheld)");
    }

    #[test]
    fn a_place_keeps_its_host_whatever_the_variable_holds() {
        let at = |text: &str| {
            let url = url("https://r.example:444/v2/a/uploads/").join(text).unwrap();
            resolved(text, &url, "L").map(|(before, expansion)| format!("{before}{expansion}"))
        };
        let here = |expansion: &str| Some(format!("https://r.example:444/{expansion}"));
        assert_eq!(at("/v2/x?s=1"), here("${L#/}"));
        assert_eq!(at("https://r.example:444/v2/x"), here("${L#https://r.example:444/}"));
        assert_eq!(at("//r.example:444/v2/x"), here("${L#//r.example:444/}"));
        assert_eq!(at("x?y"), here("v2/a/uploads/${L}"));
        assert_eq!(at("?y"), here("v2/a/uploads/${L}"));
        assert_eq!(at("../x?y"), here("v2/a${L#..}"));
        assert_eq!(at("/x#y"), None);
        let behind = url("https://r.example:444/x?y");
        let said = resolved("http://r.example/x?y", &behind, "L");
        let parts = ("https://r.example:444/".to_owned(), "${L#http://r.example/}".to_owned());
        assert_eq!(said, Some(parts));
        let v6 = url("http://[::1]:5000/x?y");
        let said = resolved("http://[::1]:5000/x?y", &v6, "L").unwrap();
        assert_eq!(said.1, "${L#http://\\[::1\\]:5000/}");
    }

    #[test]
    fn a_form_is_decoded() {
        use crate::form::form;
        let had = [("a", "x y&z=%"), ("b", "ä+:/,~")];
        let want = had.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(&form(&had)), want);
        assert_eq!(fields("a=%zz&b"), [("a".to_owned(), "%zz".to_owned())]);
    }

    #[test]
    fn a_document_is_inline_up_to_the_limit() {
        let of = |len: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
        let limit = MAX_INLINE as usize;
        assert_eq!(document(of(limit).as_bytes()), Some(format!("'{}'", of(limit))));
        assert_eq!(document(of(limit + 1).as_bytes()), None);
        assert_eq!(
            document(b"{\n\t\"a\": \"\\n%'\"\n}").unwrap(),
            r#""$(printf '{\n\t"a": "\\n%%'\''"\n}')""#
        );
        for none in [&b"{}\n"[..], b"@file", b"", b"{\xff}", b"{\x1b}", b"[]"] {
            assert_eq!(document(none), None);
        }
    }

    #[test]
    fn names_are_spelled_as_in_specifications() {
        for (name, want) in [
            ("www-authenticate", "WWW-Authenticate"),
            ("docker-upload-uuid", "Docker-Upload-UUID"),
            ("oci-subject", "OCI-Subject"),
            ("-", "-"),
        ] {
            assert_eq!(spelled(name), want);
        }
    }
}
