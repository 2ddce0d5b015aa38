// SPDX-License-Identifier: Apache-2.0
//! build-config: new configs, configs on a base, and refused input.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, read_blob, sha256, types};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};

/// A layer's line with its diff ID, in the form that pack-layer and unpack-layer print.
fn line(layer: &Blob, diff_id: &str) -> String {
    let mut line = layer.descriptor();
    line["annotations"] = json!({"containerd.io/uncompressed": diff_id});
    format!("{line}\n")
}

/// The line of an arbitrary layer, and its diff ID.
fn some_layer(seed: &str) -> (String, String) {
    let diff_id = sha256(seed.as_bytes());
    (line(&Blob::new(types::TAR_GZIP, format!("{seed}.gz")), &diff_id), diff_id)
}

fn build(args: &[&str]) -> Command {
    tool("build-config").args(["--platform", "linux/amd64"]).args(args)
}

fn document(run: &Run) -> Value {
    serde_json::from_slice(&run.ok().stdout).unwrap()
}

/// Runs build-config with this base, which is written to a file.
fn on_base(base: &Value, args: &[&str], stdin: &str) -> Run {
    let dir = Scratch::new();
    let base = dir.write("base", base.to_string());
    tool("build-config").arg("--base").arg(base).args(args).stdin(stdin).run()
}

fn base_of(diff_ids: &[&str]) -> Value {
    json!({
        "architecture": "arm64",
        "x-before": {"b": 1, "a": [null, 1.5]},
        "os": "linux",
        "variant": "v8",
        "config": {
            "Env": ["PATH=/bin", "A=1", "B=2", "A=3"],
            "Cmd": ["sh"],
            "x-own": true,
            "Labels": null,
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids, "x-rootfs": 1},
        "created": "2020-01-02T03:04:05.6Z",
    })
}

// Without a base.

#[test]
fn a_config_has_its_fields_in_the_specifications_order() {
    let (one, id) = some_layer("one");
    let run =
        build(&["--author", "me", "--created", "@0", "--created-by", "make", "--comment", "c"])
            .stdin(one)
            .run();
    run.ok().stdout(format!(
        r#"{{"created":"1970-01-01T00:00:00Z","author":"me","architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{id}"]}},"history":[{{"created":"1970-01-01T00:00:00Z","author":"me","created_by":"make","comment":"c"}}]}}"#
    ));
}

#[test]
fn every_runtime_option_sets_its_field() {
    let args = [
        ["--user", "1:2"],
        ["--exposed-port", "80"],
        ["--exposed-port", "53/udp"],
        ["--env", "A=1"],
        ["--env", "B=x=y"],
        ["--entrypoint", "/app"],
        ["--entrypoint=-x", "--no-layers"],
        ["--cmd", "run it"],
        ["--volume", "/data"],
        ["--workdir", "/srv"],
        ["--label", "k="],
        ["--stop-signal", "SIGRTMIN+3"],
    ];
    let run = build(&args.concat()).run();
    let want = r#"{"User":"1:2","ExposedPorts":{"80/tcp":{},"53/udp":{}},"Env":["A=1","B=x=y"],"Entrypoint":["/app","-x"],"Cmd":["run it"],"Volumes":{"/data":{}},"WorkingDir":"/srv","Labels":{"k":""},"StopSignal":"SIGRTMIN+3"}"#;
    assert_eq!(
        document(&run)["config"].to_string(),
        serde_json::from_str::<Value>(want).unwrap().to_string()
    );
}

#[test]
fn the_same_input_gives_the_same_bytes_and_no_clock_is_read() {
    let (one, _) = some_layer("one");
    let first = build(&["--env", "A=1"]).stdin(one.clone()).run();
    build(&["--env", "A=1"]).stdin(one).run().ok().stdout(&first.stdout);
    assert_eq!(document(&first)["created"], "1970-01-01T00:00:00Z");
}

