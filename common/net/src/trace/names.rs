// SPDX-License-Identifier: Apache-2.0
//! The shell's variables of a trace: which one stands for which secret, which file and which place.
//!
//! The first of a kind has the kind's name, the others are numbered. What it is that a variable
//! stands for is told once, before its first use.

use std::collections::{BTreeMap, VecDeque};

use common::secret;

use super::text::{expanded, resolved};
use crate::url::Url;

/// The most variables, and the most places, that are remembered. What is forgotten has a new name
/// when it comes again.
pub(super) const MAX_NAMES: usize = 1024;

/// A bearer token.
pub(super) const TOKEN: &str = "REGISTRY_TOKEN";
/// A password, or an identity token.
pub(super) const PASSWORD: &str = "REGISTRY_PASSWORD";
/// The value of a header of the user's own.
pub(super) const HEADER: &str = "REGISTRY_HEADER";
/// What an answer's Location says.
pub(super) const LOCATION: &str = "LOCATION";
/// A file with what is sent.
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

/// A URL that is not shown, and the variable that holds what the server said of it.
struct Place {
    url: String,
    name: String,
    before: String,
    expansion: String,
    file: Option<String>,
}

/// A place that is known.
pub(super) struct Found {
    /// The word for it.
    pub(super) word: String,
    /// The variable's name.
    pub(super) name: String,
    /// The file that what is there goes into.
    pub(super) file: Option<String>,
}

impl Names {
    /// A name that stands for nothing yet.
    pub(super) fn reserve(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        match count {
            1 => kind.to_owned(),
            n => format!("{kind}_{n}"),
        }
    }

    /// A name that was reserved stands for nothing after all: if it is the last one, it is there
    /// again.
    pub(super) fn give_back(&mut self, kind: &'static str, name: &str) {
        let count = self.counts.entry(kind).or_default();
        let last = if *count == 1 { kind.to_owned() } else { format!("{kind}_{count}") };
        if last == name && !self.known.iter().any(|known| known.name == name) {
            *count -= 1;
        }
    }

    /// A name stands for a value, which the commands themselves put into it.
    pub(super) fn learn(&mut self, kind: &'static str, name: &str, value: &str) {
        self.remember(kind, value, name.to_owned(), true);
    }

    /// The name of a value, known or new; true the first time, when it has to be told what it is.
    pub(super) fn of(&mut self, kind: &'static str, value: &str) -> (String, bool) {
        let mut same = self.known.iter_mut().filter(|known| known.kind == kind);
        if let Some(known) = same.find(|known| known.value == value) {
            return (known.name.clone(), !std::mem::replace(&mut known.is_explained, true));
        }
        let name = self.reserve(kind);
        self.remember(kind, value, name.clone(), true);
        (name, true)
    }

    /// As [`of`](Names::of), for what no line may show.
    pub(super) fn of_secret(&mut self, kind: &'static str, value: &str) -> (String, bool) {
        secret::keep(value);
        self.of(kind, value)
    }

    /// The first name of its kind is this value's, whose turn will come.
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

    /// From now on `url` is reached by the variable `name`, which holds the `text` that it was
    /// resolved from; what is there goes into `file`.
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

    /// What is known of a URL that is such a place, or one with a digest behind it.
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

    /// There is nothing at that place any more.
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
    fn a_name_that_came_to_nothing_is_there_again() {
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
    fn a_place_is_known_by_its_url_with_a_digest_or_without() {
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
