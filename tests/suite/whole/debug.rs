// SPDX-License-Identifier: Apache-2.0
//! regutils-debug(7): every example is run unchanged, against the fault that its section is about,
//! and must print the text that explains the fault.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;

use tests::certs::Authority;
use tests::fake::{End, Reply, Request, first};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, file, index, types};
use tests::scratch::Scratch;
use tests::tools::Run;

use super::readme::{examples, read, run};

/// The registries of the page's examples.
struct Place {
    alpine: FakeRegistry,
    mirror: FakeRegistry,
    tls: FakeRegistry,
    denied: FakeRegistry,
    dir: Scratch,
}

/// A registry with a multi-platform image as `alpine:3.20`. The upper layer of the image for amd64
/// replaces a file of the lower one.
fn with_alpine() -> FakeRegistry {
    let registry = FakeRegistry::start();
    let lower = [file("etc-release", "3.20\n"), file("second", "hidden\n")];
    let amd64 = Image::new(&[&lower, &[file("second", "x\n")]]);
    let arm64 = Image::for_platform("linux", "arm64");
    let children = [(&amd64.manifest, "linux/amd64"), (&arm64.manifest, "linux/arm64")];
    for image in [&amd64, &arm64] {
        registry.add_image("alpine", "", image);
    }
    registry.add_manifest("alpine", "3.20", &index(types::INDEX, &children));
    registry
}

/// The words that each example prints, in the order of the page, separated by `|`.
const WANT: [&str; 37] = [
    "sha256:",
    "vnd.oci.image.index.v1+json",
    "amd64|arm64",
    "sha256:",
    "\"architecture\":\"arm64\"",
    "# 200 OK|# Docker-Content-Digest: sha256:",
    "",
    "there\n",
    "status 3|404 BLOB_UNKNOWN",
    "HTTP/1.1 200 OK|Content-Length",
    "\"name\":\"second\"|\"layer\":\"sha256:",
    "",
    "7 2001-09-09 01:46 second\n{|2 2001-09-09 01:46 second\n{",
    " second\n",
    "3.20\n",
    "\"tags\":[\"3.20\"]",
    "",
    "# 200 OK",
    "same\n",
    "rate-limit: 76",
    "",
    "http://127.0.0.1:",
    "fresh\n",
    "complete\n",
    "status 1|digest differs: got sha256:|--recheck fetches the blob again",
    "",
    "whole\n",
    "tls: TLS 1.3|tls-issuer: |tls-expires: |certificate not trusted: unknown issuer|--ca-file",
    "access: yes",
    "",
    "",
    "# waiting |in the middle of the response, at byte 50",
    "blob-head: yes|blob-range: yes",
    "",
    "status 4|403 DENIED: requested access is denied",
    "upload: no: 403 DENIED",
    "status 6|missing, but named by the manifest: sha256:",
];

impl Place {
    fn new() -> Place {
        let authority = Authority::new();
        let identity = authority.issue("IP:127.0.0.1", "20200101000000Z", "20991231000000Z");
        let dir = Scratch::new();
        fs::copy(authority.certificate(), dir.join("authority.pem")).unwrap();
        let place = Place {
            alpine: with_alpine(),
            mirror: with_alpine(),
            tls: FakeRegistry::start_tls(identity.server_config()),
            denied: FakeRegistry::start(),
            dir,
        };
        place.denied.fault(|request, right| {
            if request.is_start() {
                return Reply::error(403, "DENIED", "requested access is denied");
            }
            right
        });
        let fill = "fetch-manifest -p linux/amd64 alpine:3.20 --into oci:image |
            list-blobs | fetch-blob alpine --into oci:image >/dev/null\n";
        run(fill, &place.alpine, &place.dir).status(0);
        place
    }

    /// Makes the fault that the example is about.
    fn prepare(&self, example: &str) {
        if example.contains("rate-limit") {
            self.alpine.fault(|_, right| right.header("RateLimit-Remaining", "76;w=21600"));
        } else {
            self.alpine.heal();
        }
        if example.contains("verify-digest --from oci:image >good ||") {
            // Changes one byte of the last layer.
            let damage = "blob=$(fetch-manifest oci:image | list-blobs --layers | tail -n 1 |
                sed 's/.*\"sha256:\\([0-9a-f]*\\)\".*/\\1/') &&
                printf x | dd of=image/blobs/sha256/$blob bs=1 seek=30 conv=notrunc status=none\n";
            run(damage, &self.alpine, &self.dir).ok();
        }
        if example.contains("oci:slow") {
            let is_first = first(1, Request::is_blob);
            self.alpine.fault(
                move |request, right| {
                    if is_first(request) { right.cut(50, End::Reset) } else { right }
                },
            );
        }
    }

    fn run(&self, example: &str) -> Run {
        let example = example
            .replace("mirror.example", &self.mirror.host())
            .replace("tls.example", &self.tls.host())
            .replace("denied.example", &self.denied.host())
            .replace("--idle-timeout 10", "--idle-timeout 10 --max-wait 0");
        run(&example, &self.alpine, &self.dir)
    }
}

#[test]
fn every_example_explains_its_fault() {
    let place = Place::new();
    let page = read("man/regutils-debug.7");
    let found = examples(&page);
    for (example, want) in found.iter().zip(WANT) {
        place.prepare(example);
        let run = place.run(example);
        run.status(0);
        let all = format!("{}{}", String::from_utf8_lossy(&run.stdout), run.stderr);
        for words in want.split('|') {
            assert!(all.contains(words), "\"{words}\" is not in the output of {run}");
        }
    }
    assert_eq!(found.len(), WANT.len());
}
