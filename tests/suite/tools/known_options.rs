// SPDX-License-Identifier: Apache-2.0
//! Options: mistyped ones, options of other programs, options given twice, and the short help.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use tests::commands::plain;
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::scratch::Scratch;
use tests::tools::tool;

use super::contract::tools;

/// An option as `--help` lists it.
pub(super) struct Listed {
    pub(super) short: Option<String>,
    pub(super) long: String,
    /// The name of its value; `None` if it has none.
    pub(super) value: Option<String>,
}

/// The options of a tool.
pub(super) fn listed(name: &str) -> Vec<Listed> {
    let help = String::from_utf8(tool(name).arg("--help").run().stdout).unwrap();
    let option = |line: &str| {
        let (names, value) = match line.trim_start().split_once(" <") {
            Some((names, value)) => (names, Some(value.trim_end_matches(['>', '.']).to_owned())),
            None => (line.trim_start(), None),
        };
        let (short, long) = match names.split_once(", --") {
            Some((short, long)) => (Some(short.to_owned()), long),
            None => (None, names.strip_prefix("--")?),
        };
        let is_name = long.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        is_name.then(|| Listed { short, long: format!("--{long}"), value })
    };
    let options: Vec<Listed> =
        help.lines().filter(|line| line.trim_start().starts_with('-')).filter_map(option).collect();
    assert!(options.len() > 2, "{help}");
    options
}

#[test]
fn a_mistyped_option_gets_the_right_one_as_hint() {
    for (name, typed, ours) in [
        ("fetch-blob", "--retry-time", "--retry-times"),
        ("fetch-blob", "--recheck-all", "--recheck"),
        ("fetch-manifest", "--plattform", "--platform"),
        ("push-blob", "--mountfrom", "--mount-from"),
        ("unpack-layer", "--no-same-owners", "--no-same-owner"),
        ("list-blobs", "--layer", "--layers"),
        ("verify-digest", "--ignore-mising", "--ignore-missing"),
    ] {
        let run = tool(name).arg(typed).run();
        run.fails(2, &format!("{name}: unexpected argument '{typed}'\n"));
        run.says(&format!("{name}: hint: did you mean {ours}\n")).stdout("");
    }
    let run = tool("fetch-blob").args(["a", "--progress", "jsn"]).run();
    run.fails(2, "hint: did you mean json\n").stdout("");
}

#[test]
fn an_option_like_no_other_gets_the_help_as_hint() {
    for name in tools() {
        let run = tool(&name).arg("--zzzzzzzz").run();
        run.fails(2, &format!("{name}: hint: see {name} --help\n"));
    }
}

