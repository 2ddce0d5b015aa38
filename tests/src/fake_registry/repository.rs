// SPDX-License-Identifier: Apache-2.0
//! The content of a repository and its requests: blobs, manifests, tags, referrers. Uploads of
//! blobs are in `uploads`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Settings;
use crate::fake::{Reply, Request};
use crate::images::{Blob, sha512, types};
use crate::schema1;

/// The largest page of repositories that a request may ask for, as in CNCF Distribution.
const MAX_CATALOG: usize = 1000;

/// The sorted list of the repositories after `last`. If there are more, the page has a Link.
pub(super) fn catalog<'a>(
    names: impl Iterator<Item = &'a String>,
    request: &Request,
    page: Option<usize>,
) -> Reply {
    let last = request.param("last").unwrap_or_default();
    let names: Vec<&String> = names.filter(|name| **name > last).collect();
    let asked = request.param("n").and_then(|n| n.parse().ok());
    if asked.is_some_and(|n| n > MAX_CATALOG) {
        let why = "invalid number of results requested";
        return Reply::error(400, "PAGINATION_NUMBER_INVALID", why);
    }
    let count = [asked, page].into_iter().flatten().min().unwrap_or(100);
    let shown = &names[..names.len().min(count)];
    let reply = Reply::json(200, &json!({"repositories": shown}));
    match shown.last() {
        Some(last) if shown.len() < names.len() => {
            let last = last.replace('/', "%2F");
            let next = format!("</v2/_catalog?last={last}&n={count}>; rel=\"next\"");
            reply.header("Link", next)
        }
        _ => reply,
    }
}

#[derive(Default)]
pub(super) struct Repository {
    /// By digest.
    pub(super) manifests: BTreeMap<String, Blob>,
    /// Tags and their digests, in the order of the list.
    pub(super) tags: Vec<(String, String)>,
    /// By digest.
    pub(super) blobs: BTreeMap<String, Arc<[u8]>>,
}

impl Repository {
    /// The digest for a tag; a digest is returned unchanged.
    pub(super) fn resolve<'a>(&'a self, reference: &'a str) -> &'a str {
        let by_tag = self.tags.iter().find(|(tag, _)| tag == reference);
        by_tag.map_or(reference, |(_, digest)| digest)
    }

    pub(super) fn name(&mut self, tag: &str, digest: &str) {
        match self.tags.iter_mut().find(|(name, _)| name == tag) {
            Some((_, named)) => digest.clone_into(named),
            None => self.tags.push((tag.to_owned(), digest.to_owned())),
        }
    }

    pub(super) fn blob(&self, request: &Request, digest: &str) -> Reply {
        match self.blobs.get(digest) {
            Some(bytes) => {
                let reply = Reply::ranged(request, Arc::clone(bytes));
                let reply = reply.header("Docker-Content-Digest", digest);
                if reply.code() == 416 {
                    return reply;
                }
                reply
                    .header("Content-Type", "application/octet-stream")
                    .header("Accept-Ranges", "bytes")
                    .header("ETag", format!("\"{digest}\""))
            }
            None => Reply::json(
                404,
                &json!({"errors": [{"code": "BLOB_UNKNOWN",
                    "message": "blob unknown to registry", "detail": digest}]}),
            ),
        }
    }

