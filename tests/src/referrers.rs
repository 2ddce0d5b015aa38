// SPDX-License-Identifier: Apache-2.0
//! Manifests with a subject, and lists of them.

use serde_json::{Value, json};

use crate::fake_registry::FakeRegistry;
use crate::images::{Blob, types};
use crate::registry::Registry;
use crate::tools::Run;

/// An artifact type.
pub const SBOM: &str = "application/vnd.example.sbom";
/// Another artifact type.
pub const SIGNATURE: &str = "application/vnd.example.signature";

/// A manifest with a subject and a layer that no other manifest has.
#[derive(Clone, Debug)]
pub struct Referrer {
    /// The manifest.
    pub manifest: Blob,
    /// Its only layer.
    pub layer: Blob,
    /// Its config, which is empty.
    pub config: Blob,
}

impl Referrer {
    /// A referrer; `note` is the content of its layer and an annotation.
    pub fn of(subject: &Blob, artifact_type: &str, note: &str) -> Referrer {
        let layer = Blob::new("application/octet-stream", note.as_bytes());
        let config = Blob::new("application/vnd.oci.empty.v1+json", "{}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": types::MANIFEST,
            "artifactType": artifact_type,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "subject": subject.descriptor(),
            "annotations": {"org.example.note": note},
        });
        Referrer { manifest: Blob::json(types::MANIFEST, &manifest), layer, config }
    }

    /// Adds it to the repository `app`, without a tag and without listing it.
    pub fn add_to(&self, registry: &FakeRegistry) {
        registry.add_blob("app", self.layer.bytes.clone());
        registry.add_blob("app", self.config.bytes.clone());
        registry.add_manifest("app", "", &self.manifest);
    }

    /// Uploads it to the repository `app` of a real registry, without listing it.
    pub fn put_into(&self, registry: &Registry) {
        registry.put_blob("app", &self.layer.bytes);
        registry.put_blob("app", &self.config.bytes);
        registry.put_manifest("app", &self.manifest.digest, &self.manifest);
    }

    /// The descriptor in a list of referrers.
    pub fn listed(&self) -> Value {
        let manifest: Value = serde_json::from_slice(&self.manifest.bytes).unwrap();
        let mut descriptor = self.manifest.descriptor();
        descriptor["artifactType"] = manifest["artifactType"].clone();
        descriptor["annotations"] = manifest["annotations"].clone();
        descriptor
    }
}

/// The list under the fallback tag.
pub fn list(entries: &[Value]) -> Blob {
    let list = json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": entries});
    Blob::json(types::INDEX, &list)
}

/// The fallback tag of a subject.
pub fn fallback(subject: &Blob) -> String {
    subject.digest.replace(':', "-")
}

/// The digests of the printed lines.
///
/// # Panics
/// When a line is not a descriptor.
#[track_caller]
pub fn digests(run: &Run) -> Vec<String> {
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    run.lines().iter().map(|text| line(text)["digest"].as_str().unwrap().to_owned()).collect()
}
