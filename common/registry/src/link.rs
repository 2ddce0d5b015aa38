// SPDX-License-Identifier: Apache-2.0
//! The Link header (RFC 8288) of a page of a list: the link to the next page.
//!
//! A list ends with the page that has no Link with `rel=next`. A Link that cannot be read, or that
//! states no relation, may lead to the next page, so it is an error and not the end of the list.

use common::error::printable;
use net::response::Response;

/// The target of the link with `rel=next`, as written. `None` if the list ends with this page.
///
/// # Errors
/// A sentence, if a Link header cannot be read or has a link without a relation.
pub(crate) fn next(response: &Response) -> Result<Option<String>, String> {
    let mut found = None;
    for value in response.headers.get_all("link") {
        let text = String::from_utf8_lossy(value.as_bytes());
        let next = next_of(&text).ok_or_else(|| {
            format!("the Link to the next page cannot be read: \"{}\"", printable(&text))
        })?;
        found = found.or(next);
    }
    Ok(found)
}

/// The target of the first link with `rel=next` in one header. The outer `None` means that the
/// header cannot be read.
fn next_of(header: &str) -> Option<Option<String>> {
    let mut found = None;
    let mut rest = header.trim_start_matches(is_separator);
    while !rest.is_empty() {
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        let mut relation = None;
        let mut parameters = after.trim_start();
        while let Some(after) = parameters.strip_prefix(';') {
            let (name, value, after) = parameter(after.trim_start())?;
            if name.eq_ignore_ascii_case("rel") {
                relation = relation.or(Some(value));
            }
            parameters = after.trim_start();
        }
        let is_next = relation?.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case("next"));
        if is_next && found.is_none() {
            found = Some(target.to_owned());
        }
        if !parameters.is_empty() && !parameters.starts_with(',') {
            return None;
        }
        rest = parameters.trim_start_matches(is_separator);
    }
    Some(found)
}

/// Links are separated by commas, and empty elements are allowed.
fn is_separator(c: char) -> bool {
    c == ',' || c.is_ascii_whitespace()
}

/// One parameter: its name, its value without quotes, and the text after it. A quoted value may
/// contain any separator; its last quote may be missing at the end of the header.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let Some(after) = after.strip_prefix('=') else { return Some((name.trim(), "", after)) };
    let after = after.trim_start();
    if let Some(quoted) = after.strip_prefix('"') {
        let (value, after) = quoted.split_once('"').unwrap_or((quoted, ""));
        return Some((name.trim(), value, after));
    }
    let (value, after) = after.split_at(after.find([';', ',']).unwrap_or(after.len()));
    // An angle bracket begins another link, and the comma before it is missing.
    (!value.contains('<')).then_some((name.trim(), value.trim(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_every_form() {
        for (header, want) in [
            ("</v2/x/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/x/tags/list?last=b&n=2")),
            ("<https://r/x>;rel=next", Some("https://r/x")),
            ("<a>; rel=\"prev\", <b>; title=\"x\"; REL=\"next\"", Some("b")),
            ("<a>; title=\"b; rel=, <c>\"; rel = \"first NEXT\" ; x", Some("a")),
            ("<a,b>; rel=next,", Some("a,b")),
            ("<a>; rel=\"next", Some("a")),
            ("<a>; rel=next; rel=prev, <b>; rel=next", Some("a")),
            ("<a>; rel=prev", None),
            ("<a>; rel=\"\"", None),
            ("", None),
            (" , ", None),
        ] {
            assert_eq!(next_of(header), Some(want.map(str::to_owned)), "{header}");
        }
    }

    #[test]
    fn a_link_that_may_lead_to_the_next_page_is_not_the_end() {
        for header in [
            "rel=next",
            "<a",
            "</v2/x?n=1; rel=\"next\"",
            "/v2/x?n=1; rel=\"next\"",
            "</v2/x?n=1>",
            "</v2/x?n=1>; title=\"next\"",
            "<a>; rel=prev <b>; rel=next",
            "<a>; rel=\"prev\" <b>; rel=next",
            "<a>; rel=prev, b",
        ] {
            assert_eq!(next_of(header), None, "{header}");
        }
    }
}
