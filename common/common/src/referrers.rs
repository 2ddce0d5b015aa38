// SPDX-License-Identifier: Apache-2.0
//! Lists of referrers. In a registry without the referrers API, and in a layout, the list is an
//! index under a tag that is derived from the subject's digest.
//!
//! The tag may name another manifest: some registries read `sha256-HEX` as the digest `sha256:HEX`
//! and return the subject. A user may also have given this name to an index of images. Anything
//! that is not a list of referrers is refused, so that it is never replaced. Not here: reading and
//! storing the index.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::json::{self, MAX_VALUES};
use crate::manifest::{Content, MAX_SIZE, Manifest, Schema1};
use crate::mediatype::OCI_INDEX;

/// The maximum length, in characters, of the two parts of a fallback tag: the digest's algorithm
/// and its hexadecimal digits.
const MAX_ALGORITHM: usize = 32;
const MAX_DIGITS: usize = 64;

/// Why a referrer is not listed if the list is full.
pub const NO_ROOM: &str = "no room for another referrer in this index";

/// The size of the referrers, in bytes, at which a batch is full. It bounds the memory for
/// annotations, and the time for which a layout is locked.
const MAX_BATCH: usize = MAX_SIZE as usize;

const NO_LIST: &str = "not a list of referrers";

/// Referrers, and the subjects in whose lists they belong, in the order in which they were added.
///
/// Each list is written once for all its referrers in a batch. If it were written once for each
/// referrer, the time to write it, and the space for the lists, would be quadratic in the number of
/// referrers.
#[derive(Default)]
pub struct Batch {
    subjects: Vec<(Digest, Vec<Descriptor>)>,
    /// The position of each subject.
    positions: HashMap<Digest, usize>,
    /// The size of the referrers, in bytes.
    bytes: usize,
}

impl Batch {
    /// Adds a referrer of `subject`.
    pub fn add(&mut self, subject: Digest, referrer: Descriptor) {
        self.bytes += referrer.line().len();
        let position = *self.positions.entry(subject.clone()).or_insert(self.subjects.len());
        match self.subjects.get_mut(position) {
            Some((_, referrers)) => referrers.push(referrer),
            None => self.subjects.push((subject, vec![referrer])),
        }
    }

    /// Whether the batch must be written before more referrers are added.
    pub fn is_full(&self) -> bool {
        self.bytes >= MAX_BATCH
    }

    /// The subjects, each with its referrers.
    pub fn subjects(&self) -> &[(Digest, Vec<Descriptor>)] {
        &self.subjects
    }
}

/// The referrers fallback tag of a digest (distribution specification, "referrers tag schema").
pub fn fallback_tag(subject: &Digest) -> String {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let algorithm = cut(subject.algorithm().name(), MAX_ALGORITHM);
    format!("{algorithm}-{}", cut(subject.hex(), MAX_DIGITS))
}

/// Whether a name has the form of a referrers fallback tag.
pub fn is_fallback_tag(name: &str) -> bool {
    Algorithm::ALL.iter().any(|algorithm| {
        let digits = name.strip_prefix(algorithm.name()).and_then(|rest| rest.strip_prefix('-'));
        digits.is_some_and(|digits| {
            digits.len() == algorithm.hex_len().min(MAX_DIGITS)
                && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    })
}

/// A list of referrers. The fields of the document other than its entries are kept.
#[derive(Clone, Debug)]
pub struct ReferrersList {
    document: Map<String, Value>,
    entries: Vec<Descriptor>,
    /// The digests of the entries. If each new entry were compared with all others, the time to add
    /// many would be quadratic.
    digests: HashSet<Digest>,
    /// The size of the document in bytes, with a comma after each entry.
    size: usize,
    /// The number of JSON values in the document with its entries.
    values: usize,
}

impl ReferrersList {
    /// A list without entries.
    pub fn empty() -> ReferrersList {
        let mut document = Map::new();
        document.insert("schemaVersion".to_owned(), 2.into());
        document.insert("mediaType".to_owned(), OCI_INDEX.into());
        ReferrersList::of(document, Vec::new())
    }

    fn of(mut document: Map<String, Value>, entries: Vec<Descriptor>) -> ReferrersList {
        document.insert("manifests".to_owned(), Value::Array(Vec::new()));
        let without = Value::Object(document.clone());
        let (size, values) = (without.to_string().len(), json::count(&without));
        let digests = HashSet::new();
        let mut list = ReferrersList { document, entries: Vec::new(), digests, size, values };
        entries.into_iter().for_each(|entry| list.push(entry));
        list
    }

    fn push(&mut self, entry: Descriptor) {
        let (size, values) = cost(&entry);
        self.size += size;
        self.values += values;
        self.digests.insert(entry.digest.clone());
        self.entries.push(entry);
    }

    /// Parses the list of the referrers of `subject`. `declared` is the media type that the store
    /// states.
    ///
    /// # Errors
    /// A sentence, if the bytes are the subject itself, a manifest of another type, an index of
    /// images for platforms, or malformed.
    pub fn parse(
        bytes: &[u8],
        declared: Option<&str>,
        subject: &Digest,
    ) -> Result<ReferrersList, String> {
        if subject.algorithm().digest(bytes) == *subject {
            return Err("the subject itself, not a list of its referrers".to_owned());
        }
        let parsed = Manifest::parse(bytes, declared, "it", Schema1::Allowed)
            .map_err(|error| error.to_string())?;
        let Content::Index { manifests } = parsed.content else { return Err(NO_LIST.to_owned()) };
        // A referrer is listed with its artifact type, and an image with its platform.
        let is_image =
            |entry: &Descriptor| entry.platform().is_some() && entry.artifact_type().is_none();
        if parsed.media_type != OCI_INDEX || manifests.iter().any(is_image) {
            return Err(NO_LIST.to_owned());
        }
        Ok(ReferrersList::of(json::parse_object(bytes)?, manifests))
    }

    /// The referrers, in the order of the list.
    pub fn into_entries(self) -> Vec<Descriptor> {
        self.entries
    }

    /// Whether the list has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the list has the referrer, or still has room for it.
    fn has_room_for(&self, referrer: &Descriptor) -> bool {
        let (size, values) = cost(referrer);
        let fits = self.size + size <= MAX_SIZE as usize && self.values + values <= MAX_VALUES;
        fits || self.digests.contains(&referrer.digest)
    }

    /// Adds a referrer. Returns whether the list changed: a referrer that is listed already is not
    /// added again.
    fn add(&mut self, referrer: &Descriptor) -> bool {
        let is_new = !self.digests.contains(&referrer.digest);
        if is_new {
            self.push(referrer.clone());
        }
        is_new
    }

    /// Adds the referrers for which the list has room. Returns whether the list changed, and the
    /// other referrers.
    pub fn add_all<'a>(&mut self, referrers: &'a [Descriptor]) -> (bool, Vec<&'a Descriptor>) {
        let mut is_changed = false;
        let mut others = Vec::new();
        for referrer in referrers {
            if self.has_room_for(referrer) {
                is_changed |= self.add(referrer);
            } else {
                others.push(referrer);
            }
        }
        (is_changed, others)
    }

    /// Removes referrers. Returns whether the list changed.
    pub fn remove(&mut self, referrers: &HashSet<&Digest>) -> bool {
        let before = self.entries.len();
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| !referrers.contains(&entry.digest));
        *self = ReferrersList::of(std::mem::take(&mut self.document), entries);
        self.entries.len() < before
    }

    /// The document to store.
    ///
    /// # Errors
    /// A sentence, if the document would be larger than a manifest may be, or have more values than
    /// a document may have: it could not be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let entries = self.entries.iter().cloned().map(Descriptor::into_value).collect();
        let mut document = self.document.clone();
        document.insert("manifests".to_owned(), Value::Array(entries));
        let bytes = Value::Object(document).to_string().into_bytes();
        if bytes.len() as u64 > MAX_SIZE || self.values > MAX_VALUES {
            return Err(NO_ROOM.to_owned());
        }
        Ok(bytes)
    }
}

