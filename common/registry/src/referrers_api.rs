// SPDX-License-Identifier: Apache-2.0
//! Lists the referrers of a manifest: the pages of the referrers API, and the list under the
//! fallback tag.
//!
//! Both are read, because one registry may have both. A registry that got the API later still has
//! the lists that clients wrote before. Some registries have the API but do not send OCI-Subject,
//! so clients write the list too.
//!
//! Registries without the API send different responses: 404, 400, 405, 501, or a web page. The
//! response for a missing repository is also 404, so a missing repository cannot be detected here.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status, printable};
use common::manifest::{Content, MAX_DIGESTS, MAX_SIZE, Manifest, Schema1};
use common::mediatype::{self, OCI_EMPTY, OCI_INDEX};
use common::referrers::fallback_tag;
use common::{manifest, notice};
use net::failure::Failure;
use net::request::{Method, Request};
use net::response::Response;
use net::retry::with_attempts;
use net::url::{self, Purpose, Url};

use super::answer::ErrorBody;
use super::list::MAX_PAGES;
use super::manifest::ACCEPT;
use super::{Registry, answer, link};

/// The name of the filter in the query and in the header OCI-Filters-Applied.
const FILTER: &str = "artifactType";

/// One page of referrers.
struct Page {
    referrers: Vec<Descriptor>,
    /// Whether the registry applied the filter.
    is_filtered: bool,
    /// The link to the next page, or why it cannot be read.
    next: std::result::Result<Option<String>, String>,
}

/// The referrers so far, and the function that receives them.
struct List<'a> {
    /// Only referrers of this artifact type are passed on.
    artifact_type: Option<&'a str>,
    seen: HashSet<Digest>,
    each: &'a mut dyn FnMut(Descriptor) -> Result<()>,
}

