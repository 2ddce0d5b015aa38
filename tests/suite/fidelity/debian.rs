// SPDX-License-Identifier: Apache-2.0
//! The main pipeline on real data. skopeo pushes a Debian system, and our pipeline pulls it. The
//! test compares the result with the tree that umoci unpacks, and runs programs in it. The Debian
//! packages are fetched from the mirror that this machine's apt uses.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::expect_used)]

use std::path::Path;
use std::process::Command;

use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::shell;

/// A script that prints the metadata of every file in a tree: type, mode, owner, link count, link
/// target, time and size.
const LISTING: &str = r#"cd "$0" && find . \
    \( -type d -printf '%p %y %m %U %G %n %T@\n' \) -o -printf '%p %y %m %U %G %n %s %l %T@\n' | LC_ALL=C sort"#;

/// A script that prints a digest of the content of every file.
const CONTENT: &str =
    r#"cd "$0" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"#;

/// A script that prints the extended attributes of every file.
const ATTRIBUTES: &str =
    r#"cd "$0" && getfattr --recursive --physical --no-dereference --match=- --dump ."#;

fn listing_of(how: &str, tree: &Path) -> String {
    let listing = must(Command::new("sh").arg("-c").arg(how).arg(tree));
    String::from_utf8_lossy(&listing).into_owned()
}

/// The first lines that only one of two listings has, for a human reader.
fn differences(ours: &str, theirs: &str) -> Vec<String> {
    let only = |here: &str, there: &str, sign: char| -> Vec<String> {
        let there: std::collections::HashSet<&str> = there.lines().collect();
        let only = here.lines().filter(|line| !there.contains(line));
        only.take(10).map(|line| format!("{sign} {line}")).collect()
    };
    [only(ours, theirs, '+'), only(theirs, ours, '-')].concat()
}

/// A minimal Debian system as one archive, and one more package as a second archive.
fn layers(scratch: &Scratch) -> [std::path::PathBuf; 2] {
    let system = scratch.join("system");
    let release = std::fs::read_to_string("/etc/os-release").expect("Debian's os-release");
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.expect("a Debian with a code name");
    must(peer("debootstrap").arg("--variant=minbase").arg(codename).arg(&system));
    // Features that the minimal system lacks: a capability, a user attribute, a hard link.
    must(peer("setcap").arg("cap_net_raw+ep").arg(system.join("usr/bin/stat")));
    must(peer("setfattr").args(["-n", "user.origin", "-v", "test"]).arg(system.join("etc/issue")));
    std::fs::hard_link(system.join("usr/bin/env"), system.join("usr/bin/env-too"))
        .expect("a hard link");
    let [base, package] = ["base.tar", "package.tar"].map(|name| scratch.join(name));
    must(
        peer("tar")
            .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=posix", "-cf"])
            .arg(&base)
            .arg("-C")
            .arg(&system)
            .arg("."),
    );
    must(peer("apt-get").args(["download", "-qq", "hello"]).current_dir(scratch.path()));
    let script = r#"dpkg-deb --fsys-tarfile "$0"/hello_*.deb >"$1""#;
    must(Command::new("sh").arg("-c").arg(script).arg(scratch.path()).arg(&package));
    std::fs::remove_dir_all(&system).expect("the system is removed");
    [base, package]
}

#[test]
fn a_debian_system_equals_the_tree_of_umoci_and_runs() {
    let scratch = Scratch::new();
    let registry = Registry::start();
    let image = format!("{}:1", scratch.join("made").display());
    must(peer("umoci").args(["init", "--layout"]).arg(scratch.join("made")));
    must(peer("umoci").args(["new", "--image", &image]));
    for layer in layers(&scratch) {
        must(peer("umoci").args(["raw", "add-layer", "--image", &image]).arg(layer));
    }
    must(
        peer("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
            .arg(format!("oci:{image}"))
            .arg(format!("docker://{}:1", registry.repo("debian"))),
    );

    let run = shell(
        "fetch-manifest --plain-http $repo:1 --into oci:debian | list-blobs |
            fetch-blob --plain-http $repo --into oci:debian | unpack-layer --from oci:debian rootfs",
    );
    let run = run.env("repo", registry.repo("debian")).dir(scratch.path()).run();
    assert_eq!(run.ok().lines().len(), 3, "{run}");

    let ours = scratch.join("rootfs");
    let theirs = scratch.join("theirs");
    let pulled = format!("{}:1", scratch.join("debian").display());
    must(peer("umoci").args(["raw", "unpack", "--image", &pulled]).arg(&theirs));
    for how in [LISTING, CONTENT, ATTRIBUTES] {
        let [ours, theirs] = [&ours, &theirs].map(|tree| listing_of(how, tree));
        assert!(ours == theirs, "{:#?}", differences(&ours, &theirs));
        assert!(!ours.is_empty());
    }
    let attributes = listing_of(ATTRIBUTES, &ours);
    assert!(attributes.contains("security.capability") && attributes.contains("user.origin"));

    let release = must(peer("chroot").arg(&ours).args(["cat", "/etc/os-release"]));
    assert!(String::from_utf8_lossy(&release).contains("ID=debian"));
    let hello = must(peer("chroot").arg(&ours).arg("hello"));
    assert!(String::from_utf8_lossy(&hello).contains("Hello"));
}
