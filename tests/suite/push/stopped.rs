// SPDX-License-Identifier: Apache-2.0
//! Runs of push-blob that are stopped: by kill -9, after which the next run resumes; by a signal,
//! after which the tool closes its session; and by a file that changes.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::eventually;
use tests::fake::{End, Intake, Reply, Request};
use tests::images::{Blob, noise, types};
use tests::push::Push;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Run, Running, Signal, tool};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 6 * MIB;

fn sends(request: &Request) -> bool {
    request.is_patch() || request.is_close()
}

#[test]
fn after_kill_9_the_next_run_resumes() {
    for (args, stop) in
        [(&[][..], 100_000), (&[], 3 * MIB + 12_345), (&["--chunk", "2M"], MIB), (&[], SIZE - 1)]
    {
        for line in [false, true] {
            let push = Push::of(SIZE as usize);
            let command = || if line { push.line() } else { push.file() };
            let kept = push.scratch.list();
            push.registry.intake(move |request| {
                if sends(request) { Intake::stall(stop) } else { Intake::whole() }
            });
            let running = command().args(args).start();
            push.registry.server.wait_for_stalls(1);
            running.kill().ended_by(Signal::KILL);
            assert_eq!(push.registry.sessions(), [("app".to_owned(), stop as usize)]);
            assert!(!push.holds());

            push.registry.heal();
            push.registry.server.forget();
            push.done(&command().args(args).run());
            assert_eq!(push.sent(), SIZE - stop, "{:#?}", push.registry.steps());
            let mut left = push.scratch.list();
            left.retain(|name| !kept.contains(name) && !name.ends_with('/'));
            left.retain(|name| !name.ends_with("/distribution-sources"));
            assert_eq!(left, Vec::<String>::new());
        }
    }
}

/// Stops a run in the middle with kill -9.
fn killed(push: &Push) {
    push.registry
        .intake(|request| if sends(request) { Intake::stall(2 * MIB) } else { Intake::whole() });
    let running = push.file().start();
    push.registry.server.wait_for_stalls(1);
    running.kill().ended_by(Signal::KILL);
    push.registry.heal();
    push.registry.server.forget();
}

#[test]
fn a_session_lost_between_runs_is_replaced() {
    let push = Push::of(SIZE as usize);
    killed(&push);
    push.registry.forget_sessions();
    push.done(&push.file().run());
}

#[test]
fn a_session_with_outdated_state_is_replaced_by_the_next_run() {
    let push = Push::of(SIZE as usize);
    push.registry.set(|settings| settings.strict = true);
    killed(&push);
    push.file().run().status(0).stdout(push.blob.line());
    assert!(push.holds());
}

#[test]
fn a_file_that_changed_between_runs_is_not_mixed_with_its_old_bytes() {
    let mut push = Push::of(SIZE as usize);
    killed(&push);
    push.blob = Blob::new(types::TAR, noise(SIZE as usize, 2));
    push.scratch.write("layer", &push.blob.bytes);
    push.file().run().status(0).stdout(push.blob.line());
    assert!(push.holds());
}

#[test]
fn another_repository_gets_a_session_of_its_own() {
    let push = Push::of(SIZE as usize);
    killed(&push);
    let run = push.bare().args(["--media-type", types::TAR, &push.registry.repo("other"), "layer"]);
    run.run().ok().stdout(push.blob.line());
    let held = push.registry.blob("other", &push.blob.digest).unwrap();
    assert!(held[..] == push.blob.bytes);
    push.done(&push.file().run());
}

#[test]
fn an_unwritable_home_does_not_prevent_the_push() {
    for home in ["/proc/none", "/dev/null", ""] {
        let push = Push::of(SIZE as usize);
        push.done(&push.file().env("HOME", home).env("XDG_STATE_HOME", home).run());
    }
}

#[test]
fn a_missing_home_is_not_created() {
    let push = Push::of(SIZE as usize);
    push.done(&push.file().env("HOME", push.scratch.join("none")).run());
    assert!(!push.scratch.join("none").exists());
}

#[test]
fn a_failed_upload_is_resumed_by_the_next_run_or_closed() {
    // The connection breaks each time. A later run might succeed.
    for (what, len, home) in [
        ("remembered", SIZE as usize, true),
        ("too small to be remembered", 100_000, true),
        ("nowhere to remember it", SIZE as usize, false),
    ] {
        let push = Push::of(len);
        let command = || if home { push.file() } else { push.file().env("HOME", "/proc/none") };
        let tried = AtomicUsize::new(0);
        push.registry.intake(move |request| {
            if !sends(request) {
                Intake::whole()
            } else if tried.fetch_add(1, Ordering::SeqCst) == 0 {
                Intake::cut(50_000, End::Fin)
            } else {
                Intake::cut(0, End::Fin)
            }
        });
        command().args(["--retry-times", "2"]).run().fails(5, "").stdout("");
        push.registry.heal();
        push.registry.server.forget();
        let open = push.registry.sessions().len();
        push.done(&command().run());
        assert_eq!(push.starts(), 1 - open, "{what}: {:#?}", push.registry.steps());
    }
}

