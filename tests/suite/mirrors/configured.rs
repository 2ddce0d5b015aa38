// SPDX-License-Identifier: Apache-2.0
//! Mirrors in registries.conf: the locations that get the requests, and the errors for an invalid
//! file.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tests::fake::Reply;
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, noise};
use tests::logins::{PASSWORD, USER, auths, keep, login, registry_with_login};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

/// A registries.conf, and tools that use it.
struct Conf {
    scratch: Scratch,
}

impl Conf {
    fn new(text: &str) -> Conf {
        let scratch = Scratch::new();
        scratch.write("registries.conf", text);
        Conf { scratch }
    }

    fn tool(&self, name: &str) -> Command {
        let file = self.scratch.join("registries.conf");
        tool(name).args(["--max-wait", "0"]).env("CONTAINERS_REGISTRIES_CONF", file)
    }

    fn fetch_manifest(&self, reference: &str) -> Run {
        self.tool("fetch-manifest").arg(reference).run()
    }

    /// The path of the file, as messages show it.
    fn path(&self) -> String {
        self.scratch.join("registries.conf").display().to_string()
    }
}

/// A `[[registry]]` with mirrors.
fn registry(location: &str, words: &str, mirrors: &[&str]) -> String {
    let mirror = |location: &&str| format!("[[registry.mirror]]\nlocation = \"{location}\"\n");
    let mirrors = mirrors.iter().map(mirror).collect::<String>();
    format!("[[registry]]\nlocation = \"{location}\"\n{words}\n{mirrors}")
}

/// A registry with an image as `PATH:1`.
fn with_image(path: &str) -> (FakeRegistry, Image) {
    let (registry, image) = (FakeRegistry::start(), Image::small());
    registry.add_image(path, "1", &image);
    (registry, image)
}

/// A host name that does not exist.
const NOWHERE: &str = "registry.invalid";

#[test]
fn a_mirror_is_read_instead_of_its_registry() {
    let (mirror, image) = with_image("copies/of/team/app");
    let conf = Conf::new(&registry(NOWHERE, "", &[&mirror.repo("copies/of")]));
    let run = conf.fetch_manifest("registry.invalid/team/app:1");
    run.ok().silent().stdout(&image.manifest.bytes);
    let layer = &image.layers[0];
    let fetch = conf.tool("fetch-blob").args(["registry.invalid/team/app", &layer.digest]);
    fetch.run().ok().silent().stdout(&layer.bytes);
    // Mirrors in registries.conf get no `ns` parameter. Only mirrors in hosts.toml get it.
    assert_eq!(
        mirror.server.asked(),
        [
            "GET /v2/copies/of/team/app/manifests/1".to_owned(),
            format!("GET /v2/copies/of/team/app/blobs/{}", layer.digest),
        ]
    );
}

#[test]
fn a_location_is_read_instead_of_the_prefix() {
    let (inside, image) = with_image("bar/app");
    let text = format!(
        "[[registry]]\nprefix = \"registry.invalid/foo\"\nlocation = \"{}\"",
        inside.repo("bar")
    );
    let conf = Conf::new(&text);
    conf.fetch_manifest("registry.invalid/foo/app:1").ok().silent().stdout(&image.manifest.bytes);
    conf.fetch_manifest("registry.invalid/foo/app:2").fails(3, "bar/app:2").stdout("");
}

#[test]
fn mirrors_are_asked_in_the_order_of_the_file_and_then_the_registry() {
    let (own, image) = with_image("app");
    let (first, second) = (FakeRegistry::start(), FakeRegistry::start());
    let conf = Conf::new(&registry(&own.host(), "", &[&first.host(), &second.host()]));
    conf.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
    for asked in [&first, &second, &own] {
        assert_eq!(asked.server.asked(), ["GET /v2/app/manifests/1"]);
    }
    second.add_image("app", "1", &image);
    own.server.forget();
    conf.fetch_manifest(&own.repo("app:1")).ok().silent();
    assert_eq!(own.server.asked(), Vec::<String>::new());
}

