// SPDX-License-Identifier: Apache-2.0
//! A real registry: CNCF Distribution on a free loopback port, version 2.8 as Debian's
//! docker-registry, or version 3. It starts with its own empty storage, keeps an access log, and is
//! killed when dropped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::certs::{Authority, Identity};
use crate::eventually;
use crate::images::{Blob, Image, write_image};
use crate::logins::USER;
use crate::peers::{must, peer};
use crate::servers::Process;
use crate::token_server::{ISSUER, TokenServer};

/// bcrypt of [`PASSWORD`](crate::logins::PASSWORD), as htpasswd writes it.
pub(crate) const BCRYPT: &str = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";

/// The configuration of the registry.
#[derive(Default)]
struct Setting {
    /// Whether it is version 3, not 2.8.
    third: bool,
    deletes: bool,
    identity: Option<Identity>,
    /// The registry for which this one is a pull-through cache.
    upstream: Option<String>,
    /// Whether it requires name and password.
    login: bool,
    /// Whether it accepts and serves manifests of schema 1.
    schema1: bool,
    /// The `auth` section of the configuration.
    auth: String,
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    authority: Option<Authority>,
}

impl Registry {
    /// A registry that uses plain HTTP.
    pub fn start() -> Registry {
        Registry::launch(&Setting::default(), None)
    }

    /// A registry that allows deletion, and layers with `urls` at example.com.
    pub fn with_deletes() -> Registry {
        Registry::launch(&Setting { deletes: true, ..Setting::default() }, None)
    }

    /// A registry that also accepts and serves manifests of schema 1.
    pub fn with_schema1() -> Registry {
        Registry::launch(&Setting { schema1: true, ..Setting::default() }, None)
    }

    /// Version 3, with plain HTTP. It allows deletion, and layers with `urls` at example.com.
    pub fn version_3() -> Registry {
        Registry::launch(&Setting { third: true, deletes: true, ..Setting::default() }, None)
    }

    /// A registry that uses TLS, with a certificate of its own authority.
    pub fn with_tls() -> Registry {
        let authority = Authority::new();
        let identity = Some(authority.server());
        Registry::launch(&Setting { identity, ..Setting::default() }, Some(authority))
    }

    /// A pull-through cache of another registry, empty at first.
    pub fn cache_of(upstream: &Registry) -> Registry {
        let upstream = Some(format!("http://{}", upstream.host()));
        Registry::launch(&Setting { upstream, ..Setting::default() }, None)
    }

    /// A registry that accepts only [`USER`] with [`PASSWORD`](crate::logins::PASSWORD), by Basic
    /// authentication.
    pub fn with_login() -> Registry {
        Registry::launch(&Setting { login: true, ..Setting::default() }, None)
    }

    /// A registry that accepts the tokens of this token server.
    pub fn with_tokens_of(server: &TokenServer) -> Registry {
        let auth = token_auth(server);
        Registry::launch(&Setting { auth, ..Setting::default() }, None)
    }

    /// Version 3, which accepts the tokens of this token server.
    pub fn version_3_with_tokens_of(server: &TokenServer) -> Registry {
        let auth = token_auth(server);
        let setting = Setting { third: true, deletes: true, auth, ..Setting::default() };
        Registry::launch(&setting, None)
    }

    fn launch(setting: &Setting, authority: Option<Authority>) -> Registry {
        let process = Process::start(|port, dir| {
            dir.write("htpasswd", format!("{USER}:{BCRYPT}\n"));
            let config = dir.write("config.yml", config(setting, &dir.join("storage"), port));
            let mut command = peer(if setting.third { "registry" } else { "docker-registry" });
            command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
            command
        });
        Registry { process, authority }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.process.host()
    }

    /// `127.0.0.1:PORT/REPOSITORY`, to which `:TAG` or `@DIGEST` may be added.
    pub fn repo(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    /// The authority to be trusted, for a registry that uses TLS.
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("only a registry with TLS has an authority")
    }

