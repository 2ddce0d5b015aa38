// SPDX-License-Identifier: Apache-2.0
//! push-blob resumes an upload within a run, in spite of broken connections and of sessions that
//! are lost, shortened or misreported.

use tests::fake::{End, Intake, Reply, Request, first};
use tests::images::types;
use tests::push::Push;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 6 * MIB;

/// A change to a correct response.
type Change = fn(Reply) -> Reply;

fn sends(request: &Request) -> bool {
    request.is_patch() || request.is_close()
}

#[test]
fn a_broken_upload_is_resumed_at_the_exact_byte() {
    for args in [&[][..], &["--chunk", "4M"]] {
        for end in [End::Reset, End::Fin] {
            let push = Push::of(SIZE as usize);
            let broken = first(1, sends);
            push.registry.intake(move |request| {
                if broken(request) { Intake::cut(2 * MIB + 17, end) } else { Intake::whole() }
            });
            push.done(&push.file().args(args).run());
            let steps = push.registry.steps();
            assert!(steps.contains(&"GET session".to_owned()), "{steps:#?}");
            assert_eq!(push.sent(), SIZE, "{args:?} {end:?}: {steps:#?}");
        }
    }
}

#[test]
fn broken_connections_use_up_no_retries_while_bytes_arrive() {
    let push = Push::of(SIZE as usize);
    push.registry.intake(|request| {
        if sends(request) { Intake::cut(MIB - 1, End::Fin) } else { Intake::whole() }
    });
    push.done(&push.file().args(["--retry-times", "2"]).run());
    assert_eq!(push.sent(), SIZE);
}

#[test]
fn broken_connections_without_progress_give_status_5() {
    let push = Push::of(SIZE as usize);
    push.registry.intake(
        |request| if sends(request) { Intake::cut(0, End::Reset) } else { Intake::whole() },
    );
    push.file().args(["--retry-times", "3"]).run().fails(5, "").stdout("");
    assert!(push.registry.steps().len() < 30, "{:#?}", push.registry.steps());
}

#[test]
fn after_a_lost_final_response_the_blob_is_looked_up_before_sending_again() {
    let lost = first(1, Request::is_close);
    let push = Push::of(SIZE as usize);
    push.registry.fault(move |request, right| if lost(request) { Reply::hang_up() } else { right });
    push.done(&push.file().run());
    assert_eq!(push.sent(), SIZE);
    assert_eq!(push.registry.steps().last().unwrap(), "HEAD blob");
}

#[test]
fn a_failed_final_request_is_repeated() {
    for reply in [Reply::hang_up, || Reply::new(504).body("<html>")] {
        let lost = first(1, Request::is_close);
        let push = Push::of(SIZE as usize);
        push.registry.intake(move |request| {
            if lost(request) { Intake::instead(reply()) } else { Intake::whole() }
        });
        push.done(&push.file().run());
    }
}

#[test]
fn a_blob_committed_after_a_proxy_timeout_is_found() {
    let push = Push::of(SIZE as usize);
    let late = first(1, Request::is_close);
    // The responses to the HEAD request before the upload and to the first one after it are 404.
    let unseen = first(2, |request| request.method == "HEAD");
    push.registry.fault(move |request, right| match request {
        request if late(request) => Reply::new(504).body("<html>"),
        request if unseen(request) => Reply::new(404),
        _ => right,
    });
    push.done(&push.file().run());
    assert!(push.sent() <= 2 * SIZE, "{:#?}", push.registry.steps());
}

#[test]
fn a_lost_session_is_restarted_a_bounded_number_of_times() {
    let push = Push::of(SIZE as usize);
    push.registry.set(|settings| settings.forgets_broken = true);
    let broken = first(1, sends);
    push.registry.intake(move |request| {
        if broken(request) { Intake::cut(2 * MIB, End::Reset) } else { Intake::whole() }
    });
    push.done(&push.file().run());

    let push = Push::of(SIZE as usize);
    push.registry.set(|settings| settings.forgets_broken = true);
    push.registry.intake(|request| {
        if sends(request) { Intake::cut(2 * MIB, End::Reset) } else { Intake::whole() }
    });
    push.file().run().fails(5, "").stdout("");
    assert!((2..=6).contains(&push.starts()), "{:#?}", push.registry.steps());
}

