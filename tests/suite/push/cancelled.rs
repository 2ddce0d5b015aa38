// SPDX-License-Identifier: Apache-2.0
//! push-blob cancels upload sessions whose state has changed since the last response: the registry
//! received bytes of a request that was stopped or broke.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::eventually;
use tests::fake::{End, Intake, Reply};
use tests::images::{noise, types};
use tests::peers::{must, peer};
use tests::push::Push;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, Signal, shell, tool};

const MIB: u64 = 1 << 20;

#[test]
fn a_session_is_cancelled_with_its_new_state_after_a_stopped_request() {
    for chunk in [&[][..], &["--chunk", "4M"]] {
        let push = Push::of(6 << 20);
        push.registry.intake(|request| {
            if request.is_patch() || request.is_close() {
                Intake::stall(MIB)
            } else {
                Intake::whole()
            }
        });
        let running = push.file().args(chunk).start();
        push.registry.server.wait_for_stalls(1);
        running.signal(Signal::INT);
        running.wait().ended_by(Signal::INT).stdout("");
        let steps = push.registry.steps();
        assert_eq!(push.registry.sessions(), [], "{steps:#?}");
        let tail = ["DELETE session", "GET session", "DELETE session"];
        assert!(steps.windows(3).any(|three| three == tail), "{steps:#?}");
    }
}

#[test]
fn a_state_that_changes_again_is_requested_again() {
    let push = Push::of(6 << 20);
    push.registry.intake(|request| {
        if request.is_patch() || request.is_close() { Intake::stall(MIB) } else { Intake::whole() }
    });
    // The first new state is outdated at once, as if more bytes had arrived.
    let asked = AtomicUsize::new(0);
    push.registry.fault(move |request, right| {
        let is_status = request.method == "GET" && request.path.contains("/uploads/");
        if is_status && asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return right.change("Location", |url| url.replace("aZ-", "aZ-0"));
        }
        right
    });
    let running = push.file().start();
    push.registry.server.wait_for_stalls(1);
    running.signal(Signal::TERM);
    running.wait().ended_by(Signal::TERM).stdout("");
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

#[test]
fn a_registry_that_refuses_the_request_for_the_new_state_is_asked_once() {
    let push = Push::of(6 << 20);
    push.registry.set(|settings| settings.strict = true);
    push.registry.intake(
        |request| {
            if request.is_close() { Intake::stall(MIB) } else { Intake::whole() }
        },
    );
    let running = push.file().start();
    push.registry.server.wait_for_stalls(1);
    running.signal(Signal::INT);
    running.wait().ended_by(Signal::INT).stdout("").silent();
    let steps = push.registry.steps();
    assert_eq!(&steps[steps.len() - 2..], ["DELETE session", "GET session"], "{steps:#?}");
}

