// SPDX-License-Identifier: Apache-2.0
//! Tests of tables and the resulting places, with examples like those of podman, skopeo and
//! buildah. This module is compiled for tests only, so it may panic.

use common::error::Status;

use super::super::tests::repository;
use super::super::{MAX_MIRRORS, Serves};
use super::*;

/// The tables of a registries.conf and of drop-ins that are read after it.
fn tables(files: &[&str]) -> Result<Tables> {
    let mut tables = Tables { entries: BTreeMap::new(), left: MAX_BYTES };
    for (at, text) in files.iter().enumerate() {
        let document = Document::parse(format!("{at}.conf"), text.as_bytes())?;
        tables.entries.extend(conf::entries(&document, at > 0)?);
    }
    Ok(tables)
}

fn lookup(files: &[&str], name: &str) -> Result<Option<Configured>> {
    tables(files)?.lookup(&repository(name))
}

/// Shows places as `HOST/PATH`, with `!` if insecure. For a place that is used only for some
/// requests, the kind of requests follows.
fn shown<'a>(places: impl IntoIterator<Item = &'a Place>) -> Vec<String> {
    let show = |place: &Place| {
        let Place { host, path, .. } = place;
        let mark = if place.insecure { "!" } else { "" };
        let serves = match place.serves {
            Serves::All => "",
            Serves::Digests => " digests",
            Serves::Tags => " tags",
        };
        format!("{host}/{path}{mark}{serves}")
    };
    places.into_iter().map(show).collect()
}

/// The error message for an invalid file.
fn wrong(text: &str) -> String {
    let error = tables(&[text]).map(|_| ()).unwrap_err();
    assert_eq!(error.status(), Status::Malformed, "{error}");
    error.to_string()
}

const FOUR: &str = r#"
[[registry]]
prefix = "r.example/foo"
location = "inside.example/bar"

[[registry.mirror]]
location = "m0.example/mirror-for-foo"

[[registry.mirror]]
location = "m1.example:5000/mirrors/foo/"
insecure = true

[[registry]]
location = "plain.example"
insecure = true

[[registry]]
location = "blocked.example"
blocked = true

[[registry]]
prefix = "docker.io/library"
location = "docker.io/library"
[[registry.mirror]]
location = "hub.example"
"#;

#[test]
fn a_registry_as_a_whole_is_matched_by_its_host() {
    let conf = r#"
        [[registry]]
        prefix = "a.test"
        location = "b.test"
        insecure = true
        mirror = [{ location = "m.test" }, { location = "n.test/sub" }]
        [[registry]]
        prefix = "a.test:5000"
        location = "b.test/sub"
        [[registry]]
        location = "a.test/team"
        insecure = true
        [[registry]]
        location = "blocked.test"
        blocked = true
    "#;
    let of = |host: &str| {
        let whole = Repository::whole(host).unwrap();
        tables(&[conf]).unwrap().lookup(&whole).unwrap()
    };
    let found = of("a.test").unwrap();
    assert_eq!(shown(&found.own), ["b.test/!"]);
    assert_eq!(shown(&found.mirrors), ["m.test/", "n.test/sub"]);
    assert_eq!(shown(&of("a.test:5000").unwrap().own), ["b.test/sub"]);
    assert_eq!(of("blocked.test").unwrap().blocked.as_deref(), Some("0.conf"));
    assert_eq!(of("c.test"), None);
    // The location of a repository still needs a path.
    let short = "[[registry]]\nprefix = 'a.test/x'\nlocation = 'b.test'";
    assert!(lookup(&[short], "a.test/x").unwrap_err().to_string().contains("not a complete"));
}

