// SPDX-License-Identifier: Apache-2.0
//! Malformed digests: in references, as operands and options, in descriptor lines and in lists. The
//! message gives the reason in one sentence, whatever the source of the digest.

use tests::scratch::Scratch;
use tests::tools::tool;

/// Malformed digests, and the sentence about each.
fn cases() -> Vec<(String, &'static str)> {
    vec![
        ("sha256:12".to_owned(), "sha256 has 64 hexadecimal digits, got 2"),
        (format!("sha512:{}", "a".repeat(64)), "sha512 has 128 hexadecimal digits, got 64"),
        (format!("sha256:{}", "A".repeat(64)), "the hexadecimal digits must be lower case"),
        (format!("sha256:{}", "g".repeat(64)), "'g' is not a hexadecimal digit"),
        (
            format!("blake3:{}", "a".repeat(64)),
            "unsupported algorithm \"blake3\" (sha256 and sha512 are supported)",
        ),
        ("foo".to_owned(), "\"foo\" is not a digest (expected ALGORITHM:HEX)"),
    ]
}

#[test]
fn a_reference_with_a_malformed_digest_is_refused_in_one_sentence() {
    for (digest, why) in cases() {
        for name in ["fetch-manifest", "delete-manifest", "put-manifest", "list-referrers"] {
            for place in ["app", "registry.example/a/b", "oci:d", "oci:a/b"] {
                let said = format!(
                    "{name}: invalid value '{place}@{digest}' for '<REF>': {why}\n\
                     {name}: hint: see {name} --help\n"
                );
                let run = tool(name).arg(format!("{place}@{digest}")).run();
                assert_eq!(run.status(2).stdout("").stderr, said);
            }
        }
    }
}

#[test]
fn an_operand_or_option_that_is_not_a_digest_is_refused_in_one_sentence() {
    for (digest, why) in cases() {
        for (name, args, argument) in [
            ("fetch-blob", &["app"][..], "[DIGEST]..."),
            ("unpack-layer", &["x", "layer", "--digest"], "--digest <DIGEST>"),
            ("unpack-layer", &["x", "layer", "--diff-id"], "--diff-id <DIGEST>"),
            ("list-layer", &["layer", "--digest"], "--digest <DIGEST>"),
        ] {
            let said = format!("{name}: invalid value '{digest}' for '{argument}': {why}\n");
            tool(name).args(args).arg(&digest).run().fails(2, &said).stdout("");
        }
        let run = tool("verify-digest").arg(&digest).run();
        assert_eq!(run.status(2).stdout("").stderr, format!("verify-digest: {why}\n"));
    }
}

#[test]
fn a_malformed_digest_in_a_line_is_reported_with_its_place() {
    for (digest, why) in cases() {
        let line = format!("{{\"mediaType\":\"a/b\",\"digest\":\"{digest}\",\"size\":1}}\n");
        for args in [["fetch-blob", "app", "--into"], ["push-blob", "app", "--from"]] {
            let run = tool(args[0]).args(&args[1..]).arg("oci:x").stdin(line.clone()).run();
            run.fails(6, &format!("{}: line 1: digest: {why}\n", args[0])).stdout("");
        }
    }
}

#[test]
fn a_malformed_digest_in_a_list_of_digests_is_reported_with_its_reason() {
    let lengths = "a digest has 64 (sha256) or 128 (sha512) hexadecimal digits, got 2";
    let others = [
        ("12".to_owned(), lengths),
        ("foo".to_owned(), "\"foo\" is not a digest"),
        ("é".to_owned(), "\"é\" is not a digest"),
    ];
    let dir = Scratch::new();
    let with_algorithm = cases().into_iter().filter(|(digest, _)| digest.contains(':'));
    for (digest, why) in with_algorithm.chain(others) {
        dir.write("list", format!("{digest}  file\n"));
        let run = tool("verify-digest").args(["-c", "list"]).dir(dir.path()).run();
        run.fails(6, &format!("verify-digest: list: line 1: {why}\n")).stdout("");
    }
}