#[test]
fn a_session_is_cancelled_after_a_request_that_broke() {
    // The blob is too small for a record, so the session is not kept for another run.
    let push = Push::of(100_000);
    push.registry.intake(|request| {
        if request.is_patch() || request.is_close() {
            Intake::cut(50_000, End::Fin)
        } else {
            Intake::whole()
        }
    });
    push.file().args(["--retry-times", "1"]).run().fails(5, "").stdout("");
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

#[test]
fn a_session_of_a_pipe_is_cancelled_when_a_part_is_refused() {
    let push = Push::of(100);
    let tried = AtomicUsize::new(0);
    push.registry.intake(move |request| {
        if !request.is_patch() {
            return Intake::whole();
        }
        match tried.fetch_add(1, Ordering::SeqCst) {
            0 => Intake::cut(MIB, End::Fin),
            _ => Intake::instead(Reply::error(403, "DENIED", "no more")),
        }
    });
    let run = push.bare().arg(push.registry.repo("app")).stdin(noise(20 << 20, 3)).run();
    run.fails(4, "no more").stdout("");
    assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
}

#[test]
fn a_session_that_is_gone_or_unknown_is_asked_for_at_most_once() {
    for (status, code, asks) in [
        (404, "BLOB_UPLOAD_UNKNOWN", 0),
        (404, "", 1),
        (405, "UNSUPPORTED", 0),
        (500, "UNKNOWN", 0),
    ] {
        let push = Push::of(100_000);
        let refused = AtomicBool::new(false);
        push.registry.intake(move |request| {
            if request.is_close() && !refused.swap(true, Ordering::SeqCst) {
                Intake::instead(Reply::error(403, "DENIED", "no"))
            } else {
                Intake::whole()
            }
        });
        push.registry.fault(move |request, right| {
            if request.path.contains("/uploads/")
                && matches!(request.method.as_str(), "DELETE" | "GET")
            {
                Reply::error(status, code, "")
            } else {
                right
            }
        });
        push.file().run().fails(4, "").stdout("");
        let steps = push.registry.steps();
        let count = |step: &str| steps.iter().filter(|s| *s == step).count();
        assert_eq!((count("DELETE session"), count("GET session")), (1, asks), "{code} {steps:#?}");
    }
}

mod with_peers {
    use super::*;

    /// The size of a blob that takes longer to send than a signal takes to arrive.
    const LARGE: u64 = 512 * MIB;

    const NONE: [u64; 0] = [];

    /// The sizes of the open sessions in a registry's storage. After a session is cancelled,
    /// version 3 may leave a directory without the file `data`.
    fn sessions(registry: &Registry) -> Vec<u64> {
        let uploads = "docker/registry/v2/repositories/app/_uploads";
        let entries = fs::read_dir(registry.storage().join(uploads)).into_iter().flatten();
        let data = entries.map(|entry| entry.unwrap().path().join("data"));
        data.filter_map(|data| fs::metadata(data).ok()).map(|data| data.len()).collect()
    }

    /// A push of the file `large`, or of the fifo `pipe`.
    fn push(registry: &Registry, scratch: &Scratch) -> Command {
        let push = tool("push-blob").args(["--max-wait", "0", "--media-type", types::TAR]);
        push.env("HOME", scratch.path()).dir(scratch.path()).arg(registry.repo("app"))
    }

    /// Sends a signal when the registry has stored this number of bytes of the upload.
    fn interrupted(registry: &Registry, push: Command, stored: u64, signal: Signal) {
        let running = push.start();
        eventually("bytes of the upload", || {
            sessions(registry).iter().any(|size| *size >= stored).then_some(())
        });
        running.signal(signal);
        running.wait().ended_by(signal).stdout("").silent();
    }

    #[test]
    fn a_signal_leaves_no_session_at_version_3() {
        let registry = Registry::version_3();
        let scratch = Scratch::new();
        fs::File::create(scratch.join("large")).unwrap().set_len(LARGE).unwrap();
        for signal in [Signal::INT, Signal::TERM] {
            for chunk in [&[][..], &["--chunk", "300M"], &["--chunk", "8M"]] {
                let push = push(&registry, &scratch).arg("large").args(chunk);
                interrupted(&registry, push, 16 * MIB, signal);
                assert_eq!(sessions(&registry), NONE, "{chunk:?} {:#?}", registry.answered());
            }
        }
    }

    /// Version 2.8 refuses the state of an interrupted request forever. Between two requests the
    /// state is known.
    #[test]
    fn a_signal_between_two_parts_leaves_no_session_at_either_version() {
        for registry in [Registry::start(), Registry::version_3()] {
            let scratch = Scratch::new();
            let input = noise(10 << 20, 5);
            // Only push-blob is interrupted: its input stays open.
            let script = "{ trap '' TERM; cat part; cat open; } | push-blob \"$APP\"";
            scratch.write("part", input);
            must(peer("mkfifo").arg(scratch.join("open")));
            let push = shell(script).env("APP", registry.repo("app")).dir(scratch.path());
            let running = push.start();
            eventually("a part", || {
                registry.answered().iter().any(|line| line.starts_with("PATCH")).then_some(())
            });
            assert_eq!(sessions(&registry), [8 * MIB]);
            running.signal(Signal::TERM);
            eventually("no session", || sessions(&registry).is_empty().then_some(()));
            drop(fs::File::options().write(true).open(scratch.join("open")).unwrap());
            running.wait();
        }
    }
}
