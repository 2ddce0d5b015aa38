// SPDX-License-Identifier: Apache-2.0
//! Servers that lose the end of every response, or whose content changes during a run; and a
//! machine that sleeps during a download.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tests::commands::{fetch_blob, fetch_manifest};
use tests::fake::{End, Reply, Request};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, index, read_blob, types};
use tests::scratch::Scratch;
use tests::tools::Signal;

const SIZE: u64 = 500_000;

/// Each response lacks its last byte.
#[test]
fn losing_the_last_byte_each_time_is_progress_only_once() {
    for has_ranges in [true, false] {
        let registry = FakeRegistry::start();
        let blob = registry.add_noise("app", SIZE as usize, 1);
        let bytes: Arc<[u8]> = blob.bytes.clone().into();
        registry.fault(move |request, right| {
            let start = request.range().map_or(0, |range| range.start);
            if has_ranges {
                right.cut(SIZE - 1 - start, End::Fin)
            } else {
                Reply::ok(&bytes).cut(SIZE - 1, End::Fin)
            }
        });
        let scratch = Scratch::new();
        let run = fetch_blob().args([&registry.repo("app"), "--into", "oci:l"]);
        let run = run.stdin(blob.line()).dir(scratch.path()).run();
        run.fails(5, "").stdout("");
        assert_eq!(read_blob(&scratch.join("l"), &blob.digest), None);
        let requests = registry.blob_requests();
        assert!(requests.len() <= 6, "{has_ranges}: {} requests", requests.len());
        let whole = requests.iter().filter(|request| request.range().is_none()).count();
        assert!(!has_ranges || whole == 1, "{whole} requests for the whole blob");
    }
}

/// At each request the tag names another index. All blobs of one run belong to one of these
/// indexes.
#[test]
fn a_tag_that_changes_during_a_pull_gives_one_image() {
    let registry = FakeRegistry::start();
    let images = [1, 2].map(|seed| Image::big(1000, seed));
    let tops = images.each_ref().map(|image| {
        registry.add_image("app", "", image);
        index(types::INDEX, &[(&image.manifest, "linux/amd64")])
    });
    for top in &tops {
        registry.add_manifest("app", "", top);
    }
    let bodies = tops.clone();
    registry.fault(move |request: &Request, right| {
        if request.path.ends_with("/manifests/1") {
            let top = &bodies[request.earlier % 2];
            Reply::new(200).header("Content-Type", types::INDEX).body(&top.bytes)
        } else {
            right
        }
    });
    let reference = format!("{}:1", registry.repo("app"));
    for image in &images {
        let scratch = Scratch::new();
        let args = ["-p", "linux/amd64", &reference, "--into", "oci:l"];
        let run = fetch_manifest().args(args).dir(scratch.path()).run();
        run.ok().stdout(&image.manifest.bytes);
    }
    let by_tag = |request: &&Request| request.path.ends_with("/manifests/1");
    assert_eq!(registry.server.requests().iter().filter(by_tag).count(), 2);
}

/// While the process is stopped, its connection is closed.
#[test]
fn a_stopped_download_resumes_when_it_continues() {
    let registry = FakeRegistry::start();
    let blob = registry.add_noise("app", SIZE as usize, 1);
    registry
        .fault(|request, right| if request.earlier == 0 { right.stall(200_000) } else { right });
    // A forwarder that can close the client's connections.
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("{}/app", front.local_addr().unwrap());
    let clients: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let (kept, host) = (Arc::clone(&clients), registry.host());
    std::thread::spawn(move || {
        for client in front.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&host).unwrap();
            kept.lock().unwrap().push(client.try_clone().unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    let running = fetch_blob().args([&place, &blob.digest]).start();
    registry.server.wait_for_stalls(1);
    running.signal(Signal::STOP);
    for client in clients.lock().unwrap().iter() {
        client.shutdown(Shutdown::Both).unwrap();
    }
    running.signal(Signal::CONT);
    running.wait().ok().stdout(&blob.bytes);
    assert_eq!(registry.blob_requests().len(), 2);
}