/// Options of other programs: the tool, the option, and our option or words in the hint.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("fetch-manifest", "--tls-verify=false", "--insecure skips certificate checks, --plain-http"),
    ("push-blob", "--tls-verify=false", "--insecure skips certificate checks, --plain-http"),
    ("push-blob", "--src-tls-verify=false", "--from-insecure skips certificate checks for --from"),
    ("push-blob", "--dest-tls-verify=false", "--insecure skips certificate checks"),
    ("fetch-blob", "--src-tls-verify=false", "--insecure skips certificate checks"),
    ("pack-layer", "--tls-verify=false", "no network access"),
    ("fetch-blob", "-k", "--insecure"),
    ("fetch-blob", "--insecure-skip-tls-verify", "--insecure"),
    ("fetch-blob", "--insecure-registry", "--insecure"),
    ("fetch-blob", "--tls", "--insecure"),
    ("push-blob", "--src-insecure", "--from-insecure"),
    ("push-blob", "--src-insecure-skip-tls-verify", "--from-insecure"),
    ("list-tags", "--http", "--plain-http"),
    ("fetch-manifest", "--creds=u:p", "-u NAME, with --password-stdin"),
    ("fetch-manifest", "--src-creds=u:p", "-u NAME"),
    ("push-blob", "--src-creds=u:p", "credentials for --from are read from files: --authfile"),
    ("push-blob", "--dest-creds=u:p", "-u NAME"),
    ("list-tags", "--user=u:p", "-u NAME"),
    ("list-tags", "--pass", "-u NAME"),
    ("list-tags", "--password", "-u NAME"),
    ("list-tags", "--identity-token", "-u NAME"),
    ("push-blob", "--src-username", "credentials for --from"),
    ("push-blob", "--src-password", "credentials for --from"),
    ("push-blob", "--from-username", "credentials for --from"),
    ("push-blob", "--from-password", "credentials for --from"),
    ("push-blob", "--src-authfile", "credentials for --from"),
    ("push-blob", "--dest-username", "-u NAME"),
    ("push-blob", "--dest-password", "-u NAME"),
    ("push-blob", "--to-username", "-u NAME"),
    ("push-blob", "--to-password", "-u NAME"),
    ("fetch-blob", "--registry-token=t", "$REGISTRY_TOKEN"),
    ("fetch-blob", "--src-registry-token=t", "$REGISTRY_TOKEN"),
    ("push-blob", "--dest-registry-token=t", "$REGISTRY_TOKEN"),
    ("fetch-blob", "--no-creds", "--authfile /dev/null"),
    ("fetch-blob", "--src-no-creds", "--authfile /dev/null"),
    ("push-blob", "--dest-no-creds", "--authfile /dev/null"),
    ("push-blob", "--dest-authfile", "--authfile FILE"),
    ("push-blob", "--registry-config", "--authfile FILE"),
    ("push-blob", "--from-registry-config", "--authfile FILE"),
    ("fetch-blob", "--cert-dir", "certs.d"),
    ("fetch-blob", "--src-cert-dir", "certs.d"),
    ("push-blob", "--dest-cert-dir", "certs.d"),
    ("fetch-blob", "--cacert", "--ca-file"),
    ("fetch-blob", "--cert", "--cert-file"),
    ("fetch-blob", "--key", "--key-file"),
    ("fetch-blob", "-E", "--cert-file"),
    ("fetch-blob", "--proxy", "$https_proxy"),
    ("fetch-blob", "-x", "$https_proxy"),
    ("fetch-blob", "-L", "redirects are followed"),
    ("fetch-blob", "--location", "redirects are followed"),
    ("fetch-blob", "--retry", "--retry-times N"),
    ("fetch-blob", "--retries", "--retry-times N"),
    ("fetch-blob", "--max-retries", "--retry-times N"),
    ("fetch-blob", "--retry-delay", "--max-wait SECONDS"),
    ("fetch-blob", "--retry-max-time", "--max-wait SECONDS"),
    ("fetch-blob", "--max-time", "--timeout SECONDS"),
    ("fetch-blob", "-m", "--timeout SECONDS"),
    ("fetch-blob", "--command-timeout", "--timeout SECONDS"),
    ("fetch-manifest", "--debug", "--trace"),
    ("fetch-manifest", "--verbose", "--trace"),
    ("fetch-manifest", "--verbosity", "--trace"),
    ("fetch-manifest", "--log-level", "--trace"),
    ("fetch-manifest", "-d", "--trace"),
    ("pack-layer", "-v", "no network access"),
    ("pack-layer", "--debug", "no network access"),
    ("fetch-manifest", "--insecure-policy", "no signature policy"),
    ("pack-layer", "--policy", "no signature policy"),
    ("fetch-manifest", "--registries.d", "no signature policy"),
    ("push-blob", "--preserve-digests", "never changed"),
    ("fetch-manifest", "--arch", "-p OS/ARCH[/VARIANT]"),
    ("fetch-manifest", "--override-arch=arm64", "-p OS/ARCH[/VARIANT]"),
    ("list-blobs", "--os", "-p OS/ARCH[/VARIANT]"),
    ("list-blobs", "--override-os=linux", "-p OS/ARCH[/VARIANT]"),
    ("list-blobs", "--variant", "-p OS/ARCH[/VARIANT]"),
    ("list-blobs", "--override-variant", "-p OS/ARCH[/VARIANT]"),
    ("fetch-blob", "--override-os=linux", "fetch-manifest -p OS/ARCH"),
    ("unpack-layer", "--platform=linux/arm64", "fetch-manifest -p OS/ARCH"),
    ("fetch-manifest", "--raw", "fetch-manifest prints the exact bytes"),
    ("fetch-manifest", "--raw-body", "fetch-manifest prints the exact bytes"),
    ("fetch-manifest", "--format", "jq"),
    ("fetch-manifest", "--head", "--descriptor"),
    ("fetch-manifest", "-I", "--descriptor"),
    ("fetch-manifest", "--all", "list-blobs --recursive"),
    ("push-blob", "--all", "list-blobs --recursive"),
    ("fetch-manifest", "-a", "list-blobs --recursive"),
    ("fetch-manifest", "--multi-arch", "list-blobs --recursive"),
    ("fetch-manifest", "--all-tags", "list-tags"),
    ("push-blob", "--dest-compress", "--compress gzip"),
    ("push-blob", "--dest-compress-format", "--compress gzip"),
    ("push-blob", "--compression-format", "--compress gzip"),
    ("pack-layer", "--compression-level", "--level N"),
    ("pack-layer", "--dest-compress-level", "--level N"),
    ("fetch-blob", "--concurrency", "-j N"),
    ("fetch-blob", "--image-parallel-copies", "-j N"),
    ("fetch-blob", "--parallel", "-j N"),
    ("fetch-blob", "--no-progress", "--progress none"),
    ("fetch-blob", "--no-tty", "--progress none"),
    ("fetch-blob", "--silent", "-q"),
    ("fetch-blob", "-s", "-q"),
    ("push-blob", "--allow-nondistributable-artifacts", "--allow-nondistributable"),
    ("put-manifest", "--additional-tag", "--tag TAG"),
    ("put-manifest", "-t", "--tag TAG"),
    ("fetch-manifest", "--oci-layout", "oci:DIR[:TAG]"),
    ("push-blob", "--from-oci-layout", "oci:DIR[:TAG]"),
    ("push-blob", "--to-oci-layout", "oci:DIR[:TAG]"),
    ("fetch-manifest", "--oci-layout-path", "oci:DIR[:TAG]"),
    ("unpack-layer", "--rootless", "--no-same-owner"),
    ("push-blob", "--src-daemon-host", "--from STORE"),
    ("fetch-blob", "--src-daemon-host", "have no prefix"),
    ("push-blob", "--dest-daemon-host", "have no prefix"),
    ("push-blob", "--to-plain-http", "have no prefix"),
    ("pack-layer", "--dest-daemon-host", "no network access"),
];

