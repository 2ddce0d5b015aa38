// SPDX-License-Identifier: Apache-2.0
//! Lists a repository's tags, page by page.

use std::collections::HashSet;

use common::error::{Error, Result, printable};
use common::notice;
use common::reference::is_tag;
use net::failure::{Failure, Retry};
use net::request::{Method, Request};
use net::retry::with_attempts;
use net::url::{self, Purpose, Url};

use super::after::After;
use super::{Registry, answer, link, page};

/// The maximum number of pages.
pub const MAX_PAGES: usize = 10_000;

/// The maximum number of tags that are remembered in order to drop duplicates.
const MAX_REMEMBERED: usize = 100_000;

impl Registry {
    /// Passes every tag to `each` while the pages arrive, in the registry's order and without
    /// duplicates. `each` returns whether to continue.
    ///
    /// `last` and `page` are the request's parameters `last` (list only tags after this tag) and
    /// `n` (tags per page). A registry may ignore both; tags up to `last` are dropped then.
    ///
    /// # Errors
    /// Absent, Refused or Unavailable, depending on the registry's response. Malformed if a
    /// response is invalid or the list is incomplete. `each` has already received the tags before
    /// the failure.
    pub fn tags(
        &self,
        last: Option<&str>,
        page: Option<u64>,
        each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        let mut query = Vec::new();
        query.extend(page.map(|n| format!("n={n}")));
        query.extend(last.map(|last| format!("last={last}")));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let mut url = self.url(&format!("tags/list{query}"))?;
        let mut visited: HashSet<String> = HashSet::new();
        let mut list = List::new(each, last);
        let mut pages_without_new = 0;
        loop {
            if visited.len() >= MAX_PAGES {
                return Err(self.incomplete(&format!("more than {MAX_PAGES} pages")));
            }
            if !visited.insert(url.as_sent()) {
                return Err(self.incomplete("the next page was already read"));
            }
            let passed = list.passed;
            let Some(next) = self.page(&url, visited.len() > 1, &mut list)? else {
                return list.failed.map_or(Ok(()), Err);
            };
            if !list.after.end_page(&mut list.each)? {
                return Ok(());
            }
            let Some(next) = next.map_err(|why| self.incomplete(&why))? else {
                return list.after.end(&mut list.each).map(|_| ());
            };
            pages_without_new = if list.passed > passed { 0 } else { pages_without_new + 1 };
            if pages_without_new >= 2 {
                return Err(self.incomplete("two pages in a row without a new tag"));
            }
            url = url::decide(Purpose::Link, self.session.http().origin(), &url, &next)
                .map_err(|why| self.incomplete(&why))?
                .url;
        }
    }

    /// Reads a page into the list. Returns the link to the next page, or why it cannot be read.
    /// `None` if no more tags are wanted, or if they cannot be passed on.
    fn page<F: FnMut(&str) -> Result<bool>>(
        &self,
        url: &Url,
        is_next: bool,
        list: &mut List<'_, F>,
    ) -> Result<Option<std::result::Result<Option<String>, String>>> {
        let what = format!("{}: tags", self.repository());
        let before = list.passed;
        let page = with_attempts(self.client(), || {
            let response =
                self.request(Request::new(Method::Get, url, &[("Accept", "application/json")]));
            let response = response.map_err(|failure| failure.context(&what))?;
            match response.status.as_u16() {
                200 => {}
                status @ 200..400 => {
                    let unexpected = format_args!("{what}: unexpected status {status}");
                    return Err(Error::malformed(unexpected).into());
                }
                _ => return Err(answer::failure(response, &what)),
            }
            if answer::is_html(&response) {
                let html = format_args!("{what}: not a registry's response (text/html)");
                return Err(Error::malformed(html).into());
            }
            response.refuse_encoding().map_err(|e| e.context(&what))?;
            let next = link::next(&response);
            match page::read(response.body, |tag| list.take(tag)) {
                Ok(all) => Ok(all.then_some(next)),
                // A tag that is not remembered would be passed on again.
                Err(failure) if list.is_full() && list.passed > before => {
                    Err(Failure { retry: Retry::Never, ..failure }.context(&what))
                }
                Err(failure) => Err(failure.context(&what)),
            }
        });
        // Tags were already passed on. The message says that the list is incomplete.
        let is_incomplete = is_next || list.passed > before;
        page.map_err(
            |error| {
                if is_incomplete { error.context("the list is incomplete") } else { error }
            },
        )
    }

    fn incomplete(&self, why: &str) -> Error {
        Error::malformed(format_args!("{}: the list is incomplete: {why}", self.repository()))
    }
}

/// The list so far, and the function that receives its tags.
struct List<'a, F> {
    each: F,
    after: After<'a>,
    remembered: HashSet<String>,
    /// The number of distinct tags so far, as far as they are remembered.
    passed: u64,
    /// Why a tag could not be passed on.
    failed: Option<Error>,
}

impl<F: FnMut(&str) -> Result<bool>> List<'_, F> {
    fn new(each: F, last: Option<&str>) -> List<'_, F> {
        let remembered = HashSet::new();
        List { each, after: After::new(last), remembered, passed: 0, failed: None }
    }

    /// Takes a tag of a page. Returns whether to continue.
    fn take(&mut self, tag: &str) -> bool {
        if !is_tag(tag) {
            notice::warn("tag", || format!("dropped \"{}\": not a valid tag", printable(tag)));
            return true;
        }
        if self.remembered.contains(tag) {
            return true;
        }
        self.passed += 1;
        if !self.is_full() {
            self.remembered.insert(tag.to_owned());
        }
        self.after.take(tag, &mut self.each).unwrap_or_else(|error| {
            self.failed = Some(error);
            false
        })
    }

    /// Whether no more tags can be remembered.
    fn is_full(&self) -> bool {
        self.remembered.len() >= MAX_REMEMBERED
    }
}
