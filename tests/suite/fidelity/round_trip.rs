// SPDX-License-Identifier: Apache-2.0
//! The round trip of a tree of real packages: packed, pushed to a real registry, pulled and
//! unpacked, the tree equals the original. These tests need root: only root can preserve the owners
//! of package files.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use rustix::fs::FileType;
use tests::judges::differences;
use tests::packages::{Package, debian};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::shell;
use tests::trees::{make_node, set_time, set_xattr, snapshot};

/// An access control list: the owner may read and write; user 7, the group and the mask may read;
/// others have no access.
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255,
    255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

/// Extracts the files of packages into a tree; their installation scripts do not run.
fn install(scratch: &Scratch, tree: &Path, packages: &[Package]) {
    fs::create_dir_all(tree).unwrap();
    for package in packages {
        let file = scratch.write("package.tar", &package.archive);
        must(peer("tar").args(["--numeric-owner", "-xpf"]).arg(file).arg("-C").arg(tree));
    }
}

/// Adds file types and attributes that no package has.
fn add_rare_features(tree: &Path) {
    fs::create_dir_all(tree.join("extra")).unwrap();
    let path = |name: &str| tree.join("extra").join(name);
    make_node(&path("null"), FileType::CharacterDevice, (1, 3));
    make_node(&path("disk"), FileType::BlockDevice, (4095, 1_048_575));
    make_node(&path("fifo"), FileType::Fifo, (0, 0));
    for name in ["attributes", "capable", "listed"] {
        fs::write(path(name), name).unwrap();
    }
    set_xattr(&path("attributes"), "user.bytes", b"a\0\n=\xff");
    must(peer("setcap").arg("cap_net_raw+ep").arg(path("capable")));
    set_xattr(&path("listed"), "system.posix_acl_access", &ACL);
    set_xattr(&path(""), "user.empty", b"");
    symlink("/no/where", path("link")).unwrap();
    std::os::unix::fs::lchown(path("link"), Some(3_000_000), Some(7)).unwrap();
    fs::hard_link(path("link"), path("link-too")).unwrap();
    fs::hard_link(path("null"), path("null-too")).unwrap();
    chown(path("fifo"), Some(4_000_000), Some(5)).unwrap();
    set_time(&path("attributes"), -5);
    set_time(&path("link"), 9_999_999_999);
}

#[track_caller]
fn assert_same(packed: &Path, back: &Path) -> usize {
    let [packed, back] = [packed, back].map(snapshot);
    let differing = differences(&packed, &back);
    assert!(differing.is_empty(), "+ packed, - back: {differing:#?}");
    packed.len()
}

#[test]
fn a_tree_of_packages_survives_a_round_trip_with_every_compression() {
    let scratch = Scratch::new();
    let registry = Registry::start();
    let tree = scratch.join("tree");
    install(&scratch, &tree, &debian(60));
    add_rare_features(&tree);
    for compress in ["none", "gzip", "zstd"] {
        let script = "pack-layer tree --compress $compress --into oci:here >packed &&
            push-blob --plain-http $repo --from oci:here <packed >pushed &&
            fetch-blob --plain-http $repo --into oci:there <pushed |
                unpack-layer --from oci:there --no-config --no-sync --replace back >unpacked";
        let run = shell(script).env("compress", compress).env("repo", registry.repo("tree"));
        run.dir(scratch.path()).run().ok();
        let files = assert_same(&tree, &scratch.join("back"));
        println!("{compress}: {files} files");
        assert!(files > 5000);
    }
}

#[test]
fn an_image_of_a_base_and_the_changes_to_it_survives_a_round_trip() {
    let scratch = Scratch::new();
    let registry = Registry::start();
    let packages = debian(60);
    let [base, tree] = ["base", "tree"].map(|name| scratch.join(name));
    let (first, second) = packages.split_at(packages.len() / 2);
    install(&scratch, &base, first);
    must(peer("cp").arg("-a").arg(&base).arg(&tree));
    install(&scratch, &tree, second);
    add_rare_features(&tree);
    // A removed directory, a directory replaced by a link, and removed files.
    fs::remove_dir_all(tree.join("usr/share/man")).unwrap();
    fs::remove_dir_all(tree.join("usr/share/lintian")).unwrap();
    symlink("doc", tree.join("usr/share/lintian")).unwrap();
    for entry in fs::read_dir(base.join("bin")).unwrap().step_by(2) {
        fs::remove_file(tree.join("bin").join(entry.unwrap().file_name())).unwrap();
    }
    let build = "pack-layer base --into oci:here >lines &&
        pack-layer tree --base base --compress $compress --into oci:here >>lines &&
        build-config --into oci:here <lines >config && cat config lines |
        build-manifest --from oci:here >m && list-blobs m |
        push-blob --plain-http $repo --from oci:here >pushed &&
        put-manifest --plain-http $repo:1 m >put &&
        fetch-manifest --plain-http $repo:1 --into oci:there | list-blobs |
        fetch-blob --plain-http $repo --into oci:there |
        unpack-layer --from oci:there --no-sync --replace back >unpacked";
    for compress in ["zstd", "gzip"] {
        let run = shell(build).env("compress", compress).env("repo", registry.repo(compress));
        run.dir(scratch.path()).run().ok();
        let files = assert_same(&tree, &scratch.join("back"));
        println!("{compress}, on a base: {files} files");
        fs::remove_dir_all(scratch.join("there")).unwrap();
    }
}
