// SPDX-License-Identifier: Apache-2.0
//! JSON documents whose media type cannot be determined: a hint says what the document probably is,
//! or which fields are missing.

use tests::scratch::Scratch;
use tests::tools::tool;

const ERRORS: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;

/// Runs a tool on a file with the document, and checks the complete message.
#[track_caller]
fn hints(command: &[&str], document: &str, hint: &str) {
    let dir = Scratch::new();
    dir.write("e.json", document);
    let name = command[0];
    let run = tool(name).args(&command[1..]).arg("e.json").dir(dir.path()).run();
    let want = format!("{name}: e.json: media-type: cannot determine\n{name}: hint: {hint}\n");
    assert_eq!(run.status(6).stdout("").stderr, want, "{document}");
}

#[test]
fn detect_mediatype_says_what_a_document_lacks() {
    let empty = "the empty config of an artifact is {}: application/vnd.oci.empty.v1+json";
    let config = "an image config has the array rootfs.diff_ids, and neither mediaType nor \
                  schemaVersion";
    let several = "it has \"manifests\" and \"layers\", fields of different documents";
    let other = "for other documents, see the mediaType in the descriptor that names the blob";
    for (document, hint) in [
        ("{}", empty),
        ("{}\n", empty),
        ("null\n", "jq prints null for a field that does not exist"),
        (ERRORS, "this is the error response of a registry"),
        (r#"{"rootfs":{"diff_ids":null}}"#, config),
        (r#"{"schemaVersion":2,"rootfs":{"diff_ids":[]}}"#, config),
        (r#"{"manifests":[],"layers":[]}"#, several),
        (r#"{"spdxVersion":"SPDX-2.3"}"#, other),
        (r#"{"schemaVersion":2}"#, other),
    ] {
        hints(&["detect-mediatype"], document, hint);
    }
}

#[test]
fn readers_of_manifests_say_what_a_document_is_or_lacks() {
    let other =
        "a manifest has \"mediaType\", or the field \"config\", \"layers\" or \"manifests\"";
    let several = "it has \"manifests\", \"config\" and \"layers\", fields of different documents";
    for (document, hint) in [
        ("{}", other),
        (r#"{"schemaVersion":2}"#, other),
        (ERRORS, "this is the error response of a registry"),
        (r#"{"rootfs":{"diff_ids":[]}}"#, "this is an image config"),
        (r#"{"manifests":[],"config":null,"layers":[]}"#, several),
    ] {
        hints(&["list-blobs"], document, hint);
        hints(&["put-manifest", "oci:x:1"], document, hint);
    }
}

/// By its field `config`, an image config looks like a manifest.
#[test]
fn an_image_config_instead_of_a_manifest_is_recognised() {
    let config = r#"{"os":"linux","config":{},"rootfs":{"diff_ids":[]}}"#;
    for args in [&["list-blobs"][..], &["put-manifest", "oci:x:1", "-"]] {
        let run = tool(args[0]).args(&args[1..]).stdin(config).run();
        run.fails(6, "standard input: no schemaVersion\n").says("hint: this is an image config\n");
    }
}
