// SPDX-License-Identifier: Apache-2.0
//! The functions of `share/regutils/recipes.sh` with hostile artifacts, archives and names.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image};
use tests::scratch::Scratch;
use tests::tools::Run;

use super::recipes::run;

/// An artifact of two files. The second one has this title, as JSON text.
fn artifact(registry: &FakeRegistry, title: &str) {
    let layer = |bytes: &str, title: &str| {
        let digest = registry.add_blob("files", bytes);
        format!(
            r#"{{"mediaType":"text/plain","digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.title":{title}}}}}"#,
            bytes.len()
        )
    };
    let empty = registry.add_blob("files", "{}");
    let type_of = "application/vnd.oci.image.manifest.v1+json";
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{type_of}","artifactType":"a/b","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{empty}","size":2}},"layers":[{},{}]}}"#,
        layer("good", "\"good\""),
        layer("evil", title)
    );
    registry.add_manifest("files", "1", &Blob::new(type_of, text));
}

fn pull(title: &str) -> (Run, Scratch) {
    let registry = FakeRegistry::start();
    artifact(&registry, title);
    let dir = Scratch::new();
    fs::create_dir(dir.join("in")).unwrap();
    let run = run("pull_files $R/files:1 in", &registry.host(), &dir);
    (run, dir)
}

/// If the title of the second file is hostile, not even the first file is written.
#[test]
fn a_hostile_title_goes_nowhere() {
    for title in [
        r#""../evil""#,
        r#""/tmp/regutils-evil""#,
        r#""a/evil""#,
        r#""..""#,
        r#"".""#,
        r#""""#,
        r#""\u002e\u002e/evil""#,
        r#""..\u002fevil""#,
        r#""..\\evil""#,
        r#""a\nevil""#,
        r#""a\u0000evil""#,
        r#""a\u001b[2Jevil""#,
    ] {
        let (run, dir) = pull(title);
        run.status(6);
        assert_eq!(fs::read_dir(dir.join("in")).unwrap().count(), 0, "{title}: {run}");
        assert!(!dir.join("evil").exists(), "{title}");
    }
    let (run, _) = pull(r#""good""#);
    run.status(6).says("two files have one title");
    let (run, dir) = pull(r#""-o --evil $(touch x) * .hidden""#);
    run.ok();
    let name = dir.join("in/-o --evil $(touch x) * .hidden");
    assert_eq!(fs::read_to_string(name).unwrap(), "evil");
    assert_eq!(fs::read_to_string(dir.join("in/good")).unwrap(), "good");
}

#[test]
fn a_link_in_the_directory_is_not_followed() {
    let registry = FakeRegistry::start();
    artifact(&registry, "\"link\"");
    let dir = Scratch::new();
    dir.write("own", "mine");
    fs::create_dir(dir.join("in")).unwrap();
    symlink("../own", dir.join("in/link")).unwrap();
    run("pull_files $R/files:1 in", &registry.host(), &dir).status(7);
    assert_eq!(fs::read_to_string(dir.join("own")).unwrap(), "mine");
    assert!(!dir.join("in/good").exists());
}

/// The archive's list of layers names a file outside of the archive, directly or by a link.
#[test]
fn an_archive_cannot_name_files_outside_of_it() {
    let image = Image::small();
    for layer in ["../../../secret", "/etc/hostname", "link", "up/secret", "", "."] {
        let dir = Scratch::new();
        dir.write("secret", &image.layers[0].bytes);
        fs::create_dir(dir.join("src")).unwrap();
        dir.write("src/config", &image.config.bytes);
        symlink(dir.join("secret"), dir.join("src/link")).unwrap();
        symlink(dir.path(), dir.join("src/up")).unwrap();
        let list = json!([{"Config": "config", "RepoTags": null, "Layers": [layer]}]);
        dir.write("src/manifest.json", list.to_string());
        let script = "tar -cf a.tar -C src . && load_docker_archive a.tar oci:out:1";
        run(script, "", &dir).status(6).says("not in the archive");
        assert!(!dir.join("out").exists(), "{layer}");
    }
}

#[test]
fn a_layer_that_is_not_the_configs_is_refused() {
    let image = Image::small();
    let dir = Scratch::new();
    fs::create_dir(dir.join("src")).unwrap();
    dir.write("src/config", &image.config.bytes);
    let list = json!([{"Config": "config", "Layers": ["layer.tar"]}]);
    dir.write("src/manifest.json", list.to_string());
    for make in ["tar -cf src/layer.tar script", "tar -czf src/layer.tar script"] {
        let script =
            format!("{make} && tar -cf a.tar -C src . && load_docker_archive a.tar oci:out:1");
        run(&script, "", &dir).status(1);
        assert!(!dir.join("out").exists());
    }
    run("echo x >x.tar; load_docker_archive x.tar oci:out:1", "", &dir).status(6);
    run("load_docker_archive none.tar oci:out:1", "", &dir).status(3);
    run("tar -cf y.tar script; load_docker_archive y.tar oci:out:1", "", &dir).status(6);
}

#[test]
fn a_path_or_a_name_that_is_not_safe_is_refused() {
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &Image::small());
    let dir = Scratch::new();
    for path in ["../x", "a/../../x", "a//x", "./x", "a/./x", ".."] {
        let script = format!("echo x >x; add_file $R/app:1 x '{path}' oci:out:1");
        run(&script, &registry.host(), &dir).status(2);
    }
    let script = r#"save_docker_archive $R/app:1 a.tar 'x","y'"#;
    run(script, &registry.host(), &dir).status(2).says("invalid name");
    assert!(!dir.join("a.tar").exists() && !dir.join("out").exists());
}