#[test]
fn an_option_of_another_program_gets_ours_as_hint() {
    for (name, option, hint) in ELSEWHERE {
        let run = tool(name).args(["a", option]).run();
        let given = option.split('=').next().unwrap();
        run.fails(2, &format!("{name}: unexpected argument '{given}'\n")).stdout("");
        let line = run.stderr.lines().find(|line| line.starts_with(&format!("{name}: hint: ")));
        assert!(line.is_some_and(|line| line.contains(hint)), "{hint}: {run}");
        run.does_not_say("u:p");
    }
}

#[test]
fn the_hints_name_options_that_exist() {
    let ours: Vec<String> =
        tools().iter().flat_map(|name| listed(name)).map(|option| option.long).collect();
    for (name, option, _) in ELSEWHERE {
        let run = tool(name).args(["a", option]).run();
        let hint = run.stderr.lines().last().unwrap().to_owned();
        for word in hint.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            let is_option = word.starts_with("--") && word.len() > 2;
            assert!(!is_option || ours.contains(&word.to_owned()), "{word}: {hint}");
        }
    }
}

#[test]
fn every_known_option_of_the_table_is_tested() {
    let source = include_str!("../../../common/common/src/familiar.rs");
    let table = source.split("const ROWS").nth(1).and_then(|rest| rest.split("];").next()).unwrap();
    let tested: Vec<&str> =
        ELSEWHERE.iter().map(|(_, option, _)| option.split('=').next().unwrap()).collect();
    let mut count = 0;
    let names = table.split("&[").skip(1).filter_map(|row| row.split(']').next());
    for name in names.flat_map(|names| names.split('"').skip(1).step_by(2)) {
        // A name that ends in a dash is a prefix.
        let is_tested = tested.iter().any(|option| match name.strip_suffix('-') {
            Some(_) => option.starts_with(name),
            None => *option == name,
        });
        assert!(is_tested, "{name} is not in ELSEWHERE");
        count += 1;
    }
    assert!(count > 80, "{count}");
}

/// A value that an option accepts, by the name of the value.
fn sample(value: &str) -> &'static str {
    match value {
        "AGE" => "1h",
        "ALG" => "sha256",
        "ARG" | "NAME" | "TEXT" | "USER" | "TAG" => "x",
        "SIZE" => "1M",
        "CONTAINER:HOST:COUNT" => "0:0:1",
        "COUNT" | "N" | "SECONDS" => "1",
        "DIGEST" => "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "DIR" | "PATH" => "/d",
        "FILE" | "LINE|FILE" => "f",
        "HOST[:PORT]" | "MIRROR" => "h.example",
        "KEY=VALUE" => "k=v",
        "NAME: VALUE" => "a: b",
        "PLATFORM" => "linux/amd64",
        "PORT[/PROTOCOL]" => "80",
        "REPO" => "h.example/app",
        "SCOPE" => "repository:x:pull",
        "SIGNAL" => "SIGTERM",
        "STORE" | "oci:DIR" | "oci:DIR[:TAG]" => "oci:d",
        "TIME" => "@1",
        "TYPE" => "a/b",
        "UID:GID" => "0:0",
        other => panic!("no sample value for <{other}>"),
    }
}