/// The bytes, with a comma, and the JSON values that an entry adds to a list.
fn cost(entry: &Descriptor) -> (usize, usize) {
    let value = entry.clone().into_value();
    (value.to_string().len() + 1, json::count(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_digest_is_cut_to_fit_a_tag() {
        let short = Algorithm::Sha256.digest(b"");
        assert_eq!(fallback_tag(&short), format!("sha256-{}", short.hex()));
        let long = Algorithm::Sha512.digest(b"");
        assert_eq!(fallback_tag(&long), format!("sha512-{}", &long.hex()[..64]));
        for digest in [short, long] {
            let tag = fallback_tag(&digest);
            assert!(is_fallback_tag(&tag));
            for other in [format!("{tag}0"), tag[1..].to_owned(), format!("{tag}.sig")] {
                assert!(!is_fallback_tag(&other), "{other}");
            }
        }
    }

    #[test]
    fn a_list_must_fit_into_a_manifest() {
        let mut list = ReferrersList::empty();
        let spare = MAX_SIZE as usize - list.to_bytes().unwrap().len();
        list.document.insert("x".to_owned(), "".into());
        let padded = |n: usize| {
            let mut list = list.clone();
            list.document.insert("x".to_owned(), "y".repeat(n).into());
            list.to_bytes()
        };
        let field = r#","x":"""#.len();
        assert_eq!(padded(spare - field).unwrap().len() as u64, MAX_SIZE);
        assert!(padded(spare - field + 1).is_err());
    }

    #[test]
    fn a_list_has_room_until_it_could_not_be_read_again() {
        let subject = Algorithm::Sha256.digest(b"");
        // Large entries reach the limit of bytes first, and small ones the limit of values.
        for padding in [2000, 0] {
            let entry = |n: usize| {
                let entry =
                    Descriptor::new(OCI_INDEX, Algorithm::Sha256.digest(&n.to_le_bytes()), 1);
                let notes = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
                let fold = |entry: Descriptor, key: &&str| entry.with_annotation(key, "");
                notes.iter().fold(entry.with_annotation("x", &"y".repeat(padding)), fold)
            };
            let mut list = ReferrersList::empty();
            let mut next = 0;
            while list.has_room_for(&entry(next)) {
                assert!(list.add(&entry(next)));
                next += 1;
            }
            assert!(list.has_room_for(&entry(0)), "it is listed already");
            assert!(!list.add(&entry(0)));
            let bytes = list.to_bytes().unwrap();
            let again = ReferrersList::parse(&bytes, None, &subject).unwrap();
            // An empty list has no comma, so the count may be one byte too large.
            assert!((bytes.len()..=bytes.len() + 1).contains(&list.size));
            assert_eq!((again.entries.len(), again.values), (next, list.values));
            list.add(&entry(next));
            assert!(list.to_bytes().is_err());
            let all: Vec<Digest> = (0..=next).map(|n| entry(n).digest).collect();
            assert!(list.remove(&all.iter().collect()));
            assert_eq!((list.size, list.values), (ReferrersList::empty().size, 4));
        }
    }
}
