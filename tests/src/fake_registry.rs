// SPDX-License-Identifier: Apache-2.0
//! A registry on the scripted server. It answers rightly, and a test says where it does not:
//!
//! ```ignore
//! let registry = FakeRegistry::start();
//! registry.add_image("app", "1", &image);
//! registry.fault(|request, right| match request.is_blob() && request.earlier == 0 {
//!     true => right.cut(1000, End::Fin),
//!     false => right,
//! });
//! ```
//!
//! Right means: the distribution specification's reading half (ranges, HEAD, digests in headers,
//! pages of tags with Link, errors in JSON), and on demand tokens for anybody who asks.
//! Deliberately absent: uploads, which the real registry serves better.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use serde_json::json;

use crate::fake::{Reply, Request, Server};
use crate::images::{Blob, Image, sha256};

type Fault = Box<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// The token that every token request is answered with is this and the scope asked for.
pub const TOKEN: &str = "sesame-";

#[derive(Default)]
struct Repository {
    /// By digest.
    manifests: BTreeMap<String, Blob>,
    /// To digests, in the order that they are listed in.
    tags: Vec<(String, String)>,
    /// By digest.
    blobs: BTreeMap<String, Arc<[u8]>>,
}

#[derive(Default)]
struct Content {
    repositories: Mutex<BTreeMap<String, Repository>>,
    fault: Mutex<Option<Arc<Fault>>>,
    wants_tokens: bool,
    page: Mutex<Option<usize>>,
}

/// A registry that runs until it is dropped.
pub struct FakeRegistry {
    content: Arc<Content>,
    /// The server, with all that was asked of it.
    pub server: Server,
}

impl FakeRegistry {
    /// One that speaks plain http and lets anybody in.
    pub fn start() -> FakeRegistry {
        FakeRegistry::listen(None, false)
    }

    /// One that lets in whoever got a token from it.
    pub fn with_tokens() -> FakeRegistry {
        FakeRegistry::listen(None, true)
    }

    /// One that speaks https.
    pub fn start_tls(config: Arc<ServerConfig>) -> FakeRegistry {
        FakeRegistry::listen(Some(config), false)
    }

    fn listen(tls: Option<Arc<ServerConfig>>, wants_tokens: bool) -> FakeRegistry {
        let content = Arc::new(Content { wants_tokens, ..Content::default() });
        let script = {
            let content = Arc::clone(&content);
            move |request: &Request| {
                let right = content.answer(request);
                let fault = lock(&content.fault).clone();
                match fault {
                    Some(fault) => fault(request, right),
                    None => right,
                }
            }
        };
        let server = match tls {
            Some(config) => Server::start_tls(config, script),
            None => Server::start(script),
        };
        FakeRegistry { content, server }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// `127.0.0.1:PORT/REPOSITORY`, to which `:TAG` or `@DIGEST` may be added.
    pub fn repo(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    /// From now on answers go through this, which gets the right one and returns what is sent.
    pub fn fault(&self, fault: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        *lock(&self.content.fault) = Some(Arc::new(Box::new(fault)));
    }

    /// From now on answers are right again.
    pub fn heal(&self) {
        *lock(&self.content.fault) = None;
    }

    /// Lists at most so many tags a page, whatever is asked for.
    pub fn tags_a_page(&self, count: usize) {
        *lock(&self.content.page) = Some(count);
    }

    /// Holds a blob from now on; returns its digest.
    pub fn add_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        self.add_blob_as(repository, &digest, bytes);
        digest
    }

    /// Holds bytes under a digest that they need not have.
    pub fn add_blob_as(&self, repository: &str, digest: &str, bytes: impl Into<Vec<u8>>) {
        let bytes: Arc<[u8]> = bytes.into().into();
        self.with(repository, |repo| repo.blobs.insert(digest.to_owned(), bytes));
    }

    /// Holds a manifest, under its digest and, when it is not empty, a tag.
    pub fn add_manifest(&self, repository: &str, tag: &str, manifest: &Blob) {
        self.with(repository, |repo| {
            repo.manifests.insert(manifest.digest.clone(), manifest.clone());
            if !tag.is_empty() {
                repo.tags.retain(|(name, _)| name != tag);
                repo.tags.push((tag.to_owned(), manifest.digest.clone()));
            }
        });
    }

    /// Holds an image, under its digest and, when it is not empty, a tag.
    pub fn add_image(&self, repository: &str, tag: &str, image: &Image) {
        for blob in image.blobs() {
            self.add_blob_as(repository, &blob.digest, blob.bytes.clone());
        }
        self.add_manifest(repository, tag, &image.manifest);
    }

    /// Does not hold that blob any more.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        self.with(repository, |repo| repo.blobs.remove(digest));
    }

