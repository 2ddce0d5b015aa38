// SPDX-License-Identifier: Apache-2.0
//! The behaviour common to all tools: help, version, usage errors, an unwritable stdout, and a
//! manual page that lists all options.

use std::path::{Path, PathBuf};

use tests::tools::{shell, tool};

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all tools, which are the names of their folders.
pub(super) fn tools() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("tools")).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// The long options that a help text lists.
fn options(help: &str) -> Vec<String> {
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let mut options: Vec<_> =
        words.filter(|word| word.starts_with("--") && word.len() > 3).map(str::to_owned).collect();
    options.sort();
    options.dedup();
    // These options are common to all tools, and described in one place.
    options.retain(|option| !matches!(option.as_str(), "--help" | "--version"));
    options
}

#[test]
fn help_and_version_go_to_stdout() {
    for name in tools() {
        for flag in ["-h", "--help"] {
            let run = tool(&name).arg(flag).run();
            assert!(run.ok().lines().len() > 3, "{run}");
        }
        for flag in ["-V", "--version"] {
            let lines = tool(&name).arg(flag).run().ok().lines();
            let start = format!("{name} (regutils) {}", env!("CARGO_PKG_VERSION"));
            let rest = lines[0].strip_prefix(&start).unwrap_or_else(|| panic!("{lines:?}"));
            // A release build adds the commit.
            let is_commit = |text: &str| text.starts_with(" (") && text.ends_with(')');
            assert!(lines.len() == 1 && (rest.is_empty() || is_commit(rest)), "{lines:?}");
        }
    }
}

#[test]
fn an_unknown_option_gives_status_2_and_one_line() {
    for name in tools() {
        tool(&name).arg("--no-such-option").run().fails(2, "--no-such-option").stdout("");
    }
}

#[test]
fn a_stdout_that_cannot_be_written_gives_status_7() {
    for name in tools() {
        for redirection in [">/dev/full", ">&-"] {
            let run = shell(&format!("{name} --help {redirection}")).run();
            run.status(7).says(&format!("{name}: "));
        }
    }
}

#[test]
fn every_option_is_in_the_manual() {
    let mut missing = Vec::new();
    let mut read = |page: &str| {
        let text = std::fs::read_to_string(root().join("man").join(page)).unwrap_or_default();
        if text.is_empty() {
            missing.push(format!("man/{page}"));
        }
        text.replace("\\-", "-")
    };
    let network = read("regutils-network.7");
    let pages: Vec<_> =
        tools().into_iter().map(|name| (read(&format!("{name}.1")), name)).collect();
    for (page, name) in pages {
        assert!(
            page.is_empty() || page.contains("\n.Sh EXIT STATUS\n"),
            "{name}.1: no exit status"
        );
        let help = String::from_utf8(tool(&name).arg("--help").run().stdout).unwrap();
        let manual = format!("{page}{network}");
        missing.extend(
            options(&help)
                .into_iter()
                .filter(|option| !documents(&manual, option))
                .map(|option| format!("{name} {option}")),
        );
    }
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "neither in the tool's page nor in regutils-network.7"
    );
}

/// Whether an mdoc page names a long option. The macro `Fl` supplies the first dash.
fn documents(page: &str, option: &str) -> bool {
    page.split(&format!("Fl {}", &option[1..]))
        .skip(1)
        .any(|after| after.starts_with(|c: char| !(c.is_ascii_alphanumeric() || c == '-')))
}

/// The offline tools have no network options: bytes are moved from and to registries by fetch-blob
/// and push-blob.
#[test]
fn the_tools_that_use_no_network_have_no_network_options() {
    for name in [
        "build-config",
        "build-index",
        "build-manifest",
        "detect-mediatype",
        "pack-layer",
        "sweep-layout",
        "unpack-layer",
        "verify-digest",
    ] {
        let help = String::from_utf8(tool(name).arg("--help").run().stdout).unwrap();
        assert!(!help.contains("Network options"), "{name}");
        for option in ["--plain-http", "--trace", "--mirror=m.invalid", "--username=me", "-ume"] {
            tool(name).arg(option).run().fails(2, "unexpected argument").stdout("");
        }
    }
}
