// SPDX-License-Identifier: Apache-2.0
//! The facts that need a repository and are found by reading: HEAD, ranges, rate limit, referrers.

use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result};
use common::json;
use common::manifest::{Content, MAX_SIZE, Manifest, Schema1};
use common::mediatype::OCI_INDEX;
use net::request::{Method, Payload, Request};
use net::response::Response;
use registry::Registry;
use registry::blob::{BlobAnswer, ByteRange};
use registry::list::Names;
use registry::manifest::ACCEPT;
use serde_json::Value;

use crate::report::{Is, Report};
use crate::{answers, pages};

/// The names of the facts.
pub(crate) const FACTS: &[&str] = &[
    "tag-list",
    "tag-pages",
    "tag-page-limit",
    "rate-limit",
    "manifest-head",
    "blob-head",
    "blob-range",
    "referrers",
    "referrers-filter",
];

/// The artifact type in the request for referrers. No artifact has it.
const NO_TYPE: &str = "application/vnd.regutils.probe";

/// The image in the repository, with the facts that were found about it.
pub(crate) struct Image {
    /// The digest of the manifest.
    digest: Option<Digest>,
    /// The smallest blob with at least two bytes, or the reason why none was found.
    pub(crate) blob: std::result::Result<Descriptor, String>,
}

/// Reports the facts. Reads the manifest `name`, or else the manifest of the first tag in the list.
///
/// # Errors
/// Local if standard output cannot be written.
pub(crate) fn probe(registry: &Registry, name: Option<&str>, report: &mut Report) -> Result<Image> {
    let first = pages::probe(registry, Names::Tags, report)?;
    let name = name.map(str::to_owned).or(first).unwrap_or_else(|| "latest".to_owned());
    let head = manifest_head(registry, &name);
    match &head {
        Ok(response) => rate_limit(response, report)?,
        Err(error) => {
            report.put("rate-limit", Is::Unknown, answers::failed(registry, error).1)?;
        }
    }
    let image = read(registry, &name);
    report_head(registry, &name, head, image.digest.is_some(), report)?;
    match &image.blob {
        Ok(blob) => {
            blob_head(registry, blob, report)?;
            blob_range(registry, blob, report)?;
        }
        Err(why) => report.unknown(&["blob-head", "blob-range"], why)?,
    }
    referrers(registry, image.digest.as_ref(), report)?;
    Ok(image)
}

fn manifest_head(registry: &Registry, name: &str) -> Result<Response> {
    let url = registry.url(&format!("manifests/{name}"))?;
    let accept = ACCEPT.join(", ");
    let headers = [("Accept", accept.as_str())];
    let head = Request::new(Method::Head, &url, &headers);
    answers::send(registry, registry.scope(), head, &mut Payload::None)
}

/// Reports the result of a HEAD of a manifest. `is_found` says whether GET finds it.
fn report_head(
    registry: &Registry,
    name: &str,
    head: Result<Response>,
    is_found: bool,
    report: &mut Report,
) -> Result<()> {
    let mut put = |is, why: &str| report.put("manifest-head", is, why);
    match head {
        Err(error) => {
            let (_, why) = answers::failed(registry, &error);
            put(Is::Unknown, &why)
        }
        Ok(response) if response.status.as_u16() == 200 => {
            let digest = response.header("docker-content-digest").unwrap_or_default();
            match digest.trim().parse::<Digest>() {
                Ok(_) => put(Is::Yes, ""),
                Err(_) => put(Is::Yes, "without a Docker-Content-Digest header"),
            }
        }
        Ok(response) if is_found => {
            let status = response.status.as_u16();
            put(Is::No, &format!("{status} for {name}, but GET finds it"))
        }
        Ok(response) => {
            let why = format!("{name}: {}", answers::words(response));
            put(Is::Unknown, &why)
        }
    }
}

/// Reports the number of requests that are left. The headers are those of Docker Hub and of the
/// draft for RateLimit headers: `76;w=21600`, where `w` is a time in seconds.
fn rate_limit(response: &Response, report: &mut Report) -> Result<()> {
    let header = |name: &str| {
        let names = [format!("ratelimit-{name}"), format!("x-ratelimit-{name}")];
        names.iter().find_map(|name| response.header(name)).map(|text| text.trim().to_owned())
    };
    let Some(remaining) = header("remaining") else {
        return report.put("rate-limit", Is::No, "no RateLimit-Remaining header");
    };
    let number = |text: &str| text.split(';').next().and_then(|n| n.trim().parse::<u64>().ok());
    let limit = header("limit");
    let of = limit.as_deref().and_then(number).map(|limit| format!("left of {limit}"));
    let window = [Some(&remaining), limit.as_ref()].into_iter().flatten();
    let window =
        window.filter_map(|text| text.split(';').find_map(|p| p.trim().strip_prefix("w=")));
    let window = window.filter_map(|text| text.parse::<u64>().ok()).next();
    let window = window.map(|seconds| format!("in {seconds} seconds"));
    let why: Vec<String> = of.into_iter().chain(window).collect();
    match number(&remaining) {
        Some(left) => report.put("rate-limit", Is::Number(left), why.join(" ")),
        None => report.put("rate-limit", Is::Text(remaining), why.join(" ")),
    }
}

/// Reads the manifest, and for an index the first image in it.
fn read(registry: &Registry, name: &str) -> Image {
    let digest = match registry.manifest(name, name.parse().ok().as_ref(), &ACCEPT) {
        Ok(remote) => {
            let blob = blob_of(registry, &remote.bytes, remote.said.as_deref());
            return Image { digest: Some(remote.digest), blob };
        }
        Err(error) => answers::failed(registry, &error).1,
    };
    Image { digest: None, blob: Err(format!("no manifest: {digest}")) }
}

