// SPDX-License-Identifier: Apache-2.0
//! Parsing one registries.conf: its `[[registry]]` tables, validated, or the lists of version 1.
//!
//! All tables of a file must be valid, even those for other registries. Not read: settings for
//! names without a host (`unqualified-search-registries`, `short-name-mode`, `aliases`), because
//! such a name means Docker Hub here; and `credential-helpers`.

use std::collections::{BTreeMap, HashMap};

use common::error::{Error, printable};
use common::notice;

use super::super::document::{Document, Parsed, Table, Wrong};
use super::super::{MAX_MIRRORS, Serves};
use super::prefix::is_wrong_domain;

/// The configuration for the repositories with a prefix.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The text that replaces the prefix. If it is empty, the name is left unchanged.
    pub(super) location: String,
    /// Whether plain HTTP is allowed and certificates are not checked.
    pub(super) insecure: bool,
    /// Whether the registry itself must not be contacted.
    pub(super) blocked: bool,
    /// The mirrors, in order.
    pub(super) mirrors: Vec<Mirror>,
    /// The file with this entry.
    pub(super) origin: String,
    /// The line of the location.
    pub(super) line: usize,
}

/// A `[[registry.mirror]]`.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// The text that replaces the prefix.
    pub(super) location: String,
    /// As in [`Entry`].
    pub(super) insecure: bool,
    /// The requests for which the mirror is used.
    pub(super) serves: Serves,
    /// The line of the location.
    pub(super) line: usize,
}

/// The root keys of version 2. A file that has one of them must not have the lists of version 1.
const VERSION_2: [&str; 6] = [
    "registry",
    "unqualified-search-registries",
    "credential-helpers",
    "short-name-mode",
    "additional-layer-store-auth-helper",
    "aliases",
];

/// The entries of a file, by prefix. If a prefix is repeated, the first entry is used.
///
/// # Errors
/// Malformed if the file is invalid. The message has the line.
pub(super) fn entries(
    document: &Document,
    is_drop_in: bool,
) -> Result<BTreeMap<String, Entry>, Error> {
    let found = match version_1(&document.root) {
        Ok(Some(_)) if is_drop_in => Err(Wrong {
            line: document.root.line_of("registries"),
            why: "[registries] is of version 1, which is not allowed in a drop-in file".to_owned(),
        }),
        Ok(Some(lists)) => from_lists(&document.root, &lists, &document.origin),
        Ok(None) => from_tables(&document.root, &document.origin),
        Err(wrong) => Err(wrong),
    };
    found.map_err(|wrong| document.wrong(&wrong))
}

/// The lists of version 1, if the file has any: the insecure and the blocked registries.
fn version_1(root: &Table) -> Parsed<Option<[Vec<&str>; 2]>> {
    let Some(registries) = root.table("registries")? else { return Ok(None) };
    let list = |name: &str| match registries.table(name)? {
        Some(table) => table.texts("registries"),
        None => Ok(None),
    };
    let lists = [list("search")?, list("insecure")?, list("block")?];
    let has_lists = lists.iter().any(Option::is_some);
    let [_, insecure, blocked] = lists.map(Option::unwrap_or_default);
    Ok(has_lists.then_some([insecure, blocked]))
}

fn from_lists(
    root: &Table,
    [insecure, blocked]: &[Vec<&str>; 2],
    origin: &str,
) -> Parsed<BTreeMap<String, Entry>> {
    let line = root.line_of("registries");
    if let Some(other) = VERSION_2.iter().find(|key| root.has(key)) {
        let why = format!("[registries] is of version 1, and {other} of version 2");
        return Err(Wrong { line, why });
    }
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for (names, is_blocked) in [(insecure, false), (blocked, true)] {
        for name in names {
            let location = location(name, line)?;
            let entry = entries.entry(location.to_owned()).or_insert_with(|| Entry {
                location: location.to_owned(),
                insecure: false,
                blocked: false,
                mirrors: Vec::new(),
                origin: origin.to_owned(),
                line,
            });
            entry.insecure |= !is_blocked;
            entry.blocked |= is_blocked;
        }
    }
    Ok(entries)
}

fn from_tables(root: &Table, origin: &str) -> Parsed<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    // Tables with the same location must agree on `insecure` and `blocked`.
    let mut settings: HashMap<String, (bool, bool)> = HashMap::new();
    for table in root.tables("registry")? {
        let (prefix, entry) = entry(table, origin)?;
        let of = if entry.location.is_empty() { &prefix } else { &entry.location };
        let now = (entry.insecure, entry.blocked);
        let before = *settings.entry(of.clone()).or_insert(now);
        if before != now {
            let what = if before.0 == now.0 { "blocked" } else { "insecure" };
            let why = format!("{} is {what} in one table and not in another", printable(of));
            return Err(Wrong { line: table.line, why });
        }
        entries.entry(prefix).or_insert(entry);
    }
    Ok(entries)
}

