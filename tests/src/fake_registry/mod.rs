// SPDX-License-Identifier: Apache-2.0
//! A registry on the scripted server. It behaves correctly except where a test makes it misbehave:
//!
//! ```ignore
//! let registry = FakeRegistry::start();
//! registry.add_image("app", "1", &image);
//! registry.fault(|request, right| {
//!     let is_first = request.is_blob() && request.earlier == 0;
//!     if is_first { right.cut(1000, End::Fin) } else { right }
//! });
//! registry.intake(|request| {
//!     if request.is_close() { Intake::cut(1000, End::Reset) } else { Intake::whole() }
//! });
//! ```
//!
//! A fault changes the response after the registry has done what the request asks. An intake
//! decides earlier, and can prevent the registry from doing it.
//!
//! Correct behaviour follows the OCI distribution specification: ranges, HEAD, digests in headers,
//! pages of tags and repositories with Link, uploads in one or several requests, mounts, refusal of
//! a manifest that references a missing blob or manifest, errors in JSON. With [`Settings`],
//! the registry requires tokens, which its token server issues to every client, or has features
//! that only some registries have.

mod access;
mod repository;
mod uploads;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use serde_json::json;

use crate::fake::{Intake, Reply, Request, Serve, Server};
use crate::images::{Blob, Image, noise, sha256, types};
use crate::schema1;
use access::Access;
use repository::Repository;
use uploads::{Closed, Uploads};

type Fault = Box<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;
type Decision = Box<dyn Fn(&Request) -> Intake + Send + Sync>;
type Grants = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// The beginning of every issued token. The rest is derived from the requested scope.
pub const TOKEN: &str = "sesame-";

/// Behaviour that only some registries have. All of it is off by default.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Accepts a blob in the POST that would otherwise start an upload.
    pub whole_posts: bool,
    /// Has the referrers API, and sends OCI-Subject.
    pub referrers: bool,
    /// Lists at most this number of referrers per page.
    pub referrers_a_page: Option<usize>,
    /// Accepts more tags in the query of a manifest's PUT, and sends OCI-Tag.
    pub tags_by_query: bool,
    /// Sends every Location without scheme and host.
    pub relative: bool,
    /// Accepts the state of an upload in another percent-encoding, as Go's clients send it.
    pub any_spelling: bool,
    /// Discards an upload when the connection breaks.
    pub forgets_broken: bool,
    /// Keeps only this number of bytes of an upload when the connection breaks.
    pub keeps_of_broken: Option<usize>,
    /// Keeps the state of an upload the same for all requests.
    pub steady: bool,
    /// Refuses an old state in GET too, as docker-registry 2.8 does: after a request that broke, a
    /// client can neither continue nor cancel the upload.
    pub strict: bool,
    /// Ignores the query of a request for tags, as docker-registry 2.8 does: lists all tags in the
    /// order in which they were added.
    pub unsorted: bool,
}

#[derive(Default)]
struct Content {
    repositories: Mutex<BTreeMap<String, Repository>>,
    uploads: Mutex<Uploads>,
    /// Responses that were decided before the request's body arrived, by the request's serial
    /// number.
    refusals: Mutex<BTreeMap<usize, Reply>>,
    fault: Mutex<Option<Arc<Fault>>>,
    intake: Mutex<Option<Arc<Decision>>>,
    settings: Mutex<Settings>,
    access: Option<Access>,
    grants: Mutex<Option<Grants>>,
    page: Mutex<Option<usize>>,
    secure: bool,
}

/// The registry's content, as the server uses it.
struct Service(Arc<Content>);

/// A registry that runs until it is dropped.
pub struct FakeRegistry {
    content: Arc<Content>,
    /// The server, which records the requests.
    pub server: Server,
}

impl std::fmt::Debug for FakeRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FakeRegistry({})", self.host())
    }
}

impl FakeRegistry {
    /// A registry that uses plain HTTP and requires no token.
    pub fn start() -> FakeRegistry {
        FakeRegistry::listen(None, false)
    }

