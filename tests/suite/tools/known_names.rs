// SPDX-License-Identifier: Apache-2.0
//! Wrong operands: image names in the notation of other programs, paths and digests instead of
//! references, references instead of files, and operands in the wrong order.

use std::fs;

use tests::commands::plain;
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, Run, tool};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Checks the hint of a run that must not have sent anything: status 2.
#[track_caller]
fn hints(run: &Run, name: &str, hint: &str) {
    run.fails(2, &format!("{name}: hint: {hint}\n")).stdout("");
}

#[test]
fn the_transports_of_other_programs_are_named_and_translated() {
    for (name, what, hint) in [
        (
            "docker-archive:a.tar:app:1",
            "an archive made by docker save",
            "run skopeo copy docker-archive:a.tar:app:1 oci:DIR:TAG, then use \
             oci:DIR:TAG",
        ),
        (
            "docker-daemon:app:1",
            "the storage of docker",
            "run skopeo copy docker-daemon:app:1 oci:DIR:TAG, then use oci:DIR:TAG",
        ),
        (
            "containers-storage:app",
            "the storage of podman",
            "run skopeo copy containers-storage:app oci:DIR:TAG, then use oci:DIR:TAG",
        ),
        (
            "dir:/tmp/x",
            "a directory in a format of skopeo",
            "run skopeo copy dir:/tmp/x oci:DIR:TAG, then use oci:DIR:TAG",
        ),
        (
            "ostree:x@/repo",
            "a repository of OSTree",
            "run skopeo copy ostree:x@/repo oci:DIR:TAG, then use oci:DIR:TAG",
        ),
        (
            "sif:x.sif",
            "an image file of Singularity",
            "run skopeo copy sif:x.sif oci:DIR:TAG, then use oci:DIR:TAG",
        ),
        (
            "oci-archive:a.tar:1",
            "an archive of a layout",
            "run mkdir DIR && tar -xf a.tar -C DIR, then use oci:DIR",
        ),
        (
            "tarball:root.tar",
            "an archive of a root file system",
            "pack-layer root.tar --into oci:DIR makes a layer of the archive",
        ),
        ("oci-layout:d:1", "a layout", "oci:d:1"),
        ("oci-layout://d:1", "a layout", "oci:d:1"),
        ("oci-dir:d", "a layout", "oci:d"),
        ("ocidir://d/e:1", "a layout", "oci:d/e:1"),
        ("ocidir:d", "a layout", "oci:d"),
        (
            "oci://h.example/chart",
            "a repository, or a layout",
            "h.example/chart for a repository, or oci:/h.example/chart for a layout",
        ),
        ("oci:///tmp/d", "a repository, or a layout", "oci:/tmp/d"),
    ] {
        for tool_name in ["fetch-manifest", "list-tags", "fetch-blob", "push-blob", "put-manifest"]
        {
            let run = tool(tool_name).arg(name).run();
            hints(&run, tool_name, hint);
            run.says(what);
        }
        for option in [["push-blob", "oci:d", "--from"], ["fetch-blob", "oci:d", "--into"]] {
            let run = tool(option[0]).args(&option[1..]).arg(name).run();
            hints(&run, option[0], hint);
        }
    }
}

/// An image on Docker Hub may have the name of a transport. Its full name is still accepted, and
/// messages show the full name.
#[test]
fn docker_hubs_images_with_the_name_of_a_transport_have_their_full_name() {
    let scratch = Scratch::new();
    let blocked =
        scratch.write("r.conf", "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n");
    let run = tool("fetch-manifest")
        .env("CONTAINERS_REGISTRIES_CONF", blocked)
        .arg("docker.io/library/dir:1")
        .run();
    run.fails(4, "docker.io/library/dir: blocked");
}

#[test]
fn a_reference_after_docker_is_read() {
    let registry = FakeRegistry::with_image();
    let repo = registry.repo("app");
    let tags = plain("list-tags").arg(&repo).run();
    let same = plain("list-tags").arg(format!("docker://{repo}")).run();
    assert_eq!(same.ok().stdout, tags.ok().stdout);
    let tag = tags.lines()[0].clone();
    plain("fetch-manifest").arg(format!("docker://{repo}:{tag}")).run().ok();
}

