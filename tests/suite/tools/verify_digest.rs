// SPDX-License-Identifier: Apache-2.0
//! verify-digest: streams, files, lists and layouts, with right, wrong and missing content.

use std::fs;

use tests::images::{Image, noise, sha256, sha512, types, write_image};
use tests::scratch::Scratch;
use tests::tools::{Command, shell, tool};

/// A size larger than the capacity of a pipe and of one buffer.
const LARGE: usize = 900_000;

fn verify() -> Command {
    tool("verify-digest")
}

// A stream.

#[test]
fn a_matching_stream_passes_completely() {
    let bytes = noise(LARGE, 1);
    verify().arg(sha256(&bytes)).stdin(bytes.clone()).run().ok().stdout(&bytes);
    verify().arg(sha512(&bytes)).stdin(bytes.clone()).run().ok().stdout(&bytes);
    let sized = verify().args(["--size", &LARGE.to_string(), &sha256(&bytes), "-"]);
    sized.stdin(bytes.clone()).run().ok().stdout(&bytes);
}

#[test]
fn the_last_block_of_a_wrong_stream_is_held_back() {
    let bytes = noise(LARGE, 1);
    let run = verify().arg(sha256(b"others")).stdin(bytes.clone()).run();
    run.fails(1, "digest differs: got sha256:").says(&sha256(b"others"));
    assert!(run.stdout.len() <= LARGE - 65536, "{run}");
    assert!(bytes.starts_with(&run.stdout));
    verify().arg(sha256(b"others")).stdin("small").run().fails(1, "differs").stdout("");
}

#[test]
fn a_stream_longer_than_its_size_ends_at_once() {
    let bytes = noise(LARGE, 1);
    let run = verify().args(["--size", "100k", &sha256(&bytes)]).stdin(bytes).run();
    run.fails(1, "got more than 102400 bytes, want 102400");
    assert!(run.stdout.len() <= 102_400);
}

#[test]
fn a_stream_shorter_than_its_size_shows_both_numbers() {
    verify().args(["--size", "4", &sha256(b"abc")]).stdin("abc").run().fails(1, "got 3, want 4");
}

#[test]
fn no_input_is_an_error_unless_the_digest_is_that_of_empty_input() {
    verify().arg(sha256(b"x")).run().fails(6, "no input: did the previous command fail?");
    verify().arg(sha256(b"")).run().ok().stdout("");
    verify().args(["--size", "3", &sha256(b"")]).run().fails(1, "got 0, want 3");
}

#[test]
fn bytes_do_not_have_the_digest_of_empty_input() {
    let dir = Scratch::new();
    for (empty, bytes) in [sha256(b""), sha512(b"")].iter().zip(["bytes", "{}"]) {
        dir.write("file", bytes);
        dir.write("list", format!("{empty}  file\n"));
        verify().arg(empty).stdin(bytes).run().fails(1, "digest differs").stdout("");
        for operands in [&["file"][..], &["file", "file"]] {
            verify().arg(empty).args(operands).dir(dir.path()).run().fails(1, "digest differs");
        }
        let run = verify().args(["-c", "list"]).dir(dir.path()).run();
        run.fails(1, "digest differs").stdout("file: FAILED\n");
        dir.write("file", "");
        verify().args(["-c", "list"]).dir(dir.path()).run().ok().stdout("file: OK\n");
    }
}

#[test]
fn a_descriptor_line_instead_of_bytes_is_refused() {
    let line = Image::small().config.line();
    for arg in [sha256(line.as_bytes()), "--print".to_owned()] {
        let run = verify().arg(arg).stdin(line.clone()).run();
        run.fails(2, "got a descriptor line, want the bytes of a blob")
            .says("hint: --from")
            .stdout("");
    }
}

#[test]
fn a_closed_stdin_and_a_directory_as_stdin_are_reported() {
    let digest = sha256(b"x");
    shell("exec verify-digest \"$D\" <&-").env("D", &digest).run().says("standard input: closed");
    let run = shell("exec verify-digest \"$D\" </").env("D", &digest).run();
    run.status(7).says("verify-digest: read standard input: is a directory");
}