#[test]
fn a_mirror_for_digests_is_not_asked_for_a_tag() {
    for words in ["mirror-by-digest-only = true", ""] {
        let (own, image) = with_image("app");
        let (mirror, _) = with_image("app");
        let mut text = registry(&own.host(), words, &[&mirror.host()]);
        if words.is_empty() {
            text.push_str("pull-from-mirror = \"digest-only\"");
        }
        let conf = Conf::new(&text);
        conf.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
        assert!(mirror.server.asked().is_empty());
        own.server.forget();
        let by_digest = format!("{}@{}", own.repo("app"), image.manifest.digest);
        conf.fetch_manifest(&by_digest).ok().silent().stdout(&image.manifest.bytes);
        let layer = &image.layers[0];
        let fetch = conf.tool("fetch-blob").args([&own.repo("app"), &layer.digest]);
        fetch.run().ok().silent().stdout(&layer.bytes);
        assert!(own.server.asked().is_empty(), "{:?}", own.server.asked());
    }
}

#[test]
fn a_mirror_for_tags_is_not_asked_for_a_digest() {
    let (own, image) = with_image("app");
    let (mirror, _) = with_image("app");
    let mut text = registry(&own.host(), "", &[&mirror.host()]);
    text.push_str("pull-from-mirror = \"tag-only\"");
    let conf = Conf::new(&text);
    let by_digest = format!("{}@{}", own.repo("app"), image.manifest.digest);
    conf.fetch_manifest(&by_digest).ok().silent();
    assert!(mirror.server.asked().is_empty());
    own.server.forget();
    conf.fetch_manifest(&own.repo("app:1")).ok().silent();
    assert!(own.server.asked().is_empty());
}

#[test]
fn a_blocked_registry_gets_no_request() {
    let (own, image) = with_image("app");
    let conf = Conf::new(&registry(&own.host(), "blocked = true", &[]));
    let words = format!("{}: blocked by {}", own.repo("app"), conf.path());
    conf.fetch_manifest(&own.repo("app:1")).fails(4, &words).stdout("");
    conf.tool("list-tags").arg(own.repo("app")).run().fails(4, &words).stdout("");
    let push = conf.tool("push-blob").arg(own.repo("app")).stdin("bytes");
    push.run().fails(4, &words).stdout("");
    let layer = &image.layers[0].digest;
    conf.tool("fetch-blob").args([&own.repo("app"), layer]).run().fails(4, &words).stdout("");
    let none = conf.tool("fetch-manifest").args(["--mirror", "none", &own.repo("app:1")]);
    none.run().fails(4, &words).stdout("");
    assert!(own.server.asked().is_empty());
}

#[test]
fn a_blocked_registry_can_be_read_from_its_mirrors() {
    let (own, image) = with_image("app");
    let (mirror, _) = with_image("app");
    own.add_image("other", "1", &image);
    let conf = Conf::new(&registry(&own.host(), "blocked = true", &[&mirror.host()]));
    conf.fetch_manifest(&own.repo("app:1")).ok().silent().stdout(&image.manifest.bytes);
    let run = conf.fetch_manifest(&own.repo("other:1"));
    run.fails(3, &mirror.repo("other:1")).stdout("");
    assert!(own.server.asked().is_empty());
}

#[test]
fn the_last_mirror_of_a_blocked_registry_gets_all_retries() {
    let (own, image) = with_image("app");
    let (mirror, _) = with_image("app");
    let conf = Conf::new(&registry(&own.host(), "blocked = true", &[&mirror.host()]));
    mirror.fault(|request, right| match request.earlier {
        0 => Reply::error(503, "UNAVAILABLE", "later"),
        _ => right,
    });
    conf.fetch_manifest(&own.repo("app:1")).ok().stdout(&image.manifest.bytes);
    mirror.fault(|_, _| Reply::error(503, "UNAVAILABLE", "later"));
    conf.fetch_manifest(&own.repo("app:1")).fails(5, "gave up after 5 attempts").stdout("");
    assert!(own.server.asked().is_empty());
}

