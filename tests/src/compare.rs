// SPDX-License-Identifier: Apache-2.0
//! Sends the same requests to the scripted registry and to real registries, and compares the parts
//! of the responses that matter to a client, step by step.

use serde_json::Value;

use crate::curl::{Answer, curl};
use crate::fake_registry::{FakeRegistry, Settings};
use crate::images::Image;
use crate::logins::{PASSWORD, USER};
use crate::registry::Registry;
use crate::scratch::Scratch;

/// The headers that are compared, if a response has them.
const HEADERS: [&str; 12] = [
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Docker-Content-Digest",
    "Docker-Upload-UUID",
    "ETag",
    "Link",
    "Location",
    "OCI-Subject",
    "Range",
    "WWW-Authenticate",
];

/// The real registries that respond as the scripted one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Like {
    Both,
    Second,
    Third,
    Neither,
}

/// A request, and the real registries that respond to it as the scripted one does.
#[derive(Clone, Debug)]
pub struct Step {
    method: String,
    path: String,
    headers: Vec<String>,
    body: Option<Vec<u8>>,
    like: Like,
}

/// A request. In the path, `{location}` is the last Location that a response had, and `{first}` the
/// first one. A path that begins with a slash is complete, any other path is below `/v2/`. In a
/// header, `{token SCOPE}` is a token for this scope, from the token server that the last challenge
/// names.
pub fn ask(method: &str, path: &str) -> Step {
    let [method, path] = [method, path].map(str::to_owned);
    Step { method, path, headers: Vec::new(), body: None, like: Like::Both }
}

impl Step {
    /// Adds a header.
    #[must_use]
    pub fn with(mut self, header: &str) -> Step {
        self.headers.push(header.to_owned());
        self
    }

    /// Adds a body.
    #[must_use]
    pub fn body(mut self, bytes: impl AsRef<[u8]>) -> Step {
        self.body = Some(bytes.as_ref().to_vec());
        self
    }

    /// Only version 2.8 responds as the scripted registry does.
    #[must_use]
    pub fn as_version_2_8(mut self) -> Step {
        self.like = Like::Second;
        self
    }

    /// Only version 3 responds as the scripted registry does.
    #[must_use]
    pub fn as_version_3(mut self) -> Step {
        self.like = Like::Third;
        self
    }

    /// The scripted registry differs from both on purpose, for this reason.
    #[must_use]
    pub fn on_purpose(mut self, reason: &str) -> Step {
        assert!(!reason.is_empty());
        self.like = Like::Neither;
        self
    }
}

/// A registry that receives the requests, with the state that the requests of one situation share.
struct Site {
    host: String,
    scratch: Scratch,
    first: Option<String>,
    location: Option<String>,
    realm: Option<String>,
}

impl Site {
    fn new(host: String) -> Site {
        Site { host, scratch: Scratch::new(), first: None, location: None, realm: None }
    }

    /// A header in which `{token SCOPE}` is replaced by a token.
    fn header(&self, header: &str) -> String {
        let Some((before, scope)) = header.split_once("{token ") else { return header.to_owned() };
        let realm = self.realm.as_deref().expect("no challenge yet");
        let url = format!("{realm}?service=a%20test&scope={}", scope.trim_end_matches('}'));
        let answer = curl(&["-u", &format!("{USER}:{PASSWORD}"), &url]);
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        format!("{before}{}", document["token"].as_str().unwrap())
    }

    /// Sends a request and returns the parts of the response that matter.
    fn ask(&mut self, step: &Step) -> String {
        let last = self.location.as_deref().unwrap_or("no Location");
        let first = self.first.as_deref().unwrap_or("no Location");
        let path = step.path.replace("{location}", last).replace("{first}", first);
        let url = match path.strip_prefix('/') {
            Some(path) => format!("http://{}/{path}", self.host),
            None if path.starts_with("http:") => path,
            None => format!("http://{}/v2/{path}", self.host),
        };
        let mut args = vec!["-X".to_owned(), step.method.clone()];
        if step.method == "HEAD" {
            args = vec!["-I".to_owned()];
        }
        for header in &step.headers {
            args.extend(["-H".to_owned(), self.header(header)]);
        }
        if let Some(body) = &step.body {
            let file = self.scratch.write("body", body);
            args.extend(["--data-binary".to_owned(), format!("@{}", file.display())]);
            if !step.headers.iter().any(|header| header.starts_with("Content-Type")) {
                args.extend(["-H".to_owned(), "Content-Type: application/octet-stream".to_owned()]);
            }
        }
        args.push(url);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let answer = curl(&args);
        if let Some(location) = answer.header("location") {
            self.location = Some(location.to_owned());
            self.first.get_or_insert_with(|| location.to_owned());
        }
        let challenge = answer.header("www-authenticate").and_then(|c| c.split_once("realm=\""));
        if let Some((_, rest)) = challenge {
            self.realm = rest.split_once('"').map(|(realm, _)| realm.to_owned());
        }
        self.shown(&answer)
    }

