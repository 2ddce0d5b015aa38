// SPDX-License-Identifier: Apache-2.0
//! Lists of names, page by page: the tags of a repository, and the repositories of a registry.

use std::collections::HashSet;

use common::error::{Error, Result, printable};
use common::notice;
use common::reference::{is_repository_path, is_tag};
use net::failure::{Failure, Retry};
use net::request::{Method, Request};
use net::response::Response;
use net::retry::with_attempts;
use net::url::{self, Purpose, Url};

use super::after::After;
use super::{Registry, answer, catalog, link, page};

/// The maximum number of pages.
pub const MAX_PAGES: usize = 10_000;

/// The maximum number of names that are remembered in order to drop duplicates.
const MAX_REMEMBERED: usize = 100_000;

/// A kind of list.
pub(crate) struct Kind {
    /// The part of the URL after the URL of the repository or registry.
    path: &'static str,
    /// The field of a page that has the names. Messages also use it.
    field: &'static str,
    /// The word for one name, in messages.
    word: &'static str,
    /// Whether a name is valid.
    is_valid: fn(&str) -> bool,
    /// The failure that an unsuccessful response reports.
    failure: fn(&Registry, Response, &str) -> Failure,
}

/// The tags of a repository.
const TAGS: Kind = Kind {
    path: "tags/list",
    field: "tags",
    word: "tag",
    is_valid: is_tag,
    failure: |_, response, what| answer::failure(response, what),
};

/// The repositories of a registry.
const CATALOG: Kind = Kind {
    path: "_catalog",
    field: "repositories",
    word: "repository",
    is_valid: is_repository_path,
    failure: catalog::failure,
};

/// A list, for [`first_page`](Registry::first_page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The tags of a repository.
    Tags,
    /// The repositories of a registry, which must be opened as a whole.
    Repositories,
}

/// The first page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPage {
    /// A page.
    Names {
        /// The first name.
        first: Option<String>,
        /// The number of distinct names.
        count: u64,
        /// Whether the page has a link to the next one.
        has_next: bool,
    },
    /// 400: the registry refused the number of names.
    SizeRefused,
}

/// The end of a page.
enum End {
    /// No more names are wanted, or they cannot be passed on.
    Stopped,
    /// The registry refused the number of names per page.
    SizeRefused,
    /// The page is complete: the link to the next page, or why it cannot be read.
    Complete(std::result::Result<Option<String>, String>),
}

impl Registry {
    /// Passes every tag to `each` while the pages arrive, in the registry's order and without
    /// duplicates. `each` returns whether to continue.
    ///
    /// `last` and `page` are the request's parameters `last` (list only tags after this tag) and
    /// `n` (tags per page). A registry may ignore both; tags up to `last` are dropped then. If it
    /// refuses `n`, the list is requested again without `n`.
    ///
    /// # Errors
    /// Absent, Refused or Unavailable, depending on the registry's response. Malformed if a
    /// response is invalid or the list is incomplete. `each` has already received the tags that
    /// arrived before the failure.
    pub fn tags(
        &self,
        last: Option<&str>,
        page: Option<u64>,
        each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        self.list(&TAGS, last, page, each)
    }

    /// Passes every repository of a registry to `each`. Otherwise like [`tags`](Registry::tags).
    /// The registry must be opened as a whole.
    ///
    /// # Errors
    /// As for [`tags`](Registry::tags). Absent if the registry has no list of its repositories.
    pub fn catalog(
        &self,
        last: Option<&str>,
        page: Option<u64>,
        each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        self.list(&CATALOG, last, page, each)
            .map_err(|error| catalog::explained(self.repository.host(), error))
    }

    /// Reads the first page of a list, for a tool that shows how a registry divides a list into
    /// pages. The request asks for `n` names.
    ///
    /// # Errors
    /// As for [`tags`](Registry::tags).
    pub fn first_page(&self, names: Names, n: u64) -> Result<FirstPage> {
        let kind = match names {
            Names::Tags => &TAGS,
            Names::Repositories => &CATALOG,
        };
        let url = self.list_url(kind, None, Some(n))?;
        let (mut first, mut count) = (None, 0);
        let mut list = List::new(
            kind,
            |name: &str| {
                count += 1;
                first.get_or_insert_with(|| name.to_owned());
                Ok(true)
            },
            None,
        );
        let end = self.page(&url, true, false, &mut list)?;
        Ok(match end {
            End::SizeRefused => FirstPage::SizeRefused,
            End::Stopped => FirstPage::Names { first, count, has_next: false },
            End::Complete(next) => {
                let has_next = next.map_err(|why| self.incomplete(&why))?.is_some();
                FirstPage::Names { first, count, has_next }
            }
        })
    }