#[test]
fn a_location_replaces_the_prefix() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        (
            "r.example/foo/image",
            &["m0.example/mirror-for-foo/image", "m1.example:5000/mirrors/foo/image!"],
            &["inside.example/bar/image"],
        ),
        (
            "r.example/foo",
            &["m0.example/mirror-for-foo", "m1.example:5000/mirrors/foo!"],
            &["inside.example/bar"],
        ),
        ("plain.example/a/b", &[], &["plain.example/a/b!"]),
        ("plain.example:5000/a", &[], &["plain.example:5000/a!"]),
        ("alpine", &["hub.example/alpine"], &[]),
        ("docker.io/library/alpine", &["hub.example/alpine"], &[]),
    ];
    for (name, mirrors, own) in cases {
        let got = lookup(&[FOUR], name).unwrap().unwrap();
        assert_eq!((shown(&got.mirrors), shown(&got.own)), (owned(mirrors), owned(own)), "{name}");
        let origins = got.mirrors.iter().chain(&got.own).map(|place| place.origin.as_str());
        assert!(origins.into_iter().all(|origin| origin == "0.conf"));
        assert_eq!(got.blocked, None);
    }
    for other in ["r.example/foobar", "r.example/bar", "a.plain.example/a", "user/alpine"] {
        assert_eq!(lookup(&[FOUR], other).unwrap(), None, "{other}");
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_longest_prefix_decides_also_if_it_is_a_wildcard() {
    let conf = r#"
        [[registry]]
        prefix = "*.example"
        location = "one.test"
        [[registry]]
        prefix = "*.r.example"
        location = "two.test"
        [[registry]]
        prefix = "a.r.example:5000"
        location = "three.test"
        [[registry]]
        prefix = "a.r.example:5000/team"
        location = "four.test/t"
        [[registry]]
        prefix = "*.whole.test"
        insecure = true
        [[registry.mirror]]
        location = "five.test/x"
    "#;
    let own = |name: &str| lookup(&[conf], name).unwrap().map(|found| shown(&found.own));
    assert_eq!(own("b.example/app"), Some(owned(&["one.test/app"])));
    assert_eq!(own("a.r.example/app"), Some(owned(&["two.test/app"])));
    assert_eq!(own("b.a.r.example/app"), Some(owned(&["two.test/app"])));
    assert_eq!(own("a.r.example:5000/app"), Some(owned(&["three.test/app"])));
    assert_eq!(own("a.r.example:5000/team/app"), Some(owned(&["four.test/t/app"])));
    assert_eq!(own("example.test/app"), None);
    // Without a location the name is left unchanged.
    let whole = lookup(&[conf], "a.b.whole.test/app").unwrap().unwrap();
    assert_eq!(shown(&whole.own), ["a.b.whole.test/app!"]);
    assert_eq!(shown(&whole.mirrors), ["five.test/x/app"]);
}

#[test]
fn a_mirror_or_its_registry_limits_the_requests_served() {
    let conf = r#"
        [[registry]]
        location = "a.test"
        mirror-by-digest-only = true
        mirror = [{ location = "m.test" }, { location = "n.test" }]
        [[registry]]
        location = "b.test"
        mirror = [
            { location = "m.test", pull-from-mirror = "digest-only" },
            { location = "n.test", pull-from-mirror = "tag-only" },
            { location = "o.test", pull-from-mirror = "all" },
            { location = "p.test", pull-from-mirror = "" },
        ]
    "#;
    let mirrors = |name: &str| shown(&lookup(&[conf], name).unwrap().unwrap().mirrors);
    assert_eq!(mirrors("a.test/x"), ["m.test/x digests", "n.test/x digests"]);
    let four = ["m.test/x digests", "n.test/x tags", "o.test/x", "p.test/x"];
    assert_eq!(mirrors("b.test/x"), four);
}

#[test]
fn for_a_repeated_prefix_the_first_table_of_the_last_file_is_used() {
    let first = r#"
        registry = [
            { prefix = "a.test", location = "one.test" },
            { prefix = "a.test", location = "two.test", mirror = [{ location = "m.test" }] },
        ]
    "#;
    let own = |files: &[&str]| shown(&lookup(files, "a.test/x").unwrap().unwrap().own);
    assert_eq!(own(&[first]), ["one.test/x"]);
    let later = "[[registry]]\nprefix = 'a.test//'\nlocation = 'three.test/'";
    assert_eq!(own(&[first, later]), ["three.test/x"]);
    assert_eq!(own(&[first, later, "[aliases]\na = 'b'"]), ["three.test/x"]);
    assert_eq!(own(&[first, later, first]), ["one.test/x"]);
}

#[test]
fn a_blocked_registry_is_read_only_from_its_mirrors() {
    let conf = r#"
        [[registry]]
        location = "a.test"
        blocked = true
        [[registry]]
        prefix = "b.test"
        location = "b.test"
        blocked = true
        mirror = [{ location = "m.test" }, { location = "a.test/sub" }]
        [[registry]]
        prefix = "c.test"
        location = "a.test/c"
    "#;
    let got = |name: &str| lookup(&[conf], name).unwrap().unwrap();
    let blocked = Some("0.conf".to_owned());
    let nothing = Configured { blocked: blocked.clone(), ..Configured::default() };
    assert_eq!(got("a.test/x"), nothing);
    // A mirror that is itself blocked is skipped.
    let b = got("b.test/x");
    assert_eq!((shown(&b.mirrors), b.own, b.blocked), (owned(&["m.test/x"]), None, blocked));
    let error = lookup(&[conf], "c.test/x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "0.conf: line 12: c.test/x: its location is a.test/c/x, which is blocked by 0.conf"
    );
}

#[test]
fn version_1_is_read_but_not_in_drop_ins() {
    let old = r#"
        [registries.search]
        registries = ["a.test////", "c.test"]
        [registries.insecure]
        registries = ["b.test////", "d.test"]
        [registries.block]
        registries = ["b.test"]
    "#;
    let got = |name: &str| lookup(&[old], name).unwrap();
    assert_eq!(got("a.test/x"), None);
    assert_eq!(shown(&got("d.test/x").unwrap().own), ["d.test/x!"]);
    assert_eq!(got("b.test/x").unwrap().blocked, Some("0.conf".to_owned()));
    let as_drop_in = tables(&["", old]).map(|_| ()).unwrap_err();
    assert!(as_drop_in.to_string().starts_with("1.conf: line 2: [registries] is of version 1"));
    assert!(wrong(&format!("unqualified-search-registries = []\n{old}")).contains("version 2"));
    assert!(wrong(&old.replace("d.test", "https://d.test")).contains("must not have a scheme"));
    // A file without the lists of version 1 is not of version 1.
    assert!(tables(&["", "[registries.search]\nother = 1"]).is_ok());
}

#[test]
fn errors_name_the_line() {
    let table = "[[registry]]\n";
    let mirror = "[[registry]]\nlocation = 'a.test'\n[[registry.mirror]]\n";
    let cases = [
        (format!("{table}location ="), 2, "string values must be quoted"),
        (format!("{table}insecure = true"), 1, "neither location nor prefix"),
        (format!("{table}prefix = 'a.test'"), 2, "prefix a.test: location is missing"),
        (format!("{table}\nlocation = 'http://a.test'"), 3, "a location must not have a scheme"),
        (
            format!("{table}prefix = 'https://a'\nlocation = 'a'"),
            2,
            "a location must not have a scheme",
        ),
        (
            format!("{table}prefix = '*.a.test/b'\nlocation = 'a'"),
            2,
            "must not have a port or a path",
        ),
        (format!("{table}prefix = '*.a.test:1'"), 2, "must not have a port or a path"),
        (format!("{table}location = 1"), 2, "location: got a number or a time, want a string"),
        (format!("{table}location = 'a'\nblocked = 'yes'"), 3, "got a string, want true or false"),
        (format!("{table}location = 'a'\npull-from-mirror = 'all'"), 3, "for mirrors only"),
        (
            format!("{table}location = 'a'\nmirror = 'b'"),
            3,
            "mirror: got a string, want a list of tables",
        ),
        (
            "[registry]\nlocation = 'a'".to_owned(),
            1,
            "registry: got a table, want a list of tables",
        ),
        ("registries = 1".to_owned(), 1, "want a table"),
        ("[registries.block]\nregistries = [1]".to_owned(), 2, "want a string"),
        (format!("{mirror}insecure = true"), 3, "a mirror has no location"),
        (format!("{mirror}location = 'https://b'"), 4, "must not have a scheme"),
        (format!("{mirror}location = 'b'\npull-from-mirror = 'some'"), 5, "got \"some\""),
        (
            "registry = [{ location = 'a', mirror-by-digest-only = true,\n\
             mirror = [{ location = 'b', pull-from-mirror = 'all' }] }]"
                .to_owned(),
            2,
            "contradicts mirror-by-digest-only",
        ),
        (
            format!("{table}location = 'a'\n{table}prefix = 'b'\nlocation = 'a'\ninsecure = true"),
            3,
            "a is insecure in one table and not in another",
        ),
        (
            format!("{table}location = 'a'\n{table}location = 'a'\nblocked = true"),
            3,
            "a is blocked in one table and not in another",
        ),
    ];
    for (text, line, words) in cases {
        let got = wrong(&text);
        assert!(got.starts_with(&format!("0.conf: line {line}: ")), "{text}\n{got}");
        assert!(got.contains(words), "{text}\n{got}");
    }
}

#[test]
fn an_invalid_place_is_an_error_only_for_its_own_repositories() {
    let conf = r#"
        [[registry]]
        prefix = "a.test"
        location = "b.test/Upper"
        [[registry]]
        prefix = "c.test"
        location = "c.test"
        mirror = [{ location = "mirror" }]
        [[registry]]
        prefix = "d.test"
        location = "docker.io"
        [[registry]]
        location = "*.e.test"
        [[registry]]
        location = "john.doe@f.test"
    "#;
    for (name, line, words) in [
        ("a.test/x", 4, "must be lowercase"),
        ("c.test/x", 8, "\"mirror/x\" is not a complete repository name"),
        ("d.test/x", 11, "\"docker.io/x\" is not a complete repository name"),
        ("g.e.test/x", 13, "\"*.e.test/x\""),
    ] {
        let got = lookup(&[conf], name).unwrap_err();
        assert_eq!(got.status(), Status::Malformed);
        let got = got.to_string();
        assert!(got.starts_with(&format!("0.conf: line {line}: ")), "{got}");
        assert!(got.contains(words), "{got}");
    }
    assert_eq!(shown(&lookup(&[conf], "d.test/x/y").unwrap().unwrap().own), ["docker.io/x/y"]);
    assert_eq!(lookup(&[conf], "h.test/x").unwrap(), None);
}

#[test]
fn keys_are_found_in_any_case() {
    let conf = "[[Registry]]\nLOCATION = 'a.test'\nInsecure = true\nprefix = 'b.test'";
    assert_eq!(shown(&lookup(&[conf], "b.test/x").unwrap().unwrap().own), ["a.test/x!"]);
}

#[test]
fn the_number_of_mirrors_is_limited() {
    let conf = |count: usize| {
        let mirrors = "{ location = 'm.test' },".repeat(count);
        format!("[[registry]]\nlocation = 'a.test'\nmirror = [{mirrors}]")
    };
    let most = lookup(&[&conf(MAX_MIRRORS)], "a.test/x").unwrap().unwrap();
    assert_eq!(most.mirrors.len(), MAX_MIRRORS);
    assert_eq!(wrong(&conf(MAX_MIRRORS + 1)), "0.conf: line 3: 65 mirrors, more than 64");
}

#[test]
fn hostile_bytes_are_refused_without_a_panic() {
    let deep = format!("a = {}", "[".repeat(100_000));
    let dots = format!("a{} = 1", ".a".repeat(10_000));
    for bytes in [
        b"\xff".as_slice(),
        b"[[registry]]\nlocation = \"\xc3\x28\"",
        b"\0",
        b"\x1b[31m = 1",
        b"a = 1\na = 2",
        deep.as_bytes(),
        dots.as_bytes(),
    ] {
        let error = Document::parse("x".to_owned(), bytes).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("x: line "), "{error}");
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }
    let utf8 = Document::parse("x".to_owned(), b"a = 1\n\n# \xff").map(|_| ()).unwrap_err();
    assert_eq!(utf8.to_string(), "x: line 3: invalid UTF-8");
    // An invalid name is shown with its control characters escaped.
    let hidden = "[[registry]]\nlocation = \"a.test\"\nprefix = \"https://\\u001b[31m\"";
    assert!(wrong(hidden).contains("\\u{1b}"));
}
