// SPDX-License-Identifier: Apache-2.0
//! The trace of a push: run against a new registry, its curl commands push the same bytes as the
//! tool.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use tests::fake::{End, Intake, Reply};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, types, write_image};
use tests::logins::{PASSWORD, USER, at_home, auths, keep, login};
use tests::push::Push;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::token_server::TokenServer;
use tests::tools::{Command, Run, shell};
use tests::trace::commands;

/// The trace of a run as a script for another registry, with the file `layer` in `$BLOB`.
fn replay_at(run: &Run, from: &str, to: &str, dir: &Scratch) -> Command {
    commands(&run.stderr);
    let script = shell(&run.stderr.replace(from, to)).dir(dir.path());
    script.env("REGISTRY_PASSWORD", PASSWORD).env("BLOB", "layer")
}

#[test]
fn a_resumed_upload_is_traced_with_a_variable_to_be_set() {
    let push = Push::of(20_000_000);
    push.registry.set(|settings| settings.steady = true);
    push.registry.intake(|request| {
        let has_body = request.is_close() || request.is_patch();
        if has_body { Intake::cut(3_000_000, End::Reset) } else { Intake::whole() }
    });
    push.line().args(["--retry-times", "1"]).run().status(5);
    push.registry.heal();
    let run = push.line().arg("--trace").run();
    run.status(0).does_not_say("_state=");
    run.says("# LOCATION: the address of an upload that an earlier run began\nLOCATION=$(curl ");
    run.says(&format!(
        "http://{}/${{LOCATION#http://{}/}}",
        push.registry.host(),
        push.registry.host()
    ));
    assert!(push.holds());
}

#[test]
fn an_upload_to_another_host_is_traced_without_its_secrets() {
    let push = Push::of(1000);
    let storage = FakeRegistry::start();
    let host = storage.host();
    push.registry.fault(move |request, right| {
        if !request.is_start() {
            return right;
        }
        Reply::new(202).header("Location", format!("http://{host}/put?signature=hush-hush"))
    });
    storage.fault(|_, _| Reply::new(403));
    let run = push.file().arg("--trace").run();
    run.does_not_say("hush-hush")
        .says(&format!("# Location: 'http://{}/put?(withheld)'", storage.host()));
    run.says(&format!(
        "http://{}/${{LOCATION#http://{}/}}&digest=sha256:",
        storage.host(),
        storage.host()
    ));
}

/// Puts a manifest of the small image, and replays the trace. Checks that both manifests are equal,
/// byte by byte. Returns the trace.
#[track_caller]
fn put_and_replay(text: &str) -> String {
    let image = Image::small();
    let [registry, fresh] = [(); 2].map(|()| {
        let registry = FakeRegistry::start();
        registry.add_image("app", "", &image);
        registry
    });
    let scratch = Scratch::new();
    scratch.write("layer", text);
    let put =
        tests::tools::tool("put-manifest").args(["--trace", &registry.repo("app:2"), "layer"]);
    let run = put.dir(scratch.path()).run();
    run.status(0);
    replay_at(&run, &registry.host(), &fresh.host(), &scratch).run().status(0);
    let put = fresh.manifest("app", "2").unwrap();
    assert_eq!(String::from_utf8_lossy(&put.bytes), text);
    run.stderr
}

mod with_peers {
    use super::*;

    #[test]
    fn the_trace_of_a_push_pushes_to_another_registry() {
        let server = TokenServer::new();
        let [registry, fresh] = [(); 2].map(|()| Registry::with_tokens_of(&server));
        let image = Image::small();
        let home = Scratch::new();
        keep(&home, ".docker/config.json", &auths(&registry.host(), &login(USER, PASSWORD)));
        write_image(&home.join("l"), "1", &image);
        let push = "fetch-manifest oci:l:1 >m && \
         list-blobs m | push-blob --trace -j 1 $REPO --from oci:l >lines && put-manifest --trace $REPO:1 m";
        let push = shell(push).env("REPO", registry.repo("app")).dir(home.path());
        let run = at_home(push, home.path()).run();
        run.status(0).says("LOCATION=$(curl -sS -X POST ").says(" -w '%header{location}' ");
        run.does_not_say("_state=").says(" -H 'Content-Length: 0' ");
        // Layers are binary, so each is read from a separate file.
        let mut again = replay_at(&run, &registry.host(), &fresh.host(), &home);
        for (i, layer) in image.layers.iter().enumerate() {
            home.write(format!("layer{i}"), &layer.bytes);
            let name = if i == 0 { "BLOB".to_owned() } else { format!("BLOB_{}", i + 1) };
            run.says(&format!(
                "# {name}: a file with the {} bytes of {}\n",
                layer.bytes.len(),
                layer.digest
            ));
            again = again.env(&name, format!("layer{i}"));
        }
        again.run().status(0);
        let fetch = "fetch-manifest $REPO:1 --into oci:back | list-blobs | fetch-blob $REPO --into oci:back";
        let fetch = shell(fetch).env("REPO", fresh.repo("app")).dir(home.path());
        keep(&home, ".docker/config.json", &auths(&fresh.host(), &login(USER, PASSWORD)));
        at_home(fetch, home.path()).run().ok().stdout(image.lines());
    }