    fn list(
        &self,
        kind: &Kind,
        last: Option<&str>,
        page: Option<u64>,
        each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        let without_size = self.list_url(kind, last, None)?;
        let mut url = self.list_url(kind, last, page)?;
        let mut visited: HashSet<String> = HashSet::new();
        let mut list = List::new(kind, each, last);
        let mut pages_without_new = 0;
        loop {
            if visited.len() >= MAX_PAGES {
                return Err(self.incomplete(&format!("more than {MAX_PAGES} pages")));
            }
            if !visited.insert(url.as_sent()) {
                return Err(self.incomplete("the next page was already read"));
            }
            let passed = list.passed;
            let is_first = visited.len() == 1;
            let next = match self.page(&url, is_first && page.is_some(), !is_first, &mut list)? {
                End::Stopped => return list.failed.map_or(Ok(()), Err),
                End::SizeRefused => {
                    url = without_size.clone();
                    continue;
                }
                End::Complete(next) => next,
            };
            if !list.after.end_page(&mut list.each)? {
                return Ok(());
            }
            let Some(next) = next.map_err(|why| self.incomplete(&why))? else {
                return list.after.end(&mut list.each).map(|_| ());
            };
            pages_without_new = if list.passed > passed { 0 } else { pages_without_new + 1 };
            if pages_without_new >= 2 {
                let why = format!("two pages in a row without a new {}", kind.word);
                return Err(self.incomplete(&why));
            }
            url = url::decide(Purpose::Link, self.session.http().origin(), &url, &next)
                .map_err(|why| self.incomplete(&why))?
                .url;
        }
    }

    /// The URL of the first page.
    fn list_url(&self, kind: &Kind, last: Option<&str>, page: Option<u64>) -> Result<Url> {
        let size = page.map(|n| n.to_string());
        let size = size.as_deref().map(|n| ("n", n));
        let last = last.map(|last| ("last", last));
        let query: Vec<_> = size.into_iter().chain(last).collect();
        self.url(kind.path)?.with_query(&query).map_err(Error::usage)
    }

    /// Reads a page into the list. `has_size` states whether the request asks for a number of
    /// names. `is_next` states whether it is a page after the first one.
    fn page<F: FnMut(&str) -> Result<bool>>(
        &self,
        url: &Url,
        has_size: bool,
        is_next: bool,
        list: &mut List<'_, F>,
    ) -> Result<End> {
        let kind = list.kind;
        let what = format!("{}: {}", self.repository(), kind.field);
        let before = list.passed;
        let page = with_attempts(self.client(), || {
            let response =
                self.request(Request::new(Method::Get, url, &[("Accept", "application/json")]));
            let response = response.map_err(|failure| failure.context(&what))?;
            match response.status.as_u16() {
                200 => {}
                400 if has_size => return Ok(End::SizeRefused),
                status @ 200..400 => {
                    let unexpected = format_args!("{what}: unexpected status {status}");
                    return Err(Error::malformed(unexpected).into());
                }
                _ => return Err((kind.failure)(self, response, &what)),
            }
            if answer::is_html(&response) {
                let html = format_args!("{what}: not a registry's response (text/html)");
                return Err(Error::malformed(html).into());
            }
            response.refuse_encoding().map_err(|e| e.context(&what))?;
            let next = link::next(&response);
            match page::read(response.body, kind.field, |name| list.take(name)) {
                Ok(true) => Ok(End::Complete(next)),
                Ok(false) => Ok(End::Stopped),
                // After a retry, a name that is not remembered would be passed on again.
                Err(failure) if list.is_full() && list.passed > before => {
                    Err(Failure { retry: Retry::Never, ..failure }.context(&what))
                }
                Err(failure) => Err(failure.context(&what)),
            }
        });
        // Names were already passed on. The message says that the list is incomplete.
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

/// The list so far, and the function that receives its names.
struct List<'a, F> {
    kind: &'a Kind,
    each: F,
    after: After<'a>,
    remembered: HashSet<String>,
    /// The number of distinct names so far. A name that is not remembered is counted each time.
    passed: u64,
    /// Why a name could not be passed on.
    failed: Option<Error>,
}

impl<'a, F: FnMut(&str) -> Result<bool>> List<'a, F> {
    fn new(kind: &'a Kind, each: F, last: Option<&'a str>) -> List<'a, F> {
        let (after, remembered) = (After::new(kind.word, last), HashSet::new());
        List { kind, each, after, remembered, passed: 0, failed: None }
    }

    /// Takes a name of a page. Returns whether to continue.
    fn take(&mut self, name: &str) -> bool {
        let Kind { is_valid, word, .. } = self.kind;
        if !is_valid(name) {
            notice::warn("name", || format!("dropped \"{}\": not a valid {word}", printable(name)));
            return true;
        }
        if self.remembered.contains(name) {
            return true;
        }
        self.passed += 1;
        if !self.is_full() {
            self.remembered.insert(name.to_owned());
        }
        self.after.take(name, &mut self.each).unwrap_or_else(|error| {
            self.failed = Some(error);
            false
        })
    }

    /// Whether no more names can be remembered.
    fn is_full(&self) -> bool {
        self.remembered.len() >= MAX_REMEMBERED
    }
}