#[test]
fn a_closed_or_full_stdout_is_never_success() {
    for (script, words) in [
        ("echo hello | verify-digest \"$D\" >&-", "standard output: closed"),
        ("echo hello | verify-digest \"$D\" >/dev/full", "no space left on device"),
        ("echo hello | verify-digest --print >/dev/full", "no space left on device"),
        ("verify-digest --print /dev/null >&-", "standard output: closed"),
    ] {
        shell(script).env("D", sha256(b"hello\n")).run().status(7).says(words);
    }
}

#[test]
fn a_closed_stdout_ends_the_run_quietly() {
    let dir = Scratch::new();
    let bytes = noise(LARGE * 4, 1);
    dir.write("big", &bytes);
    let script = "{ verify-digest \"$D\" <big; echo $? >status; } | head -c 1 >/dev/null";
    shell(script).env("D", sha256(&bytes)).dir(dir.path()).run().ok();
    // 128 plus the number of SIGPIPE.
    assert_eq!(fs::read_to_string(dir.join("status")).unwrap(), "141\n");
}

// Files.

#[test]
fn files_are_checked_without_output() {
    let dir = Scratch::new();
    let [a, b] = ["a", "b"].map(|name| dir.write(name, "same"));
    verify().arg(sha256(b"same")).args([&a, &b]).run().ok().stdout("");
    dir.write("b", "other");
    verify().arg(sha256(b"same")).args([&a, &b]).run().fails(1, "/b: digest differs").stdout("");
    verify()
        .args(["--size", "3", &sha256(b"same")])
        .arg(&a)
        .run()
        .fails(1, "got more than 3 bytes, want 3");
}

#[test]
fn an_empty_file_matches_the_digest_of_empty_input() {
    verify().args([&sha256(b""), "/dev/null"]).run().ok();
    verify().args([&sha256(b"x"), "/dev/null"]).run().fails(1, "digest differs");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = Scratch::new();
    let digest = sha256(b"x");
    verify().arg(&digest).arg(dir.join("none")).run().fails(3, "/none: no such file");
    verify().arg(&digest).arg(dir.path()).run().fails(7, "is a directory");
    dir.write("secret", "x");
    dir.chmod("secret", 0o600);
    let run = verify().arg(&digest).arg(dir.join("secret")).as_unprivileged().run();
    // If the tests do not run as root, the tool runs as the owner of the file and can read it.
    if run.code() != Some(0) {
        run.fails(7, "/secret: permission denied");
    }
}

// Printing.

#[test]
fn printed_digests_can_be_checked() {
    let dir = Scratch::new();
    for name in ["a", "with space", "back\\slash", "new\nline", "*star", "#hash"] {
        dir.write(format!("files/{name}"), name);
    }
    let script =
        "verify-digest --print -- * >../256 && verify-digest -a sha512 --print -- * >../512 &&
        verify-digest -c ../256 ../512";
    let run = shell(script).dir(dir.join("files")).run();
    assert_eq!(run.ok().lines().len(), 12);
    assert!(run.lines().contains(&"\\new\\nline: OK".to_owned()));
    let list = fs::read_to_string(dir.join("256")).unwrap();
    assert!(list.contains(&format!("\n{}  a\n", sha256(b"a"))), "{list}");
}

#[test]
fn for_stdin_only_the_digest_is_printed() {
    verify().arg("--print").stdin("abc").run().ok().stdout(format!("{}\n", sha256(b"abc")));
    let named = verify().args(["--print", "-a", "sha512", "-"]).stdin("abc").run();
    named.ok().stdout(format!("{}  -\n", sha512(b"abc")));
    verify().arg("--print").run().fails(6, "no input");
}

#[test]
fn printing_ends_at_the_first_file_that_cannot_be_read() {
    let dir = Scratch::new();
    let a = dir.write("a", "a");
    let run = verify().arg("--print").arg(&a).arg(dir.join("none")).arg(&a).run();
    run.fails(3, "no such file").stdout(format!("{}  {}\n", sha256(b"a"), a.display()));
}

// Lists.

#[test]
fn a_list_of_sha256sums_is_checked() {
    let dir = Scratch::new();
    dir.write("a", "a");
    dir.write("b b", "b");
    for script in [
        "sha256sum a b* >L && verify-digest -c L",
        "sha256sum -b a b* | verify-digest --check",
        "sha256sum --tag a b* | verify-digest -c -",
        "sha512sum a b* | verify-digest -a sha512 -c",
        "sha256sum a b* | sed 's/$/\\r/' | verify-digest -c",
    ] {
        shell(script).dir(dir.path()).run().ok().stdout("a: OK\nb b: OK\n");
    }
    shell("sha256sum a | verify-digest -qc").dir(dir.path()).run().ok().stdout("");
    shell("sha256sum a | verify-digest -c --status").dir(dir.path()).run().ok().stdout("");
}

