// SPDX-License-Identifier: Apache-2.0
//! The line of progress in tmux, compared with the files in `screens`. A registry or a pipe stalls
//! at a byte, so that only the rate and the time in the line can change. These are masked.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::io::Read as _;

use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, noise, types, write_image};
use tests::tmux::Tmux;

/// A registry with two blobs, of which the second stalls after 1.5 MB of 2 MB. A file in the
/// terminal's directory has the lines of both blobs.
fn two_blobs(terminal: &Tmux) -> FakeRegistry {
    let registry = FakeRegistry::start();
    let blobs = [400_000, 2_000_000].map(|size| Blob::new(types::TAR, noise(size, 1)));
    blobs.iter().for_each(|blob| drop(registry.add_blob("app", blob.bytes.clone())));
    terminal.dir.write("lines", blobs.iter().map(Blob::line).collect::<String>());
    let slow = blobs[1].digest.clone();
    registry.fault(
        move |request, right| {
            if request.target.contains(&slow) { right.stall(1_500_000) } else { right }
        },
    );
    registry
}

/// A registry with an image as `app:1`. The transfer of its first layer stalls.
fn slow_image(image: &Image) -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.add_image("app", "1", image);
    let slow = image.layers[0].digest.clone();
    registry.fault(
        move |request, right| {
            if request.target.contains(&slow) { right.stall(20_000) } else { right }
        },
    );
    registry
}

/// A fetch into a layout, whose lines go to a file.
fn fetch(registry: &FakeRegistry) -> String {
    let repository = registry.repo("app");
    format!("fetch-blob --plain-http {repository} --into oci:l <lines >done; echo status $?")
}

#[test]
fn the_line_has_a_bar_at_80_columns_and_leaves_nothing_behind() {
    let terminal = Tmux::start(80, 10);
    let registry = two_blobs(&terminal);
    terminal.go(&fetch(&registry));
    terminal.shows_file("fetch-80.txt");
    registry.server.release();
    terminal.shows("$ ./go\nstatus 0\n$");
}

#[test]
fn the_line_fits_into_40_columns() {
    let terminal = Tmux::start(40, 10);
    let registry = two_blobs(&terminal);
    terminal.go(&fetch(&registry));
    terminal.shows_file("fetch-40.txt");
    registry.server.release();
    terminal.shows("$ ./go\nstatus 0\n$");
}

#[test]
fn the_line_follows_the_width_of_the_terminal() {
    let terminal = Tmux::start(80, 10);
    let registry = two_blobs(&terminal);
    terminal.go(&fetch(&registry));
    terminal.shows_file("fetch-80.txt");
    terminal.resize(40);
    terminal.shows_file("fetch-40.txt");
    terminal.resize(80);
    terminal.shows_file("fetch-80.txt");
    registry.server.release();
    terminal.shows("$ ./go\nstatus 0\n$");
}

/// stdout is the terminal too: the first blob's row appears above the line of progress.
#[test]
fn rows_and_messages_appear_above_the_line() {
    let terminal = Tmux::start(80, 10);
    let registry = two_blobs(&terminal);
    let repository = registry.repo("app");
    terminal.go(&format!("fetch-blob --plain-http {repository} --into oci:l <lines"));
    terminal.shows_file("rows-above.txt");
    registry.server.release();
    terminal.shows_file("rows-after.txt");
}

#[test]
fn one_tool_of_a_pipeline_draws() {
    let terminal = Tmux::start(80, 10);
    let registry = slow_image(&Image::small());
    let repository = registry.repo("app");
    terminal.go(&format!(
        "fetch-manifest --plain-http {repository}:1 --into oci:l |
         list-blobs | fetch-blob --plain-http {repository} --into oci:l |
         unpack-layer --from oci:l --no-same-owner rootfs >done; echo status $?"
    ));
    terminal.shows_file("pipeline-80.txt");
    registry.server.release();
    terminal.shows("$ ./go\nstatus 0\n$");
}