#[test]
fn mirrors_on_the_command_line_replace_configured_mirrors() {
    let (own, image) = with_image("app");
    let (configured, _) = with_image("app");
    let (named, _) = with_image("app");
    let conf = Conf::new(&registry(&own.host(), "", &[&configured.host()]));
    let fetch = |mirror: &str| {
        let run = conf.tool("fetch-manifest").args(["--mirror", mirror, &own.repo("app:1")]).run();
        run.ok().silent().stdout(&image.manifest.bytes);
    };
    fetch(&named.host());
    assert_eq!((named.server.asked().len(), own.server.asked().len()), (1, 0));
    fetch("none");
    assert_eq!((named.server.asked().len(), own.server.asked().len()), (1, 1));
    assert!(configured.server.asked().is_empty());
}

#[test]
fn writes_go_to_the_registry_itself() {
    let (own, image) = with_image("app");
    let (mirror, _) = with_image("app");
    let conf = Conf::new(&format!(
        "{}\n[[registry]]\nprefix = \"{}\"\nlocation = \"{}\"",
        registry(&own.host(), "", &[&mirror.host()]),
        own.repo("moved"),
        mirror.repo("moved")
    ));
    conf.tool("push-blob").arg(own.repo("app")).stdin("new bytes").run().ok();
    conf.tool("push-blob").arg(own.repo("moved/app")).stdin("new bytes").run().ok();
    for repository in ["app", "moved/app"] {
        let put = conf.tool("put-manifest").arg(own.repo(&format!("{repository}:2")));
        for blob in image.blobs() {
            own.add_blob(repository, blob.bytes.clone());
        }
        put.stdin(image.manifest.bytes.clone()).run().ok();
    }
    let tags = conf.tool("list-tags").arg(own.repo("app")).run();
    tags.ok().stdout("1\n2\n");
    assert!(mirror.server.asked().is_empty(), "{:?}", mirror.server.asked());
}

#[test]
fn a_mirror_gets_only_its_own_stored_credential() {
    let (own, image) = with_image("app");
    let mirror = registry_with_login();
    let conf = Conf::new(&registry(&own.host(), "", &[&mirror.host()]));
    let name = own.repo("app:1");
    let given = conf.tool("fetch-manifest").args(["-u", USER, "-H", "X-Mine: sesame", &name]);
    let run = given.env("REGISTRY_PASSWORD", PASSWORD).run();
    run.status(0).stdout(&image.manifest.bytes).says("is no longer used: ");
    for request in mirror.server.requests() {
        assert_eq!((request.header("Authorization"), request.header("X-Mine")), (None, None));
    }
    keep(&conf.scratch, "auth.json", &auths(&mirror.host(), &login(USER, PASSWORD)));
    own.server.forget();
    let file = conf.scratch.join("auth.json").display().to_string();
    conf.tool("fetch-manifest").args(["--authfile", &file, &name]).run().ok();
    assert!(own.server.asked().is_empty());
}

#[test]
fn an_invalid_file_is_an_error_before_any_request() {
    let (own, _) = with_image("app");
    let cases = [
        ("[[registry]]\nlocation = 1", 2, "got a number or a time, want a string"),
        ("\n\n[[registry]\n", 3, ""),
        ("[[registry]]\nlocation = \"https://a.invalid\"", 2, "a location must not have a scheme"),
        ("# \u{1b}[31m\n\u{1b}", 1, ""),
    ];
    for (text, line, words) in cases {
        let conf = Conf::new(text);
        let place = format!("{}: line {line}: ", conf.path());
        let run = conf.fetch_manifest(&own.repo("app:1"));
        run.fails(6, words).says(&place).stdout("");
        let push = conf.tool("push-blob").arg(own.repo("app")).stdin("bytes").run();
        push.fails(6, words).says(&place).stdout("");
    }
    assert!(own.server.asked().is_empty());
}

