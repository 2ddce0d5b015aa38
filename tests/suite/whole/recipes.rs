// SPDX-License-Identifier: Apache-2.0
//! `share/regutils/recipes.sh`: the functions with a real registry, and the comparison of
//! regutils-recipes(7). The examples of that page are run by `readme`.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::eventually;
use tests::images::{Blob, Image, file, index, types};
use tests::logins::{PASSWORD, USER};
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Run, shell};

use super::readme::read;

const SHELLS: [&str; 3] = ["dash", "bash", "zsh"];

fn amd64() -> Image {
    Image::new(&[&[file("etc-release", "3.20\n")], &[file("second", "x\n")]])
}

fn arm64() -> Image {
    Image::for_platform("linux", "arm64")
}

/// The index of both images.
fn both() -> Blob {
    let [amd64, arm64] = [amd64(), arm64()];
    index(types::INDEX, &[(&amd64.manifest, "linux/amd64"), (&arm64.manifest, "linux/arm64")])
}

/// A registry with an image for two platforms as `alpine:3.20`.
fn registry() -> Registry {
    let registry = Registry::version_3();
    registry.put_image("alpine", "amd64", &amd64());
    registry.put_image("alpine", "arm64", &arm64());
    registry.put_manifest("alpine", "3.20", &both());
    registry
}

fn recipes() -> String {
    format!("{}/../share/regutils/recipes.sh", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script in one of the shells, after sourcing the functions. `$R` is the registry's host.
pub(super) fn run_in(name: &str, script: &str, host: &str, dir: &Scratch) -> Run {
    fs::write(dir.join("script"), format!(". '{}'\n{script}\n", recipes())).unwrap();
    let temporary = dir.join("temporary");
    fs::create_dir_all(&temporary).unwrap();
    let run = shell(&format!("exec {name} ./script"))
        .env("R", host)
        .env("TMPDIR", &temporary)
        .env("HOME", dir.join("home"))
        .env("REGUTILS_PLATFORM", "linux/amd64")
        .dir(dir.path())
        .run();
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}\n{run}");
    run
}

pub(super) fn run(script: &str, host: &str, dir: &Scratch) -> Run {
    run_in("dash", script, host, dir)
}

/// The jobs of the comparison: the job, its two stated numbers, our command and the other one.
fn comparison() -> Vec<(String, [usize; 2], String, String)> {
    let page = read("man/regutils-recipes.7");
    let (_, section) = page.split_once(".Sh COMPARISON\n").unwrap();
    let section = section.split("\n.Sh ").next().unwrap();
    let rows = section.split(".It ").skip(1).map(|row| {
        let lines: Vec<_> = row.lines().collect();
        let (job, numbers) = lines[0].strip_suffix(')').unwrap().rsplit_once(" (").unwrap();
        let (ours, theirs) = numbers.split_once(", ").unwrap();
        let numbers = [ours, theirs].map(|number| number.parse().unwrap());
        assert_eq!([lines[1], lines[4]], [".Bd -literal -compact", ".Ed"]);
        (job.to_owned(), numbers, lines[2].to_owned(), lines[3].to_owned())
    });
    rows.collect()
}

/// The number of words: text between blanks, and quoted text as one word.
fn words(command: &str) -> usize {
    let outside = command.split('\'').enumerate();
    let text: String = outside.map(|(n, part)| if n % 2 == 1 { "quoted" } else { part }).collect();
    text.split_whitespace().count()
}

#[test]
fn the_comparison_states_the_right_numbers_of_words() {
    let rows = comparison();
    assert_eq!(rows.len(), 30);
    let mut ratios = Vec::new();
    for (job, stated, ours, theirs) in rows {
        let counted = [words(&ours), words(&theirs)];
        assert_eq!(counted, stated, "{job}");
        ratios.push(counted[0] as f64 / counted[1] as f64);
    }
    ratios.sort_by(f64::total_cmp);
    let median = (ratios[14] + ratios[15]) / 2.0;
    assert!(median <= 1.5);
    let sentence = format!("The median of the thirty ratios of words is {median:.2}.\n");
    assert!(read("man/regutils-recipes.7").contains(&sentence), "{sentence}");
}

/// The comparison's commands of these tools run one after the other, against a real registry.
#[test]
fn every_job_of_the_comparison_is_possible() {
    let registry = registry();
    let dir = Scratch::new();
    let prepared = "fetch-manifest -p linux/arm64 $R/alpine:3.20 --into oci:arm:1 >m &&
        list-blobs m | fetch-blob $R/alpine --into oci:arm >lines && echo '{}' >sbom.json &&
        openssl genpkey -algorithm ed25519 -out key.pem &&
        openssl pkey -in key.pem -pubout -out key.pub";
    run(prepared, &registry.host(), &dir).status(0);
    for (job, _, command, _) in comparison() {
        let command = command
            .replace("registry.example", &registry.host())
            .replace(" alpine", &format!(" {}", registry.repo("alpine")));
        let run = run(&command, &registry.host(), &dir);
        // The two images are equal. Otherwise this job would end with status 1.
        assert_eq!(run.code(), Some(0), "{job}: {run}");
    }
    assert_eq!(fs::read_to_string(dir.join("rootfs/etc-release")).unwrap(), "3.20\n");
}

#[test]
fn every_function_is_in_the_manual_and_has_a_line_of_usage() {
    let text = fs::read_to_string(recipes()).unwrap();
    let page = read("man/regutils-recipes.7");
    let functions: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_suffix("() ("))
        .filter(|name| !name.starts_with("regutils_"))
        .collect();
    assert!(functions.len() > 30, "{functions:?}");
    let dir = Scratch::new();
    for name in functions {
        assert!(page.contains(&format!("\n.It Cm {name} ")), "{name} is not in the page");
        for operands in ["''", "a b c d e f"] {
            let takes_many = text.contains(&format!("\"{name} TO REF...\""))
                || ["tag_image", "warm_mirror", "change_config", "set_entrypoint", "push_files"]
                    .contains(&name);
            if operands.len() > 2 && takes_many {
                continue;
            }
            let run = run(&format!("{name} {operands}"), "", &dir);
            run.status(2).says(&format!("usage: {name} "));
        }
    }
}

