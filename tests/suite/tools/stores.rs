// SPDX-License-Identifier: Apache-2.0
//! A reference with a tag or a digest is accepted where a tool expects a store. The tool uses its
//! repository or layout, so a script needs only one variable.

use tests::fake_registry::FakeRegistry;
use tests::images::{Image, index, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{shell, tool};

/// Scripts that use `$REF` as a store, and `$TO` as another.
const SCRIPTS: [&str; 9] = [
    "list-blobs m | fetch-blob $REF --into oci:new | unpack-layer --no-same-owner --from oci:new:x root",
    "list-blobs --config m | fetch-blob $REF -o config",
    "list-blobs m | push-blob $TO --from $REF",
    "list-blobs --recursive --from $REF top",
    "list-blobs -p linux/amd64 --from $REF top",
    "list-blobs m | verify-digest --from oci:l:1",
    "list-blobs m | build-manifest --from oci:l:1",
    "list-blobs m | list-layer --from $REF",
    "fetch-manifest --descriptor oci:l:1 | build-index --from oci:l:1",
];

#[test]
fn a_reference_is_taken_for_its_store_by_every_tool() {
    let image = Image::small();
    let [from, to] = [(); 2].map(|()| FakeRegistry::start());
    from.add_image("app", "1", &image);
    let digest = &image.manifest.digest;
    for reference in [
        format!("{}:1", from.repo("app")),
        format!("{}:no-such-tag", from.repo("app")),
        format!("{}@{digest}", from.repo("app")),
        "oci:l:1".to_owned(),
        format!("oci:l@{digest}"),
    ] {
        let scratch = Scratch::new();
        write_image(&scratch.join("l"), "1", &image);
        scratch.write("m", &image.manifest.bytes);
        scratch.write("top", index(types::INDEX, &[(&image.manifest, "linux/amd64")]).bytes);
        for script in SCRIPTS {
            let run =
                shell(script).env("REF", &reference).env("TO", format!("{}:9", to.repo("app")));
            assert_eq!(run.dir(scratch.path()).run().code(), Some(0), "{reference}: {script}");
        }
    }
    assert!(to.blob("app", &image.config.digest).is_some());
    assert_eq!(to.tags("app"), []);
}

/// By Docker's grammar, a host and a port without a repository would be a repository of Docker Hub
/// with a tag.
#[test]
fn a_host_without_a_repository_is_no_store() {
    let scratch = Scratch::new();
    for args in [
        &["fetch-blob", "localhost:5000"][..],
        &["push-blob", "localhost:5000"],
        &["push-blob", "registry.example:443", "file"],
        &["push-blob", "oci:l", "--from", "127.0.0.1:5000"],
        &["list-blobs", "--recursive", "--from", "localhost:5000"],
    ] {
        let run = tool(args[0]).args(&args[1..]).stdin("x").dir(scratch.path()).run();
        run.fails(2, "is a host: expected").says("/REPOSITORY").stdout("");
    }
}

/// These options refuse a tag, because it would have no effect or another meaning.
#[test]
fn a_repository_or_a_directory_has_no_tag() {
    for args in [
        &["list-tags", "a.example/b:1"][..],
        &["fetch-token", "a.example/b:1"],
        &["push-blob", "a.example/b", "--mount-from", "a.example/c:1"],
        &["fetch-blob", "a.example/b", "--into", "oci:l:1"],
        &["pack-layer", ".", "--into", "oci:l:1"],
        &["build-config", "--into", "oci:l:1"],
    ] {
        tool(args[0]).args(&args[1..]).run().fails(2, "without tag or digest").stdout("");
    }
}
