// SPDX-License-Identifier: Apache-2.0
//! The layers of `common`, and what each tool may be built from: the arrows that the house promises.

// Only what a test function calls is a test to clippy; what these share is not.
#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::peers::must;

/// Lowest first, as `common/src/lib.rs` has them; a layer may use those before it and itself.
const LAYERS: [&str; 5] = ["words", "streams", "registry", "store", "front"];

/// The modules that `lib.rs` shows without their layer.
const SHOWN: [(&str, &str); 5] = [
    (
        "words",
        "descriptor digest error json manifest mediatype notice platform reference schema1 secret shell",
    ),
    ("streams", "compress growing ingest layout lines output parallel stdio tarball verify"),
    ("registry", "registry"),
    ("store", "source store"),
    ("front", "cli exit interrupt progress"),
];

/// The tools without network code.
const OFFLINE: [&str; 3] = ["unpack-layer", "verify-digest", "detect-mediatype"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The layer of what stands behind `crate::` in a line, if it is one's.
fn layer_of(module: &str) -> Option<usize> {
    let layer = SHOWN
        .iter()
        .find(|(layer, modules)| {
            *layer == module || modules.split(' ').any(|shown| shown == module)
        })
        .map(|(layer, _)| *layer)?;
    LAYERS.iter().position(|name| *name == layer)
}

/// The modules that a source names from the crate's root: `crate::a::…`, `use crate::{a, b::…};`.
fn named(source: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut modules = Vec::new();
    for rest in source.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            modules.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => modules.push(word(&std::mem::take(&mut item))),
                _ => {}
            }
            item.push(c);
        }
        modules.push(word(&item));
    }
    modules
}

#[test]
fn an_arrow_in_common_only_points_down() {
    let src = root().join("common/src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in sources(&src) {
        let place = file.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
        let first = place.split(['/', '.']).next().unwrap_or_default().to_owned();
        let Some(here) = LAYERS.iter().position(|layer| *layer == first) else { continue };
        let source = std::fs::read_to_string(&file).expect("a source");
        // A doc comment may point anywhere.
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let source = code.collect::<Vec<_>>().join("\n");
        for module in named(&source) {
            let Some(there) = layer_of(&module) else { continue };
            seen += 1;
            if there > here {
                wrong.push(format!("{place} uses {module}"));
            }
        }
    }
    assert!(seen > 50, "only {seen} uses were found: is this test looking in the right place?");
    assert!(wrong.is_empty(), "arrows that point up: {wrong:#?}");
}

#[test]
fn tools_that_need_no_network_are_built_without_it() {
    for tool in OFFLINE {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(root())
            .args(["tree", "--locked", "-p", tool, "-e", "normal", "--prefix"]);
        let tree = String::from_utf8(must(cargo.arg("none"))).expect("text");
        assert!(tree.contains("sha2"), "{tool}: {tree}");
        for package in ["ureq", "rustls", "ring"] {
            let is_there = tree.lines().any(|line| line.starts_with(&format!("{package} ")));
            assert!(!is_there, "{tool} is built with {package}");
        }
    }
}