impl Registry {
    /// Passes the descriptor of every referrer of `subject` to `each`, page by page. Each referrer
    /// is passed once. With `artifact_type`, only referrers of that type are passed. An entry
    /// without an artifact type gets the type and the annotations of its manifest.
    ///
    /// Returns whether the registry has a list for this subject. The result is also `false` if the
    /// repository is missing.
    ///
    /// # Errors
    /// Refused or Unavailable, depending on the registry's response. Malformed if a page or the
    /// link to the next one is invalid, or if there are more than [`MAX_DIGESTS`] referrers. `each`
    /// has already received the referrers that arrived before the failure.
    pub fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        each: &mut dyn FnMut(Descriptor) -> Result<()>,
    ) -> Result<bool> {
        let mut list = List { artifact_type, seen: HashSet::new(), each };
        let has_api = !self.lacks_referrers.load(Ordering::Relaxed)
            && self.referrers_of_api(subject, &mut list)?;
        let Some(listed) = self.listed_referrers(subject)? else { return Ok(has_api) };
        match listed {
            Ok(listed) => {
                listed.into_iter().try_for_each(|entry| self.pass(entry, false, &mut list))?
            }
            Err(why) => {
                let what = self.manifest_name(&fallback_tag(subject));
                notice::warn("fallback tag", || format!("{what}: {why}: ignored"));
            }
        }
        Ok(true)
    }

    /// Passes on the referrers that the API lists. Returns whether the registry has the API.
    fn referrers_of_api(&self, subject: &Digest, list: &mut List<'_>) -> Result<bool> {
        let mut url = self.url(&format!("referrers/{subject}"))?;
        if let Some(artifact_type) = list.artifact_type {
            url = url.with_query(&[(FILTER, artifact_type)]).map_err(Error::usage)?;
        }
        let what = format!("{}: referrers of {subject}", self.repository());
        let incomplete =
            |why: &str| Error::malformed(format_args!("{what}: the list is incomplete: {why}"));
        let mut visited: HashSet<String> = HashSet::new();
        let mut pages_without_new = 0;
        loop {
            if visited.len() >= MAX_PAGES {
                return Err(incomplete(&format!("more than {MAX_PAGES} pages")));
            }
            if !visited.insert(url.as_sent()) {
                return Err(incomplete("the next page was already read"));
            }
            let is_next = visited.len() > 1;
            let page = self.referrers_page(&url, &what, is_next).map_err(|error| {
                if is_next { error.context("the list is incomplete") } else { error }
            })?;
            let Some(Page { referrers, is_filtered, next }) = page else { return Ok(false) };
            let before = list.seen.len();
            // A filtered page may be empty, although more pages follow.
            let may_be_empty = list.artifact_type.is_some() && referrers.is_empty();
            for entry in referrers {
                self.pass(entry, is_filtered, list)?;
            }
            let Some(next) = next.map_err(|why| incomplete(&why))? else { return Ok(true) };
            let is_new = list.seen.len() > before || may_be_empty;
            pages_without_new = if is_new { 0 } else { pages_without_new + 1 };
            if pages_without_new >= 2 {
                return Err(incomplete("two pages in a row without a new referrer"));
            }
            url = url::decide(Purpose::Link, self.session.http().origin(), &url, &next)
                .map_err(|why| incomplete(&why))?
                .url;
        }
    }

    /// Reads a page. `None` if the registry does not have the API.
    fn referrers_page(&self, url: &Url, what: &str, is_next: bool) -> Result<Option<Page>> {
        with_attempts(self.client(), || {
            let mut response = self
                .request(Request::new(Method::Get, url, &[("Accept", OCI_INDEX)]))
                .map_err(|failure| failure.context(what))?;
            match response.status.as_u16() {
                200 => {}
                400 | 404 | 405 | 406 | 410 | 501 if !is_next => {
                    let body = ErrorBody::parse(&response.error_text());
                    // Some registries with the API send this response for an unknown subject.
                    let is_about_subject =
                        matches!(body.code.as_str(), "MANIFEST_UNKNOWN" | "NAME_UNKNOWN");
                    self.lacks_referrers.store(!is_about_subject, Ordering::Relaxed);
                    return Ok(None);
                }
                status @ 200..400 => {
                    let unexpected = format_args!("{what}: unexpected status {status}");
                    return Err(Error::malformed(unexpected).into());
                }
                _ => return Err(answer::failure(response, what)),
            }
            let said = mediatype::of_content_type(response.header("content-type"));
            let is_index = |said: &str| said == OCI_INDEX || said == "application/json";
            let page = match &said {
                Some(said) if !is_index(said) => Err(Error::malformed(printable(said)).into()),
                _ => read(response),
            };
            match page {
                // Another server may answer 200 to every request.
                Err(Failure { error, .. })
                    if !is_next
                        && said.as_deref() != Some(OCI_INDEX)
                        && error.status() == Status::Malformed =>
                {
                    self.lacks_referrers.store(true, Ordering::Relaxed);
                    notice::warn("referrers API", || {
                        format!("{what}: not an index ({error}): only the fallback tag is read")
                    });
                    Ok(None)
                }
                page => page.map(Some).map_err(|failure| failure.context(what)),
            }
        })
    }

    /// Passes on an entry, unless it was passed on before or has another artifact type.
    fn pass(&self, entry: Descriptor, is_filtered: bool, list: &mut List<'_>) -> Result<()> {
        if list.seen.contains(&entry.digest) {
            return Ok(());
        }
        if list.seen.len() >= MAX_DIGESTS {
            let repository = self.repository();
            let what = format_args!("{repository}: more than {MAX_DIGESTS} referrers");
            return Err(Error::malformed(what));
        }
        list.seen.insert(entry.digest.clone());
        let is_typed = entry.artifact_type().is_some_and(|stated| stated != OCI_EMPTY);
        let entry = if is_typed { entry } else { self.completed(entry)? };
        let fits = |wanted| entry.artifact_type() == Some(wanted);
        // A registry that applied the filter may still leave the type out of the entry.
        let is_trusted = is_filtered && entry.artifact_type().is_none();
        if is_trusted || list.artifact_type.is_none_or(fits) { (list.each)(entry) } else { Ok(()) }
    }

    /// An entry whose artifact type is missing, or is that of an empty config, with the type and
    /// the annotations of its manifest. An entry whose manifest cannot be read is left unchanged.
    fn completed(&self, entry: Descriptor) -> Result<Descriptor> {
        let digest = &entry.digest;
        match self.manifest(&digest.to_string(), Some(digest), &ACCEPT) {
            Ok(remote) => Ok(manifest::referrer(&remote.bytes, &entry).unwrap_or(entry)),
            Err(error) => match error.status() {
                Status::Absent | Status::Malformed => Ok(entry),
                _ => Err(error),
            },
        }
    }
}

/// Reads the body of a page.
fn read(response: Response) -> std::result::Result<Page, Failure> {
    response.refuse_encoding()?;
    let applied = response.headers.get_all("oci-filters-applied").iter();
    let is_filtered = applied
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(FILTER.as_bytes()));
    let next = link::next(&response);
    let too_large = || Error::malformed(format_args!("a page is larger than {MAX_SIZE} bytes"));
    let bytes = response.read(MAX_SIZE)?.ok_or_else(too_large)?;
    let parsed = Manifest::parse(&bytes, Some(OCI_INDEX), "it", Schema1::Refused)?;
    match parsed.content {
        Content::Index { manifests } => Ok(Page { referrers: manifests, is_filtered, next }),
        _ => Err(Error::malformed("not an index").into()),
    }
}