#[test]
fn a_url_gets_the_reference_as_hint() {
    for (url, hint) in [
        ("https://h.example/app:1", "h.example/app:1"),
        ("http://h.example:5000/app/", "--plain-http h.example:5000/app"),
    ] {
        let run = tool("fetch-manifest").arg(url).run();
        hints(&run, "fetch-manifest", hint);
        run.says("a reference is not a URL");
    }
    let run = tool("fetch-manifest").arg("https://me:SECRET@h.example/app").run();
    run.fails(2, "hint: see fetch-manifest --help").does_not_say("SECRET");
}

/// The reason may quote a part of the operand.
#[test]
fn no_part_of_a_password_in_an_operand_is_shown() {
    for (operand, why) in [
        ("me:SEC/RET@h.example/app", "not a reference"),
        ("me:5/SEC/RET@h.example/app", "not a reference"),
        ("me:SEC:RET@h.example", "not a reference"),
        ("https://me:SEC/RET@h.example", "a reference is not a URL: remove the scheme"),
        ("localhost:5000/app@md5:00", "unsupported algorithm \"md5\""),
    ] {
        let why = why.rsplit(": ").next().unwrap();
        let run = tool("fetch-manifest").arg(operand).run();
        run.fails(2, "invalid value '[secret]@").says(why);
        run.does_not_say("SEC/").does_not_say("SEC\"").does_not_say("RET");
    }
}

#[test]
fn a_path_gets_the_layout_as_hint() {
    for (path, hint) in [
        ("./layout", "oci:./layout"),
        ("../a/layout/", "oci:../a/layout"),
        ("/tmp/layout", "oci:/tmp/layout"),
        ("~/layout", "oci:~/layout"),
        ("layout/", "oci:layout"),
        (".", "oci:."),
        ("/", "oci:/"),
    ] {
        for name in ["fetch-manifest", "list-tags"] {
            let run = tool(name).arg(path).run();
            hints(&run, name, &format!("write {hint} for a layout in that directory"));
            run.says("a path, not a reference");
        }
    }
}