#[test]
fn the_time_comes_from_the_option_then_the_environment_then_the_base() {
    let epoch = "SOURCE_DATE_EPOCH";
    let created = |command: Command| document(&command.run())["created"].clone();
    let new = |args: &[&str]| build(&["--no-layers"]).args(args).env(epoch, "86400");
    assert_eq!(created(new(&[])), "1970-01-02T00:00:00Z");
    assert_eq!(created(new(&["--created", "@1"])), "1970-01-01T00:00:01Z");
    let kept = "2024-02-29T01:02:03.50+05:30";
    assert_eq!(created(new(&["--created", kept])), kept);

    let dir = Scratch::new();
    let base = dir.write("base", base_of(&[]).to_string());
    let on_base = || build(&["--no-layers", "--base"]).arg(&base);
    assert_eq!(created(on_base()), "2020-01-02T03:04:05.6Z");
    assert_eq!(created(on_base().env(epoch, "86400")), "1970-01-02T00:00:00Z");
    for wrong in ["", "x", "-1", "1.5", " 1", "253402300800"] {
        let run = build(&["--no-layers"]).env(epoch, wrong).run();
        run.fails(2, "SOURCE_DATE_EPOCH: ").stdout("");
    }
}

#[test]
fn a_platform_is_written_with_all_its_parts() {
    let built = |platform: &str| {
        document(&tool("build-config").args(["--no-layers", "-p", platform]).run())
    };
    let full = built("windows/x86_64/v2:10.0.17763.1");
    assert_eq!(full["architecture"], "amd64");
    assert_eq!(full["os"], "windows");
    assert_eq!(full["os.version"], "10.0.17763.1");
    assert_eq!(full["variant"], "v2");
    assert_eq!(built("local")["os"], "linux");
    let local = document(&tool("build-config").arg("--no-layers").run());
    assert_eq!(local["architecture"], built("local")["architecture"]);
}

#[test]
fn a_plain_archives_digest_is_its_diff_id() {
    for media_type in [types::TAR, "application/vnd.docker.image.rootfs.foreign.diff.tar"] {
        let layer = Blob::new(media_type, "an archive");
        let built = document(&build(&[]).stdin(layer.line()).run());
        assert_eq!(built["rootfs"]["diff_ids"], json!([layer.digest]));
    }
}

// With a base.

#[test]
fn new_layers_follow_those_of_the_base_and_the_rest_is_unchanged() {
    let (top, id) = some_layer("top");
    let own = sha256(b"own");
    let base = base_of(&[&own]);
    let built = on_base(&base, &["--no-history"], &top);
    let mut want = base.clone();
    want["rootfs"]["diff_ids"] = json!([own, id]);
    built.ok().stdout(want.to_string());
}

#[test]
fn a_replaced_variable_keeps_its_position_and_a_new_one_is_appended() {
    let built = on_base(&base_of(&[]), &["--no-layers", "--env", "C=4", "--env", "A=9"], "");
    assert_eq!(document(&built)["config"]["Env"], json!(["PATH=/bin", "A=9", "B=2", "C=4"]));
}

#[test]
fn a_new_entrypoint_resets_the_inherited_command_unless_there_is_a_new_one_too() {
    let config = |args: &[&str]| {
        let args = [&["--no-layers"], args].concat();
        document(&on_base(&base_of(&[]), &args, ""))["config"].clone()
    };
    assert_eq!(config(&["--entrypoint", "/x"])["Cmd"], Value::Null);
    assert_eq!(config(&["--entrypoint", "/x", "--cmd", "y"])["Cmd"], json!(["y"]));
    let array = r#"["a b","",  "c"]"#;
    assert_eq!(config(&["--cmd", array])["Cmd"], json!(["a b", "", "c"]));
    assert!(config(&["--cmd", "[]"]).get("Cmd").is_none());
    assert_eq!(config(&["--label", "k=v"])["Labels"], json!({"k": "v"}));
}

#[test]
fn the_platform_of_the_base_is_kept_unless_an_option_changes_it() {
    let base = base_of(&[]);
    let built = document(&on_base(&base, &["--no-layers"], ""));
    assert_eq!((&built["architecture"], &built["variant"]), (&json!("arm64"), &json!("v8")));
    let built = document(&on_base(&base, &["--no-layers", "-p", "linux/s390x"], ""));
    assert_eq!(built["architecture"], "s390x");
    assert!(built.get("variant").is_none());
    for key in ["os", "architecture"] {
        for value in [json!(""), json!(1), Value::Null] {
            let mut base = base.clone();
            base[key] = value;
            let run = on_base(&base, &["--no-layers"], "");
            run.fails(6, &format!("has no {key}")).says("hint: --platform").stdout("");
        }
    }
}

#[test]
fn the_base_is_read_from_stdin_if_no_lines_are_expected() {
    let args = ["--base", "-", "--no-layers"];
    let base = base_of(&[]).to_string();
    tool("build-config").args(args).stdin(base.clone()).run().ok().stdout(base);
    tool("build-config").args(args).run().fails(6, "no input");
}

