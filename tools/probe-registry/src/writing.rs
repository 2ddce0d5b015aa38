// SPDX-License-Identifier: Apache-2.0
//! The facts that need requests that write: mounts, uploads in parts, deletes. Nothing stays in the
//! registry: an upload is cancelled, a blob is mounted only where it is already, and only names are
//! deleted that do not exist.

use std::hash::{BuildHasher, Hasher, RandomState};

use common::digest::Algorithm;
use common::error::Result;
use common::reference::Repository;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;
use registry::Registry;
use registry::auth::Scope;
use registry::manifest::ACCEPT;

use crate::answers;
use crate::report::{Is, Report};
use crate::repository::Image;
use crate::upload::Upload;

/// The names of the facts.
pub(crate) const FACTS: &[&str] =
    &["mount", "upload", "least-chunk", "chunked-upload", "upload-cancel", "untag", "deletes"];

/// The largest part that is sent, in bytes. If the registry requires larger parts, none is sent.
const MAX_PART: u64 = 16 << 20;

/// Reports the facts, with requests to the repository of `registry`. `image` is an image in the
/// repository `from`.
///
/// # Errors
/// Local if standard output cannot be written.
pub(crate) fn probe(
    registry: &Registry,
    from: &Repository,
    image: &Image,
    report: &mut Report,
) -> Result<()> {
    mount(registry, from, image, report)?;
    upload(registry, report)?;
    let random = RandomState::new().build_hasher().finish();
    let tag = format!("regutils-probe-{random:016x}");
    delete(registry, "untag", &tag, "tag", report)?;
    let digest = Algorithm::Sha256.digest(tag.as_bytes()).to_string();
    delete(registry, "deletes", &digest, "digest", report)
}

/// Reports whether a blob can be mounted. Only a blob that the repository has is mounted, so nothing
/// changes.
fn mount(registry: &Registry, from: &Repository, image: &Image, report: &mut Report) -> Result<()> {
    let mut put = |is, why: String| report.put("mount", is, why);
    let digest = match &image.blob {
        Ok(blob) => &blob.digest,
        Err(why) => return put(Is::Unknown, format!("no blob to mount: {why}")),
    };
    let to = registry.repository();
    match with_attempts(registry.client(), || registry.has_blob(digest, None)) {
        Ok(true) => {}
        Ok(false) => return put(Is::Unknown, format!("a mount would add a blob to {to}")),
        Err(error) => return put(Is::Unknown, answers::failed(registry, &error).1),
    }
    let url = registry.url("blobs/uploads/")?;
    let query = [("mount", digest.to_string()), ("from", from.path().to_owned())];
    let query: Vec<(&str, &str)> =
        query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let url = url.with_query(&query).map_err(common::error::Error::usage)?;
    let scope =
        if from == to { registry.scope().clone() } else { registry.scope().and_pull(from.path()) };
    match start(registry, &scope, &url) {
        Err(error) => {
            let (is, why) = answers::failed(registry, &error);
            put(is, why)
        }
        Ok(response) if response.status.as_u16() == 201 && from == to => {
            put(Is::Yes, "from the same repository".to_owned())
        }
        Ok(response) if response.status.as_u16() == 201 => put(Is::Yes, String::new()),
        Ok(response) if response.status.as_u16() == 202 => {
            if let Ok(upload) = Upload::opened(registry, &response) {
                // The result of cancelling is reported for the other upload.
                let _ = upload.cancel(registry);
            }
            put(Is::No, "an upload was started instead".to_owned())
        }
        Ok(response) => {
            let (is, why) = answers::refused(response);
            put(is, why)
        }
    }
}

/// A POST without a body.
fn start(registry: &Registry, scope: &Scope, url: &net::url::Url) -> Result<Response> {
    let post = Request::new(Method::Post, url, &[]);
    answers::send_once(registry, scope, post, &mut Payload::Bytes(&[]))
}

