// SPDX-License-Identifier: Apache-2.0
//! Lists a repository's tags, page by page.

use std::collections::HashSet;

use common::error::{Error, Result, printable};
use common::reference::is_tag;
use common::{json, notice};
use net::request::{Method, Request};
use net::retry::with_attempts;
use net::url::{self, Purpose, Url};
use serde_json::Value;

use super::{Registry, answer};

/// The maximum size of a page, in bytes.
pub const MAX_PAGE: u64 = 16 << 20;

/// The maximum number of pages.
pub const MAX_PAGES: usize = 10_000;

/// The maximum number of tags that are remembered in order to drop duplicates.
const MAX_REMEMBERED: usize = 100_000;

/// One page: its tags and the URL of the next page.
struct Page {
    tags: Vec<String>,
    next: Option<String>,
}

impl Registry {
    /// Passes every tag to `each` as its page arrives, in the registry's order and without
    /// duplicates. `each` returns whether to continue.
    ///
    /// `last` and `page` are the request's parameters `last` (list only tags after this tag) and
    /// `n` (tags per page).
    ///
    /// # Errors
    /// Absent, Refused or Unavailable as the registry responds. Malformed if a response is invalid
    /// or the list is incomplete. If a later page fails, `each` has already received the tags of
    /// the earlier pages.
    pub fn tags(
        &self,
        last: Option<&str>,
        page: Option<u64>,
        mut each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        let mut query = Vec::new();
        query.extend(page.map(|n| format!("n={n}")));
        query.extend(last.map(|last| format!("last={last}")));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let mut url = self.url(&format!("tags/list{query}"))?;
        let mut visited: HashSet<String> = HashSet::new();
        let mut remembered: HashSet<String> = HashSet::new();
        let mut pages_without_new = 0;
        loop {
            if visited.len() >= MAX_PAGES {
                return Err(self.incomplete(&format!("more than {MAX_PAGES} pages")));
            }
            if !visited.insert(url.as_sent()) {
                return Err(self.incomplete("the next page was already read"));
            }
            let page = self.page(&url, visited.len() > 1)?;
            let mut has_new = false;
            for tag in page.tags {
                if !is_tag(&tag) {
                    notice::warn("tag", || {
                        format!("dropped \"{}\": not a valid tag", printable(&tag))
                    });
                    continue;
                }
                if remembered.contains(&tag) {
                    continue;
                }
                has_new = true;
                if !each(&tag)? {
                    return Ok(());
                }
                if remembered.len() < MAX_REMEMBERED {
                    remembered.insert(tag);
                }
            }
            let Some(next) = page.next else { return Ok(()) };
            pages_without_new = if has_new { 0 } else { pages_without_new + 1 };
            if pages_without_new >= 2 {
                return Err(self.incomplete("two pages in a row without a new tag"));
            }
            url = url::decide(Purpose::Link, self.session.http().origin(), &url, &next)
                .map_err(|why| self.incomplete(&why))?
                .url;
        }
    }

    fn page(&self, url: &Url, is_next: bool) -> Result<Page> {
        let what = format!("{}: tags", self.repository());
        let page = with_attempts(self.client(), || {
            let response =
                self.request(Request::new(Method::Get, url, &[("Accept", "application/json")]));
            let response = response.map_err(|failure| failure.context(&what))?;
            match response.status.as_u16() {
                200 => {}
                status @ 200..400 => {
                    let unexpected = format_args!("{what}: unexpected answer {status}");
                    return Err(Error::malformed(unexpected).into());
                }
                _ => return Err(answer::failure(response, &what)),
            }
            if answer::is_html(&response) {
                let html = format_args!("{what}: not a registry's response (text/html)");
                return Err(Error::malformed(html).into());
            }
            response.refuse_encoding().map_err(|e| e.context(&what))?;
            let links = response.headers.get_all("link");
            let next = links.iter().filter_map(|value| value.to_str().ok()).find_map(next_link);
            let body = response.read(MAX_PAGE).map_err(|failure| failure.context(&what))?;
            let large =
                || Error::malformed(format_args!("{what}: a page is larger than {MAX_PAGE} bytes"));
            let tags = tags_of(&body.ok_or_else(large)?)
                .map_err(|why| Error::malformed(format_args!("{what}: {}", printable(&why))))?;
            Ok(Page { tags, next })
        });
        // Tags of earlier pages were already passed on. The message says that the list is
        // incomplete.
        page.map_err(|error| if is_next { error.context("the list is incomplete") } else { error })
    }

    fn incomplete(&self, why: &str) -> Error {
        Error::malformed(format_args!("{}: the list is incomplete: {why}", self.repository()))
    }
}

/// The tags of a page. An absent `tags` field or `null` is an empty list.
fn tags_of(body: &[u8]) -> std::result::Result<Vec<String>, String> {
    // The strict JSON reader is not used: a long list has more values than its limit for manifests.
    let document: Value =
        serde_json::from_slice(body).map_err(|e| format!("not valid JSON: {e}"))?;
    let Value::Object(mut document) = document else {
        return Err(format!("not a JSON object but {}", json::kind(&document)));
    };
    match document.remove("tags") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(tag) => Ok(tag),
                other => Err(format!("a tag is {}, not a string", json::kind(&other))),
            })
            .collect(),
        Some(other) => Err(format!("tags is {}, not an array", json::kind(&other))),
    }
}

/// The target of a Link header's `rel=next`. Quotes are optional; other links and parameters are
/// ignored.
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split(' ')
                        .any(|rel| rel.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = after;
    }
    None
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
            ("<a>; rel=prev", None),
            ("rel=next", None),
            ("<a", None),
        ] {
            assert_eq!(next_link(header).as_deref(), want, "{header}");
        }
    }

    #[test]
    fn a_list_may_be_absent_or_null() {
        assert_eq!(tags_of(br#"{"name":"x","tags":["a","b"]}"#).unwrap(), ["a", "b"]);
        assert!(tags_of(br#"{"name":"x","tags":null}"#).unwrap().is_empty());
        assert!(tags_of(b"{}").unwrap().is_empty());
        for wrong in [&b"[]"[..], b"x", br#"{"tags":{}}"#, br#"{"tags":[1]}"#] {
            assert!(tags_of(wrong).is_err());
        }
    }
}
