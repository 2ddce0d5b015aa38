// SPDX-License-Identifier: Apache-2.0
//! A trace's text: comments, and the parts of a command that are made of an exchange's own.
//!
//! Only text. A word holds nothing that a shell would look into, whoever wrote it. A comment holds
//! nothing either: some shells, given it at a prompt, take it for a command.

use common::secret;
use common::shell::{inert, is_plain, quoted};
use ureq::http::HeaderMap;

use crate::url::Url;

/// The most bytes of a body that stand in a command.
pub(super) const MAX_INLINE: u64 = 8 << 10;

/// The most lines of an answer's header that are shown.
pub(super) const MAX_HEADERS: usize = 32;

/// What stands in the place of a word that would show a secret: no word has it, and its line is
/// left out.
pub(super) const SECRET: char = '\0';

/// What stands in the place of a word that cannot be said: as a secret.
pub(super) const UNQUOTABLE: char = '\u{1}';

/// What stands in the place of what is not shown.
const WITHHELD: &str = "(withheld)";

/// The headers of an answer that tell something about it.
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

/// One word of text. What would be a secret behind the quotes is looked for before them, which may
/// break it up.
pub(super) fn word(text: &str) -> String {
    if secret::redact(text) != text {
        return SECRET.into();
    }
    quoted(text).unwrap_or_else(|| UNQUOTABLE.into())
}

/// One word of text, an expansion (`$NAME`), and text.
pub(super) fn expanded(before: &str, expansion: &str, after: &str) -> String {
    // What begins a query has none of its meanings in double quotes.
    let bare = |text: &str| is_plain(text.strip_prefix(['?', '&']).unwrap_or(text));
    let head = if bare(before) { format!("\"{before}") } else { format!("{}\"", word(before)) };
    let tail = if bare(after) { format!("{after}\"") } else { format!("\"{}", word(after)) };
    format!("{head}{expansion}{tail}")
}

/// A comment: one line.
pub(super) fn comment(text: &str) -> String {
    format!("# {}\n", inert(text))
}

/// What an answer's header is_shown, a comment each.
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

/// Where a Location leads, without its query, which may be a signature or a session's state.
pub(super) fn place(location: &str, from: &Url) -> String {
    match from.join(location.trim()) {
        Ok(url) if location.contains('?') => format!("{url}?{WITHHELD}"),
        Ok(url) => url.to_string(),
        Err(_) => WITHHELD.to_owned(),
    }
}

/// A header's name as specifications write it.
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

/// How a shell gets the URL that a server's `text` is resolved to, from the `variable` that holds
/// the text: scheme, host and port stand there as they are, so that nobody but they can be sent
/// what the command carries.
pub(super) fn resolved(text: &str, url: &Url, variable: &str) -> Option<(String, String)> {
    let text = text.trim();
    let whole = url.uri().to_string();
    // What they have in common, from the right; the query has to be in it, which is not shown.
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

/// The names and values of a form, as they were before they were encoded.
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

/// A body that may stand in a command, as one word: a small document of JSON that a shell brings
/// over byte by byte.
pub(super) fn document(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    // What begins with "@" would be a file's name to curl.
    if bytes.len() as u64 > MAX_INLINE || !text.starts_with('{') {
        return None;
    }
    let broken = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    // Which a shell would drop.
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
    fn an_expansion_stands_between_what_is_quoted() {
        assert_eq!(expanded("me:", "$P", ""), "\"me:$P\"");
        assert_eq!(expanded("", "$L", "&digest=sha256:0"), "\"$L&digest=sha256:0\"");
        assert_eq!(expanded("`a`: ", "$H", ""), "'`a`: '\"$H\"");
        assert_eq!(expanded("a", "$H", "!"), "\"a$H\"'!'");
    }

    #[test]
    fn a_word_with_a_secret_is_none_whatever_the_quotes_do_to_it() {
        secret::keep("it's broken");
        assert_eq!(word("so it's broken"), SECRET.to_string());
        assert_eq!(expanded("so it's broken", "$P", ""), format!("{SECRET}\"$P\""));
        assert_eq!(document(b"{\n\"it's broken\"}"), Some(SECRET.to_string()));
        assert_eq!(word("so\n"), UNQUOTABLE.to_string());
    }

    #[test]
    fn so_many_lines_of_a_header_are_shown_and_no_more() {
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
    fn a_form_is_read_back() {
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