    /// A registry that uses plain HTTP, requires no token, and has [`Image::small`] as `app:1`.
    pub fn with_image() -> FakeRegistry {
        let registry = FakeRegistry::start();
        registry.add_image("app", "1", &Image::small());
        registry
    }

    /// A registry that requires a token, and issues tokens itself.
    pub fn with_tokens() -> FakeRegistry {
        FakeRegistry::listen(None, true)
    }

    /// A registry that uses TLS.
    pub fn start_tls(config: Arc<ServerConfig>) -> FakeRegistry {
        FakeRegistry::listen(Some(config), false)
    }

    /// A registry that uses TLS, and has [`Image::small`] as `app:1`.
    pub fn with_image_and_tls(config: Arc<ServerConfig>) -> FakeRegistry {
        let registry = FakeRegistry::start_tls(config);
        registry.add_image("app", "1", &Image::small());
        registry
    }

    fn listen(tls: Option<Arc<ServerConfig>>, wants_tokens: bool) -> FakeRegistry {
        let access = wants_tokens.then(Access::default);
        let content = Arc::new(Content { access, secure: tls.is_some(), ..Content::default() });
        let server = Server::serve(tls, Service(Arc::clone(&content)));
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

    /// From now on `fault` receives each correct response, and returns the response to send.
    pub fn fault(&self, fault: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        *lock(&self.content.fault) = Some(Arc::new(Box::new(fault)));
    }

    /// From now on `decide` determines what the registry does with a request, when its head has
    /// arrived.
    pub fn intake(&self, decide: impl Fn(&Request) -> Intake + Send + Sync + 'static) {
        *lock(&self.content.intake) = Some(Arc::new(Box::new(decide)));
    }

    /// Makes all behaviour correct again.
    pub fn heal(&self) {
        *lock(&self.content.fault) = None;
        *lock(&self.content.intake) = None;
    }

    /// Changes the settings.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.content.settings));
    }

    /// From now on grants only these scopes; other scopes are left out of the tokens.
    pub fn grant(&self, grants: impl Fn(&str) -> bool + Send + Sync + 'static) {
        *lock(&self.content.grants) = Some(Box::new(grants));
    }

    /// Lists at most `count` tags or repositories per page, even if the request asks for more.
    pub fn tags_a_page(&self, count: usize) {
        *lock(&self.content.page) = Some(count);
    }

