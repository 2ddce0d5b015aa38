// SPDX-License-Identifier: Apache-2.0
//! The shell variables of a trace: which variable holds which secret, file or URL.
//!
//! The first variable of a kind has the kind's name; further ones are numbered. The trace explains
//! each variable once, before its first use.

use std::collections::{BTreeMap, VecDeque};

use common::secret;

use super::text::{expanded, resolved};
use crate::url::Url;

/// The maximum number of variables, and of URLs, that are remembered. A forgotten value gets a new
/// variable when it is used again.
pub(super) const MAX_NAMES: usize = 1024;

/// A bearer token.
pub(super) const TOKEN: &str = "REGISTRY_TOKEN";
/// A password, or an identity token.
pub(super) const PASSWORD: &str = "REGISTRY_PASSWORD";
/// The value of a header that the user configured.
pub(super) const HEADER: &str = "REGISTRY_HEADER";
/// The Location of a response.
pub(super) const LOCATION: &str = "LOCATION";
/// A file with the body of a request.
pub(super) const BLOB: &str = "BLOB";

/// The variables.
#[derive(Default)]
pub(super) struct Names {
    counts: BTreeMap<&'static str, usize>,
    known: VecDeque<Known>,
    places: VecDeque<Place>,
}

struct Known {
    kind: &'static str,
    value: String,
    name: String,
    is_explained: bool,
}

/// A URL that is not shown, and the variable that holds the server's text of it.
struct Place {
    url: String,
    name: String,
    before: String,
    expansion: String,
    file: Option<String>,
}

/// A URL for which a variable is known.
pub(super) struct Found {
    /// The shell word that expands to the URL.
    pub(super) word: String,
    /// The variable's name.
    pub(super) name: String,
    /// The file for the content of the URL.
    pub(super) file: Option<String>,
}

impl Names {
    /// Reserves a name for a value that is not known yet.
    pub(super) fn reserve(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        match count {
            1 => kind.to_owned(),
            n => format!("{kind}_{n}"),
        }
    }

    /// Releases a reserved name that got no value. Only the last name of a kind can be released.
    pub(super) fn give_back(&mut self, kind: &'static str, name: &str) {
        let count = self.counts.entry(kind).or_default();
        let last = if *count == 1 { kind.to_owned() } else { format!("{kind}_{count}") };
        if last == name && !self.known.iter().any(|known| known.name == name) {
            *count -= 1;
        }
    }

    /// Records the value of a reserved name. The trace's commands assign it, so it needs no
    /// explanation.
    pub(super) fn learn(&mut self, kind: &'static str, name: &str, value: &str) {
        self.remember(kind, value, name.to_owned(), true);
    }

    /// The name of a value, known or new. The flag is true the first time: the variable must then
    /// be explained.
    pub(super) fn of(&mut self, kind: &'static str, value: &str) -> (String, bool) {
        let mut same = self.known.iter_mut().filter(|known| known.kind == kind);
        if let Some(known) = same.find(|known| known.value == value) {
            return (known.name.clone(), !std::mem::replace(&mut known.is_explained, true));
        }
        let name = self.reserve(kind);
        self.remember(kind, value, name.clone(), true);
        (name, true)
    }

    /// As [`of`](Names::of), for a secret.
    pub(super) fn of_secret(&mut self, kind: &'static str, value: &str) -> (String, bool) {
        secret::keep(value);
        self.of(kind, value)
    }

    /// Gives the first name of a kind to a value that is used later.
    pub(super) fn give_first(&mut self, kind: &'static str, value: &str) {
        let name = self.reserve(kind);
        self.remember(kind, value, name, false);
    }

    fn remember(&mut self, kind: &'static str, value: &str, name: String, is_explained: bool) {
        if self.known.len() >= MAX_NAMES {
            self.known.pop_front();
        }
        self.known.push_back(Known { kind, value: value.to_owned(), name, is_explained });
    }