/// The values of options that accept only some words.
fn chosen(long: &str, value: &str) -> &'static str {
    match (long, value) {
        ("--progress", _) => "none",
        ("--whiteouts", _) => "keep",
        ("--compress", _) => "gzip",
        (_, value) => sample(value),
    }
}

/// The command line can override an option of a shell alias, so an option may be given twice.
#[test]
fn every_option_can_be_given_twice() {
    for name in tools() {
        for Listed { short, long, value } in listed(&name) {
            if matches!(long.as_str(), "--help" | "--version") {
                continue;
            }
            for option in short.into_iter().chain([long.clone()]) {
                let once: Vec<&str> = match &value {
                    Some(value) => vec![&option, chosen(&long, value)],
                    None => vec![&option],
                };
                // The first error is that of the last option, so the others are accepted.
                let run = tool(&name).args(&once).args(&once).arg("--zzzzzzzz").run();
                run.fails(2, "unexpected argument '--zzzzzzzz'");
            }
        }
    }
}

#[test]
fn the_last_of_two_values_counts() {
    let registry = FakeRegistry::start();
    for tag in ["a", "b", "c"] {
        registry.add_image("app", tag, &Image::small());
    }
    let repo = registry.repo("app");
    let run = plain("list-tags").args(["--limit", "1", &repo, "--limit", "2"]).run();
    run.ok().stdout("a\nb\n");

    let scratch = Scratch::new();
    let args = ["--plain-http", "-o", "first", "-o", "second", &format!("{repo}:a")];
    plain("fetch-manifest").args(args).dir(scratch.path()).run().ok();
    assert_eq!(scratch.list(), ["second"]);
}

#[test]
fn lists_keep_all_their_values() {
    let registry = FakeRegistry::with_image();
    let args = ["-H", "X-One: 1", "-H", "X-Two: 2", &registry.repo("app")];
    plain("list-tags").args(args).run().ok();
    let requests = registry.server.requests();
    assert_eq!(requests[0].header("x-one"), Some("1"));
    assert_eq!(requests[0].header("x-two"), Some("2"));

    let args = ["--no-layers", "--env", "A=1", "--env", "B=2"];
    let run = tool("build-config").args(args).run();
    let config = String::from_utf8(run.ok().stdout.clone()).unwrap();
    assert!(config.contains("\"A=1\",\"B=2\""), "{config}");
}

#[test]
fn options_that_contradict_each_other_are_still_refused() {
    let args = ["--insecure", "--plain-http", "localhost:1/app:1"];
    tool("fetch-manifest").args(args).run().fails(2, "cannot be used with");
}

/// The number of lines and columns of a terminal that `-h` must fit.
const SCREEN: (usize, usize) = (24, 80);

#[test]
fn the_short_help_fits_on_a_screen_and_names_every_option() {
    let mut wrong = BTreeMap::new();
    for name in tools() {
        let run = tool(&name).arg("-h").env("COLUMNS", "80").run();
        let lines = run.ok().lines();
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap();
        if lines.len() > SCREEN.0 || width > SCREEN.1 {
            wrong.insert(name.clone(), format!("{} lines of up to {width}", lines.len()));
        }
        let help = String::from_utf8(tool(&name).arg("--help").run().stdout).unwrap();
        let own = help.split("Network options:").next().unwrap();
        let has_network = own.len() < help.len();
        let text = lines.join("\n");
        assert_eq!(text.contains("regutils-network(7)"), has_network, "{text}");
        for Listed { long, .. } in listed(&name) {
            let is_own = own.contains(&format!("{long} ")) || own.contains(&format!("{long}\n"));
            assert!(!is_own || text.contains(&long), "{name} -h: no {long}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The long help describes each option once. It does not repeat the line of the short help.
#[test]
fn the_long_help_has_no_repeated_paragraphs() {
    for name in tools() {
        let help = String::from_utf8(tool(&name).arg("--help").run().stdout).unwrap();
        // Below the description of an option, only its default and its values are paragraphs.
        for paragraph in help.split("\n          \n          ").skip(1) {
            let is_detail = paragraph.starts_with('[') || paragraph.starts_with("Possible values:");
            assert!(is_detail, "{name} --help: {paragraph}");
        }
    }
}

#[test]
fn a_value_for_an_option_without_one_is_refused_in_words() {
    let run = tool("fetch-manifest").args(["--trace=1", "localhost:1/app:1"]).run();
    run.fails(2, "unexpected value '1' for '--trace': it takes no value\n").stdout("");
}