/// The keys of a registry. `proxy` has a separate warning.
const REGISTRY_KEYS: [&str; 8] = [
    "prefix",
    "location",
    "insecure",
    "blocked",
    "mirror",
    "mirror-by-digest-only",
    "pull-from-mirror",
    "proxy",
];

/// The keys of a mirror.
const MIRROR_KEYS: [&str; 4] = ["location", "insecure", "pull-from-mirror", "proxy"];

/// The prefix of a table and its entry.
fn entry(table: &Table, origin: &str) -> Parsed<(String, Entry)> {
    let wrong = |key: &str, why: String| Err(Wrong { line: table.line_of(key), why });
    let own = location(table.text("location")?, table.line_of("location"))?;
    let prefix = location(table.text("prefix")?, table.line_of("prefix"))?;
    let prefix = if table.text("prefix")?.is_empty() { own } else { prefix };
    if prefix.is_empty() {
        return wrong("location", "a registry has neither location nor prefix".to_owned());
    }
    if own.is_empty() && !prefix.starts_with("*.") {
        let why = format!("prefix {}: location is missing", printable(prefix));
        return wrong("prefix", why);
    }
    if is_wrong_domain(prefix) {
        let why = format!("prefix {}: *.DOMAIN must not have a port or a path", printable(prefix));
        return wrong("prefix", why);
    }
    if !table.text("pull-from-mirror")?.is_empty() {
        return wrong(
            "pull-from-mirror",
            "pull-from-mirror is allowed for mirrors only".to_owned(),
        );
    }
    warn_of_proxy(table, origin)?;
    table.warn_unknown(&REGISTRY_KEYS, origin);
    let by_digest = table.flag("mirror-by-digest-only")?.unwrap_or_default();
    let tables = table.tables("mirror")?;
    if tables.len() > MAX_MIRRORS {
        let why = format!("{} mirrors, more than {MAX_MIRRORS}", tables.len());
        return wrong("mirror", why);
    }
    let entry = Entry {
        location: own.to_owned(),
        insecure: table.flag("insecure")?.unwrap_or_default(),
        blocked: table.flag("blocked")?.unwrap_or_default(),
        mirrors: tables
            .iter()
            .map(|table| mirror(table, by_digest, origin))
            .collect::<Parsed<_>>()?,
        origin: origin.to_owned(),
        line: table.line_of("location"),
    };
    Ok((prefix.to_owned(), entry))
}

fn mirror(table: &Table, by_digest: bool, origin: &str) -> Parsed<Mirror> {
    let line = table.line_of("location");
    let location = location(table.text("location")?, line)?;
    if location.is_empty() {
        return Err(Wrong { line, why: "a mirror has no location".to_owned() });
    }
    warn_of_proxy(table, origin)?;
    table.warn_unknown(&MIRROR_KEYS, origin);
    let wrong = |why| Wrong { line: table.line_of("pull-from-mirror"), why };
    let serves = match table.text("pull-from-mirror")? {
        "" if by_digest => Serves::Digests,
        value if by_digest => {
            let why =
                format!("{}: contradicts mirror-by-digest-only of the registry", printable(value));
            return Err(wrong(format!("pull-from-mirror {why}")));
        }
        "" | "all" => Serves::All,
        "digest-only" => Serves::Digests,
        "tag-only" => Serves::Tags,
        other => {
            let other = printable(other);
            return Err(wrong(format!(
                "pull-from-mirror: got \"{other}\", want all, digest-only or tag-only"
            )));
        }
    };
    let insecure = table.flag("insecure")?.unwrap_or_default();
    Ok(Mirror { location: location.to_owned(), insecure, serves, line })
}

/// A prefix or a location, without slashes at its end.
fn location(text: &str, line: usize) -> Parsed<&str> {
    let text = text.trim_end_matches('/');
    if text.starts_with("http://") || text.starts_with("https://") {
        let why = format!("{}: a location must not have a scheme", printable(text));
        return Err(Wrong { line, why });
    }
    Ok(text)
}

/// New versions of podman, skopeo and buildah support a proxy for a single registry. Here one proxy
/// setting applies to all registries.
fn warn_of_proxy(table: &Table, origin: &str) -> Parsed<()> {
    if !table.text("proxy")?.is_empty() {
        notice::warn("mirror proxy", || {
            let line = table.line_of("proxy");
            format!("{origin}: line {line}: a proxy for a single registry is not supported")
        });
    }
    Ok(())
}