/// Reports the facts about an upload: opens a session, sends parts and cancels it.
fn upload(registry: &Registry, report: &mut Report) -> Result<()> {
    let others = ["least-chunk", "chunked-upload", "upload-cancel"];
    let url = registry.url("blobs/uploads/")?;
    let (is, why) = match start(registry, registry.scope(), &url) {
        Err(error) => answers::failed(registry, &error),
        Ok(response) if response.status.as_u16() != 202 => answers::refused(response),
        Ok(response) => match Upload::opened(registry, &response) {
            Err(error) => (Is::Unknown, error.to_string()),
            Ok(upload) => {
                report.put("upload", Is::Yes, "")?;
                return in_session(registry, upload, &response, report);
            }
        },
    };
    report.put("upload", is, why)?;
    report.unknown(&others, "no upload was started")
}

fn in_session(
    registry: &Registry,
    mut upload: Upload,
    opened: &Response,
    report: &mut Report,
) -> Result<()> {
    let least = opened.header("oci-chunk-min-length").map(|text| text.trim().to_owned());
    let part = match least.as_deref().map(str::parse::<u64>) {
        None => Some(1),
        Some(Ok(least)) => Some(least.max(1)).filter(|least| *least <= MAX_PART),
        Some(Err(_)) => Some(1),
    };
    let parts = match part {
        None => (Is::Unknown, format!("parts of more than {MAX_PART} bytes are not sent")),
        Some(length) => send_parts(registry, &mut upload, length),
    };
    // The session is cancelled before anything can fail.
    let cancelled = upload.cancel(registry);
    match least {
        None => report.put("least-chunk", Is::No, "no OCI-Chunk-Min-Length header")?,
        Some(text) => match text.parse() {
            Ok(bytes) => report.put("least-chunk", Is::Number(bytes), "bytes")?,
            Err(_) => report.put("least-chunk", Is::Text(text), "not a number")?,
        },
    }
    report.put("chunked-upload", parts.0, parts.1)?;
    let (is, why) = match cancelled {
        Err(error) => answers::failed(registry, &error),
        Ok(response) if response.status.is_success() => (Is::Yes, String::new()),
        Ok(response) => answers::refused(response),
    };
    report.put("upload-cancel", is, why)
}

/// Sends two parts: some registries accept only one.
fn send_parts(registry: &Registry, upload: &mut Upload, length: u64) -> (Is, String) {
    for number in ["first", "second"] {
        match upload.send_part(registry, length) {
            Err(error) => return answers::failed(registry, &error),
            Ok(response) if matches!(response.status.as_u16(), 201 | 202 | 204) => {}
            Ok(response) => {
                let (is, why) = answers::refused(response);
                return (is, format!("the {number} part of {length} bytes: {why}"));
            }
        }
    }
    (Is::Yes, String::new())
}

/// Reports whether a manifest can be deleted by this kind of name. The name must not exist.
fn delete(
    registry: &Registry,
    fact: &str,
    name: &str,
    kind: &str,
    report: &mut Report,
) -> Result<()> {
    let mut put = |is, why: String| report.put(fact, is, why);
    let url = registry.url(&format!("manifests/{name}"))?;
    let accept = ACCEPT.join(", ");
    let headers = [("Accept", accept.as_str())];
    let send = |method| {
        let request = Request::new(method, &url, &headers);
        answers::send_once(registry, registry.scope(), request, &mut Payload::None)
    };
    match send(Method::Head) {
        Ok(response) if response.status.as_u16() == 404 => {}
        Ok(response) => {
            let status = response.status.as_u16();
            return put(Is::Unknown, format!("HEAD of a {kind} that does not exist: {status}"));
        }
        Err(error) => return put(Is::Unknown, answers::failed(registry, &error).1),
    }
    let response = match send(Method::Delete) {
        Ok(response) => response,
        Err(error) => {
            let (is, why) = answers::failed(registry, &error);
            return put(is, why);
        }
    };
    let status = response.status.as_u16();
    let of = format!("for a {kind} that does not exist");
    if response.status.is_success() {
        return put(Is::Unknown, format!("{status} {of}"));
    }
    match status {
        404 => put(Is::Unknown, format!("not refused {of}: {}", answers::words(response))),
        _ => {
            let (is, why) = answers::refused(response);
            put(is, why)
        }
    }
}
