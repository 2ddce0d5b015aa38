// SPDX-License-Identifier: Apache-2.0
//! The README's section on many machines: runs at the same time, and caches between a registry and
//! the machines that read from it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;

use tests::eventually;
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::peers::peer;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::servers::Process;
use tests::tools::shell;

use super::readme::{blocks, read, run};

/// The only block of the README in this language.
fn block(language: &str) -> String {
    let readme = read("README.md");
    let blocks = blocks(&readme, language);
    assert_eq!(blocks.len(), 1, "{language}");
    blocks[0].to_owned()
}

#[test]
fn runs_at_the_same_time_fill_one_layout() {
    let registry = FakeRegistry::start();
    let tags: Vec<String> = (1..=12).map(|tag| format!("v{tag}")).collect();
    for tag in &tags {
        // All images share their layers.
        registry.add_image("alpine", tag, &Image::small());
    }
    registry.add_image("alpine", "arm64", &Image::for_platform("linux", "arm64"));
    let dir = Scratch::new();
    let readme = read("README.md");
    let commands = blocks(&readme, "sh").pop().unwrap();
    run(commands, &registry, &dir).ok();
    let check = "for tag in $(list-tags oci:mirror); do
        fetch-manifest oci:mirror:$tag | list-blobs | verify-digest --from oci:mirror >/dev/null &&
        echo $tag || exit; done\n";
    let run = run(check, &registry, &dir);
    run.ok();
    let mut listed: Vec<_> = std::str::from_utf8(&run.stdout).unwrap().lines().collect();
    let mut want: Vec<_> = tags.iter().map(String::as_str).chain(["arm64"]).collect();
    listed.sort_unstable();
    want.sort_unstable();
    assert_eq!(listed, want);
}

/// Pulls the image on another machine that reads through the cache, as the README configures it.
fn pull(registry: &Registry, cache: &str) {
    let dir = Scratch::new();
    let conf = block("toml")
        .replace("registry.example", &registry.host())
        .replace("cache.example:5000", cache);
    dir.write("registries.conf", conf);
    let script = "fetch-manifest $name:1 --into oci:l | list-blobs |
        fetch-blob $name --into oci:l | unpack-layer --from oci:l rootfs";
    shell(script)
        .env("name", registry.repo("team/app"))
        .env("CONTAINERS_REGISTRIES_CONF", dir.join("registries.conf"))
        .dir(dir.path())
        .run()
        .ok();
    assert!(dir.join("rootfs").is_dir());
}

/// Every later pull must be served without the registry's blobs. A cache may store a blob after it
/// has sent it.
fn later_pulls_need_no_blob_of(registry: &Registry, cache: &str) {
    let blobs =
        |mark| registry.steps_since(mark).into_iter().filter(|step| step.contains("blob")).count();
    let mark = registry.mark();
    pull(registry, cache);
    assert!(blobs(mark) > 0, "the cache had no blob yet");
    eventually("the cache to have all blobs", || {
        let mark = registry.mark();
        pull(registry, cache);
        (blobs(mark) == 0).then_some(())
    });
}

fn registry() -> Registry {
    let registry = Registry::start();
    registry.put_image("team/app", "1", &Image::small());
    registry
}

#[test]
fn a_pull_through_registry_serves_the_second_machine() {
    let registry = registry();
    let cache = Registry::cache_of(&registry);
    let mark = cache.mark();
    later_pulls_need_no_blob_of(&registry, &cache.host());
    assert!(!cache.answered_since(mark).is_empty());
}

#[test]
fn nginx_as_a_cache_serves_the_second_machine() {
    let registry = registry();
    let cache = nginx_before(&registry);
    later_pulls_need_no_blob_of(&registry, &cache.host());
    let log = fs::read_to_string(cache.dir().join("requests")).unwrap();
    assert!(log.contains("HIT"), "{log}");
}

/// The bytes of a blob are changed in the cache: the machine gets the right bytes from the
/// registry.
#[test]
fn a_cache_with_wrong_bytes_is_given_up_for_the_registry() {
    let registry = registry();
    let cache = nginx_before(&registry);
    later_pulls_need_no_blob_of(&registry, &cache.host());
    let blobs = Image::small();
    let damage = "find cache -type f | while read -r file; do
        printf xxxx | dd of=$file bs=1 seek=$(($(wc -c <$file) - 4)) conv=notrunc status=none
        done";
    shell(damage).dir(cache.dir()).run().ok();
    let dir = Scratch::new();
    let script = format!(
        "fetch-manifest $name:1 | list-blobs | fetch-blob --mirror {} $name --into oci:l >lines",
        cache.host()
    );
    let run = shell(&script).env("name", registry.repo("team/app")).dir(dir.path()).run();
    run.status(0).says("warning: ").says("digest");
    let lines = fs::read_to_string(dir.join("lines")).unwrap();
    assert_eq!(lines.lines().count(), blobs.blobs().count());
}

/// nginx with the README's configuration, on a free port.
fn nginx_before(registry: &Registry) -> Process {
    let text =
        block("nginx").replace("https://registry.example", &format!("http://{}", registry.host()));
    Process::start(|port, dir| {
        let at = dir.path().display();
        let text = text
            .replace("/var/cache/nginx/blobs", &format!("{at}/cache"))
            .replace("listen 5000", &format!("listen 127.0.0.1:{port}"));
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; events {{}}\n\
             http {{\n{temporary}log_format requests '$request_uri $status $upstream_cache_status';\n\
             access_log {at}/requests requests;\n{text}\n}}\n"
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, config).unwrap();
        let mut nginx = peer("nginx");
        nginx.arg("-e").arg(dir.join("errors")).arg("-p").arg(dir.path()).arg("-c").arg(file);
        nginx
    })
}
