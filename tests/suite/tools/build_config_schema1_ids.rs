// SPDX-License-Identifier: Apache-2.0
//! build-config --schema1: image IDs, compared with those of Docker's own packages. The program
//! that uses them is built from tests/docker-v1 in the test run.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

mod with_peers {
    use std::path::Path;

    use serde_json::{Value, json};
    use tests::images::{Blob, sha256, types};
    use tests::peers::{must, peer};
    use tests::schema1::{GATE, document, id, payload, signed};
    use tests::scratch::Scratch;
    use tests::tools::{Run, tool};

    /// Builds the program that uses Docker's packages.
    fn build_judge(dir: &Scratch) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-v1");
        let mut go = peer("go");
        go.args(["build", "-buildvcs=false", "-o"]).arg(dir.join("judge")).arg(".");
        must(go.current_dir(source));
    }

    /// An image of one version of Docker: its entries, top first, without ID and parent.
    struct Old {
        name: &'static str,
        entries: Vec<String>,
    }

    /// An entry as Docker before 1.8.3 wrote it.
    fn early(version: &str) -> Value {
        json!({
            "created": "2014-06-05T00:05:35.990887725Z",
            "container": id('9'),
            "container_config": {
                "Hostname": "7f674915980d",
                "Domainname": "",
                "User": "",
                "Memory": 0,
                "MemorySwap": 0,
                "CpuShares": 0,
                "Cpuset": "",
                "AttachStdin": false,
                "AttachStdout": false,
                "AttachStderr": false,
                "PortSpecs": null,
                "ExposedPorts": null,
                "Tty": false,
                "OpenStdin": false,
                "StdinOnce": false,
                "Env": ["HOME=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                "Cmd": ["/bin/sh", "-c", "#(nop) CMD [/bin/sh] <&> é"],
                "Image": id('8'),
                "Volumes": null,
                "WorkingDir": "",
                "Entrypoint": null,
                "NetworkDisabled": false,
                "OnBuild": [],
            },
            "docker_version": version,
            "author": "Jérôme <jerome@example.com>",
            "config": {"Hostname": "7f674915980d", "Cmd": ["/bin/sh"], "Env": ["A=<1>&2"]},
            "architecture": "amd64",
            "os": "linux",
            "checksum": "tarsum.dev+sha256:00",
            "Size": 2433303,
        })
    }

    /// [`early`] with another config, and the same as `container_config`.
    fn with_config(version: &str, config: Value) -> String {
        let mut entry = early(version);
        entry["container_config"] = config.clone();
        entry["config"] = config;
        entry.to_string()
    }

    fn without(mut entry: Value, keys: &[&str]) -> String {
        for key in keys {
            entry.as_object_mut().unwrap().remove(*key);
        }
        entry.to_string()
    }

    fn images() -> Vec<Old> {
        let base =
            r#"{"created":"2013-06-13T14:03:50.821769-07:00","container_config":{"Cmd":["x"]}}"#;
        let one = |name, entry: String| Old { name, entries: vec![entry, base.to_owned()] };
        let first = r#"{"comment":"Imported from -","created":"2013-03-23T22:24:18.818426-07:00",
            "container_config":{"Hostname":"","User":"","Memory":0,"MemorySwap":0,
            "AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"PortSpecs":null,
            "Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Dns":null,
            "Image":"","Volumes":null,"VolumesFrom":""}}"#;
        let spelled = |version: &str| {
            format!(
                "{{ \"zeta\" : [ 1.0, 1e3, -0, \"\\u0041\\/\\ud83d\\ude00<&>\u{2028}\" ],\n\t\"os\":\"linux\",
                \"config\":{{\"Labels\":{{\"z\":\"\\u003c\",\"a\":\"</a>\"}},\"Unknown\":{{\"b\":null,\"a\":true}}}},
                \"created\":\"2016-05-04T03:02:01.120000000+00:00\", \"docker_version\":\"{version}\",
                \"architecture\":\"amd64\", \"a<b\":\"\\\\\\\"\", \"layer_id\":\"x\", \"parent_id\":\"y\"}}"
            )
        };
        vec![
            Old { name: "2013, one layer, nothing but a config", entries: vec![first.to_owned()] },
            one(
                "0.4, without platform",
                without(early("0.4.0"), &["os", "architecture", "config"]),
            ),
            one(
                "0.6.3, ports and volumes",
                with_config(
                    "0.6.3",
                    json!({
                        "PortSpecs": ["80"],
                        "ExposedPorts": {"80/tcp": {}, "443/tcp": {}, "53/udp": {"x": 1}},
                        "Volumes": {"/z": {}, "/a": null},
                        "Entrypoint": ["/entry"],
                        "Dns": null,
                        "VolumesFrom": "",
                    }),
                ),
            ),
            one(
                "0.8, one string for a command",
                with_config(
                    "0.8.0",
                    json!({
                        "Cmd": "true",
                        "Entrypoint": "sh",
                        "Env": [null, "A=1"],
                        "ExposedPorts": {},
                        "Volumes": {},
                        "OnBuild": null,
                    }),
                ),
            ),
            one("1.0.0", early("1.0.0").to_string()),
            one(
                "1.2, onbuild",
                with_config(
                    "1.2.0",
                    json!({
                        "OnBuild": ["RUN a && b"],
                        "NetworkDisabled": true,
                        "MacAddress": "02:42:ac:11:00:02",
                        "SecurityOpt": null,
                        "Tty": true,
                    }),
                ),
            ),
            one(
                "1.6.0, labels",
                with_config(
                    "1.6.0",
                    json!({
                        "Labels": {"z": "<z>", "a": null, "é": "é"},
                        "WorkingDir": "/w",
                        "StopSignal": "SIGTERM",
                    }),
                ),
            ),
            one("1.7.1", early("1.7.1").to_string()),
            one("1.8.2, spelled in its own way", spelled("1.8.2")),
            one("1.8.3-rc1", spelled("1.8.3-rc1")),
            one("1.8.3", spelled("1.8.3")),
            one("1.9.1", early("1.9.1").to_string()),
            one("1.10.0-dev, spelled in its own way", spelled("1.10.0-dev")),
            one(
                "1.12, health",
                with_config(
                    "1.12.0",
                    json!({
                        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 30_000_000_000_i64},
                    }),
                ),
            ),
            one("17.03.0-ce", early("17.03.0-ce").to_string()),
            one("20.10.7", spelled("20.10.7")),
            one(
                "no version, health and shell",
                without(
                    serde_json::from_str(&with_config(
                        "",
                        json!({
                            "Healthcheck": {"Test": [], "Retries": 3, "Timeout": 0},
                            "Shell": ["/bin/bash", "-c"],
                            "StopTimeout": 0,
                            "ArgsEscaped": true,
                        }),
                    ))
                    .unwrap(),
                    &["docker_version", "created"],
                ),
            ),
            one("an empty health check", with_config("", json!({"Healthcheck": {}, "Shell": []}))),
            one("a version that is not a number", early("dev").to_string()),
            Old {
                name: "repeated, thrown away, and with every text",
                entries: vec![
                    with_config("1.10.0", json!({"Env": ["DROPPED=1"], "Cmd": ["dropped"]})),
                    with_config("1.10.0", json!({"Env": ["KEPT=1"], "Cmd": ["kept"]})),
                    json!({"throwaway": true, "created": "2015-01-01T00:00:00.1234567891Z",
                        "author": "a", "comment": "<c>", "container_config": {"Cmd": "one"}})
                    .to_string(),
                    json!({"throwaway": false, "comment": "base"}).to_string(),
                ],
            },
        ]
    }

    /// Converts the image with both programs. In the repeated image, the first two entries have the
    /// same ID.
    fn compare(dir: &Scratch, old: &Old) {
        let merged = old.name.starts_with("repeated");
        let count = old.entries.len();
        let ids: Vec<String> = (0..count)
            .map(|i| if merged && i == 0 { 1 } else { i })
            .map(|i| sha256(&[i as u8])[7..].to_owned())
            .collect();
        let below = |i: usize| ids[i..].iter().find(|id| **id != ids[i]);
        let entries: Vec<String> = (0..count)
            .map(|i| {
                let parent = below(i).map_or(String::new(), |id| format!("\"parent\":\"{id}\","));
                // Inserted as text, so that the rest keeps its spelling.
                let rest = old.entries[i].trim_start().strip_prefix('{').unwrap();
                format!("{{\"id\":\"{}\",{parent}{rest}", ids[i])
            })
            .collect();
        let blobs: Vec<Blob> = (0..count).map(|i| Blob::new(types::TAR, [i as u8])).collect();
        let digests: Vec<&str> = blobs.iter().map(|blob| blob.digest.as_str()).collect();
        let manifest = signed(&document(&digests, &entries));
        let is_throwaway = |i: usize| old.entries[i].contains("\"throwaway\":true");
        let is_layer = |i: &usize| !is_throwaway(*i) && (*i > 0 || !merged);
        let layers: Vec<&Blob> = (0..count).rev().filter(is_layer).map(|i| &blobs[i]).collect();

        dir.write("signed.json", &manifest);
        dir.write("payload.json", payload(manifest.as_bytes()).unwrap());
        let mut judge = std::process::Command::new(dir.join("judge"));
        judge.arg(dir.join("payload.json")).args(layers.iter().map(|layer| &layer.digest));
        let theirs = must(&mut judge);
        let lines: String = layers.iter().map(|layer| layer.line()).collect();
        let command = tool("build-config").args(["--schema1", "signed.json", "--quiet"]);
        let ours: Run = command.env(GATE, "1").dir(dir.path()).stdin(lines).run();
        let [ours, theirs] = [&ours.status(0).stdout, &theirs].map(|c| String::from_utf8_lossy(c));
        assert_eq!(ours, theirs, "{}", old.name);
    }

    #[test]
    fn the_ids_of_images_of_all_ages_are_dockers() {
        let dir = Scratch::new();
        build_judge(&dir);
        let images = images();
        assert!(images.len() >= 12);
        for old in images {
            compare(&dir, &old);
        }
    }
}
