// SPDX-License-Identifier: Apache-2.0
//! The crates on which each crate of `common/` and each tool may depend, checked by cargo's output
//! and in the built binaries.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::peers::must;
use tests::tools::{bin, tool};

/// The crates of `common/`: each may use only the crates before it.
const ORDER: [&str; 8] =
    ["common", "layout", "archive", "compress", "machine", "net", "registry", "store"];

/// The tools without network code.
const OFFLINE: [&str; 8] = [
    "verify-digest",
    "detect-mediatype",
    "unpack-layer",
    "pack-layer",
    "build-config",
    "build-manifest",
    "build-index",
    "sweep-layout",
];

/// The output of cargo at the workspace's root.
fn cargo(args: &[&str]) -> String {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    String::from_utf8(must(cargo.current_dir(root).args(args).arg("--locked"))).unwrap()
}

/// Whether the built tool contains this text anywhere.
fn contains_text(name: &str, words: &str) -> bool {
    tool(name).arg("-V").run().ok();
    String::from_utf8_lossy(&std::fs::read(bin().join(name)).unwrap()).contains(words)
}

#[test]
fn a_crate_of_common_uses_only_those_before_it() {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let folder = Path::new(metadata["workspace_root"].as_str().unwrap()).join("common");
    let mut seen = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        if !Path::new(package["manifest_path"].as_str().unwrap()).starts_with(&folder) {
            continue;
        }
        let name = package["name"].as_str().unwrap();
        let place = ORDER.iter().position(|known| *known == name);
        let place = place.unwrap_or_else(|| panic!("{name} is missing in the order"));
        seen.push(name);
        for used in package["dependencies"].as_array().unwrap() {
            let used = used["name"].as_str().unwrap();
            let is_before =
                ORDER.iter().position(|known| *known == used).is_none_or(|at| at < place);
            assert!(is_before, "{name} uses {used}, a later crate");
        }
    }
    seen.sort_unstable();
    let mut all = ORDER;
    all.sort_unstable();
    assert_eq!(seen, all);
}

/// list-layer must not show an archive that unpack-layer refuses. Both therefore use the archive
/// reader and the decoders of the crates in `common/`, and have none of their own.
#[test]
fn both_readers_of_layers_use_the_same_decoders() {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    for reader in ["unpack-layer", "list-layer"] {
        let package = packages.iter().find(|package| package["name"] == reader).unwrap();
        let used = package["dependencies"].as_array().unwrap();
        let uses = |name: &str| used.iter().any(|used| used["name"] == name);
        assert!(uses("archive") && uses("compress"), "{reader}");
        for own in ["tar", "flate2", "zstd"] {
            assert!(!uses(own), "{reader} uses {own}");
        }
    }
}

#[test]
fn tools_that_need_no_network_are_built_without_it() {
    for tool in OFFLINE {
        let tree = cargo(&["tree", "-p", tool, "-e", "normal", "--prefix", "none"]);
        let has = |package: &str| tree.lines().any(|line| line.starts_with(&format!("{package} ")));
        assert!(has("common") && has("sha2"), "{tool}: {tree}");
        for package in ["ureq", "rustls", "ring", "net", "registry"] {
            assert!(!has(package), "{tool} is built with {package}");
        }
    }
}

#[test]
fn binaries_of_offline_tools_contain_no_network_code() {
    for words in ["ureq", "rustls"] {
        // The search itself works: a tool with network code contains the text.
        assert!(contains_text("fetch-blob", words), "{words}");
        for tool in OFFLINE {
            assert!(!contains_text(tool, words), "{tool} contains {words}");
        }
    }
}