fn blob_of(
    registry: &Registry,
    bytes: &[u8],
    said: Option<&str>,
) -> std::result::Result<Descriptor, String> {
    let parse = |bytes: &[u8], said: Option<&str>| {
        Manifest::parse(bytes, said, "the manifest", Schema1::Allowed)
    };
    let words = |error: Error| answers::failed(registry, &error).1;
    let mut manifest = parse(bytes, said).map_err(words)?;
    if let Content::Index { manifests } = &manifest.content {
        let Some(first) = manifests.first() else { return Err("the index is empty".to_owned()) };
        let child = registry.manifest(&first.digest.to_string(), Some(&first.digest), &ACCEPT);
        let child = child.map_err(words)?;
        manifest = parse(&child.bytes, child.said.as_deref()).map_err(words)?;
    }
    let Content::Image { config, layers } = manifest.content else {
        return Err("the manifest names no blobs with sizes".to_owned());
    };
    let blobs =
        std::iter::once(config).chain(layers.into_iter().filter(|l| l.urls().next().is_none()));
    let blobs = blobs.filter(|blob| blob.size >= 2);
    blobs.min_by_key(|blob| blob.size).ok_or_else(|| "the manifest names no blob".to_owned())
}

/// Reports whether HEAD finds a blob, and the host that it is redirected to.
fn blob_head(registry: &Registry, blob: &Descriptor, report: &mut Report) -> Result<()> {
    let url = registry.url(&format!("blobs/{}", blob.digest))?;
    let head = Request::new(Method::Head, &url, &[]);
    match answers::send(registry, registry.scope(), head, &mut Payload::None) {
        Err(error) => {
            let (_, why) = answers::failed(registry, &error);
            report.put("blob-head", Is::Unknown, why)
        }
        Ok(response) => {
            let is_own = registry.session().is_own(&response);
            let host = response.url.authority().to_owned();
            let at = if is_own { String::new() } else { format!("redirected to {host}") };
            if response.status.as_u16() == 200 {
                return report.put("blob-head", Is::Yes, at);
            }
            let (is, why) = answers::refused(response);
            report.put(
                "blob-head",
                is,
                [at, why].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(": "),
            )
        }
    }
}

/// Reports whether a range of a blob can be read.
fn blob_range(registry: &Registry, blob: &Descriptor, report: &mut Report) -> Result<()> {
    let range = ByteRange { start: 1, end: Some(2) };
    let answer =
        net::retry::with_attempts(registry.client(), || registry.blob(&blob.digest, Some(range)));
    let (is, why) = match answer {
        Ok(BlobAnswer::Bytes(bytes)) if bytes.start == 1 && bytes.length == Some(1) => {
            (Is::Yes, String::new())
        }
        Ok(BlobAnswer::Bytes(bytes)) if bytes.start == 1 => {
            (Is::No, "206 with other bytes than requested".to_owned())
        }
        Ok(BlobAnswer::Bytes(_)) => (Is::No, "the complete blob was sent".to_owned()),
        Ok(BlobAnswer::Unsatisfiable { .. }) => (Is::No, "416".to_owned()),
        Ok(BlobAnswer::WrongRange(why)) => (Is::No, why),
        Err(error) => (Is::Unknown, answers::failed(registry, &error).1),
    };
    report.put("blob-range", is, why)
}

/// Reports whether the registry has the referrers API. This API returns a list for any digest, even
/// if the registry has no manifest with that digest.
fn referrers(registry: &Registry, digest: Option<&Digest>, report: &mut Report) -> Result<()> {
    let digest = digest.cloned().unwrap_or_else(|| Algorithm::Sha256.digest(b""));
    let url = registry.url(&format!("referrers/{digest}"))?;
    let url = url.with_query(&[("artifactType", NO_TYPE)]).map_err(Error::usage)?;
    let get = Request::new(Method::Get, &url, &[("Accept", OCI_INDEX)]);
    let response = match answers::send(registry, registry.scope(), get, &mut Payload::None) {
        Ok(response) => response,
        Err(error) => {
            let (_, why) = answers::failed(registry, &error);
            return report.unknown(&["referrers", "referrers-filter"], why);
        }
    };
    if response.status.as_u16() != 200 {
        let (is, why) = answers::refused(response);
        report.put("referrers", is, why)?;
        return report.unknown(&["referrers-filter"], "there is no referrers API");
    }
    let filters = response.header("oci-filters-applied").unwrap_or_default().to_owned();
    let said = response.header("content-type").unwrap_or_default().to_owned();
    if !is_list(response) {
        report.put("referrers", Is::No, "200 without a list of manifests")?;
        return report.unknown(&["referrers-filter"], "there is no referrers API");
    }
    let is_typed = said.trim() == OCI_INDEX;
    let why = if is_typed { String::new() } else { format!("with the Content-Type \"{said}\"") };
    report.put("referrers", Is::Yes, why)?;
    let is_applied =
        filters.split(',').any(|name| name.trim().eq_ignore_ascii_case("artifactType"));
    if is_applied {
        report.put("referrers-filter", Is::Yes, "")
    } else {
        report.put("referrers-filter", Is::No, "no OCI-Filters-Applied header")
    }
}

/// Whether the body of a response is an index, whatever its entries.
fn is_list(response: Response) -> bool {
    let body = response.read(MAX_SIZE).ok().flatten();
    let document = body.and_then(|body| json::parse_object(&body).ok());
    document.is_some_and(|document| {
        matches!(document.get("manifests"), Some(Value::Array(_) | Value::Null))
    })
}