#[test]
fn a_proxy_for_one_registry_causes_a_warning() {
    let (mirror, image) = with_image("app");
    let text = registry(NOWHERE, "", &[&mirror.host()]) + "proxy = \"http://127.0.0.1:1\"";
    let conf = Conf::new(&text);
    let run = conf.fetch_manifest("registry.invalid/app:1");
    run.status(0).stdout(&image.manifest.bytes);
    run.says(&format!("{}: line 6: a proxy for a single registry is not supported", conf.path()));
}

#[test]
fn a_blob_is_fetched_from_the_registry_if_the_mirrors_bytes_are_wrong() {
    let (own, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    let bytes = noise(300_000, 1);
    let digest = own.add_blob("app", bytes.clone());
    mirror.add_blob_as("app", &digest, noise(300_000, 2));
    let conf = Conf::new(&registry(&own.host(), "", &[&mirror.host()]));
    let out = conf.scratch.join("out");
    let run = conf
        .tool("fetch-blob")
        .args([&own.repo("app"), &digest, "-o", &out.display().to_string()])
        .run();
    run.status(0).says("is no longer used: ").says(&conf.path());
    assert!(std::fs::read(out).unwrap() == bytes);
}

mod with_peers {
    use super::*;

    #[test]
    fn an_insecure_location_may_have_an_untrusted_certificate() {
        let (own, image) = (Registry::start(), Image::small());
        let mirror = Registry::with_tls();
        own.put_image("app", "1", &image);
        mirror.put_image("app", "1", &image);
        let text = registry(&own.host(), "", &[&mirror.host()]);
        let run = Conf::new(&text).fetch_manifest(&own.repo("app:1"));
        run.status(0)
            .stdout(&image.manifest.bytes)
            .says("is no longer used: ")
            .says("certificate not trusted");
        let mark = own.mark();
        let run = Conf::new(&(text + "insecure = true")).fetch_manifest(&own.repo("app:1"));
        run.ok().silent().stdout(&image.manifest.bytes);
        assert_eq!(own.steps_since(mark), Vec::<String>::new());
        // The registry itself may be insecure, too.
        let run = Conf::new("").fetch_manifest(&mirror.repo("app:1"));
        run.fails(6, "certificate not trusted").stdout("");
        let conf = Conf::new(&registry(&mirror.host(), "insecure = true", &[]));
        conf.fetch_manifest(&mirror.repo("app:1")).ok().stdout(&image.manifest.bytes);
    }

    #[test]
    fn a_pipeline_reads_an_image_from_a_cache_and_from_a_copy() {
        let (own, image) = (Registry::start(), Image::small());
        own.put_image("team/app", "1", &image);
        let copy = Registry::start();
        copy.put_image("copies/app", "1", &image);
        let cache = Registry::cache_of(&own);
        let copies = format!(
            "[[registry]]\nprefix = \"{}\"\nlocation = \"{}\"\n\
         [[registry.mirror]]\nlocation = \"{}\"",
            own.repo("team"),
            own.repo("team"),
            copy.repo("copies")
        );
        for (mirror, text) in
            [(&cache, registry(&own.host(), "", &[&cache.host()])), (&copy, copies)]
        {
            let conf = Conf::new(&text);
            let mark = mirror.mark();
            let script = "fetch-manifest $name:1 --into oci:l | list-blobs |
            fetch-blob $name --into oci:l | unpack-layer --from oci:l rootfs";
            let run = shell(script)
                .env("name", own.repo("team/app"))
                .env("CONTAINERS_REGISTRIES_CONF", conf.scratch.join("registries.conf"))
                .dir(conf.scratch.path())
                .run();
            run.ok().silent();
            let steps = mirror.steps_since(mark);
            let blobs = image.blobs().count();
            assert_eq!(steps.len(), 1 + blobs, "{steps:?}");
            assert!(Path::new(&conf.scratch.join("rootfs")).is_dir());
        }
    }
}
