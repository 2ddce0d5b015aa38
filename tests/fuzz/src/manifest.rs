// SPDX-License-Identifier: Apache-2.0
//! Manifests.

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::json;
use common::manifest::{self, Content, Manifest, Schema1};

/// The descriptors of a parsed manifest have valid digests, and a line written from one is parsed
/// to the same descriptor. The manifest's media type is the detected one, and a second parse gives
/// the same manifest.
pub fn manifest(data: &[u8]) {
    for schema1 in [Schema1::Refused, Schema1::Allowed] {
        let Ok(read) = Manifest::parse(data, None, "m", schema1) else { continue };
        let document = json::parse_object(data).expect("a manifest is a JSON object");
        let detected = manifest::detect(&document, "m", schema1).expect("a manifest has a type");
        assert_eq!(read.media_type, detected);
        if schema1 == Schema1::Refused {
            assert_ne!(read.content, Content::Schema1);
        }
        for descriptor in read.named().into_iter().chain(&read.subject) {
            is_valid(descriptor);
        }
        let named = Manifest::parse(data, Some(&read.media_type), "m", schema1);
        assert_eq!(named.expect("a manifest of its own media type"), read);
    }
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