#[test]
fn null_in_a_base_means_no_layers() {
    let mut base = base_of(&[]);
    base["rootfs"]["diff_ids"] = Value::Null;
    base["history"] = Value::Null;
    base["config"] = Value::Null;
    let (top, id) = some_layer("top");
    let built = document(&on_base(&base, &["--env", "A=1"], &top));
    assert_eq!(built["rootfs"]["diff_ids"], json!([id]));
    assert_eq!(built["history"].as_array().unwrap().len(), 1);
    assert_eq!(built["config"], json!({"Env": ["A=1"]}));
}

#[test]
fn lines_that_repeat_the_layers_of_the_base_cause_a_warning() {
    let (own, id) = some_layer("own");
    let run = on_base(&base_of(&[&id]), &[], &own);
    run.status(0).says("warning: the lines begin with the base's own layers");
    on_base(&base_of(&[&id]), &["-q"], &own).ok();
}

// The history.

/// The number of history entries, and the number of those that describe layers.
fn counts(built: &Value) -> (usize, usize) {
    let entries = built["history"].as_array().unwrap();
    let empty = entries.iter().filter(|entry| entry["empty_layer"] == true).count();
    (entries.len(), entries.len() - empty)
}

#[test]
fn the_history_has_an_entry_for_each_layer_and_keeps_that_of_the_base() {
    let (top, _) = some_layer("top");
    let mut base = base_of(&[&sha256(b"own")]);
    base["history"] = json!([
        {"created_by": "ADD", "x": 1},
        {"created_by": "ENV", "empty_layer": true},
    ]);
    let built = document(&on_base(&base, &["--created-by", "me"], &(top.clone() + &top)));
    assert_eq!(counts(&built), (4, 3));
    assert_eq!(built["history"][0], base["history"][0]);
    let want = json!({"created": "2020-01-02T03:04:05.6Z", "created_by": "me"});
    assert_eq!(built["history"][3], want);
}

#[test]
fn without_layers_only_a_comment_adds_an_empty_layer_to_the_history() {
    let mut base = base_of(&[&sha256(b"own")]);
    base["history"] = json!([{}]);
    let built = document(&on_base(&base, &["--no-layers", "--comment", "c"], ""));
    assert_eq!(counts(&built), (2, 1));
    assert_eq!(built["history"][1]["comment"], "c");
    let built = document(&on_base(&base, &["--no-layers", "--env", "A=1"], ""));
    assert_eq!(counts(&built), (1, 1));
}

#[test]
fn layers_of_a_base_without_history_get_history_entries() {
    let (top, _) = some_layer("top");
    for history in [Value::Null, json!([])] {
        let mut base = base_of(&[&sha256(b"1"), &sha256(b"2")]);
        base["history"] = history;
        let built = document(&on_base(&base, &["--comment", "c"], &top));
        assert_eq!(counts(&built), (3, 3));
        assert_eq!(built["history"][2]["comment"], "c");
        assert!(built["history"][1].get("comment").is_none());
    }
}

#[test]
fn a_history_with_the_wrong_number_of_layers_is_refused_unless_dropped() {
    let (top, _) = some_layer("top");
    for history in [json!([{}, {}]), json!([{"empty_layer": true}])] {
        let mut base = base_of(&[&sha256(b"1")]);
        base["history"] = history;
        let run = on_base(&base, &[], &top);
        run.fails(6, "layers, rootfs.diff_ids has 1").says("hint: --no-history").stdout("");
        let built = document(&on_base(&base, &["--no-history"], &top));
        assert!(built.get("history").is_none());
    }
}

// Outputs.

#[test]
fn with_into_the_config_is_stored_and_its_line_printed() {
    let dir = Scratch::new();
    let (one, _) = some_layer("one");
    let plain = build(&[]).stdin(one.clone()).run();
    for (flag, media_type) in [("-q", types::CONFIG), ("--docker", types::DOCKER_CONFIG)] {
        let config = Blob::new(media_type, plain.ok().stdout.clone());
        let run = build(&["--into", "oci:layout", flag]).dir(dir.path()).stdin(one.clone()).run();
        run.ok().stdout(config.line());
        assert_eq!(read_blob(&dir.join("layout"), &config.digest).unwrap(), config.bytes);
    }
}

