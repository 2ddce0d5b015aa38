// SPDX-License-Identifier: Apache-2.0
//! The facts that need requests that write: mounts, uploads in parts, deletes. Nothing stays in the
//! registry: an upload is cancelled, a blob is mounted only into a repository that has it already,
//! and only names that do not exist are deleted.

use std::hash::{BuildHasher, Hasher, RandomState};

use common::digest::Algorithm;
use common::error::{Error, Result};
use common::reference::Repository;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;
use registry::Registry;
use registry::manifest::ACCEPT;

use crate::answers;
use crate::report::{Is, Report};
use crate::repository::Image;
use crate::upload::{Started, Uploads};

/// The names of the facts.
pub(crate) const FACTS: &[&str] =
    &["mount", "upload", "least-chunk", "chunked-upload", "upload-cancel", "untag", "deletes"];

/// The largest part that is sent, in bytes. If the registry requires larger parts, none is sent.
const MAX_PART: u64 = 16 << 20;

/// Reports the facts, with requests to the repository of `registry`. `image` is an image in the
/// repository `from`.
///
/// # Errors
/// Local if standard output cannot be written, or if the signal handlers cannot be installed.
pub(crate) fn probe(
    registry: Registry,
    from: &Repository,
    image: &Image,
    report: &mut Report,
) -> Result<()> {
    let uploads = Uploads::new(registry)?;
    mount(&uploads, from, image, report)?;
    upload(&uploads, report)?;
    let random = RandomState::new().build_hasher().finish();
    let tag = format!("regutils-probe-{random:016x}");
    delete(uploads.registry(), "untag", &tag, "tag", report)?;
    let digest = Algorithm::Sha256.digest(tag.as_bytes()).to_string();
    delete(uploads.registry(), "deletes", &digest, "digest", report)
}

/// Reports whether a blob can be mounted. Only a blob that the repository has is mounted, so
/// nothing changes.
fn mount(uploads: &Uploads, from: &Repository, image: &Image, report: &mut Report) -> Result<()> {
    let registry = uploads.registry();
    let to = registry.repository();
    let mut put = |is, why: String| report.put("mount", is, why);
    let digest = match &image.blob {
        Ok(blob) => &blob.digest,
        Err(why) => return put(Is::Unknown, format!("no blob to mount: {why}")),
    };
    match with_attempts(registry.client(), || registry.has_blob(digest, None)) {
        Ok(true) => {}
        Ok(false) => return put(Is::Unknown, format!("a mount would add a blob to {to}")),
        Err(error) => return put(Is::Unknown, answers::failed(registry, &error).1),
    }
    let text = digest.to_string();
    let url = registry.url("blobs/uploads/")?;
    let url = url.with_query(&[("mount", &text), ("from", from.path())]).map_err(Error::usage)?;
    let own = registry.scope();
    let scope = if from == to { own.clone() } else { own.and_pull(from.path()) };
    match uploads.start(&scope, &url) {
        Err(error) => {
            let (is, why) = answers::failed(registry, &error);
            put(is, why)
        }
        Ok(Started::Open(_)) => {
            // The result of cancelling is reported for the other upload.
            let _ = uploads.cancel();
            put(Is::No, "an upload was started instead".to_owned())
        }
        Ok(Started::Other(response)) if response.status.as_u16() == 201 => {
            let why = if from == to { "from the same repository" } else { "" };
            put(Is::Yes, why.to_owned())
        }
        Ok(Started::Other(response)) => {
            let (is, why) = answers::refused(response);
            put(is, why)
        }
    }
}

/// Reports the facts about an upload: opens a session, sends parts and cancels it.
fn upload(uploads: &Uploads, report: &mut Report) -> Result<()> {
    let registry = uploads.registry();
    let url = registry.url("blobs/uploads/")?;
    let (is, why) = match uploads.start(registry.scope(), &url) {
        Ok(Started::Open(response)) => return in_session(uploads, &response, report),
        Ok(Started::Other(response)) => answers::refused(response),
        Err(error) => answers::failed(registry, &error),
    };
    report.put("upload", is, why)?;
    report.unknown(&["least-chunk", "chunked-upload", "upload-cancel"], "no upload was started")
}

/// Reports the facts about an open session, and cancels it.
fn in_session(uploads: &Uploads, opened: &Response, report: &mut Report) -> Result<()> {
    let least = opened.header("oci-chunk-min-length").map(|text| text.trim().to_owned());
    let length = least.as_deref().and_then(|text| text.parse::<u64>().ok()).unwrap_or(1).max(1);
    let (is_chunked, why) = if length <= MAX_PART {
        send_parts(uploads, length)
    } else {
        (Is::Unknown, format!("parts of more than {MAX_PART} bytes are not sent"))
    };
    // The session is cancelled before anything can fail.
    let cancelled = uploads.cancel();
    report.put("upload", Is::Yes, "")?;
    match least {
        None => report.put("least-chunk", Is::No, "no OCI-Chunk-Min-Length header")?,
        Some(text) => match text.parse() {
            Ok(bytes) => report.put("least-chunk", Is::Number(bytes), "bytes")?,
            Err(_) => report.put("least-chunk", Is::Text(text), "not a number")?,
        },
    }
    report.put("chunked-upload", is_chunked, why)?;
    let (is, why) = match cancelled {
        Err(error) => answers::failed(uploads.registry(), &error),
        Ok(response) if response.status.is_success() => (Is::Yes, String::new()),
        Ok(response) => answers::refused(response),
    };
    report.put("upload-cancel", is, why)
}

/// Sends two parts of `length` zeros, because some registries accept only one part.
fn send_parts(uploads: &Uploads, length: u64) -> (Is, String) {
    let zeros: Vec<u8> = std::iter::repeat_n(0, length as usize).collect();
    for (offset, number) in [(0, "first"), (length, "second")] {
        match uploads.send_part(offset, &zeros) {
            Err(error) => return answers::failed(uploads.registry(), &error),
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