    /// Adds a blob and returns its digest.
    pub fn add_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        self.add_blob_as(repository, &digest, bytes);
        digest
    }

    /// Adds a layer of noise and returns it. The bytes depend on the length and the seed only.
    pub fn add_noise(&self, repository: &str, len: usize, seed: u64) -> Blob {
        let blob = Blob::new(types::TAR, noise(len, seed));
        self.add_blob(repository, blob.bytes.clone());
        blob
    }

    /// Adds bytes under a digest that may be wrong.
    pub fn add_blob_as(&self, repository: &str, digest: &str, bytes: impl Into<Vec<u8>>) {
        let bytes: Arc<[u8]> = bytes.into().into();
        self.with(repository, |repo| repo.blobs.insert(digest.to_owned(), bytes));
    }

    /// Adds a manifest, with its digest and, if `tag` is not empty, a tag.
    pub fn add_manifest(&self, repository: &str, tag: &str, manifest: &Blob) {
        self.with(repository, |repo| {
            let digest = schema1::digest(manifest);
            if !tag.is_empty() {
                repo.name(tag, &digest);
            }
            repo.manifests.insert(digest.clone(), Blob { digest, ..manifest.clone() });
        });
    }

    /// Adds an image, with its digest and, if `tag` is not empty, a tag.
    pub fn add_image(&self, repository: &str, tag: &str, image: &Image) {
        for blob in image.blobs() {
            self.add_blob_as(repository, &blob.digest, blob.bytes.clone());
        }
        self.add_manifest(repository, tag, &image.manifest);
    }

    /// Removes a blob.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        self.with(repository, |repo| repo.blobs.remove(digest));
    }

    /// The bytes of a blob; `None` if it is missing.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Arc<[u8]>> {
        self.with(repository, |repo| repo.blobs.get(digest).cloned())
    }

    /// The manifest with this tag or digest; `None` if it is missing.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Blob> {
        self.with(repository, |repo| repo.manifests.get(repo.resolve(reference)).cloned())
    }

    /// The tags and their digests, in the order in which they were added.
    pub fn tags(&self, repository: &str) -> Vec<(String, String)> {
        self.with(repository, |repo| repo.tags.clone())
    }

    /// The open upload sessions: the repository and the number of bytes of each.
    pub fn sessions(&self) -> Vec<(String, usize)> {
        lock(&self.content.uploads).open()
    }

    /// Discards all open upload sessions, as a restart would.
    pub fn forget_sessions(&self) {
        lock(&self.content.uploads).forget();
    }

    /// Truncates all open upload sessions to `len` bytes.
    pub fn truncate_sessions(&self, len: usize) {
        lock(&self.content.uploads).truncate(len);
    }

    /// The requests so far in a short form: [`Request::step`].
    pub fn steps(&self) -> Vec<String> {
        self.server.requests().iter().map(Request::step).collect()
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

impl Serve for Service {
    fn arriving(&self, request: &Request) -> Intake {
        let decide = lock(&self.0.intake).clone();
        let intake = decide.map_or_else(Intake::whole, |decide| decide(request));
        if !intake.delivers() {
            return intake;
        }
        match self.0.refuse(request) {
            // A client that sent `Expect: 100-continue` gets the refusal before it sends the body.
            Some(refusal) if request.header("expect").is_some() && !intake.is_silent() => {
                let fault = lock(&self.0.fault).clone();
                let reply = fault.map_or(refusal.clone(), |fault| fault(request, refusal));
                Intake::early(0, reply, crate::fake::End::Fin)
            }
            Some(refusal) => {
                lock(&self.0.refusals).insert(request.serial, refusal);
                intake
            }
            None => intake,
        }
    }

    fn take(&self, request: &Request, bytes: &[u8]) -> bool {
        lock(&self.0.uploads).take(request, bytes)
    }

    fn broken(&self, request: &Request) {
        let settings = lock(&self.0.settings).clone();
        lock(&self.0.uploads).broken(request, &settings);
    }

    fn answer(&self, request: &Request) -> Reply {
        let refusal = lock(&self.0.refusals).remove(&request.serial);
        let right = refusal.unwrap_or_else(|| self.0.answer(request));
        let fault = lock(&self.0.fault).clone();
        match fault {
            Some(fault) => fault(request, right),
            None => right,
        }
    }
}

/// Splits a path below /v2/: the repository, the kind of resource, and its name.
fn parts(path: &str) -> Option<(&str, &str, &str)> {
    ["/manifests/", "/blobs/uploads/", "/blobs/", "/referrers/", "/tags/list"]
        .into_iter()
        .find_map(|part| path.rsplit_once(part).map(|(name, rest)| (name, part, rest)))
}

impl Content {
    /// The refusal of a request, if the registry refuses it without regard to its body.
    fn refuse(&self, request: &Request) -> Option<Reply> {
        let path = request.path.strip_prefix("/v2/")?;
        let parts = parts(path);
        let name = parts.map_or("", |(name, ..)| name);
        if let Some(refusal) = self.access.as_ref().and_then(|a| a.refuse(request, name)) {
            return Some(refusal);
        }
        match (parts, request.method.as_str()) {
            (Some((_, "/blobs/uploads/", id)), "PATCH" | "PUT") => {
                let settings = lock(&self.settings).clone();
                lock(&self.uploads).admit(request, id, &settings)
            }
            _ => None,
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        if request.path == "/token" {
            let grants = lock(&self.grants);
            let grants = |scope: &str| grants.as_ref().is_none_or(|grants| grants(scope));
            return self.access.as_ref().unwrap_or(&Access::default()).give(request, grants);
        }
        let Some(path) = request.path.strip_prefix("/v2/") else {
            return no_page();
        };
        if path.is_empty() {
            return Reply::json(200, &json!({}));
        }
        if path == "_catalog" {
            let repositories = lock(&self.repositories);
            return repository::catalog(repositories.keys(), request, *lock(&self.page));
        }
        let Some((name, part, rest)) = parts(path) else {
            return no_page();
        };
        if part == "/blobs/uploads/" {
            return self.upload(request, name, rest);
        }
        let settings = lock(&self.settings).clone();
        let mut repositories = lock(&self.repositories);
        let repository = match request.method.as_str() {
            "PUT" => repositories.entry(name.to_owned()).or_default(),
            _ => match repositories.get_mut(name) {
                Some(repository) => repository,
                None if request.is_tags() && request.method == "GET" => {
                    let why = "repository name not known to registry";
                    return Reply::error(404, "NAME_UNKNOWN", why);
                }
                None => &mut Repository::default(),
            },
        };
        match (request.method.as_str(), part) {
            ("GET" | "HEAD", "/manifests/") => repository.manifest(request, rest),
            ("PUT", "/manifests/") => {
                let place = format!("{}/v2/{name}/manifests", self.origin(request));
                repository.put_manifest(&place, rest, request, &settings)
            }
            ("DELETE", "/manifests/") => repository.delete_manifest(rest),
            ("GET" | "HEAD", "/blobs/") => repository.blob(request, rest),
            ("DELETE", "/blobs/") => repository.delete_blob(rest),
            ("GET", "/tags/list") => repository.list(name, request, *lock(&self.page), &settings),
            ("GET", "/referrers/") if settings.referrers => {
                repository.referrers(name, request, rest, settings.referrers_a_page)
            }
            (_, "/referrers/") => no_page(),
            _ => not_allowed(),
        }
    }

    fn upload(&self, request: &Request, name: &str, id: &str) -> Reply {
        let origin = self.origin(request);
        let settings = lock(&self.settings).clone();
        let mut uploads = lock(&self.uploads);
        match (request.method.as_str(), id) {
            ("POST", "") => {
                let (mount, from) = (request.param("mount"), request.param("from"));
                if let (Some(digest), Some(from)) = (mount, from) {
                    let mut repositories = lock(&self.repositories);
                    let bytes = repositories.get(&from).and_then(|r| r.blobs.get(&digest)).cloned();
                    if let Some(bytes) = bytes {
                        let target = repositories.entry(name.to_owned()).or_default();
                        target.blobs.insert(digest.clone(), bytes);
                        return created(&origin, name, &digest);
                    }
                }
                match request.param("digest") {
                    Some(digest) if settings.whole_posts => {
                        self.store(&origin, uploads::of_one_request(name, digest, &request.body))
                    }
                    _ => uploads.begin(name, &origin),
                }
            }
            ("DELETE", _) if uploads.is_stale(request, id, &settings) => uploads::stale(&settings),
            ("GET", _) if settings.strict && uploads.is_stale(request, id, &settings) => {
                uploads::stale(&settings)
            }
            ("PATCH", _) => uploads.patched(request, id, &origin),
            ("PUT", _) => self.store(&origin, uploads.close(request, id)),
            ("GET", _) => uploads.status(id, &origin),
            ("DELETE", _) => uploads.cancel(id),
            _ => not_allowed(),
        }
    }

    fn store(&self, origin: &str, closed: Closed) -> Reply {
        match closed {
            Closed::Blob { repository, digest, bytes } => {
                let mut repositories = lock(&self.repositories);
                let target = repositories.entry(repository.clone()).or_default();
                target.blobs.insert(digest.clone(), bytes.into());
                created(origin, &repository, &digest)
            }
            Closed::Not(reply) => reply,
        }
    }

    /// Scheme and host as the client used them, for a Location; empty with the setting `relative`.
    fn origin(&self, request: &Request) -> String {
        if lock(&self.settings).relative {
            return String::new();
        }
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", request.header("host").unwrap_or_default())
    }
}

fn no_page() -> Reply {
    let reply = Reply::new(404).header("Content-Type", "text/plain; charset=utf-8");
    reply.body("404 page not found\n")
}

fn not_allowed() -> Reply {
    Reply::new(405).header("Content-Type", "text/plain; charset=utf-8").body("Method not allowed\n")
}

fn created(origin: &str, name: &str, digest: &str) -> Reply {
    Reply::new(201)
        .header("Location", format!("{origin}/v2/{name}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest)
}