#[test]
fn an_output_file_that_is_a_pipe_is_written_directly() {
    for output in ["/dev/stdout", "/proc/self/fd/1"] {
        let script = "build-config -p linux/amd64 --no-layers -o $OUTPUT | cat";
        let want = build(&["--no-layers"]).run().ok().stdout.clone();
        shell(script).env("OUTPUT", output).run().ok().stdout(want);
    }
}

#[test]
fn push_blob_stores_a_config_in_a_repository_once() {
    let registry = FakeRegistry::start();
    let dir = Scratch::new();
    let (one, _) = some_layer("one");
    dir.write("layers", &one);
    let config = Blob::new(types::CONFIG, build(&[]).stdin(one.clone()).run().ok().stdout.clone());
    for steps in [&["HEAD blob", "POST uploads", "PUT session"][..], &["HEAD blob"]] {
        registry.server.forget();
        let script = "build-config -p linux/amd64 <layers |
            push-blob $repo --media-type application/vnd.oci.image.config.v1+json";
        let run = shell(script).env("repo", registry.repo("app")).dir(dir.path()).run();
        run.ok().stdout(config.line());
        let asked = registry.steps();
        assert!(asked.len() == steps.len(), "{asked:#?}");
        assert!(asked.iter().zip(steps).all(|(asked, step)| asked.starts_with(step)), "{asked:#?}");
    }
    assert_eq!(registry.blob("app", &config.digest).unwrap()[..], config.bytes);
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let dir = Scratch::new();
    let (one, _) = some_layer("one");
    let want = build(&[]).stdin(one.clone()).run();
    build(&["-o", "config"]).dir(dir.path()).stdin(one).run().ok().stdout("");
    assert_eq!(std::fs::read(dir.join("config")).unwrap(), want.stdout);
    build(&["-o", "other"]).dir(dir.path()).stdin("{}").run().fails(6, "line 1");
    assert_eq!(dir.list(), ["config"]);
}

#[test]
fn a_closed_or_full_stdout_is_never_success() {
    let dir = Scratch::new();
    for (script, words) in [
        ("build-config --no-layers >&-", "standard output: closed"),
        ("build-config --no-layers >/dev/full", "no space left on device"),
        ("build-config --no-layers --into oci:layout >&-", "standard output: closed"),
        ("build-config <&-", "standard input: closed"),
    ] {
        let run = shell(script).dir(dir.path()).run();
        run.says(words);
        assert_ne!(run.code(), Some(0), "{run}");
    }
    assert_eq!(dir.list(), Vec::<String>::new());
}

// Refused input.

#[test]
fn no_lines_are_an_error_unless_no_layers_is_given() {
    build(&[]).run().fails(6, "no input: did the previous command fail?").says("hint: --no-layers");
    let none = document(&build(&["--no-layers"]).run());
    assert_eq!(none["rootfs"], json!({"type": "layers", "diff_ids": []}));
    assert!(none.get("history").is_none());
}

#[test]
fn lines_of_other_types_than_layers_are_refused() {
    let image = Image::small();
    let other = Blob::new("application/spdx+json", "{}");
    for (stdin, words) in [
        (image.lines(), "a config, not a layer"),
        (image.manifest.line(), "a manifest, not a layer"),
        (other.line(), "application/spdx+json is not the media type of a layer"),
        (image.layers[0].line(), "no diff ID (annotation containerd.io/uncompressed)"),
        (line(&image.layers[0], "sha256:x"), "annotation containerd.io/uncompressed: "),
        ("x\n".to_owned(), "line 1: not valid JSON"),
    ] {
        build(&[]).stdin(stdin).run().fails(6, words).stdout("");
    }
}

#[test]
fn more_layers_than_the_limit_are_refused() {
    let (one, _) = some_layer("one");
    let built = document(&build(&[]).stdin(one.repeat(10_000)).run());
    assert_eq!(built["rootfs"]["diff_ids"].as_array().unwrap().len(), 10_000);
    build(&[]).stdin(one.repeat(10_001)).run().fails(6, "more than 10000 layers").stdout("");
}

#[test]
fn a_config_larger_than_the_limit_is_refused() {
    let base = |padding: usize| {
        let mut base = base_of(&[]);
        base["x-padding"] = json!("x".repeat(padding));
        base.to_string()
    };
    let limit = 4 << 20;
    let most = limit - base(0).len();
    let args = ["--base", "-", "--no-layers"];
    tool("build-config").args(args).stdin(base(most)).run().ok();
    tool("build-config").args(args).stdin(base(most + 1)).run().fails(6, "larger than");
    let longer = ["--base", "-", "--no-layers", "--author", "x"];
    let run = tool("build-config").args(longer).stdin(base(most)).run();
    run.fails(6, "the config: 4194").says("bytes, larger than 4194304").stdout("");
}

