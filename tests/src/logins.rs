// SPDX-License-Identifier: Apache-2.0
//! Credentials as users store them, and scripted registries that require them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fake::{Reply, Request};
use crate::fake_registry::FakeRegistry;
use crate::images::Image;
use crate::scratch::Scratch;
use crate::tools::{Command, Run, bin, tool};

/// The user name that the registries accept.
pub const USER: &str = "me";

/// The password that the registries accept.
pub const PASSWORD: &str = "open sesame";

/// base64 with its padding.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The Authorization header of a user name and password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}")))
}

/// The entry that docker stores for a user name and password.
pub fn login(user: &str, password: &str) -> Value {
    json!({"auth": base64(format!("{user}:{password}"))})
}

/// A document with this entry for this key.
pub fn auths(key: &str, entry: &Value) -> Value {
    json!({"auths": {key: entry}})
}

/// Writes a file that only its owner may read.
pub fn keep(scratch: &Scratch, name: &str, document: &Value) {
    scratch.write(name, document.to_string());
    scratch.chmod(name, 0o600);
}

/// Makes a credential helper `docker-credential-NAME` from a script for sh, in the directory `bin`.
pub fn helper(scratch: &Scratch, name: &str, script: &str) {
    scratch.script(format!("bin/docker-credential-{name}"), script);
}

/// Whether a request has the accepted user name and password.
pub fn has_login(request: &Request) -> bool {
    request.header("authorization") == Some(&basic(USER, PASSWORD))
}

/// A registry with an image as `app:1` that requires the user name and password, with Basic
/// authentication.
pub fn registry_with_login() -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", &Image::small());
    registry.fault(|request, right| {
        if has_login(request) {
            right
        } else {
            Reply::error(401, "UNAUTHORIZED", "authentication required")
                .header("WWW-Authenticate", "Basic realm=\"a test\"")
        }
    });
    registry
}

/// A registry with an image as `app:1` whose token server requires the user name and password.
pub fn registry_with_tokens() -> FakeRegistry {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    registry.fault(|request, right| {
        if request.path == "/token" && !has_login(request) {
            Reply::error(401, "UNAUTHORIZED", "incorrect username or password")
        } else {
            right
        }
    });
    registry
}

/// fetch-manifest of `app:1`, with the scratch directory as `$HOME` and its `bin` on the PATH.
pub fn fetch(registry: &FakeRegistry, scratch: &Scratch) -> Command {
    let reference = format!("{}:1", registry.repo("app"));
    at_home(tool("fetch-manifest").args(["--max-wait", "0", &reference]), scratch.path())
}

/// The same command with this directory as `$HOME` and its `bin` on the PATH.
#[must_use]
pub fn at_home(command: Command, home: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{}:{path}", home.join("bin").display(), bin().display());
    command.env("HOME", home).env("PATH", path)
}

/// Checks that the run got the image and wrote nothing on stderr.
#[track_caller]
pub fn let_in(run: &Run) {
    run.ok().stdout(&Image::small().manifest.bytes);
}
