// SPDX-License-Identifier: Apache-2.0
//! What each tool may be built from. Which crate of `common/` may use which is kept by the compiler.

// Only what a test function calls is a test to clippy; what these share is not.
#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::peers::must;

/// The tools without network code.
const OFFLINE: [&str; 3] = ["unpack-layer", "verify-digest", "detect-mediatype"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
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