#[test]
fn an_invalid_base_is_refused_with_the_reason() {
    let image = Image::small();
    let (top, _) = some_layer("top");
    let with = |key: &str, value: Value| {
        let mut base = base_of(&[]);
        base[key] = value;
        base.to_string()
    };
    for (status, base, words) in [
        (2, image.config.line(), "got a descriptor line, want an image config"),
        (6, image.manifest_json().to_string(), "got a manifest, want an image config"),
        (6, "{}".to_owned(), "invalid rootfs in image configuration"),
        (6, with("rootfs", json!({"type": "layers"})), "invalid rootfs"),
        (6, with("rootfs", json!({"diff_ids": ["x"]})), "rootfs.diff_ids[0]: "),
        (6, with("rootfs", json!({"type": "x", "diff_ids": []})), "rootfs.type is \"x\""),
        (
            6,
            with("rootfs", json!({"Type": "x", "diff_ids": []})),
            "differs from \"type\" only in case",
        ),
        (6, with("history", json!({})), "history is an object"),
        (6, with("history", json!([1])), "history[0] is a number"),
        (6, with("history", json!([{"empty_layer": 1}])), "empty_layer is a number"),
        (6, with("history", json!([{"Empty_Layer": true}])), "only in case"),
        (6, with("config", json!([])), "config is an array"),
        (6, with("config", json!({"env": []})), "only in case"),
        (6, with("config", json!({"Env": [1]})), "Env is not an array of strings"),
        (6, with("created", json!("yesterday")), "created: invalid time \"yesterday\""),
        (6, with("OS", json!("linux")), "only in case"),
        (6, "{\"os\":1,\"os\":2}".to_owned(), "appears twice"),
        (6, "[]".to_owned(), "not a JSON object"),
        (6, String::new(), "no input"),
    ] {
        let dir = Scratch::new();
        dir.write("base", base);
        let args = ["--base", "base", "--env", "A=1"];
        let run = tool("build-config").args(args).dir(dir.path()).stdin(top.clone()).run();
        run.fails(status, words).says("base").stdout("");
    }
    build(&["--base", "/nonexistent/base"]).stdin(top).run().fails(3, "no such file");
}

#[test]
fn a_wrong_command_line_is_refused() {
    let cases: [(&[&str], &str); 24] = [
        (&["--base", "-"], "standard input has the layers' lines"),
        (&["--docker", "--no-layers"], "--into"),
        (&["--into", "oci:x", "-o", "y", "--no-layers"], "cannot be used with"),
        (&["--into", "oci:x:tag"], "without tag or digest"),
        (&["--into", "app"], "--into app: expected oci:DIR"),
        (&["--into", "app"], "push-blob REPO --media-type application/vnd.oci.image.config.v1"),
        (&["--into", "app", "--docker"], "--media-type application/vnd.docker.container.image.v1"),
        (&["--env", "A"], "expected KEY=VALUE"),
        (&["--env", "=1"], "expected KEY=VALUE"),
        (&["--env", "A=1", "--env", "A=1"], "--env: \"A\" given twice"),
        (&["--label", "A=1", "--label", "A=2"], "--label: \"A\" given twice"),
        (&["--cmd", "["], "--cmd: not valid JSON"),
        (&["--cmd", "[1]"], "a number in the array"),
        (&["--cmd", r#"["\u0000"]"#], "NUL"),
        (&["--cmd", "[]", "--cmd", "x"], "a JSON array must be the only argument"),
        (&["--entrypoint", "x", "--entrypoint", "[]"], "a JSON array must be the only argument"),
        (&["--workdir", "srv"], "not an absolute path"),
        (&["--volume", ""], "not an absolute path"),
        (&["--user", ""], "must not be empty"),
        (&["--exposed-port", "0"], "expected a port"),
        (&["--stop-signal", "TERM"], "expected a signal"),
        (&["--created", "today"], "expected @SECONDS, or a time"),
        (&["--no-history", "--comment", "c"], "cannot be used with"),
        (&["x"], "unexpected argument"),
    ];
    for (args, words) in cases {
        build(args).stdin(some_layer("one").0).run().fails(2, words).stdout("");
    }
}
