// SPDX-License-Identifier: Apache-2.0
//! list-tags: pages, invalid tags, and servers whose list does not end.

use serde_json::json;
use tests::commands::plain;
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, write_image};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, Signal, shell, tool};

fn list_tags() -> Command {
    plain("list-tags")
}

fn registry_with_tags(tags: &[&str]) -> FakeRegistry {
    let registry = FakeRegistry::start();
    let image = Image::small();
    for tag in tags {
        registry.add_image("app", tag, &image);
    }
    registry
}

#[test]
fn every_tag_is_a_line_in_the_registrys_order() {
    let registry = registry_with_tags(&["v2", "v1", "latest"]);
    registry.set(|settings| settings.unsorted = true);
    list_tags().arg(registry.repo("app")).run().ok().stdout("v2\nv1\nlatest\n");
    assert_eq!(registry.server.requests().len(), 1);
}

#[test]
fn all_pages_are_read() {
    let registry = registry_with_tags(&["a", "b", "c", "d", "e"]);
    registry.tags_a_page(2);
    list_tags().arg(registry.repo("app")).run().ok().stdout("a\nb\nc\nd\ne\n");
    assert_eq!(registry.server.requests().len(), 3);
}

#[test]
fn links_are_understood_in_every_spelling() {
    for link in [
        "</v2/app/tags/list?cursor=x%2Fy>; rel=\"next\"",
        "</v2/app/tags/list?cursor=x%2Fy>;rel=next",
        "<http://HOST/v2/app/tags/list?cursor=x%2Fy>; rel=\"next\"; title=\"a, b\"",
        "</other>; rel=\"help\", </v2/app/tags/list?cursor=x%2Fy>; rel=\"next\"",
        "<list?cursor=x%2Fy>; rel=\"next\"",
    ] {
        let server = Server::start(move |request| match request.query.as_str() {
            "cursor=x%2Fy" => Reply::json(200, &json!({"name": "app", "tags": ["b"]})),
            _ => Reply::json(200, &json!({"name": "app", "tags": ["a"]}))
                .header("Link", link.replace("HOST", request.header("host").unwrap())),
        });
        let run = list_tags().arg(format!("{}/app", server.host())).run();
        assert_eq!(run.stdout, b"a\nb\n", "{link}: {run}");
        run.ok();
    }
}

#[test]
fn no_tags_give_no_lines() {
    for tags in [json!({"name": "app", "tags": null}), json!({"name": "app"}), json!({"tags": []})]
    {
        let server = Server::start(move |_| Reply::json(200, &tags));
        list_tags().arg(format!("{}/app", server.host())).run().ok().stdout("");
    }
}

#[test]
fn invalid_tags_are_dropped_with_a_warning() {
    let server = Server::start(|_| {
        Reply::json(
            200,
            &json!({"tags": ["good", "two\nlines", "\u{1b}[31m", "", "-dash", "fine"]}),
        )
    });
    let run = list_tags().arg(format!("{}/app", server.host())).run();
    run.status(0).stdout("good\nfine\n").says("list-tags: warning: ");
    assert!(!run.stderr.contains('\u{1b}') && run.stderr.lines().count() == 1, "{run}");
}

#[test]
fn documents_that_are_not_a_tag_list_are_refused() {
    for body in ["{\"tags\": 1}", "[]", "hello", "", "{\"tags\": [1]}"] {
        let server =
            Server::start(move |_| Reply::ok(body).header("Content-Type", "application/json"));
        let run = list_tags().arg(format!("{}/app", server.host())).run();
        assert_eq!(run.code(), Some(6), "{body}: {run}");
    }
}

#[test]
fn next_links_in_a_circle_are_refused() {
    let server = Server::start(|request| {
        let next = if request.query == "page=1" { "2" } else { "1" };
        let link = format!("</v2/app/tags/list?page={next}>; rel=\"next\"");
        Reply::json(200, &json!({"tags": ["a"]})).header("Link", link)
    });
    let run = list_tags().arg(format!("{}/app", server.host())).run();
    run.fails(6, "");
    assert!(server.requests().len() <= 4, "{:?}", server.asked());
}