    fn with<T>(&self, repository: &str, change: impl FnOnce(&mut Repository) -> T) -> T {
        change(lock(&self.content.repositories).entry(repository.to_owned()).or_default())
    }

    /// The requests for blobs so far.
    pub fn blob_requests(&self) -> Vec<Request> {
        self.server.requests().into_iter().filter(Request::is_blob).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Content {
    fn answer(&self, request: &Request) -> Reply {
        let host = request.header("host").unwrap_or_default();
        if request.path == "/token" {
            let scope = request.params("scope").join(" ");
            return Reply::json(200, &json!({"token": token(&scope), "expires_in": 300}));
        }
        let Some(path) = request.path.strip_prefix("/v2/") else {
            return Reply::new(404).header("Content-Type", "text/plain").body("no such page");
        };
        let cut = ["/manifests/", "/blobs/", "/tags/list"]
            .into_iter()
            .find_map(|part| path.rsplit_once(part).map(|(name, rest)| (name, part, rest)));
        let name = cut.map_or("", |(name, ..)| name);
        if self.wants_tokens {
            let mut scope = String::new();
            if !name.is_empty() {
                let _ = write!(scope, "repository:{name}:pull");
            }
            if request.header("authorization") != Some(&format!("Bearer {}", token(&scope))) {
                let mut challenge =
                    format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
                if !scope.is_empty() {
                    let _ = write!(challenge, ",scope=\"{scope}\"");
                }
                return Reply::error(401, "UNAUTHORIZED", "authentication required")
                    .header("WWW-Authenticate", challenge);
            }
        }
        if path.is_empty() {
            return Reply::json(200, &json!({}));
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Reply::error(405, "UNSUPPORTED", "read only");
        }
        let Some((name, part, rest)) = cut else {
            return Reply::error(404, "NOT_FOUND", "no such page");
        };
        let repositories = lock(&self.repositories);
        let Some(repository) = repositories.get(name) else {
            return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        match part {
            "/manifests/" => repository.manifest(rest),
            "/blobs/" => match repository.blobs.get(rest) {
                Some(bytes) => Reply::ranged(request, Arc::clone(bytes))
                    .header("Content-Type", "application/octet-stream")
                    .header("Docker-Content-Digest", rest),
                None => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            },
            _ => repository.list(name, request, *lock(&self.page)),
        }
    }
}

/// The token for a scope, such that it can stand in a header.
fn token(scope: &str) -> String {
    format!("{TOKEN}{}", &sha256(scope.as_bytes())[7..23])
}

impl Repository {
    fn manifest(&self, reference: &str) -> Reply {
        let by_tag = self.tags.iter().find(|(tag, _)| tag == reference);
        let digest = by_tag.map_or(reference, |(_, digest)| digest);
        match self.manifests.get(digest) {
            Some(manifest) => Reply::ok(&manifest.bytes)
                .header("Content-Type", &manifest.media_type)
                .header("Docker-Content-Digest", &manifest.digest),
            None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn list(&self, name: &str, request: &Request, page: Option<usize>) -> Reply {
        let tags: Vec<_> = self.tags.iter().map(|(tag, _)| tag).collect();
        let from = request.param("last").map_or(0, |last| {
            tags.iter().position(|tag| **tag == last).map_or(tags.len(), |at| at + 1)
        });
        let asked = request.param("n").and_then(|n| n.parse().ok());
        let count = [asked, page].into_iter().flatten().min().unwrap_or(usize::MAX);
        let rest = &tags[from..];
        let shown = &rest[..rest.len().min(count)];
        let reply = Reply::json(200, &json!({"name": name, "tags": shown}));
        match shown.last() {
            Some(last) if shown.len() < rest.len() => {
                let next = format!("</v2/{name}/tags/list?last={last}&n={count}>; rel=\"next\"");
                reply.header("Link", next)
            }
            _ => reply,
        }
    }
}
