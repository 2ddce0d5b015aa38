// SPDX-License-Identifier: Apache-2.0
//! Docker's manifests of schema 1: documents for tests, and the payload that the digest covers.
//! This code is independent of the tools, because the suite shares no code with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::images::{Blob, sha256, types};

/// The environment variable that allows schema 1.
pub const GATE: &str = "DOCKER_ENABLE_DEPRECATED_PULL_SCHEMA_1_IMAGE";

/// An image ID: one hexadecimal digit, 64 times.
pub fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A manifest with these blobs and entries (as JSON text), both top first.
pub fn document(blobs: &[&str], records: &[String]) -> Value {
    let layers: Vec<_> = blobs.iter().map(|digest| json!({"blobSum": digest})).collect();
    let history: Vec<_> = records.iter().map(|record| json!({"v1Compatibility": record})).collect();
    json!({
        "schemaVersion": 1,
        "name": "app",
        "tag": "1",
        "architecture": "amd64",
        "fsLayers": layers,
        "history": history,
    })
}

/// A manifest with a signature inside, as registries serve it. The signature itself is invalid.
pub fn signed(document: &Value) -> String {
    let text = serde_json::to_string_pretty(document).unwrap();
    let head = text.strip_suffix("\n}").unwrap();
    let protected =
        json!({"formatLength": head.len(), "formatTail": URL_SAFE_NO_PAD.encode("\n}")});
    let signature = json!({
        "header": {"alg": "ES256", "jwk": {"crv": "P-256", "kid": "k", "kty": "EC", "x": "x", "y": "y"}},
        "signature": "AAAA",
        "protected": URL_SAFE_NO_PAD.encode(protected.to_string()),
    });
    format!("{head},\n   \"signatures\": [{signature}]\n}}")
}

/// The payload of a signed manifest; `None` if the manifest is not signed.
pub fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let protected = document["signatures"][0]["protected"].as_str()?;
    let protected: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(protected).ok()?).ok()?;
    let length = usize::try_from(protected["formatLength"].as_u64()?).ok()?;
    let tail = URL_SAFE_NO_PAD.decode(protected["formatTail"].as_str()?).ok()?;
    Some([bytes.get(..length)?, &tail].concat())
}

/// The digest of a manifest in a registry.
pub fn digest(manifest: &Blob) -> String {
    let signed = (manifest.media_type == types::DOCKER_SCHEMA1).then(|| payload(&manifest.bytes));
    signed.flatten().map_or_else(|| manifest.digest.clone(), |payload| sha256(&payload))
}