#[test]
fn a_link_to_another_host_is_not_followed() {
    let other = Server::start(|_| Reply::json(200, &json!({"tags": ["b"]})));
    let link = format!("<{}/v2/app/tags/list?page=2>; rel=\"next\"", other.url());
    let server =
        Server::start(move |_| Reply::json(200, &json!({"tags": ["a"]})).header("Link", &link));
    list_tags().arg(format!("{}/app", server.host())).run().fails(6, "");
    assert_eq!(other.asked(), Vec::<String>::new());
}

#[test]
fn a_failing_page_fails_the_run() {
    let registry = registry_with_tags(&["a", "b", "c"]);
    registry.tags_a_page(2);
    registry.fault(|request, right| {
        if request.query.is_empty() || request.param("last").is_none() {
            right
        } else {
            Reply::error(403, "DENIED", "enough")
        }
    });
    let run = list_tags().arg(registry.repo("app")).run();
    run.fails(4, "enough").stdout("a\nb\n");
}

#[test]
fn last_and_limit_select_the_tags() {
    let registry = registry_with_tags(&["a", "b", "c", "d"]);
    let app = registry.repo("app");
    list_tags().args([&app, "--last", "b"]).run().ok().stdout("c\nd\n");
    list_tags().args([&app, "--limit", "3"]).run().ok().stdout("a\nb\nc\n");
    registry.tags_a_page(2);
    list_tags().args([&app, "--limit", "3"]).run().ok().stdout("a\nb\nc\n");
}

#[test]
fn a_missing_repository_gives_status_3() {
    let registry = registry_with_tags(&["a"]);
    let none = registry.repo("none");
    list_tags().arg(&none).run().fails(3, &none).stdout("");
}

#[test]
fn the_tags_of_a_layout_are_listed() {
    let scratch = Scratch::new();
    for tag in ["one", "two"] {
        write_image(&scratch.join("l"), tag, &Image::small());
    }
    tool("list-tags").arg("oci:l").dir(scratch.path()).run().ok().stdout("one\ntwo\n");
    tool("list-tags").arg("oci:none").dir(scratch.path()).run().fails(3, "none");
}

#[test]
fn a_closed_stdout_ends_the_run_quietly() {
    let server = Server::start(|request| {
        let tags: Vec<_> = (0..5000).map(|n| format!("{}-{n}", request.number)).collect();
        let link = format!("</v2/app/tags/list?page={}>; rel=\"next\"", request.number + 1);
        Reply::json(200, &json!({"tags": tags})).header("Link", link)
    });
    let script = "{ list-tags --plain-http \"$REPO\"; echo $? >&2; } | head -n 1";
    let run = shell(script).env("REPO", format!("{}/app", server.host())).run();
    run.status(0).stdout("0-0\n");
    assert_eq!(run.stderr, format!("{}\n", 128 + Signal::PIPE.as_raw()), "{run}");
}

#[test]
fn wrong_usage_gives_status_2() {
    for args in [&["app:tag"][..], &[], &["app", "--limit", "x"], &["app", "other"]] {
        let run = list_tags().args(args).run();
        assert_eq!(run.code(), Some(2), "{run}");
    }
}

mod at_length {
    use super::*;

    #[test]
    fn pages_without_end_are_refused_at_a_limit() {
        let server = Server::start(|request| {
            let page = request.param("page").map_or(0, |page| page.parse::<usize>().unwrap());
            let link = format!("</v2/app/tags/list?page={}>; rel=\"next\"", page + 1);
            Reply::json(200, &json!({"tags": [format!("t{page}")]})).header("Link", link)
        });
        let run = list_tags().arg(format!("{}/app", server.host())).run();
        run.fails(6, "more than 10000 pages");
        assert_eq!(server.requests().len(), 10_000);
    }
}

mod with_peers {
    use super::*;

    #[test]
    fn a_real_registry_is_listed() {
        let registry = Registry::start();
        for tag in ["1.0", "1.1"] {
            registry.put_image("some/app", tag, &Image::small());
        }
        // --plain-http is not needed: plain HTTP may be tried on loopback addresses.
        let mut tags = tool("list-tags").arg(registry.repo("some/app")).run().ok().lines();
        // docker-registry lists tags in the order of the directory.
        tags.sort();
        assert_eq!(tags, ["1.0", "1.1"]);
    }
}