    /// Pushes an image with skopeo; `format` is `oci`, `v2s2` or `v2s1`.
    pub fn push(&self, repository: &str, tag: &str, image: &Image, format: &str) {
        let layout = self.process.scratch().join("push");
        write_image(&layout, tag, image);
        let mut skopeo = peer("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
        skopeo.args(["--format", format]);
        must(
            skopeo
                .arg(format!("oci:{}:{tag}", layout.display()))
                .arg(format!("docker://{}:{tag}", self.repo(repository))),
        );
        std::fs::remove_dir_all(layout).unwrap();
    }

    /// Uploads an image unchanged: blob by blob, then its manifest under a tag or its digest.
    pub fn put_image(&self, repository: &str, reference: &str, image: &Image) {
        for blob in image.blobs() {
            self.put_blob(repository, &blob.bytes);
        }
        self.put_manifest(repository, reference, &image.manifest);
    }

    /// Uploads a blob and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let blob = Blob::new("", bytes);
        let start = self.curl(&["-X", "POST", "-D", "-"], &format!("{repository}/blobs/uploads/"));
        let head = String::from_utf8_lossy(&start).into_owned();
        let location = head
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("no Location in {head}"));
        let body = self.process.scratch().write("body", bytes);
        let mut curl = self.curl_command();
        curl.args(["-X", "PUT", "-H", "Content-Type: application/octet-stream", "--data-binary"]);
        curl.arg(format!("@{}", body.display()));
        must(curl.arg(format!("{}&digest={}", location.trim(), blob.digest)));
        blob.digest
    }

    /// Uploads a manifest under a tag or its digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, manifest: &Blob) {
        let body = self.process.scratch().write("body", &manifest.bytes);
        self.curl(
            &[
                "-X",
                "PUT",
                "-H",
                &format!("Content-Type: {}", manifest.media_type),
                "--data-binary",
                &format!("@{}", body.display()),
            ],
            &format!("{repository}/manifests/{reference}"),
        );
    }

    /// The body of a GET of this path below /v2/.
    pub fn get(&self, path: &str) -> Vec<u8> {
        let accept = "Accept: application/vnd.oci.image.index.v1+json, \
            application/vnd.oci.image.manifest.v1+json, \
            application/vnd.docker.distribution.manifest.list.v2+json, \
            application/vnd.docker.distribution.manifest.v2+json";
        self.curl(&["-H", accept], path)
    }

    /// The HTTP status of a HEAD of this path below /v2/.
    pub fn head(&self, path: &str) -> String {
        let mut curl = peer("curl");
        curl.args(["-sS", "-k", "-I", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*"]);
        let status = must(curl.arg(self.url(path)));
        String::from_utf8(status).unwrap()
    }

    fn curl(&self, args: &[&str], path: &str) -> Vec<u8> {
        must(self.curl_command().args(args).arg(self.url(path)))
    }

    fn curl_command(&self) -> std::process::Command {
        let mut curl = peer("curl");
        curl.args(["-sS", "-k", "--http1.1", "--fail-with-body", "--noproxy", "*"]);
        curl
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/v2/{path}", self.host())
    }

    /// The requests so far, as `METHOD PATH STATUS`, in order.
    pub fn answered(&self) -> Vec<String> {
        let log = self.process.output();
        // 127.0.0.1 - - [date] "GET /v2/ HTTP/1.1" 200 2 "" "curl/7.88.1"
        let requests = log.lines().filter_map(|line| line.split_once("] \"")?.1.split_once("\" "));
        requests
            .filter_map(|(request, rest)| {
                let (what, _version) = request.rsplit_once(' ')?;
                Some(format!("{what} {}", rest.split(' ').next()?))
            })
            .collect()
    }

    /// The number of requests so far, for [`Registry::answered_since`].
    ///
    /// The registry logs a request after its response. This function sends a request of its own and
    /// waits for its log line, so that all earlier requests are in the log.
    pub fn mark(&self) -> usize {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let own = format!("/v2/?mark={}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.curl(&[], own.trim_start_matches("/v2/"));
        let is_own = |line: &String| line.split(' ').nth(1) == Some(&own);
        eventually("the access log", || self.answered().iter().position(is_own).map(|at| at + 1))
    }

    /// The requests since the mark, as [`Registry::answered`] returns them.
    pub fn answered_since(&self, mark: usize) -> Vec<String> {
        let end = self.mark() - 1;
        self.answered()[mark..end].to_vec()
    }

    /// The requests since the mark in a short form: `HEAD blob 404`, `POST uploads 202`,
    /// `POST mount 201`, `PUT session 201`.
    pub fn steps_since(&self, mark: usize) -> Vec<String> {
        let short = |line: &String| {
            let mut words = line.split(' ');
            let [method, target, status] = [(); 3].map(|()| words.next().unwrap_or_default());
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let what = match path.rsplit_once("/blobs/uploads/") {
                Some((_, "")) if query.contains("mount=") => "mount",
                Some((_, "")) => "uploads",
                Some(_) => "session",
                None if path.contains("/blobs/") => "blob",
                None if path.contains("/manifests/") => "manifest",
                None => path,
            };
            format!("{method} {what} {status}")
        };
        self.answered_since(mark).iter().map(short).collect()
    }

    /// The storage directory, for a test that changes files in it.
    pub fn storage(&self) -> PathBuf {
        self.process.scratch().join("storage")
    }
}

/// The `auth` section for a token server.
fn token_auth(server: &TokenServer) -> String {
    format!(
        "auth:\n  token:\n    realm: {}/token\n    service: a test\n    issuer: {ISSUER}\n    \
         rootcertbundle: {}\n",
        server.server.url(),
        server.certificate().display()
    )
}

fn config(setting: &Setting, storage: &Path, port: u16) -> String {
    let tls = setting.identity.as_ref().map_or(String::new(), |identity| {
        let [certificate, key] = [&identity.certificate, &identity.key].map(|file| file.display());
        format!("  tls:\n    certificate: {certificate}\n    key: {key}\n")
    });
    let auth = if setting.login {
        let file = storage.with_file_name("htpasswd");
        format!("auth:\n  htpasswd:\n    realm: a test\n    path: {}\n", file.display())
    } else {
        setting.auth.clone()
    };
    let schema1 =
        if setting.schema1 { "compatibility:\n  schema1:\n    enabled: true\n" } else { "" };
    let upstream = setting.upstream.as_ref();
    let proxy = upstream.map_or(String::new(), |url| format!("proxy:\n  remoteurl: {url}\n"));
    format!(
        "version: 0.1\n\
         log:\n  level: error\n  accesslog:\n    disabled: false\n\
         storage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: {}\n\
         validation:\n  manifests:\n    urls:\n      allow: [\"{}\"]\n\
         http:\n  addr: 127.0.0.1:{port}\n  secret: a test\n{tls}{proxy}{auth}{schema1}",
        storage.display(),
        setting.deletes,
        if setting.deletes { "^https://example[.]com/" } else { "^$" }
    )
}
