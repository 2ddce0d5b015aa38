// SPDX-License-Identifier: Apache-2.0
//! File capabilities that were set in a user namespace (revision 3 of `security.capability`). The
//! tests check the revision that pack-layer writes, that an unchanged archive keeps, and that
//! unpack-layer sets.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::images::sha256;
use tests::layers::{archive, file};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

/// cap_net_raw+ep in revision 2 of the attribute.
const REVISION_2: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The same in revision 3, with the root user ID 100000.
const REVISION_3: &[u8] = b"\x01\0\0\x03\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xa0\x86\x01\0";

const NAME: &str = "security.capability";

/// An archive of one file with the attribute, as a file `layer.tar`.
fn layer(scratch: &Scratch, value: &[u8]) -> Vec<u8> {
    let bytes = archive(&[file("ping", "x").mode(0o755).xattr(NAME, value)]);
    scratch.write("layer.tar", &bytes);
    bytes
}

fn read(scratch: &Scratch, name: &str) -> Vec<u8> {
    std::fs::read(scratch.join(name)).unwrap()
}

fn pack_archive(scratch: &Scratch) -> Run {
    let options = ["layer.tar", "--compress", "none", "-o", "out"];
    tool("pack-layer").dir(scratch.path()).args(options).run()
}

/// The bytes of an archive are never changed: the diff ID is that of the archive.
#[test]
fn an_archive_keeps_its_revision_3_with_a_warning() {
    let scratch = Scratch::new();
    let bytes = layer(&scratch, REVISION_3);
    let run = pack_archive(&scratch);
    run.status(0).says("pack-layer: warning: entry \"ping\": security.capability has the root ID");
    assert_eq!(read(&scratch, "out"), bytes);
    assert!(String::from_utf8_lossy(&run.stdout).contains(&sha256(&bytes)));
}

#[test]
fn other_capabilities_in_an_archive_get_no_warning() {
    let scratch = Scratch::new();
    // Revision 2, an unknown revision, one byte less than revision 3, and one more.
    let other = [REVISION_3, b"\0"].concat();
    let unknown = [&REVISION_3[..3], b"\x04", &REVISION_3[4..]].concat();
    for value in [REVISION_2, &unknown, &REVISION_3[..23], &other] {
        layer(&scratch, value);
        pack_archive(&scratch).status(0).silent();
    }
}

#[test]
fn an_archive_that_push_blob_compresses_gets_the_warning_too() {
    let scratch = Scratch::new();
    layer(&scratch, REVISION_3);
    let run = tool("push-blob")
        .dir(scratch.path())
        .args(["oci:store", "layer.tar", "--compress", "gzip"])
        .run();
    run.status(0).says("push-blob: warning: entry \"ping\": security.capability has the root ID");
}

mod as_root {
    use std::fs;

    use super::*;
    use tests::trees::{set_time, set_xattr, xattrs};

    /// A tree with one file that has the attribute.
    fn tree(scratch: &Scratch, name: &str, value: &[u8]) {
        fs::create_dir(scratch.join(name)).unwrap();
        let path = scratch.join(name).join("ping");
        fs::write(&path, "x").unwrap();
        set_xattr(&path, NAME, value);
        set_time(&path, 1_000_000_000);
        set_time(&scratch.join(name), 1_000_000_000);
    }

    fn pack(scratch: &Scratch, tree: &str) -> Vec<u8> {
        let options = [tree, "--compress", "none", "-o", "-"];
        let run = tool("pack-layer").dir(scratch.path()).args(options).run();
        run.ok();
        run.stdout
    }

    #[test]
    fn the_root_id_of_a_user_namespace_is_not_packed() {
        let scratch = Scratch::new();
        tree(&scratch, "plain", REVISION_2);
        tree(&scratch, "namespaced", REVISION_3);
        assert_eq!(pack(&scratch, "namespaced"), pack(&scratch, "plain"));
    }

    #[test]
    fn a_base_that_differs_in_the_root_id_alone_is_the_same() {
        let scratch = Scratch::new();
        tree(&scratch, "base", REVISION_2);
        tree(&scratch, "tree", REVISION_3);
        let options = ["tree", "--base", "base", "--compress", "none", "-o", "out"];
        tool("pack-layer").dir(scratch.path()).args(options).run().status(0);
        assert_eq!(tests::layers::names(&read(&scratch, "out")), Vec::<String>::new());
    }

    /// The label of a security module has a meaning on one host only.
    #[test]
    fn labels_of_the_host_are_not_packed() {
        let scratch = Scratch::new();
        tree(&scratch, "plain", REVISION_2);
        tree(&scratch, "labelled", REVISION_2);
        for label in ["security.SMACK64", "security.SMACK64EXEC", "security.apparmor"] {
            set_xattr(&scratch.join("labelled/ping"), label, b"label");
        }
        assert_eq!(pack(&scratch, "labelled"), pack(&scratch, "plain"));
    }

    #[test]
    fn unpacking_keeps_revision_3_as_the_layer_has_it() {
        let scratch = Scratch::new();
        layer(&scratch, REVISION_3);
        tool("unpack-layer").dir(scratch.path()).args(["root", "layer.tar"]).run().status(0);
        let set = xattrs(&scratch.join("root/ping"));
        assert!(set.iter().any(|(name, value)| name == NAME && value == REVISION_3), "{set:?}");
    }

    /// In a user namespace without the root ID of the layer, the kernel refuses the attribute with
    /// "invalid argument". The same holds for an access control list of an unknown user.
    #[test]
    fn ids_that_a_user_namespace_lacks_cost_the_attribute_alone() {
        /// user::rw-, user:9:rw-, group::r--, mask::rw-, other::---.
        const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\x09\0\0\0\
            \x04\0\x04\0\xff\xff\xff\xff\x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
        for (name, value) in [(NAME, REVISION_3), ("system.posix_acl_access", ACL)] {
            let scratch = Scratch::new();
            let part = file("ping", "x").mode(0o755).xattr(name, value);
            scratch.write("layer.tar", archive(&[part]));
            let unpack = |options: &[&str]| {
                let unpack = tool("unpack-layer").dir(scratch.path()).args(options);
                unpack.under(&["unshare", "-r"]).run()
            };
            let want = format!(
                "extended attribute {name}: invalid, or with an ID that is not in this user"
            );
            unpack(&["root", "layer.tar"]).status(0).says(&want);
            assert_eq!(read(&scratch, "root/ping"), b"x");
            assert_eq!(xattrs(&scratch.join("root/ping")), []);
            unpack(&["strict", "layer.tar", "--strict"]).fails(6, &want);
        }
    }
}