/// The options, variables, traps and directory of the calling shell are unchanged. The functions
/// work despite unusual options.
#[test]
fn the_calling_shell_is_not_changed() {
    let registry = registry();
    let script = "set -euC
        trap 'echo own trap' EXIT
        work=mine name=mine digest=mine IFS=: here=$(pwd) flags=$-
        copy_image \"$R/alpine:3.20\" oci:copy:1 >line
        squash_image oci:copy:1 oci:copy:2 >>line
        unpack_image \"$R/alpine:3.20\" root
        copy_image \"$R/none:1\" oci:copy:3 2>error || result=$?
        echo \"$work $name $digest $result\"
        [ \"$IFS\" = : ] && [ \"$here\" = \"$(pwd)\" ] && [ \"$flags\" = \"$-\" ]";
    for name in SHELLS {
        let dir = Scratch::new();
        let run = run_in(name, script, &registry.host(), &dir);
        run.status(0).stdout("mine mine mine 3\nown trap\n");
        assert_eq!(fs::read_to_string(dir.join("root/second")).unwrap(), "x\n", "{name}");
    }
}

/// The status is that of the first step that fails, not that of a later one.
#[test]
fn the_status_of_the_first_failing_step_is_kept() {
    let registry = registry();
    let layer = amd64().layers[1].digest.clone();
    let hex = layer.strip_prefix("sha256:").unwrap();
    let link = format!("docker/registry/v2/repositories/alpine/_layers/sha256/{hex}/link");
    fs::remove_file(registry.storage().join(link)).unwrap();
    for name in SHELLS {
        let dir = Scratch::new();
        for script in [
            "unpack_image $R/alpine:3.20 root",
            "copy_image $R/alpine:3.20 oci:copy:1",
            "pull_image $R/alpine:3.20 oci:pulled",
            "squash_image $R/alpine:3.20 $R/alpine:one",
            "copy_tags $R/alpine $R/copy",
            "save_docker_archive $R/alpine:3.20 a.tar",
            "warm_mirror $R/alpine:arm64 $R/alpine:3.20",
            "list_files $R/alpine:3.20",
        ] {
            run_in(name, script, &registry.host(), &dir).status(3);
        }
        // Here the last program of a pipe fails.
        run_in(name, "unpack_image $R/alpine:arm64 home/a/b", &registry.host(), &dir).status(3);
        assert!(!dir.join("root").exists() && !dir.join("a.tar").exists());
    }
}

#[test]
fn images_are_rebased_and_lose_and_gain_layers() {
    let registry = registry();
    let dir = Scratch::new();
    let script = "mkdir -p app/bin && echo hello >app/bin/hello && echo conf >conf
        add_layer $R/alpine:3.20 app oci:made:1 >line &&
        set_entrypoint oci:made:1 oci:made:run /bin/hello 'two words' '' >line 2>&1
        set_entrypoint oci:made:1 oci:made:run /bin/hello 'two words' >line &&
        add_file oci:made:run conf etc/conf oci:made:2 >line &&
        squash_image $R/alpine:3.20 $R/alpine:one >line &&
        rebase_image oci:made:2 $R/alpine:3.20 $R/alpine:one $R/app:2 >line &&
        image_config $R/app:2 >config &&
        list_files $R/app:2 | sed 's/.* //' &&
        find_file $R/app:2 /etc/conf >layer && find_file $R/app:2 second >>layer &&
        image_file --verify $R/app:2 bin/hello &&
        drop_layer $R/app:2 -1 $R/app:3 >line && list_files $R/app:3 | grep -c conf
        drop_layer $R/app:2 4 $R/app:3 || echo $?
        rebase_image oci:made:2 oci:made:2 $R/alpine:one $R/app:4 || echo $?
        rebase_image $R/alpine:3.20 oci:made:2 $R/alpine:one $R/app:4 || echo $?";
    let run = run(script, &registry.host(), &dir);
    let out = run.status(0).lines();
    let files: Vec<_> = out.iter().filter(|line| !line.ends_with('/')).collect();
    assert_eq!(
        files,
        ["bin/hello", "etc/conf", "etc-release", "second", "hello", "0", "3", "1", "1"],
        "{run}"
    );
    let config: Value =
        serde_json::from_str(&fs::read_to_string(dir.join("config")).unwrap()).unwrap();
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/bin/hello", "two words"]));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    let layers = fs::read_to_string(dir.join("layer")).unwrap();
    assert_eq!(layers.lines().count(), 2);
}

/// Other programs read our archives, and our tools read theirs.
#[test]
fn archives_are_exchanged_with_skopeo_and_crane() {
    let registry = registry();
    let dir = Scratch::new();
    let script = "save_docker_archive $R/alpine:3.20 ours.tar example/alpine:3.20 &&
        save_docker_archive $R/alpine:3.20 - example/alpine:3.20 | cmp - ours.tar &&
        save_oci_archive $R/alpine:3.20 ours-oci.tar";
    run(script, &registry.host(), &dir).ok();
    let text = |program: &str, args: &[&str]| {
        String::from_utf8(must(peer(program).current_dir(dir.path()).args(args))).unwrap()
    };
    let image = amd64();
    let config = text("skopeo", &["inspect", "--raw", "--config", "docker-archive:ours.tar"]);
    assert_eq!(config.as_bytes(), image.config.bytes);
    text("skopeo", &["copy", "-q", "docker-archive:ours.tar:example/alpine:3.20", "dir:copied"]);
    text("crane", &["validate", "--tarball", "ours.tar"]);
    let manifest = text("skopeo", &["inspect", "--raw", "oci-archive:ours-oci.tar:3.20"]);
    assert_eq!(manifest.as_bytes(), both().bytes);
    text(
        "skopeo",
        &["copy", "-q", "--all", "oci-archive:ours-oci.tar", "oci-archive:theirs-oci.tar:x"],
    );
    let source = format!("{}:amd64", registry.repo("alpine"));
    text("crane", &["pull", &source, "crane.tar"]);
    let from = format!("docker://{source}");
    text(
        "skopeo",
        &["copy", "-q", "--src-tls-verify=false", &from, "docker-archive:skopeo.tar:a/b:1"],
    );

    let script = "for name in ours crane skopeo; do
            load_docker_archive $name.tar $R/loaded:$name >line || exit
            image_config $R/loaded:$name | cmp - config || exit
            unpack_image $R/loaded:$name root-$name && cat root-$name/etc-release || exit
        done
        load_docker_archive skopeo.tar $R/loaded:named docker.io/a/b:1 >line || exit
        load_docker_archive skopeo.tar $R/loaded:named other:1 || echo $?
        load_docker_archive - $R/loaded:pipe <ours.tar >line || exit
        load_oci_archive ours-oci.tar $R/loaded:oci >line &&
        load_oci_archive theirs-oci.tar $R/loaded:oci2 x >line &&
        fetch-manifest --digest $R/loaded:oci && fetch-manifest --digest $R/loaded:oci2";
    dir.write("config", &image.config.bytes);
    let run = run(script, &registry.host(), &dir);
    let index = both().digest;
    run.status(0).stdout(format!("3.20\n3.20\n3.20\n3\n{index}\n{index}\n"));
}

#[test]
fn media_types_are_converted_and_back() {
    let registry = registry();
    let dir = Scratch::new();
    let script =
        "to_docker $R/alpine:3.20 $R/docker:1 >line && to_oci $R/docker:1 oci:back:1 >line &&
        fetch-manifest oci:back:1 >back.json && fetch-manifest $R/docker:1 &&
        to_docker $R/alpine:amd64 $R/docker:2 >line && detect-mediatype line | wc -l &&
        make_index $R/made:1 $R/alpine:3.20 >line && fetch-manifest $R/made:1 | cmp - back.json &&
        make_index $R/made:2 $R/alpine:amd64 $R/alpine:3.20 || echo $?";
    let run = run(script, &registry.host(), &dir);
    run.status(0);
    let text = run.lines().join("\n");
    assert_eq!(text.matches(types::DOCKER_LIST).count(), 1, "{text}");
    assert_eq!(text.matches(types::DOCKER_MANIFEST).count(), 2, "{text}");
    assert!(text.ends_with("\n6"), "{text}");
}

/// An image is signed with three kinds of keys. A wrong key and a missing signature have different
/// statuses.
#[test]
fn signatures_are_verified_and_copied_with_their_image() {
    let registry = registry();
    let dir = Scratch::new();
    let script = "{ openssl genpkey -algorithm ed25519 -out ed.pem &&
            openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem &&
            openssl genpkey -algorithm RSA -out rsa.pem; } 2>log || exit
        for key in ed ec rsa; do openssl pkey -in $key.pem -pubout -out $key.pub || exit; done
        verify_image $R/alpine:3.20 ed.pub || echo $?
        for key in ed ec; do
            sign_image $R/alpine:3.20 $key.pem >line && verify_image $R/alpine:3.20 $key.pub || exit
        done
        verify_image $R/alpine:3.20 rsa.pub || echo $?
        sign_image $R/alpine:3.20 rsa.pem >line
        copy_image -r $R/alpine:3.20 oci:copy:1 >line &&
        for key in ed ec rsa; do verify_image oci:copy:1 $key.pub || exit; done
        sign_image $R/alpine:3.20 ed.pub || echo $?
        verify_image $R/alpine:3.20 ed.pem || echo $?";
    let digest = both().digest;
    let run = run(script, &registry.host(), &dir);
    let copies = format!("{digest}\n{digest}\n{digest}\n");
    run.status(0).stdout(format!("3\n{digest}\n{digest}\n1\n{copies}7\n7\n"));
}

