// SPDX-License-Identifier: Apache-2.0
//! The scripted registry's referrers API and olareg's get the same requests.

use serde_json::Value;
use tests::curl::curl;
use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image};
use tests::referrers::{Referrer, SBOM};
use tests::scratch::Scratch;
use tests::small_registries::SmallRegistry;

#[test]
fn referrers_are_listed_and_filtered_as_in_olareg() {
    let double = FakeRegistry::start();
    double.set(|settings| settings.referrers = true);
    let olareg = SmallRegistry::olareg();
    let image = Image::small();
    let referrer = Referrer::of(&image.manifest, SBOM, "a");
    let seen = [double.host(), olareg.host()].map(|host| {
        let at = |path: &str| format!("http://{host}/v2/app/{path}");
        let blobs = image.blobs().chain([&referrer.layer, &referrer.config]);
        for blob in blobs {
            let location = curl(&["-X", "POST", &at("blobs/uploads/")]).location().to_owned();
            let base =
                if location.starts_with('/') { format!("http://{host}") } else { String::new() };
            let mark = if location.contains('?') { '&' } else { '?' };
            let url = format!("{base}{location}{mark}digest={}", blob.digest);
            let body = Scratch::new();
            let body = format!("@{}", body.write("body", &blob.bytes).display());
            assert_eq!(curl(&["-X", "PUT", "--data-binary", &body, &url]).status(), "201");
        }
        let put = |manifest: &Blob| {
            let scratch = Scratch::new();
            let body = format!("@{}", scratch.write("body", &manifest.bytes).display());
            let content_type = format!("Content-Type: {}", manifest.media_type);
            let url = at(&format!("manifests/{}", manifest.digest));
            curl(&["-X", "PUT", "-H", &content_type, "--data-binary", &body, &url])
        };
        let mut said = Vec::new();
        said.push(put(&image.manifest).header("OCI-Subject").map(str::to_owned));
        said.push(put(&referrer.manifest).header("OCI-Subject").map(str::to_owned));
        for query in ["", "?artifactType=", "?artifactType=none"] {
            let sbom = if query.ends_with('=') { SBOM } else { "" };
            let url = at(&format!("referrers/{}{query}{sbom}", image.manifest.digest));
            let answer = curl(&[&url]);
            said.push(Some(answer.status().to_owned()));
            said.push(answer.header("Content-Type").map(str::to_owned));
            said.push(answer.header("OCI-Filters-Applied").map(str::to_owned));
            let list: Value = serde_json::from_str(&answer.body).unwrap();
            let entries = list["manifests"].as_array().cloned().unwrap_or_default();
            // The order of the fields may differ.
            said.push(Some(format!("{}", entries == vec![referrer.listed(); entries.len()])));
            said.push(Some(entries.len().to_string()));
        }
        let manifest = at(&format!("manifests/{}", referrer.manifest.digest));
        said.push(Some(curl(&["-X", "DELETE", &manifest]).status().to_owned()));
        let left = curl(&[&at(&format!("referrers/{}", image.manifest.digest))]);
        said.push(Some(left.body.contains(&referrer.manifest.digest).to_string()));
        said
    });
    assert_eq!(seen[0], seen[1]);
}