    /// The parts of a response that matter, in one line.
    fn shown(&self, answer: &Answer) -> String {
        let mut line = answer.status().to_owned();
        let document: Option<Value> = serde_json::from_str(&answer.body).ok();
        let errors = document.as_ref().and_then(|document| document["errors"].as_array());
        for name in HEADERS {
            let Some(value) = answer.header(name) else { continue };
            let value = match name {
                "Location" => self.location_form(value),
                "Docker-Upload-UUID" => "ID".to_owned(),
                // The texts of errors and the layout of JSON may differ.
                "Content-Length" if document.is_some() || answer.status().starts_with('4') => {
                    continue;
                }
                "WWW-Authenticate" => self.challenge_form(value),
                // Version 2.8 adds a charset to the type of JSON.
                "Content-Type" => value.replace("json; charset=utf-8", "json"),
                _ => value.replace(&self.host, "HOST"),
            };
            line.push_str(&format!("; {name}: {value}"));
        }
        match (errors, &document) {
            (Some(errors), _) => {
                for error in errors {
                    let detail = &error["detail"];
                    // Other details are for human readers.
                    let digest = detail.as_str().filter(|text| text.starts_with("sha256:"));
                    line.push_str(&format!("; {} {}", error["code"], digest.unwrap_or_default()));
                }
            }
            (None, Some(document)) => line.push_str(&format!("; {document}")),
            (None, None) => line.push_str(&format!("; {}", answer.body.escape_debug())),
        }
        line
    }

    /// A challenge without the values of realm and service. Scopes and their actions are sorted,
    /// because Distribution sends them in no fixed order.
    fn challenge_form(&self, challenge: &str) -> String {
        let mut form = String::new();
        // Every second part is a quoted value.
        let mut key = "";
        for (number, part) in challenge.split('"').enumerate() {
            if number % 2 == 0 {
                key = part;
                form.push_str(part);
                continue;
            }
            let scopes = sorted(part.split(' ').map(|scope| match scope.rsplit_once(':') {
                Some((name, actions)) => {
                    let actions = sorted(actions.split(',').map(str::to_owned));
                    format!("{name}:{}", actions.join(","))
                }
                None => scope.to_owned(),
            }));
            let scopes = scopes.join(" ");
            let value = match key.trim_start_matches(',') {
                "Bearer realm=" => "REALM",
                "service=" => "SERVICE",
                "scope=" => &scopes,
                _ => part,
            };
            form.push_str(&format!("\"{value}\""));
        }
        form
    }

    /// A Location without the parts that differ between two registries or two uploads.
    fn location_form(&self, location: &str) -> String {
        let location = location.replace(&self.host, "HOST");
        let Some((before, after)) = location.split_once("/blobs/uploads/") else { return location };
        let query = if after.contains("?_state=") { "?_state=STATE" } else { "" };
        format!("{before}/blobs/uploads/ID{query}")
    }
}

fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut items: Vec<String> = items.collect();
    items.sort_unstable();
    items
}

/// Sends the steps to a scripted registry and to both real ones, all newly started. The scripted
/// one must respond as each step says.
///
/// # Panics
/// When responses that must be equal differ, or when responses are equal although the step says
/// that they differ.
#[track_caller]
pub fn compare(steps: &[Step]) {
    compare_with(|_| {}, steps);
}

/// Like [`compare`], for a scripted registry with other settings.
///
/// # Panics
/// As [`compare`].
#[track_caller]
pub fn compare_with(change: impl FnOnce(&mut Settings), steps: &[Step]) {
    let double = FakeRegistry::start();
    double.set(change);
    let [second, third] = [Registry::with_deletes(), Registry::version_3()];
    compare_at([double.host(), second.host(), third.host()], steps);
}

/// Like [`compare`], for running registries: the scripted one, version 2.8, and version 3.
///
/// # Panics
/// As [`compare`].
#[track_caller]
pub fn compare_at(hosts: [String; 3], steps: &[Step]) {
    let mut sites = hosts.map(Site::new);
    let mut wrong = String::new();
    for step in steps {
        let [double, second, third] = sites.each_mut().map(|site| site.ask(step));
        let like = match (double == second, double == third) {
            (true, true) => Like::Both,
            (true, false) => Like::Second,
            (false, true) => Like::Third,
            (false, false) => Like::Neither,
        };
        if like != step.like {
            wrong.push_str(&format!(
                "{} {} {:?}: wanted {:?}\n  double: {double}\n  2.8:    {second}\n  3:      {third}\n",
                step.method, step.path, step.headers, step.like
            ));
        }
    }
    assert!(wrong.is_empty(), "the scripted registry differs from the real ones:\n{wrong}");
}

/// The steps that push an image to `app`, under a tag.
pub fn push(image: &Image, tag: &str) -> Vec<Step> {
    push_to("app", image, tag)
}

/// The steps that push an image to a repository, under a tag.
pub fn push_to(repository: &str, image: &Image, tag: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for blob in image.blobs() {
        steps.push(ask("POST", &format!("{repository}/blobs/uploads/")));
        steps.push(ask("PUT", &format!("{{location}}&digest={}", blob.digest)).body(&blob.bytes));
    }
    let manifest = &image.manifest;
    steps.push(
        ask("PUT", &format!("{repository}/manifests/{tag}"))
            .with(&format!("Content-Type: {}", manifest.media_type))
            .body(&manifest.bytes),
    );
    steps
}