#[test]
fn a_digest_without_its_algorithm_or_repository_gets_them_as_hint() {
    let algorithm = "a digest names its algorithm:";
    for (args, hint) in [
        (vec!["fetch-blob", "h.example/app", HEX], format!("{algorithm} {DIGEST}")),
        (vec!["unpack-layer", "d", "--digest", HEX], format!("{algorithm} {DIGEST}")),
        (vec!["fetch-manifest", HEX], format!("{algorithm} REPO@{DIGEST}")),
        (vec!["list-tags", HEX], format!("{algorithm} REPO@{DIGEST}")),
        (
            vec![
                "fetch-manifest",
                "h.example/app@e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ],
            format!("{algorithm} h.example/app@{DIGEST}"),
        ),
        (vec!["verify-digest", HEX], format!("{algorithm} {DIGEST}")),
        (
            vec!["fetch-manifest", DIGEST],
            format!("use REPO@{DIGEST} for a manifest, or fetch-blob REPO {DIGEST} for a blob"),
        ),
        (
            vec!["fetch-blob", DIGEST],
            format!("use REPO@{DIGEST} for a manifest, or fetch-blob REPO {DIGEST} for a blob"),
        ),
    ] {
        let run = tool(args[0]).args(&args[1..]).run();
        hints(&run, args[0], &hint);
    }
    let hex = "0".repeat(128);
    let run = tool("fetch-blob").args(["h.example/app", &hex]).run();
    hints(&run, "fetch-blob", &format!("{algorithm} sha512:{hex}"));
}

#[test]
fn operands_in_the_wrong_order_get_the_right_line_as_hint() {
    let registry = FakeRegistry::with_image();
    let image = format!("{}:1", registry.repo("app"));
    let repo = registry.repo("app");
    let scratch = Scratch::new();
    scratch.write("m.json", "{}");
    scratch.write("layer", "x");
    let swapped = |args: &[&str], status, line: &str| {
        let name = args[0];
        let run = tool(name).args(&args[1..]).dir(scratch.path()).run();
        let hint = format!("{name}: hint: the operands are in the wrong order: {line}\n");
        run.fails(status, &hint).stdout("");
    };
    swapped(&["fetch-blob", DIGEST, &repo], 2, &format!("fetch-blob {repo} {DIGEST}"));
    swapped(&["put-manifest", "./m.json", &image], 2, &format!("put-manifest {image} ./m.json"));
    swapped(&["push-blob", "./layer", &repo], 2, &format!("push-blob {repo} ./layer"));
    swapped(&["push-blob", "layer", "oci:d"], 3, "push-blob oci:d layer");
    swapped(&["verify-digest", "layer", DIGEST], 2, &format!("verify-digest {DIGEST} layer"));
    swapped(&["unpack-layer", "layer", "root"], 2, "unpack-layer root layer");
    // A name without a slash or a dot could be an image, so the file is looked for only after the
    // failure.
    let run = tool("put-manifest").args(["m.json", &image]).dir(scratch.path()).run();
    run.says(&format!("the operands are in the wrong order: put-manifest {image} m.json\n"));
    assert!(registry.server.requests().is_empty(), "{:?}", registry.server.asked());
}

#[test]
fn the_invalid_value_of_an_option_is_no_operand_in_the_wrong_order() {
    let scratch = Scratch::new();
    scratch.write("x", "");
    for args in [&["--annotation", "x"][..], &["--chunk", "x"]] {
        let command = tool("push-blob").arg("localhost:1/app").args(args).arg("layer");
        command.dir(scratch.path()).run().status(2).does_not_say("wrong order");
    }
}

/// A run without network: Docker Hub is blocked.
fn without_hub(scratch: &Scratch, name: &str) -> Command {
    let blocked =
        scratch.write("r.conf", "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n");
    tool(name).env("CONTAINERS_REGISTRIES_CONF", blocked).dir(scratch.path())
}

#[test]
fn a_layout_without_oci_gets_its_name_as_hint_after_the_failure() {
    let scratch = Scratch::new();
    write_image(&scratch.join("layout"), "1", &Image::small());
    write_image(&scratch.join("a/b"), "1", &Image::small());
    fs::create_dir(scratch.join("new")).unwrap();
    for (args, hint) in [
        (vec!["fetch-manifest", "layout:1"], "oci:layout:1"),
        (vec!["fetch-manifest", "a/b"], "oci:a/b"),
        (vec!["list-tags", "layout"], "oci:layout"),
        (vec!["fetch-blob", "layout", DIGEST], "oci:layout"),
        (vec!["put-manifest", "new:1", "m.json"], "oci:new:1"),
    ] {
        scratch.write("m.json", r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[],"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#);
        let run = without_hub(&scratch, args[0]).args(&args[1..]).run();
        let hint = format!("hint: write {hint} for a layout in that directory\n");
        run.fails(4, &hint).says("blocked");
    }
    // A directory that is not a layout causes no hint.
    fs::create_dir(scratch.join("src")).unwrap();
    scratch.write("src/main.rs", "");
    let run = without_hub(&scratch, "list-tags").arg("src").run();
    run.fails(4, "blocked").does_not_say("oci:src");
}

/// A layout has the same name as the image, as in the first example of the README. The operand is
/// the image.
#[test]
fn a_directory_does_not_hide_a_repository_of_its_name() {
    let registry = FakeRegistry::with_image();
    let repo = registry.repo("app");
    let scratch = Scratch::new();
    // The directory "127.0.0.1" could be mistaken for a layout, and the port for its tag.
    write_image(&scratch.join(repo.split(':').next().unwrap()), "1", &Image::small());
    plain("list-tags").arg(&repo).dir(scratch.path()).run().ok().silent();
}

#[test]
fn a_reference_for_a_file_gets_the_pipeline_as_hint() {
    let scratch = Scratch::new();
    for (args, hint) in [
        (vec!["list-blobs", "h.example/app:1"], "fetch-manifest h.example/app:1 | list-blobs"),
        (vec!["list-blobs", "oci:d:1"], "fetch-manifest oci:d:1 | list-blobs"),
        (vec!["list-blobs", "alpine"], "if alpine is an image: fetch-manifest alpine | list-blobs"),
        (
            vec!["detect-mediatype", "h.example/app:1"],
            "fetch-manifest h.example/app:1 | detect-mediatype",
        ),
        (
            vec!["put-manifest", "oci:d:2", "h.example/app:1"],
            "fetch-manifest h.example/app:1 | put-manifest oci:d:2",
        ),
        (
            vec!["push-blob", "oci:d", "h.example/app:1"],
            "fetch-manifest h.example/app:1 | list-blobs | push-blob REPO --from h.example/app",
        ),
        (
            vec!["list-layer", "h.example/app:1"],
            "fetch-manifest -p local h.example/app:1 | list-blobs | list-layer --from h.example/app",
        ),
        (
            vec!["list-layer", "oci:d:1"],
            "fetch-manifest -p local oci:d:1 | list-blobs | list-layer --from oci:d",
        ),
        (
            vec!["unpack-layer", "out", "h.example/app:1"],
            "fetch-manifest -p local h.example/app:1 --into oci:DIR | list-blobs | fetch-blob \
             h.example/app --into oci:DIR | unpack-layer --from oci:DIR out",
        ),
        (
            vec!["unpack-layer", "out", "oci:d:1"],
            "fetch-manifest -p local oci:d:1 | list-blobs | unpack-layer --from oci:d out",
        ),
    ] {
        let run = tool(args[0]).args(&args[1..]).dir(scratch.path()).run();
        run.fails(3, &format!("{}: hint: {hint}\n", args[0])).says("no such file").stdout("");
    }
    // A file name is not taken for an image.
    scratch.write("build.d/x", "");
    for name in ["m.json", "build.d/m", "other.d/m.json", "./m", "x.example/layer.tar"] {
        for command in [&["list-blobs"][..], &["detect-mediatype"], &["unpack-layer", "out"]] {
            let run = tool(command[0]).args(&command[1..]).arg(name).dir(scratch.path()).run();
            run.fails(3, &format!("{name}: no such file")).does_not_say("hint");
        }
    }
    assert_eq!(scratch.list(), ["build.d/", "build.d/x"]);
}

#[test]
fn a_layout_is_not_taken_for_a_directory_or_a_second_operand() {
    let scratch = Scratch::new();
    let run = tool("unpack-layer").args(["oci:d", "layer"]).dir(scratch.path()).run();
    hints(&run, "unpack-layer", "unpack-layer --from oci:d DIR reads layers of this layout");
    let run = tool("fetch-manifest").args(["h.example/app", "oci:d"]).dir(scratch.path()).run();
    hints(&run, "fetch-manifest", "--into oci:d");
    assert_eq!(scratch.list(), Vec::<String>::new());
}

#[test]
fn a_host_without_a_repository_is_refused_with_the_command_that_lists_its_repositories() {
    let hint = "list-repositories localhost:1 lists the repositories of this host";
    for args in [
        &["list-tags", "localhost:1"][..],
        &["list-tags", "docker://localhost:1"],
        &["fetch-token", "localhost:1"],
        &["fetch-blob", "localhost:1", DIGEST],
        &["push-blob", "localhost:1", "layer"],
        &["push-blob", "oci:d", "--from", "localhost:1"],
        &["fetch-manifest", "localhost:1/"],
        &["list-referrers", "localhost:1/"],
    ] {
        let run = tool(args[0]).args(&args[1..]).run();
        hints(&run, args[0], hint);
        run.says("host");
    }
    let run = tool("list-tags").arg("http://127.0.0.1:1/").run();
    let hint = "list-repositories --plain-http 127.0.0.1:1 lists the repositories of this host";
    hints(&run, "list-tags", hint);
}

/// By Docker's grammar, these operands name repositories of Docker Hub, so they are requested
/// there.
#[test]
fn a_host_that_is_a_name_on_docker_hub_gets_a_hint_when_the_run_fails() {
    // The empty blob is never requested, so this is the digest of another blob.
    let other = format!("sha256:{}", "1".repeat(64));
    for (args, host) in [
        (&["list-tags", "registry.example"][..], "registry.example"),
        (&["fetch-token", "registry.example"], "registry.example"),
        (&["fetch-manifest", "localhost"], "localhost"),
        (&["fetch-manifest", "localhost:1"], "localhost:1"),
        (&["list-referrers", "127.0.0.1:1"], "127.0.0.1:1"),
        (&["delete-manifest", "registry.example:443"], "registry.example:443"),
        (&["fetch-blob", "registry.example", &other], "registry.example"),
    ] {
        // The proxy refuses connections.
        let run = plain(args[0]).args(&args[1..]).env("HTTPS_PROXY", "http://127.0.0.1:1");
        let hint = format!(
            "{host} alone is a name on Docker Hub: list-repositories {host} lists the repositories \
             of this host"
        );
        run.run().says(&format!("{}: hint: {hint}\n", args[0])).stdout("");
    }
    let run = plain("list-tags").arg("app").env("HTTPS_PROXY", "http://127.0.0.1:1").run();
    run.does_not_say("hint");
}

/// The hint of the option or of the missing tag would not help: the host is not the repository.
#[test]
fn a_host_in_an_error_of_usage_gets_the_same_hint() {
    let scratch = Scratch::new();
    scratch.write("m", Image::small().manifest.bytes);
    for (args, host) in [
        (&["put-manifest", "ghcr.io", "m"][..], "ghcr.io"),
        (&["put-manifest", "localhost", "m"], "localhost"),
        (&["put-manifest", "--by-digest", "localhost:5000", "m"], "localhost:5000"),
        (&["push-blob", "oci:x", "--mount-from", "ghcr.io", "m"], "ghcr.io"),
        (&["build-manifest", "--from", "ghcr.io"], "ghcr.io"),
        (&["verify-digest", "--from", "ghcr.io"], "ghcr.io"),
    ] {
        let run = tool(args[0]).args(&args[1..]).dir(scratch.path()).run();
        let hint = format!(
            "{host} alone is a name on Docker Hub: list-repositories {host} lists the repositories \
             of this host"
        );
        hints(&run, args[0], &hint);
    }
    let run = tool("put-manifest").args(["ghcr.io/app", "m"]).dir(scratch.path()).run();
    let hint = "ghcr.io/app:TAG stores the manifest under a tag, --by-digest without one";
    hints(&run, "put-manifest", hint);
}

/// A tag does not make a host a repository.
#[test]
fn a_host_with_a_tag_and_without_a_repository_is_refused_in_every_tool() {
    for (operand, host) in [
        ("ghcr.io/", "ghcr.io"),
        ("ghcr.io/:1", "ghcr.io"),
        ("localhost:5000/", "localhost:5000"),
        ("localhost:5000/:1", "localhost:5000"),
        ("localhost:5000:1", "localhost:5000"),
        ("registry.example:443:latest", "registry.example:443"),
        ("docker://localhost:5000:1", "localhost:5000"),
    ] {
        for name in ["put-manifest", "fetch-manifest", "list-tags", "fetch-token", "push-blob"] {
            let run = tool(name).arg(operand).run();
            let hint = format!("list-repositories {host} lists the repositories of this host");
            hints(&run, name, &hint);
            run.says(&format!(": {host} is a host: expected {host}/REPOSITORY\n"));
        }
    }
}

#[test]
fn a_repository_where_a_host_is_expected_gets_list_tags_as_hint() {
    let run = tool("list-repositories").arg("localhost:1/app").run();
    hints(&run, "list-repositories", "list-tags localhost:1/app lists the tags of this repository");
    let run = tool("list-repositories").arg("http://localhost:1").run();
    hints(&run, "list-repositories", "--plain-http localhost:1");
    for host in ["localhost:1/", "docker://localhost:1"] {
        let run = tool("list-repositories").arg(host).run();
        hints(&run, "list-repositories", "did you mean localhost:1");
    }
}

#[test]
fn a_file_that_is_read_as_an_image_is_named_when_the_run_fails() {
    let scratch = Scratch::new();
    scratch.write("sbom.json", "{}");
    for tool in ["fetch-manifest", "list-tags", "list-referrers"] {
        let run = plain(tool).arg("sbom.json").dir(scratch.path());
        let run = run.env("HTTPS_PROXY", "http://127.0.0.1:1").run();
        let hint = "sbom.json is a file, but the tool read it as the name of an image";
        run.says(&format!("{tool}: hint: {hint}\n")).stdout("");
    }
}
