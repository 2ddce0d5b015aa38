// SPDX-License-Identifier: Apache-2.0
//! Real archives as single layers. The tree that we unpack equals the trees of umoci, GNU tar and
//! bsdtar in names, types, content, modes, owners, times, links and extended attributes. These
//! tests need root: only root can give files to other owners.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use tests::images::gzip;
use tests::judges::agree_on_package;
use tests::packages::{Package, crates, debian, sources};
use tests::peers::{must, peer};
use tests::scratch::Scratch;

/// A package as a layer: in its published compression if it has one; otherwise plain, gzip and zstd
/// in turn.
fn layer(scratch: &Scratch, package: &Package, turn: usize) -> PathBuf {
    match (&package.layer, turn % 3) {
        (Some(layer), _) => layer.clone(),
        (None, 0) => scratch.write("layer.tar", &package.archive),
        (None, 1) => scratch.write("layer.tar.gz", gzip(&package.archive)),
        (None, _) => {
            let file = scratch.write("layer.tar", &package.archive);
            must(peer("zstd").args(["--quiet", "--force"]).arg(&file));
            scratch.join("layer.tar.zst")
        }
    }
}

/// Compares all packages with the peers; returns how many files were compared.
fn compared(packages: &[Package]) -> usize {
    let scratch = Scratch::new();
    let compared = packages.iter().enumerate().map(|(turn, package)| {
        let layer = layer(&scratch, package, turn);
        agree_on_package(package, &layer)
    });
    let compared = compared.sum();
    println!("{} packages, {compared} files", packages.len());
    compared
}

#[test]
fn debian_packages_give_the_same_tree_as_with_peers() {
    assert!(compared(&debian(60)) > 6000);
}

#[test]
fn crates_give_the_same_tree_as_with_peers() {
    assert!(compared(&crates(30)) > 600);
}

#[test]
fn sources_of_npm_and_python_projects_give_the_same_tree_as_with_peers() {
    let scratch = Scratch::new();
    let sources = sources(&scratch, 4);
    for language in ["node-", "python-"] {
        assert!(sources.iter().any(|package| package.name.starts_with(language)), "{language}");
    }
    assert!(compared(&sources) > 80);
}