#[test]
fn two_runs_that_push_the_same_file_both_succeed() {
    let push = Push::of(SIZE as usize);
    push.registry
        .intake(|request| if sends(request) { Intake::stall(MIB) } else { Intake::whole() });
    let one = push.file().start();
    push.registry.server.wait_for_stalls(1);
    let other = push.file().start();
    // The second run starts its own upload and does not continue the first run's.
    eventually("the upload of the other run", || {
        push.registry.server.requests().iter().filter(|r| sends(r)).nth(1).map(|_| ())
    });
    let asked = push.registry.steps();
    push.registry.server.release();
    for run in [one.wait(), other.wait()] {
        run.ok().stdout(push.blob.line());
    }
    assert!(push.holds());
    assert!(!asked.contains(&"GET session".to_owned()), "{asked:#?}");
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

#[test]
fn a_corrupt_session_record_does_not_prevent_the_push() {
    let push = Push::of(SIZE as usize);
    let before = push.scratch.list();
    killed(&push);
    let kept: Vec<_> =
        push.scratch.list().into_iter().filter(|name| !before.contains(name)).collect();
    let files = kept.iter().filter(|name| !name.ends_with('/'));
    assert!(files.clone().count() > 0, "nothing was kept");
    for name in files {
        fs::write(push.scratch.join(name), "{\"location\": \"http://169.254.169.254/\"").unwrap();
    }
    push.file().run().status(0).stdout(push.blob.line());
    assert!(push.holds());
}

#[test]
fn a_signal_closes_the_session_and_ends_the_run() {
    for signal in [Signal::INT, Signal::TERM] {
        for line in [false, true] {
            let push = Push::of(SIZE as usize);
            push.registry.intake(|request| {
                if sends(request) { Intake::stall(2 * MIB) } else { Intake::whole() }
            });
            let running = if line { push.line().start() } else { push.file().start() };
            push.registry.server.wait_for_stalls(1);
            running.signal(signal);
            running.wait().ended_by(signal).stdout("");
            let steps = push.registry.steps();
            assert_eq!(push.registry.sessions(), [], "{steps:#?}");
            assert!(steps.contains(&"DELETE session".to_owned()), "{steps:#?}");
        }
    }
}

#[test]
fn a_signal_closes_the_session_of_an_upload_from_a_pipe() {
    let push = Push::of(SIZE as usize);
    push.registry
        .intake(|request| if sends(request) { Intake::stall(MIB) } else { Intake::whole() });
    let running = push.bare().arg(push.registry.repo("app")).stdin(noise(20 << 20, 3)).start();
    push.registry.server.wait_for_stalls(1);
    running.signal(Signal::TERM);
    running.wait().ended_by(Signal::TERM).stdout("");
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

#[test]
fn a_failed_upload_closes_the_sessions_of_parallel_uploads() {
    let push = Push::of(SIZE as usize);
    push.scratch.write("refused", noise(1000, 7));
    let after = AtomicUsize::new(0);
    push.registry.intake(move |request| match request.header("content-length") {
        // The small upload is refused while the large one is in progress.
        Some("1000") => Intake::instead(Reply::error(403, "DENIED", "not that one")),
        Some("6291456") if after.fetch_add(1, Ordering::SeqCst) == 0 => Intake::stall(MIB),
        _ => Intake::whole(),
    });
    // The home directory is not usable. Otherwise the session could be recorded and left open.
    let run = push.bare().env("HOME", "/proc/none").args(["-j", "2", "--media-type", types::TAR]);
    let run = run.args([&push.registry.repo("app"), "refused", "layer"]).start();
    run.wait().fails(4, "not that one").stdout("");
    push.holds();
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

#[test]
fn a_closed_stdout_ends_the_run_quietly_and_leaves_no_session() {
    let push = Push::of(LARGE as usize);
    push.scratch.write("small", noise(100_000, 7));
    push.registry
        .intake(|request| if sends(request) { Intake::stall(1000) } else { Intake::whole() });
    let script = "{ push-blob --max-wait 0 -j 2 \"$APP\" small layer; echo $? >status; } | true";
    let run = tests::tools::shell(script).env("APP", push.registry.repo("app"));
    let run = run.dir(push.scratch.path()).start();
    // The small blob's line is printed while the large upload is in progress.
    push.registry.server.wait_for_stalls(2);
    push.registry.server.release();
    run.wait().ok().stdout("");
    // 128 plus the number of SIGPIPE.
    assert_eq!(fs::read_to_string(push.scratch.join("status")).unwrap().trim(), "141");
    // The session cannot be recorded, because no home directory is set.
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

/// Interrupts a push while its upload stalls. The registry does not respond to the DELETE that
/// cancels the session.
fn interrupted_during_upload(push: &Push) -> Running {
    push.registry.fault(|request, right| match request.method.as_str() {
        "DELETE" => right.held(),
        _ => right,
    });
    let running = push.file().start();
    push.registry.server.wait_for_stalls(1);
    running.signal(Signal::INT);
    running
}

#[test]
fn a_signal_ends_the_run_even_if_the_registry_does_not_respond() {
    let push = Push::of(SIZE as usize);
    push.registry.intake(|request| match request.method.as_str() {
        "PUT" => Intake::stall(2 * MIB),
        _ => Intake::whole(),
    });
    interrupted_during_upload(&push).wait().ended_by(Signal::INT);
}

#[test]
fn a_second_signal_ends_the_run_during_the_cleanup() {
    let push = Push::of(SIZE as usize);
    push.registry
        .intake(|request| if sends(request) { Intake::stall(2 * MIB) } else { Intake::whole() });
    let running = interrupted_during_upload(&push);
    // The cleanup waits for the response to its DELETE. On a slow machine it may end before the
    // signal.
    push.registry.server.wait_for_stalls(2);
    running.signal(Signal::TERM);
    let run = running.wait();
    run.stdout("");
    assert_eq!(run.code(), None, "{run}");
}

/// A size larger than the socket buffers between client and server.
const LARGE: u64 = 64 * MIB;

/// Changes a large file after its first part was sent, then lets the upload continue.
fn changed_in_mid_upload(change: impl FnOnce(&Push)) -> (Push, Run) {
    let push = Push::of(LARGE as usize);
    push.registry
        .intake(|request| if sends(request) { Intake::stall(MIB) } else { Intake::whole() });
    let running = push.file().start();
    push.registry.server.wait_for_stalls(1);
    change(&push);
    push.registry.server.release();
    let run = running.wait();
    (push, run)
}

#[test]
fn a_file_changed_during_the_upload_gives_status_1_and_leaves_no_session() {
    // The file is overwritten in place, so the inode stays the same.
    let (push, run) = changed_in_mid_upload(|push| {
        let file = fs::File::options().write(true).open(push.scratch.join("layer")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &noise(LARGE as usize, 9), 0).unwrap();
    });
    run.fails(1, "change").stdout("");
    assert!(!push.holds());
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

#[test]
fn a_file_truncated_during_the_upload_is_not_padded() {
    let (push, run) = changed_in_mid_upload(|push| {
        let file = fs::File::options().write(true).open(push.scratch.join("layer")).unwrap();
        file.set_len(2 * MIB).unwrap();
    });
    assert!(matches!(run.code(), Some(1 | 7)), "{run}");
    run.fails(run.code().unwrap(), "").stdout("");
    assert!(push.sent() < LARGE);
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

mod with_peers {
    use super::*;

    #[test]
    fn a_push_to_a_real_registry_succeeds_after_kill_9_at_any_point() {
        let registry = Registry::start();
        let scratch = Scratch::new();
        let blob = Blob::new(types::TAR, noise(30 << 20, 1));
        scratch.write("layer", &blob.bytes);
        let push = |repository: &str| {
            tool("push-blob")
                .args(["--media-type", types::TAR, "--chunk", "2M", &registry.repo(repository)])
                .arg("layer")
                .env("HOME", scratch.path())
                .dir(scratch.path())
        };
        for parts in [1, 3, 7] {
            let repository = format!("app{parts}");
            let patches = |registry: &Registry| {
                let answered = registry.answered();
                answered
                    .iter()
                    .filter(|line| line.starts_with("PATCH") && line.contains(&repository))
                    .count()
            };
            let mut running = push(&repository).start();
            eventually("some chunks", || {
                (patches(&registry) >= parts || !running.is_running()).then_some(())
            });
            running.kill();
            push(&repository).run().status(0).stdout(blob.line());
            assert_eq!(registry.get(&format!("{repository}/blobs/{}", blob.digest)), blob.bytes);
        }
    }
}