    /// Records that the variable `name` holds `text`, which was resolved to `url`. The content of
    /// the URL goes into `file`.
    pub(super) fn keep_place(&mut self, url: &Url, name: &str, text: &str, file: Option<String>) {
        self.places.retain(|place| place.name != name);
        if self.places.len() >= MAX_NAMES {
            self.places.pop_front();
        }
        let parts = resolved(text, url, name);
        let (before, expansion) = parts.unwrap_or_else(|| (String::new(), format!("${{{name}}}")));
        self.places.push_back(Place {
            url: url.uri().to_string(),
            name: name.to_owned(),
            before,
            expansion,
            file,
        });
    }

    /// Finds the variable for a recorded URL, or for a recorded URL with `digest=` appended.
    pub(super) fn place(&self, url: &Url) -> Option<Found> {
        let text = url.uri().to_string();
        let tail = |place: &Place| {
            let tail = text.strip_prefix(&place.url)?;
            let fits = tail.is_empty()
                || ["?digest=", "&digest="].iter().any(|start| tail.starts_with(start));
            fits.then(|| tail.to_owned())
        };
        let (place, tail) =
            self.places.iter().rev().find_map(|place| Some((place, tail(place)?)))?;
        let word = expanded(&place.before, &place.expansion, &tail);
        Some(Found { word, name: place.name.clone(), file: place.file.clone() })
    }

    /// Forgets the URL of this variable, which is no longer in use.
    pub(super) fn forget_place(&mut self, name: &str) {
        self.places.retain(|place| place.name != name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_name_and_is_explained_once() {
        let mut names = Names::default();
        names.give_first(PASSWORD, "first");
        assert_eq!(names.of(PASSWORD, "second"), ("REGISTRY_PASSWORD_2".to_owned(), true));
        assert_eq!(names.of(PASSWORD, "first"), ("REGISTRY_PASSWORD".to_owned(), true));
        assert_eq!(names.of(PASSWORD, "first"), ("REGISTRY_PASSWORD".to_owned(), false));
        assert_eq!(names.of(TOKEN, "first"), ("REGISTRY_TOKEN".to_owned(), true));
    }

    #[test]
    fn a_released_name_is_reserved_again() {
        let mut names = Names::default();
        assert_eq!(names.reserve(TOKEN), "REGISTRY_TOKEN");
        names.give_back(TOKEN, "REGISTRY_TOKEN");
        assert_eq!(names.reserve(TOKEN), "REGISTRY_TOKEN");
        names.learn(TOKEN, "REGISTRY_TOKEN", "t");
        names.give_back(TOKEN, "REGISTRY_TOKEN");
        assert_eq!(names.reserve(TOKEN), "REGISTRY_TOKEN_2");
        assert_eq!(names.of(TOKEN, "t"), ("REGISTRY_TOKEN".to_owned(), false));
    }

    #[test]
    fn a_url_is_found_with_a_digest_or_without() {
        let mut names = Names::default();
        let url = |text: &str| Url::parse(text).unwrap();
        names.keep_place(&url("http://r.example/u?s=1"), "LOCATION", "/u?s=1", None);
        let word = |text: &str| names.place(&url(text)).map(|found| found.word);
        let want = |tail: &str| Some(format!("\"http://r.example/${{LOCATION#/}}{tail}\""));
        assert_eq!(word("http://r.example/u?s=1"), want(""));
        assert_eq!(word("http://r.example/u?s=1&digest=sha256:0"), want("&digest=sha256:0"));
        assert_eq!(word("http://r.example/u?s=12"), None);
    }

    #[test]
    fn names_are_forgotten_at_the_limit() {
        let mut names = Names::default();
        for i in 0..MAX_NAMES {
            names.of(BLOB, &i.to_string());
        }
        assert_eq!(names.of(BLOB, "0"), ("BLOB".to_owned(), false));
        names.of(BLOB, "one more");
        assert_eq!(names.of(BLOB, "0"), (format!("BLOB_{}", MAX_NAMES + 2), true));
        assert_eq!((names.known.len(), names.counts[BLOB]), (MAX_NAMES, MAX_NAMES + 2));
    }
}
