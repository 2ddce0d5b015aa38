// SPDX-License-Identifier: Apache-2.0
//! list-tags: invalid links, registries that ignore --last, and large pages.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use serde_json::json;
use tests::commands::plain;
use tests::fake::{End, Reply, Server, first};
use tests::images::{Image, write_image};
use tests::scratch::Scratch;
use tests::tools::{Run, shell, tool};

fn list(server: &Server, args: &[&str]) -> Run {
    plain("list-tags").arg(format!("{}/app", server.host())).args(args).run()
}

/// A server with one page, which has this Link.
fn linked(link: &str) -> Server {
    let link = link.to_owned();
    Server::start(move |_| Reply::json(200, &json!({"tags": ["a", "b"]})).header("Link", &link))
}

#[test]
fn a_link_that_cannot_be_read_is_not_the_end_of_the_list() {
    for link in [
        "/v2/app/tags/list?last=b; rel=\"next\"",
        "</v2/app/tags/list?last=b; rel=\"next\"",
        "</v2/app/tags/list?last=b>",
        "</v2/app/tags/list?last=b>; title=next",
        "</x>; rel=prev, /v2/app/tags/list?last=b; rel=next",
        "\u{e9}</v2/app/tags/list?last=b>; rel=\"next\"",
    ] {
        let server = linked(link);
        let run = list(&server, &[]);
        // The tags that arrived are printed.
        run.fails(6, "the list is incomplete").says("Link").stdout("a\nb\n");
        assert_eq!(server.requests().len(), 1, "{link}");
    }
    for link in ["</x>; rel=\"prev\"", "</x>; rel=help, </y>; rel=first", ""] {
        list(&linked(link), &[]).ok().stdout("a\nb\n");
    }
    // If the first page reaches --limit, the next page is not needed.
    list(&linked("junk"), &["--limit", "2"]).ok().stdout("a\nb\n");
}

/// A registry that ignores the parameters and lists these pages.
fn ignoring(pages: &'static [&'static [&'static str]]) -> Server {
    Server::start(move |request| {
        let number: usize = request.param("page").map_or(0, |page| page.parse().unwrap());
        let reply = Reply::json(200, &json!({"tags": pages[number]}));
        if number + 1 == pages.len() {
            return reply;
        }
        reply.header("Link", format!("</v2/app/tags/list?page={}>; rel=\"next\"", number + 1))
    })
}

#[test]
fn only_the_tags_after_last_are_printed_if_the_registry_ignores_it() {
    const PAGES: [(&[&[&str]], &str); 6] = [
        (&[&["a", "b", "c", "d"]], "c\nd\n"),
        (&[&["a"], &["b", "c"], &["d"]], "c\nd\n"),
        // Pages that are not sorted.
        (&[&["d", "b", "a"], &["c"]], "a\nc\n"),
        (&[&["b"], &["a"]], "a\n"),
        (&[&["a", "b"]], ""),
        (&[&["a"], &["b"]], ""),
    ];
    for (pages, want) in PAGES {
        list(&ignoring(pages), &["--last", "b"]).ok().stdout(want);
    }
    let run = list(&ignoring(&[&["a", "b", "c", "d"]]), &["--last", "b", "--limit", "1"]);
    run.ok().stdout("c\n");
}

#[test]
fn an_unknown_last_causes_a_warning_if_the_list_starts_before_it() {
    let run = list(&ignoring(&[&["a", "c"], &["e"]]), &["--last", "d"]);
    run.status(0).stdout("a\nc\ne\n").says("warning: --last d: the registry may have ignored it");
    let run = list(&ignoring(&[&["a"], &["c"]]), &["--last", "d", "--limit", "1"]);
    run.status(0).stdout("a\n").says("--last d");
    // Registries sort by bytes or without regard to case.
    for last in ["B", "Zeta"] {
        list(&ignoring(&[&["alpha", "beta"], &["c"]]), &["--last", last])
            .status(0)
            .stdout("alpha\nbeta\nc\n");
    }
    list(&ignoring(&[&["alpha"]]), &["--last", "Zeta"]).ok();
    // If a page fails, the error says that tags may be missing.
    let server = Server::start(|request| match request.param("page") {
        None => Reply::json(200, &json!({"tags": ["a"]}))
            .header("Link", "</v2/app/tags/list?page=2>; rel=\"next\""),
        Some(_) => Reply::error(403, "DENIED", "enough"),
    });
    list(&server, &["--last", "b"]).fails(4, "the list is incomplete");
}

#[test]
fn an_unknown_last_of_a_layout_is_warned_of() {
    let scratch = Scratch::new();
    for tag in ["one", "two"] {
        write_image(&scratch.join("l"), tag, &Image::small());
    }
    let run =
        |last: &str| tool("list-tags").args(["oci:l", "--last", last]).dir(scratch.path()).run();
    run("one").ok().stdout("two\n");
    run("three").status(0).stdout("one\ntwo\n").says("warning: --last three: no such name");
}

/// A page with this number of tags.
fn page(count: usize) -> String {
    let mut text = "{\"name\":\"app\",\"tags\":[".to_owned();
    for n in 0..count {
        let comma = if n == 0 { "" } else { "," };
        write!(text, "{comma}\"tag-{n}\"").unwrap();
    }
    text + "]}"
}

#[test]
fn a_page_that_breaks_is_read_again_and_no_tag_comes_twice() {
    let text = page(20_000);
    let want: String = (0..20_000).map(|n| format!("tag-{n}\n")).collect();
    let cut = first(1, |_| true);
    let server = Server::start(move |request| {
        let reply = Reply::ok(&text).header("Content-Type", "application/json");
        if cut(request) { reply.cut(200_000, End::Fin) } else { reply }
    });
    list(&server, &[]).ok().stdout(want);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_page_that_breaks_after_more_tags_than_are_remembered_ends_the_list() {
    let text = page(150_000);
    let length = text.len();
    let server = Server::start(move |_| {
        let reply = Reply::ok(&text).header("Content-Type", "application/json");
        reply.cut(length as u64 - 10, End::Fin)
    });
    let run = list(&server, &[]);
    run.status(5).says("the list is incomplete");
    let lines = run.lines();
    assert!(lines.len() > 100_000, "{}", lines.len());
    assert!(lines.iter().enumerate().all(|(n, line)| *line == format!("tag-{n}")));
    assert_eq!(server.requests().len(), 1);
}

/// Runs list-tags on a page, with a limit of its address space.
fn list_within(kilobytes: usize, body: impl Fn() -> String + Send + Sync + 'static) -> Run {
    let server =
        Server::start(move |_| Reply::ok(body()).header("Content-Type", "application/json"));
    let script = "ulimit -v \"$LIMIT\"; list-tags --plain-http \"$HOST/app\"";
    let run = shell(script).env("HOST", server.host()).env("LIMIT", kilobytes.to_string());
    run.run()
}

#[test]
fn memory_does_not_grow_with_the_page() {
    let body = || json!({"tags": vec!["x"; 3_000_000]}).to_string();
    list_within(100_000, body).ok().stdout("x\n");
}

mod at_length {
    use super::*;

    #[test]
    fn a_page_is_bounded_at_the_limit() {
        let body = |len: usize| move || format!("{{\"tags\":[\"x\"]{}}}", " ".repeat(len - 14));
        list_within(100_000, body(64 << 20)).ok().stdout("x\n");
        let run = list_within(100_000, body((64 << 20) + 1));
        run.status(6).says("a page is larger than 67108864 bytes").stdout("x\n");
    }
}