    #[test]
    fn the_trace_sends_each_chunk_from_its_own_file() {
        for is_relative in [false, true] {
            let push = Push::of(150_000);
            let fresh = FakeRegistry::start();
            for registry in [&push.registry, &fresh] {
                registry.set(|settings| settings.relative = is_relative);
            }
            let run = push.file().args(["--trace", "--chunk", "64k"]).run();
            run.status(0).does_not_say("_state=");
            run.says("# BLOB_2: a file with the bytes 65536-131071 of the blob for LOCATION\n");
            run.says("\nLOCATION=$(curl -sS -X PATCH ");
            let mut again = replay_at(&run, &push.registry.host(), &fresh.host(), &push.scratch);
            for (i, part) in push.blob.bytes.chunks(64 << 10).enumerate() {
                push.scratch.write(format!("part{i}"), part);
                let name = if i == 0 { "BLOB".to_owned() } else { format!("BLOB_{}", i + 1) };
                again = again.env(&name, format!("part{i}"));
            }
            let again = again.run();
            let got = fresh.blob("app", &push.blob.digest);
            assert!(
                got.is_some_and(|got| got[..] == push.blob.bytes),
                "{run}\n{again}\n{:#?}",
                fresh.server.asked()
            );
            assert_eq!(fresh.sessions(), []);
            let steps = |registry: &FakeRegistry| {
                registry
                    .steps()
                    .into_iter()
                    .filter(|step| !step.contains("HEAD"))
                    .collect::<Vec<_>>()
            };
            assert_eq!(steps(&fresh), steps(&push.registry));
        }
    }

    #[test]
    fn the_trace_of_a_mount_mounts_again() {
        let registry = Registry::start();
        let image = Image::small();
        registry.put_image("app", "1", &image);
        let script = "fetch-manifest $HOST/app:1 | list-blobs | push-blob --trace $HOST/other --from $HOST/app";
        let run = shell(script).env("HOST", registry.host()).run();
        run.status(0).says("?mount=sha256:").says("# 201 Created\n");
        let fresh = Registry::start();
        fresh.put_image("app", "1", &image);
        replay_at(&run, &registry.host(), &fresh.host(), &Scratch::new()).run().status(0);
        for blob in image.blobs() {
            assert_eq!(fresh.head(&format!("other/blobs/{}", blob.digest)), "200");
        }
    }

    #[test]
    fn several_uploads_get_a_variable_each() {
        let registry = FakeRegistry::start();
        let fresh = FakeRegistry::start();
        let scratch = Scratch::new();
        let blobs: Vec<Blob> = (0..16).map(|i| Blob::new(types::TAR, noise(100, i))).collect();
        let names: Vec<String> = (0..blobs.len()).map(|i| format!("f{i}")).collect();
        names.iter().zip(&blobs).for_each(|(name, blob)| drop(scratch.write(name, &blob.bytes)));
        let push = tests::tools::tool("push-blob").args([
            "--trace",
            "-j",
            "8",
            "--media-type",
            types::TAR,
        ]);
        let run = push.arg(registry.repo("app")).args(&names).dir(scratch.path()).run();
        run.status(0).says("\nLOCATION_16=$(curl ");
        let mut again = replay_at(&run, &registry.host(), &fresh.host(), &scratch);
        // A comment names the file for each variable before the variable is used.
        for line in run.stderr.lines().filter(|line| line.starts_with("# BLOB")) {
            let (name, digest) =
                (line[2..].split(':').next().unwrap(), line.rsplit(' ').next().unwrap());
            let at = blobs.iter().position(|blob| blob.digest == digest).unwrap();
            again = again.env(name, &names[at]);
        }
        again.run();
        for blob in &blobs {
            assert!(fresh.blob("app", &blob.digest).is_some());
        }
    }

    #[test]
    fn a_manifest_with_invisible_characters_is_sent_unchanged() {
        let text = Image::small().manifest_json().to_string();
        let text = text.replacen('{', "{\"annotations\":{\"it's\":\"\u{202e}1%\\n\u{200d}\"},", 1);
        let trace = put_and_replay(&text);
        assert!(!trace.contains(['\u{202e}', '\u{200d}']), "{trace}");
        assert!(!trace.contains("# BLOB: "), "{trace}");
    }

    #[test]
    fn a_manifest_of_several_lines_is_sent_unchanged() {
        let image = Image::small();
        let pretty = serde_json::to_string_pretty(&image.manifest_json()).unwrap();
        let tricky = pretty.replacen(
            '{',
            "{\n\t\"annotations\": {\"it's\": \"100% \\\\ `x` $(y) \\u0041\"},",
            1,
        );
        for text in [pretty.clone(), tricky, format!("{pretty}\n"), format!("{pretty}\r")] {
            let trace = put_and_replay(&text);
            let is_file = trace.contains("# BLOB: a file with ");
            assert_eq!(is_file, text.ends_with('\n'), "{trace}");
        }
    }
}