/// Two tools of a pipeline draw the line of progress one after the other. fetch-blob waits for the
/// registry, and then unpack-layer waits in the same pipeline for the last line.
#[test]
fn the_next_tool_of_a_pipeline_draws_when_the_first_one_ends() {
    let terminal = Tmux::start(80, 10);
    let image = Image::small();
    let registry = slow_image(&image);
    terminal.dir.write("config", image.config.line());
    terminal.dir.write("layers", image.layers.iter().map(Blob::line).collect::<String>());
    let repository = registry.repo("app");
    terminal.go(&format!(
        "mkfifo last
         fetch-blob --plain-http {repository} --into oci:l <config >done
         (fetch-blob --plain-http {repository} --into oci:l <layers; cat last) |
         unpack-layer --from oci:l --no-same-owner rootfs >done; echo status $?"
    ));
    terminal.shows_file("pipeline-80.txt");
    registry.server.release();
    terminal.shows_file("handover-80.txt");
    std::fs::write(terminal.dir.join("last"), image.config.line()).unwrap();
    terminal.shows("$ ./go\nstatus 0\n$");
}

#[test]
fn two_jobs_on_a_terminal_share_one_line() {
    let terminal = Tmux::start(80, 10);
    let registry = two_blobs(&terminal);
    let repository = registry.repo("app");
    let job =
        |layout| format!("fetch-blob --plain-http {repository} --into oci:{layout} <lines >x");
    terminal.go(&format!("{} & {}; wait; echo both", job("a"), job("b")));
    registry.server.wait_for_stalls(2);
    terminal.shows_file("fetch-80.txt");
    registry.server.release();
    terminal.shows("$ ./go\nboth\n$");
}

#[test]
fn an_interrupt_clears_the_line() {
    let terminal = Tmux::start(80, 10);
    let registry = two_blobs(&terminal);
    terminal.go(&fetch(&registry));
    terminal.shows_file("fetch-80.txt");
    terminal.keys(&["C-c"]);
    terminal.shows("$ ./go\n\n$");
}

#[test]
fn a_push_of_lines_knows_its_total() {
    let terminal = Tmux::start(80, 10);
    let registry = FakeRegistry::start();
    let image = Image::small();
    terminal.dir.write("m", &image.manifest.bytes);
    let source = FakeRegistry::start();
    source.add_image("app", "1", &image);
    let slow = image.layers[0].digest.clone();
    source.fault(
        move |request, right| {
            if request.target.contains(&slow) { right.stall(20_000) } else { right }
        },
    );
    let (from, to) = (source.repo("app"), registry.repo("app"));
    terminal.go(&format!(
        "list-blobs m >lines
         push-blob --plain-http {to} --from-plain-http --from {from} <lines >done; echo status $?"
    ));
    terminal.shows_file("push-80.txt");
    source.server.release();
    terminal.shows("$ ./go\nstatus 0\n$");
}

/// The input of these tools comes from a pipe that stalls, so the total is not known.
#[test]
fn without_a_total_the_line_has_amount_and_rate() {
    for (name, command) in [
        ("push-pipe.txt", "push-blob oci:p >done"),
        ("unpack-pipe.txt", "unpack-layer --no-same-owner out >done"),
        ("pack-pipe.txt", "pack-layer - --compress none -o layer >done"),
        ("verify-lines.txt", "verify-digest --from oci:l >done"),
    ] {
        let terminal = Tmux::start(80, 10);
        let image = Image::new(&[&[tests::images::file("file", noise(3_000_000, 1))]]);
        write_image(&terminal.dir.join("l"), "1", &image);
        let mut archive = Vec::new();
        let mut layer = flate2::read::GzDecoder::new(&image.layers[0].bytes[..]);
        layer.read_to_end(&mut archive).unwrap();
        let [first, second] =
            [&image.layers[0], &image.config].map(|blob| blob.line().into_bytes());
        let (start, end) = match name {
            "verify-lines.txt" => (&first[..], &second[..]),
            _ => archive.split_at(2_500_000),
        };
        terminal.dir.write("start", start);
        terminal.go(&format!("mkfifo more; (cat start; cat more) | {command}; echo status $?"));
        terminal.shows_file(name);
        std::fs::write(terminal.dir.join("more"), end).unwrap();
        terminal.shows("$ ./go\nstatus 0\n$");
    }
}
