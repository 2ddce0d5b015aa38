// SPDX-License-Identifier: Apache-2.0
//! The tags under which a manifest is stored. One rule holds for repositories and layouts: a tag
//! moves only if it is named, so `latest` is never assumed.

use common::error::{Error, Result, printable};
use common::manifest::Manifest;
use common::reference::{Location, is_tag};

/// Checks the tags of the command line before the manifest is read.
///
/// # Errors
/// Usage if a tag is invalid, or if the destination has a tag and `by_digest` is set.
pub(crate) fn check(location: &Location, tags: &[String], by_digest: bool) -> Result<()> {
    let is_valid = |tag: &&String| match location {
        Location::Registry(_) => is_tag(tag),
        Location::Layout(_) => !tag.is_empty(),
    };
    if let Some(wrong) = tags.iter().find(|tag| !is_valid(tag)) {
        return Err(Error::usage(format_args!("--tag \"{}\": not a tag", printable(wrong))));
    }
    if by_digest && let Some(tag) = tag_of(location) {
        let what = format_args!("--by-digest: {location} has the tag {}", printable(tag));
        return Err(Error::usage(what).hint("--tag TAG adds a tag to a manifest"));
    }
    Ok(())
}

/// The tags to store the manifest under, without duplicates. If there are none, the manifest is
/// stored by its digest.
///
/// # Errors
/// Usage if the destination has neither a tag nor a digest, neither `--tag` nor `--by-digest` is
/// given, and the manifest has no subject. A referrer is found by its subject, so it needs no tag.
pub(crate) fn tags(
    location: &Location,
    tags: &[String],
    by_digest: bool,
    manifest: &Manifest,
) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for tag in tag_of(location).into_iter().chain(tags.iter().map(String::as_str)) {
        if !all.iter().any(|other| other == tag) {
            all.push(tag.to_owned());
        }
    }
    let is_named = !all.is_empty() || by_digest || !location.is_bare();
    if is_named || manifest.subject.is_some() {
        return Ok(all);
    }
    let place = match location {
        Location::Registry(reference) => reference.repository.to_string(),
        Location::Layout(_) => printable(&location.to_string()),
    };
    let error = Error::usage(format_args!("{place}: neither a tag nor a digest given"));
    Err(error
        .hint(format_args!("{place}:TAG stores the manifest under a tag, --by-digest without one")))
}

fn tag_of(location: &Location) -> Option<&str> {
    match location {
        Location::Registry(reference) => reference.tag.as_deref(),
        Location::Layout(place) => place.tag.as_deref(),
    }
}