/// oras reads the files of our artifacts, and our tools read those of oras.
#[test]
fn files_are_exchanged_with_oras() {
    let registry = Registry::version_3();
    let dir = Scratch::new();
    let script = "echo one >one && echo two >'two words' &&
        push_files $R/files:1 one 'two words' >line && mkdir oras &&
        push_files $R/files:1 one ./one || echo $?";
    run(script, &registry.host(), &dir).status(0).stdout("2\n");
    let oras = |args: &[&str]| must(peer("oras").current_dir(dir.path()).args(args));
    oras(&["pull", "--plain-http", "-o", "oras", &format!("{}:1", registry.repo("files"))]);
    assert_eq!(fs::read_to_string(dir.join("oras/two words")).unwrap(), "two\n");
    let theirs = format!("{}:2", registry.repo("files"));
    oras(&["push", "--plain-http", &theirs, "one", "two words:text/plain"]);
    run("pull_files $R/files:2 ours", &registry.host(), &dir).ok();
    assert_eq!(fs::read_to_string(dir.join("ours/two words")).unwrap(), "two\n");
}

#[test]
fn a_login_is_stored_only_if_the_registry_accepts_it() {
    let registry = Registry::with_login();
    for name in SHELLS {
        let dir = Scratch::new();
        let script = format!(
            "echo wrong | log_in $R {USER} 2>error || echo $?
            cat \"$HOME/.docker/config.json\" 2>error && exit 9
            printf '%s' '{PASSWORD}' | log_in $R {USER} || exit
            list-repositories $R; echo $?
            log_out $R; echo $?
            log_out $R 2>error; echo $?
            list-repositories $R 2>error; echo $?"
        );
        let run = run_in(name, &script, &registry.host(), &dir);
        run.status(0).stdout("4\n0\n0\n3\n4\n");
        let files = fs::read_dir(dir.join("home/.docker")).unwrap().count();
        assert_eq!(files, 1);
        mode_is_private(&dir.join("home/.docker/config.json"));
    }
}