    /// A manifest. As in CNCF Distribution, `Accept` must name OCI's media types.
    pub(super) fn manifest(&self, request: &Request, reference: &str) -> Reply {
        let accepted = |manifest: &&Blob| {
            let lists =
                request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
            let mut types = lists.flat_map(|(_, list)| list.split(',')).map(str::trim);
            !manifest.media_type.starts_with("application/vnd.oci.")
                || types.any(|accepted| accepted == manifest.media_type)
        };
        match self.manifests.get(self.resolve(reference)).filter(accepted) {
            Some(manifest) => Reply::ok(&manifest.bytes)
                .header("Content-Type", &manifest.media_type)
                .header("Docker-Content-Digest", &manifest.digest)
                .header("ETag", format!("\"{}\"", manifest.digest)),
            None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    /// The sorted list of the tags after `last`. A full page has a Link to the next page, even if
    /// the next page is empty.
    pub(super) fn list(
        &self,
        name: &str,
        request: &Request,
        page: Option<usize>,
        settings: &Settings,
    ) -> Reply {
        let mut tags: Vec<_> = self.tags.iter().map(|(tag, _)| tag.as_str()).collect();
        if settings.unsorted {
            return Reply::json(200, &json!({"name": name, "tags": tags}));
        }
        tags.sort_unstable();
        let last = request.param("last");
        tags.retain(|tag| last.as_ref().is_none_or(|last| *tag > last.as_str()));
        let asked = request.param("n").and_then(|n| n.parse().ok());
        let count = [asked, page].into_iter().flatten().min().unwrap_or(usize::MAX);
        let shown = &tags[..tags.len().min(count)];
        let reply = Reply::json(200, &json!({"name": name, "tags": shown}));
        match shown.last() {
            Some(last) if shown.len() == count => {
                let next = format!("</v2/{name}/tags/list?last={last}&n={count}>; rel=\"next\"");
                reply.header("Link", next)
            }
            _ => reply,
        }
    }

    /// The manifests whose subject has this digest, sorted, with at most `count` on a page. The
    /// filter by artifact type is applied, as in olareg.
    pub(super) fn referrers(
        &self,
        name: &str,
        request: &Request,
        digest: &str,
        count: Option<usize>,
    ) -> Reply {
        let mut manifests: Vec<Value> = self
            .manifests
            .values()
            .filter_map(|manifest| {
                let document: Value = serde_json::from_slice(&manifest.bytes).ok()?;
                (document["subject"]["digest"] == digest).then(|| {
                    let mut descriptor = manifest.descriptor();
                    let own = document["artifactType"].as_str();
                    let kind = own.or(document["config"]["mediaType"].as_str());
                    descriptor["artifactType"] = json!(kind);
                    if document["annotations"].is_object() {
                        descriptor["annotations"] = document["annotations"].clone();
                    }
                    descriptor
                })
            })
            .collect();
        let mut reply = Reply::new(200).header("Content-Type", types::INDEX);
        let wanted = request.param("artifactType");
        if let Some(wanted) = &wanted {
            manifests.retain(|entry| entry["artifactType"] == wanted.as_str());
            reply = reply.header("OCI-Filters-Applied", "artifactType");
        }
        let last = request.param("last").unwrap_or_default();
        manifests.retain(|entry| entry["digest"].as_str() > Some(&last));
        if let Some(count) = count.filter(|count| *count < manifests.len()) {
            manifests.truncate(count);
            let last = manifests.last().map_or(Value::Null, |entry| entry["digest"].clone());
            let last = last.as_str().unwrap_or_default();
            let filter = wanted.map_or(String::new(), |wanted| format!("&artifactType={wanted}"));
            let next = format!("</v2/{name}/referrers/{digest}?last={last}{filter}>; rel=\"next\"");
            reply = reply.header("Link", next);
        }
        let index = json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": manifests});
        reply.body(index.to_string())
    }

    /// Stores a manifest if its media type is the Content-Type, its digest is the one in the
    /// request, and everything that it references exists. `place` is the URL of all manifests of
    /// the repository.
    pub(super) fn put_manifest(
        &mut self,
        place: &str,
        reference: &str,
        request: &Request,
        settings: &Settings,
    ) -> Reply {
        let invalid = |why: &str| Reply::error(400, "MANIFEST_INVALID", why);
        let bytes = &request.body;
        let document = serde_json::from_slice::<Value>(bytes).ok().filter(Value::is_object);
        let Some(document) = document else {
            return invalid("no JSON object");
        };
        let media_type = request.header("content-type").unwrap_or_default();
        if document["mediaType"].as_str().is_some_and(|own| own != media_type) {
            return invalid("its media type is not its Content-Type");
        }
        let digest = match reference.split_once(':') {
            Some(("sha512", _)) => sha512(bytes),
            _ => schema1::digest(&Blob::new(media_type, bytes.clone())),
        };
        if reference.contains(':') && reference != digest {
            return Reply::error(400, "DIGEST_INVALID", "provided digest did not match");
        }
        // Quotes are part of an entity tag.
        let now = format!("\"{}\"", self.resolve(reference));
        if request.header("if-match").is_some_and(|wanted| wanted != now) {
            return Reply::error(412, "UNKNOWN", "the tag has another digest");
        }
        let missing = self.missing(&document);
        if !missing.is_empty() {
            let errors: Vec<_> = missing
                .iter()
                .map(|digest| {
                    json!({"code": "MANIFEST_BLOB_UNKNOWN",
                        "message": "blob unknown to registry", "detail": digest})
                })
                .collect();
            return Reply::json(400, &json!({"errors": errors}));
        }
        let media_type = media_type.to_owned();
        let manifest = Blob { media_type, digest: digest.clone(), bytes: bytes.clone() };
        self.manifests.insert(digest.clone(), manifest);
        if !reference.contains(':') {
            self.name(reference, &digest);
        }
        let mut reply = Reply::new(201)
            .header("Location", format!("{place}/{digest}"))
            .header("Docker-Content-Digest", &digest);
        if let (true, Some(subject)) = (settings.referrers, document["subject"]["digest"].as_str())
        {
            reply = reply.header("OCI-Subject", subject);
        }
        if settings.tags_by_query {
            for tag in request.params("tag") {
                self.name(&tag, &digest);
                reply = reply.header("OCI-Tag", tag);
            }
        }
        reply
    }

    /// The digests that a document references and that are missing here. Non-distributable layers
    /// with `urls` may be missing.
    fn missing(&self, document: &Value) -> Vec<String> {
        let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let foreign = |layer: &Value| {
            let media_type = layer["mediaType"].as_str().unwrap_or_default();
            let is_foreign = ["nondistributable", "foreign"].iter().any(|w| media_type.contains(w));
            is_foreign && layer["urls"].as_array().is_some_and(|urls| !urls.is_empty())
        };
        let config = document.get("config").cloned();
        let layers = list("layers").into_iter().filter(|layer| !foreign(layer));
        let blobs = config.into_iter().chain(layers).filter(|blob| {
            !blob["digest"].as_str().is_some_and(|digest| self.blobs.contains_key(digest))
        });
        let manifests = list("manifests").into_iter().filter(|child| {
            !child["digest"].as_str().is_some_and(|digest| self.manifests.contains_key(digest))
        });
        let old = list("fsLayers").into_iter().map(|layer| json!({"digest": layer["blobSum"]}));
        let old = old.filter(|layer| {
            !layer["digest"].as_str().is_some_and(|digest| self.blobs.contains_key(digest))
        });
        blobs
            .chain(manifests)
            .chain(old)
            .map(|missing| missing["digest"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Deletes a manifest by its digest, or a tag without its manifest.
    pub(super) fn delete_manifest(&mut self, reference: &str) -> Reply {
        let tags = self.tags.len();
        self.tags.retain(|(tag, digest)| tag != reference && digest != reference);
        if self.manifests.remove(reference).is_some() || self.tags.len() < tags {
            Reply::new(202)
        } else {
            Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        }
    }

    pub(super) fn delete_blob(&mut self, digest: &str) -> Reply {
        match self.blobs.remove(digest) {
            Some(_) => Reply::new(202),
            None => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        }
    }
}