#[test]
fn all_files_of_a_list_are_checked_after_a_failure() {
    let dir = Scratch::new();
    let list: String = ["a", "b", "none", "c"]
        .map(|name| format!("{}  {name}\n", sha256(name.as_bytes())))
        .concat();
    for (name, bytes) in [("a", "a"), ("b", "other"), ("c", "c"), ("LIST", &list)] {
        dir.write(name, bytes);
    }
    let check = |args: &[&str]| verify().args(args).args(["-c", "LIST"]).dir(dir.path()).run();
    let run = check(&[]);
    run.fails(1, "2 of 4 failed: b: digest differs: got sha256:");
    run.stdout("a: OK\nb: FAILED\nnone: FAILED open or read\nc: OK\n");
    check(&["--quiet"]).fails(1, "2 of 4").stdout("b: FAILED\nnone: FAILED open or read\n");
    check(&["--status"]).fails(1, "2 of 4").stdout("");
    check(&["--ignore-missing"]).fails(1, "1 of 3").stdout("a: OK\nb: FAILED\nc: OK\n");
    fs::remove_file(dir.join("b")).unwrap();
    check(&[]).fails(3, "2 of 4 failed: b: no such file");
    check(&["--ignore-missing"]).ok();
    for name in ["a", "c"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    check(&["--ignore-missing"]).fails(3, "none of the files exists");
}

#[test]
fn an_invalid_line_fails_but_the_other_lines_are_checked() {
    let dir = Scratch::new();
    dir.write("a", "a");
    let good = format!("{}  a\n", sha256(b"a"));
    for bad in ["nonsense\n", "sha256:12  a\n", "blake3:00  a\n"] {
        let run = verify().arg("-c").stdin(format!("# list\n\n{bad}{good}")).dir(dir.path()).run();
        run.fails(6, "1 of 2 failed: standard input: line 3: ").stdout("a: OK\n");
    }
    let other = verify().args(["-c", "-a", "sha512"]).stdin(good.clone()).dir(dir.path()).run();
    other.fails(6, "got a sha256 digest, want sha512");
    let stdin = verify().arg("-c").stdin(good.replace("  a", "  -")).run();
    stdin.fails(6, "standard input cannot be checked from a list");
}

#[test]
fn a_list_without_an_entry_is_an_error() {
    verify().arg("-c").run().fails(6, "no input");
    verify().arg("-c").stdin("# nothing\n").run().fails(6, "no line with a digest and a file");
    verify().args(["-c", "/nonexistent"]).run().fails(3, "/nonexistent: no such file");
    verify().args(["-c", "--ignore-missing", "/nonexistent"]).run().fails(3, "no such file");
}

#[test]
fn an_endless_line_is_refused() {
    verify().arg("-c").stdin(vec![b'a'; 1 << 20]).run().fails(6, "line 1: longer than 65536 bytes");
}

// Layouts.

/// An image in a layout, and the operand that names the layout.
fn layout(dir: &Scratch) -> (Image, String) {
    let image = Image::small();
    write_image(&dir.join("layout"), "x", &image);
    (image, format!("oci:{}", dir.join("layout").display()))
}

fn blob(dir: &Scratch, digest: &str) -> std::path::PathBuf {
    dir.join("layout/blobs").join(digest.replace(':', "/"))
}

#[test]
fn the_lines_of_matching_blobs_are_printed_unchanged() {
    let dir = Scratch::new();
    let (image, oci) = layout(&dir);
    // Repeated lines, and a line with an unknown field.
    let extra = image.config.line().replace('}', r#","x":[1]}"#);
    let lines = image.lines() + &image.lines() + &extra;
    verify().args(["--from", &oci]).stdin(lines.clone()).run().ok().stdout(lines);
}

#[test]
fn nothing_is_printed_after_the_first_wrong_blob() {
    let dir = Scratch::new();
    let (image, oci) = layout(&dir);
    let check = || verify().args(["--from", &oci]).stdin(image.lines()).run();
    let path = blob(&dir, &image.layers[0].digest);

    let mut bytes = image.layers[0].bytes.clone();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    check().fails(1, "digest differs: got sha256:").says("hint: ").stdout(image.config.line());

    fs::write(&path, &bytes[1..]).unwrap();
    check().fails(1, "size differs: got").stdout(image.config.line());

    fs::remove_file(&path).unwrap();
    check().fails(3, &format!("no blob {}", image.layers[0].digest)).stdout(image.config.line());

    fs::create_dir(&path).unwrap();
    check().fails(7, "not a regular file").stdout(image.config.line());
}

#[test]
fn a_sha512_blob_is_checked_by_its_own_algorithm() {
    let dir = Scratch::new();
    let (_, oci) = layout(&dir);
    let digest = sha512(b"x");
    dir.write(format!("layout/blobs/{}", digest.replace(':', "/")), "x");
    let line = format!("{{\"mediaType\":\"a/b\",\"digest\":\"{digest}\",\"size\":1}}\n");
    verify().args(["--from", &oci]).stdin(line.clone()).run().ok().stdout(line);
}

#[test]
fn a_missing_non_distributable_layer_is_passed_on_with_a_warning() {
    let dir = Scratch::new();
    let (image, oci) = layout(&dir);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let line = image.layers[0].line().replace(types::TAR_GZIP, foreign);
    let line = line.replace('}', r#","urls":["https://example.com/x"]}"#);
    fs::remove_file(blob(&dir, &image.layers[0].digest)).unwrap();
    let run = verify().args(["--from", &oci]).stdin(line.clone()).run();
    run.status(0).says("verify-digest: warning: ").stdout(&line);
    verify().args(["-q", "--from", &oci]).stdin(line.clone()).run().ok().stdout(line);
}

#[test]
fn invalid_and_missing_lines_are_errors() {
    let dir = Scratch::new();
    let (image, oci) = layout(&dir);
    let from = |input: String| verify().args(["--from", &oci]).stdin(input).run();
    from(String::new()).fails(6, "no input");
    from(image.config.line() + "{}\n").fails(6, "line 2: ").stdout(image.config.line());
    from("hello\n".to_owned()).fails(6, "line 1: ");
}

#[test]
fn an_invalid_layout_is_named_in_the_error() {
    let dir = Scratch::new();
    let line = Image::small().config.line();
    let from = |name: &str| {
        let oci = format!("oci:{}", dir.join(name).display());
        verify().args(["--from", &oci]).stdin(line.clone()).run()
    };
    from("none").fails(3, "no such layout").stdout("");
    dir.write("dir/file", "");
    from("dir").fails(6, "not an OCI image layout").stdout("");
}

// Wrong usage.

#[test]
fn a_wrong_command_line_is_refused() {
    let digest = sha256(b"a");
    let cases: [(&[&str], &str); 13] = [
        (&[], "<DIGEST>"),
        (&["sha256"], "is not a digest"),
        (&["sha256:12"], "sha256 has 64 hexadecimal digits, got 2\n"),
        (&[&digest.to_uppercase().replace("SHA", "sha")], "lower case"),
        (&["blake3:12"], "unsupported algorithm \"blake3\""),
        (&[&digest[7..]], "hint: a digest names its algorithm: sha256:"),
        (&[&digest, "a", "-"], "\"-\" and other files"),
        (&["--size", "1.5", &digest], "invalid size"),
        (&["--size", "1", "-c"], "cannot be used with"),
        (&["-c", "--print"], "cannot be used with"),
        (&["-a", "sha512", &digest], "-a requires --print or --check"),
        (&["--from", "oci:x", &digest], "cannot be used with"),
        (&["--from", "example.com/x"], "--from example.com/x: expected oci:DIR"),
    ];
    for (args, words) in cases {
        verify().args(args).run().fails(2, words).stdout("");
    }
    verify().args(["-a", "md5", "--print"]).run().fails(2, "unsupported algorithm");
    verify().args(["--status", &digest]).run().fails(2, "--check");
    verify().args(["--from", "localhost:5000"]).run().fails(2, "is a host");
}

#[test]
fn help_and_version_are_printed() {
    for flag in ["-h", "--help", "-V", "--version"] {
        assert!(!verify().arg(flag).run().ok().stdout.is_empty());
    }
}