fn mode_is_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Other logins and settings in the file are kept. A credential helper is not bypassed.
#[test]
fn other_credentials_are_kept() {
    let registry = Registry::with_login();
    let dir = Scratch::new();
    let log_in = format!("printf '%s' '{PASSWORD}' | log_in $R {USER}");
    fs::create_dir_all(dir.join("home/.config/containers")).unwrap();
    let path = dir.join("home/.config/containers/auth.json");
    fs::write(&path, r#"{"auths":{"a.example":{"auth":"eDp5"}},"other":1}"#).unwrap();
    run(&log_in, &registry.host(), &dir).ok();
    let stored: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(stored["other"], 1);
    assert_eq!(stored["auths"]["a.example"]["auth"], "eDp5");
    assert!(stored["auths"][registry.host()]["auth"].is_string());
    let helped = r#"{"credsStore":"secretservice"}"#;
    fs::write(&path, helped).unwrap();
    run(&log_in, &registry.host(), &dir).status(7).says("credential helper");
    assert_eq!(fs::read_to_string(&path).unwrap(), helped);
}

#[test]
fn a_caching_registry_has_everything_after_it_is_warmed() {
    let upstream = registry();
    let cache = Registry::cache_of(&upstream);
    let dir = Scratch::new();
    run("warm_mirror $R/alpine:3.20 $R/alpine:arm64", &cache.host(), &dir).ok();
    for blob in amd64().blobs() {
        let hex = blob.digest.strip_prefix("sha256:").unwrap();
        let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        // The cache stores a blob after it has served it.
        let file = cache.storage().join(data);
        eventually(&blob.digest, || file.is_file().then_some(()));
    }
}

#[test]
fn the_rate_limit_is_printed() {
    let registry = registry();
    let run = run("rate_limit $R/alpine:3.20", &registry.host(), &Scratch::new());
    run.ok().stdout("no: no RateLimit-Remaining header\n");
}