#[test]
fn an_upload_whose_state_is_too_old_is_restarted() {
    for args in [&[][..], &["--chunk", "4M"]] {
        let push = Push::of(SIZE as usize);
        push.registry.set(|settings| settings.strict = true);
        let broken = first(1, sends);
        push.registry.intake(move |request| {
            if broken(request) { Intake::cut(2 * MIB, End::Reset) } else { Intake::whole() }
        });
        let run = push.file().args(args).run();
        run.status(0).stdout(push.blob.line());
        assert!(push.holds());
        // A session whose current location the client does not know may be left open.
        assert!(push.registry.sessions().len() <= 1, "{:#?}", push.registry.steps());
    }
}

#[test]
fn bytes_that_the_registry_lost_are_sent_again() {
    for kept in [0, 1, 1_000_000] {
        let push = Push::of(SIZE as usize);
        push.registry.set(|settings| settings.keeps_of_broken = Some(kept));
        let broken = first(1, sends);
        push.registry.intake(move |request| {
            if broken(request) { Intake::cut(2 * MIB, End::Reset) } else { Intake::whole() }
        });
        push.done(&push.file().run());
    }
}

#[test]
fn a_range_beyond_the_bytes_sent_is_not_believed() {
    for lie in ["0-4000000", "0-99999999", "0-18446744073709551615", "5-2", "no range"] {
        let push = Push::of(SIZE as usize);
        let broken = first(1, sends);
        push.registry.intake(move |request| {
            if broken(request) { Intake::cut(2 * MIB, End::Reset) } else { Intake::whole() }
        });
        push.registry.fault(move |request, right| {
            if request.method == "GET" { right.change("Range", |_| lie.to_owned()) } else { right }
        });
        let run = push.file().run();
        assert!(matches!(run.code(), Some(0 | 6)), "{lie}: {run}");
        assert_eq!(push.holds(), run.code() == Some(0), "{lie}");
        assert_eq!(push.registry.sessions(), [], "{lie}: {:#?}", push.registry.steps());
    }
}

#[test]
fn an_odd_range_does_not_stop_an_upload_whose_chunks_are_accepted() {
    let changes: [(&str, Change); 7] = [
        ("stuck", |right| right.change("Range", |_| "0-1048575".to_owned())),
        ("backwards", |right| right.change("Range", |_| "0-0".to_owned())),
        ("with a unit", |right| right.change("Range", |range| format!("bytes={range}"))),
        ("none", |right| right.without("Range")),
        ("garbage", |right| right.change("Range", |_| "all of it".to_owned())),
        ("201", |right| right.status(201)),
        ("204", |right| right.status(204)),
    ];
    for (what, change) in changes {
        let push = Push::of(SIZE as usize);
        push.registry
            .fault(move |request, right| if request.is_patch() { change(right) } else { right });
        let run = push.file().args(["--chunk", "1M"]).run();
        assert_eq!(run.code(), Some(0), "{what}: {run}\n{:#?}", push.registry.steps());
        push.done(&run);
    }
}

#[test]
fn without_a_new_location_the_previous_one_is_used() {
    let push = Push::of(SIZE as usize);
    push.registry.set(|settings| settings.steady = true);
    push.registry
        .fault(|request, right| if request.is_patch() { right.without("Location") } else { right });
    push.done(&push.file().args(["--chunk", "1M"]).run());
}

#[test]
fn after_a_416_the_upload_continues_at_the_range_of_the_registry() {
    let push = Push::of(SIZE as usize);
    let wrong = first(1, |request| {
        request.is_patch() && request.header("content-range") != Some("0-1048575")
    });
    push.registry.intake(move |request| {
        if wrong(request) {
            Intake::instead(Reply::new(416).header("Range", "0-1048575"))
        } else {
            Intake::whole()
        }
    });
    push.done(&push.file().args(["--chunk", "1M"]).run());
}

#[test]
fn an_upload_from_a_pipe_is_resumed_within_its_buffer_or_gives_status_5() {
    for cut in [10, 2 * MIB + 17, SIZE - 1] {
        let push = Push::of(SIZE as usize);
        let broken = first(1, move |request: &Request| {
            let length = request.header("content-length").and_then(|l| l.parse::<u64>().ok());
            sends(request) && length.is_none_or(|length| length > cut)
        });
        push.registry.intake(move |request| {
            if broken(request) { Intake::cut(cut, End::Reset) } else { Intake::whole() }
        });
        let run = push.bare().args(["--media-type", types::TAR, &push.registry.repo("app")]);
        let run = run.stdin(push.blob.bytes.clone()).run();
        match run.code() {
            Some(0) => push.done(&run),
            _ => drop(run.fails(5, "pipe").stdout("")),
        }
        assert_eq!(push.registry.sessions(), [], "{:#?}", push.registry.steps());
    }
}
