// SPDX-License-Identifier: Apache-2.0
//! The fuzz target for manifests.

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::json;
use common::manifest::{self, Content, Manifest, Schema1};
use common::schema1;

/// The descriptors of a parsed manifest have valid digests. If a descriptor is written as a line and
/// parsed again, it is the same. The manifest's media type is the detected one, and a second parse
/// gives the same manifest.
pub fn manifest(data: &[u8]) {
    for gate in [Schema1::Refused, Schema1::Allowed] {
        let Ok(read) = Manifest::parse(data, None, "m", gate) else { continue };
        let document = json::parse_object(data).expect("a manifest is a JSON object");
        let detected = manifest::detect(&document, "m", gate).expect("a manifest has a type");
        assert_eq!(read.media_type, detected);
        if gate == Schema1::Refused {
            assert!(!matches!(read.content, Content::Schema1(_)));
        }
        for descriptor in read.named().into_iter().chain(&read.subject) {
            is_valid(descriptor);
        }
        let named = Manifest::parse(data, Some(&read.media_type), "m", gate);
        assert_eq!(named.expect("a manifest of its own media type"), read);
    }
    // The payload of a signed schema 1 manifest is not signed, so it is returned unchanged.
    let digested = schema1::digested(data);
    assert_eq!(schema1::digested(&digested), digested);
    let _ = manifest::diff_ids(data);
}

fn is_valid(descriptor: &Descriptor) {
    let digest = descriptor.digest.to_string();
    let (algorithm, hex) = digest.split_once(':').expect("a digest has a colon");
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        other => panic!("unsupported algorithm: {other}"),
    };
    assert_eq!(hex.len(), length, "{digest}");
    assert!(hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{digest}");
    assert_eq!(digest.parse::<Digest>().as_ref(), Ok(&descriptor.digest));
    let line = descriptor.line();
    assert!(!line.contains('\n'), "{line}");
    assert_eq!(Descriptor::from_line(line.as_bytes()).as_ref(), Ok(descriptor));
    if let Some(Ok(bytes)) = descriptor.data() {
        assert_eq!(bytes.len() as u64, descriptor.size);
    }
}
