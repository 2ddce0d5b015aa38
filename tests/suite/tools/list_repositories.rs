// SPDX-License-Identifier: Apache-2.0
//! list-repositories: pages, registries without a list, invalid names, and layouts below a
//! directory.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tests::commands::plain;
use tests::fake::{Reply, Server};
use tests::fake_registry::FakeRegistry;
use tests::images::{Image, write_image};
use tests::logins::{PASSWORD, USER};
use tests::peers::peer;
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::small_registries::SmallRegistry;
use tests::tools::{Command, Run, shell, tool};

fn list_repositories() -> Command {
    plain("list-repositories")
}

/// A registry with these repositories.
fn registry_with(names: &[&str]) -> FakeRegistry {
    let registry = FakeRegistry::start();
    for name in names {
        registry.add_image(name, "1", &Image::small());
    }
    registry
}

/// Runs list-repositories at a server that sends this page.
fn list_page(page: serde_json::Value) -> Run {
    let server = Server::start(move |_| Reply::json(200, &page));
    list_repositories().arg(server.host()).run()
}

#[test]
fn every_repository_is_a_line_and_all_pages_are_read() {
    let registry = registry_with(&["app", "team/a", "team/b/c", "z"]);
    let all = "app\nteam/a\nteam/b/c\nz\n";
    list_repositories().arg(registry.host()).run().ok().stdout(all);
    assert_eq!(registry.server.asked(), ["GET /v2/_catalog"]);
    registry.tags_a_page(2);
    registry.server.forget();
    list_repositories().arg(registry.host()).run().ok().stdout(all);
    let next = "GET /v2/_catalog?last=team%2Fa&n=2";
    assert_eq!(registry.server.asked(), ["GET /v2/_catalog", next]);
}

#[test]
fn last_and_limit_select_the_repositories() {
    let registry = registry_with(&["app", "team/a", "team/b/c", "z"]);
    let host = registry.host();
    list_repositories().args([&host, "--last", "team/a"]).run().ok().stdout("team/b/c\nz\n");
    list_repositories().args([&host, "--limit", "2"]).run().ok().stdout("app\nteam/a\n");
    let both = list_repositories().args([&host, "--last", "app", "--limit", "1"]).run();
    both.ok().stdout("team/a\n");
    let asked = registry.server.asked();
    assert_eq!(asked.last().unwrap(), "GET /v2/_catalog?n=1&last=app");
    // This registry ignores both parameters.
    let server = Server::start(|_| Reply::json(200, &json!({"repositories": ["a", "b", "c"]})));
    let run = list_repositories().args([&server.host(), "--last", "a", "--limit", "1"]).run();
    run.ok().stdout("b\n");
}

#[test]
fn a_page_size_that_the_registry_refuses_is_left_to_the_registry() {
    let registry = registry_with(&["a", "b", "c"]);
    let run = list_repositories().args([&registry.host(), "--limit", "2000"]).run();
    run.ok().stdout("a\nb\nc\n");
    assert_eq!(registry.server.asked(), ["GET /v2/_catalog?n=2000", "GET /v2/_catalog"]);
    // The parameter `last` is kept, and another reason for a 400 is an error.
    registry.server.forget();
    let last = list_repositories().args([&registry.host(), "--limit", "2000", "--last", "b"]).run();
    last.ok().stdout("c\n");
    assert_eq!(registry.server.asked()[1], "GET /v2/_catalog?last=b");
    registry.fault(|_, _| Reply::error(400, "NAME_INVALID", "no"));
    list_repositories().args([&registry.host(), "--limit", "5"]).run().fails(6, "NAME_INVALID");
    let server = Server::start(|request| match request.param("n") {
        Some(_) => Reply::error(400, "PAGINATION_NUMBER_INVALID", "invalid number"),
        None => Reply::json(200, &json!({"tags": ["1", "2"]})),
    });
    let app = format!("{}/app", server.host());
    plain("list-tags").args([&app, "--limit", "1"]).run().ok().stdout("1\n");
}

#[test]
fn a_registry_without_the_list_gives_status_3_and_a_hint() {
    for (status, code) in
        [(404, "NOT_FOUND"), (405, "UNSUPPORTED"), (400, "UNSUPPORTED"), (501, ""), (410, "")]
    {
        let server = Server::start(move |_| Reply::error(status, code, "no"));
        let run = list_repositories().arg(server.host()).run();
        run.status(3).says("the registry has no list").stdout("");
        let hint = "hint: not every registry has this list; the registry's web page or its own API";
        run.says(&status.to_string()).says(hint);
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[test]
fn a_registry_that_refuses_the_list_gives_status_4() {
    let registry = registry_with(&["a"]);
    registry.fault(|request, _| match request.header("authorization") {
        Some(_) => Reply::error(403, "DENIED", "administrators only"),
        None => Reply::error(401, "UNAUTHORIZED", "who are you?")
            .header("WWW-Authenticate", "Basic realm=\"a test\""),
    });
    let run = list_repositories().arg(registry.host()).run();
    run.fails(4, "login needed, or no permission").says("hint: use -u NAME").stdout("");
    let run = list_repositories()
        .args(["--username", USER, &registry.host()])
        .env("REGISTRY_PASSWORD", PASSWORD)
        .run();
    run.fails(4, "administrators only").says("hint: some registries show this list to admin");
    assert!(!run.stderr.contains(PASSWORD), "{run}");
}

#[test]
fn the_token_is_for_the_catalog() {
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    list_repositories().arg(registry.host()).run().ok().stdout("app\n");
    let tokens: Vec<_> =
        registry.server.requests().into_iter().filter(|r| r.path == "/token").collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].params("scope"), ["registry:catalog:*"]);
    // The token server does not grant this scope, as on Docker Hub.
    registry.grant(|scope| !scope.starts_with("registry:"));
    list_repositories().arg(registry.host()).run().fails(4, "401 UNAUTHORIZED").stdout("");
}

#[test]
fn invalid_names_are_dropped_with_a_warning() {
    let long = "x".repeat(256);
    let names = ["good", "two\nlines", "\u{1b}[31m", "", "Upper", "a//b", "../x", &long, "a/fine"];
    let run = list_page(json!({"repositories": names}));
    run.status(0).stdout("good\na/fine\n").says("not a valid repository (7 times)");
    assert!(!run.stderr.contains('\u{1b}') && run.stderr.lines().count() == 1, "{run}");
}

#[test]
fn documents_that_are_not_the_list_are_refused() {
    for page in [json!([]), json!({"repositories": 1}), json!({"repositories": ["a", 1]})] {
        list_page(page).status(6);
    }
    for empty in [json!({"repositories": null}), json!({"repositories": []}), json!({})] {
        list_page(empty).ok().stdout("");
    }
    // The field `tags` has no meaning in this list.
    list_page(json!({"tags": ["a"], "repositories": ["b"]})).ok().stdout("b\n");
    let server =
        Server::start(|_| Reply::ok("<html>log in</html>").header("Content-Type", "text/html"));
    list_repositories().arg(server.host()).run().fails(6, "not a registry's response");
}

#[test]
fn a_link_that_cannot_be_followed_is_not_the_end_of_the_list() {
    let other = Server::start(|_| Reply::json(200, &json!({"repositories": ["b"]})));
    let elsewhere = format!("<{}/v2/_catalog?last=a>; rel=\"next\"", other.url());
    for link in ["</v2/_catalog?last=a>", "junk", "</v2/_catalog>; rel=\"next\"", &elsewhere] {
        let link = link.to_owned();
        let server = Server::start(move |_| {
            Reply::json(200, &json!({"repositories": ["a"]})).header("Link", &link)
        });
        let run = list_repositories().arg(server.host()).run();
        run.fails(6, "the list is incomplete").stdout("a\n");
    }
    assert_eq!(other.asked(), Vec::<String>::new());
}

#[test]
fn memory_does_not_grow_with_the_page() {
    let server = Server::start(|_| {
        let page = json!({"repositories": vec!["x"; 3_000_000]}).to_string();
        Reply::ok(page).header("Content-Type", "application/json")
    });
    let script = "ulimit -v 100000; list-repositories --plain-http \"$HOST\"";
    shell(script).env("HOST", server.host()).run().ok().stdout("x\n");
}

#[test]
fn the_credential_of_the_host_is_used_and_not_that_of_a_namespace() {
    let registry = registry_with(&["a"]);
    registry.fault(|request, right| {
        if tests::logins::has_login(request) {
            right
        } else {
            Reply::new(401).header("WWW-Authenticate", "Basic realm=\"a test\"")
        }
    });
    let scratch = Scratch::new();
    let host = registry.host();
    let login = tests::logins::login(USER, PASSWORD);
    for (key, status) in [(host.clone(), 0), (format!("{host}/team"), 4)] {
        tests::logins::keep(&scratch, "auth.json", &tests::logins::auths(&key, &login));
        let run = list_repositories().args(["--authfile", "auth.json", &host]).dir(scratch.path());
        assert_eq!(run.run().code(), Some(status), "{key}");
    }
}

#[test]
fn a_registry_that_the_configuration_blocks_is_not_asked() {
    let registry = registry_with(&["a"]);
    let scratch = Scratch::new();
    let conf = |blocked: bool| {
        let host = registry.host();
        let text = format!("[[registry]]\nlocation = \"{host}\"\nblocked = {blocked}\n");
        scratch.write(".config/containers/registries.conf", text);
        list_repositories().arg(host).env("HOME", scratch.path()).run()
    };
    conf(true).fails(4, "blocked by");
    assert_eq!(registry.server.asked(), Vec::<String>::new());
    conf(false).ok().stdout("a\n");
}

#[test]
fn the_layouts_below_a_directory_are_listed_in_order() {
    let scratch = Scratch::new();
    for layout in ["top/b/x", "top/b-c", "top/a", "top/b/d/e"] {
        write_image(&scratch.join(layout), "1", &Image::small());
    }
    // Not layouts: a file, an empty directory, a directory inside a layout, symbolic links, and a
    // directory whose marker is a directory.
    scratch.write("top/file", "x");
    std::fs::create_dir_all(scratch.join("top/none/oci-layout")).unwrap();
    write_image(&scratch.join("top/a/inner"), "1", &Image::small());
    write_image(&scratch.join("outside"), "1", &Image::small());
    std::os::unix::fs::symlink("../outside", scratch.join("top/link")).unwrap();
    std::os::unix::fs::symlink("..", scratch.join("top/none/up")).unwrap();
    let list = |args: &[&str]| tool("list-repositories").args(args).dir(scratch.path()).run();
    let all = ["oci:top/a", "oci:top/b/d/e", "oci:top/b/x", "oci:top/b-c"];
    assert_eq!(list(&["oci:top"]).ok().lines(), all);
    assert_eq!(list(&["oci:top/"]).ok().lines(), all);
    assert_eq!(list(&["oci:top", "--limit", "2"]).ok().lines(), all[..2]);
    assert_eq!(list(&["oci:top", "--last", all[1]]).ok().lines(), all[2..]);
    // Each line is a reference to a layout.
    for layout in all {
        tool("list-tags").arg(layout).dir(scratch.path()).run().ok().stdout("1\n");
    }
    // The operand may be a layout itself, or a symbolic link.
    list(&["oci:top/a"]).ok().stdout("oci:top/a\n");
    std::os::unix::fs::symlink("top", scratch.join("images")).unwrap();
    assert_eq!(list(&["oci:images"]).ok().lines()[0], "oci:images/a");
    list(&["oci:top/none"]).ok().stdout("");
    list(&["oci:missing"]).fails(3, "no such directory").stdout("");
    list(&["oci:top/file"]).fails(7, "not a directory").stdout("");
}

#[test]
fn layouts_that_no_reference_can_name_are_dropped_with_a_warning() {
    let scratch = Scratch::new();
    for layout in ["l/a:b", "l/c@d/e", "l/f\ng", "l/h\u{202e}i", "l/j"] {
        write_image(&scratch.join(layout), "1", &Image::small());
    }
    let bytes = std::os::unix::ffi::OsStringExt::from_vec(b"l/\xff".to_vec());
    let name: std::ffi::OsString = bytes;
    write_image(&scratch.join(name), "1", &Image::small());
    let run = tool("list-repositories").arg("oci:l").dir(scratch.path()).run();
    run.status(0).stdout("oci:l/j\n").says("a reference cannot contain this name (5 times)");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    tool("list-repositories").args(["-q", "oci:l"]).dir(scratch.path()).run().ok();
}

#[test]
fn directories_are_searched_to_the_limit_of_depth() {
    let scratch = Scratch::new();
    let deep = |depth: usize| format!("l/{}", vec!["d"; depth].join("/"));
    write_image(&scratch.join(deep(32)), "1", &Image::small());
    let list = || tool("list-repositories").arg("oci:l").dir(scratch.path()).run();
    list().ok().stdout(format!("oci:{}\n", deep(32)));
    std::fs::remove_dir_all(scratch.join(deep(1))).unwrap();
    write_image(&scratch.join(deep(33)), "1", &Image::small());
    list().status(0).stdout("").says("directories deeper than 32 levels are not searched");
}

#[test]
fn an_unreadable_directory_is_an_error() {
    let scratch = Scratch::new();
    write_image(&scratch.join("l/a"), "1", &Image::small());
    std::fs::create_dir_all(scratch.join("l/b")).unwrap();
    scratch.chmod("l/b", 0o000);
    let run = tool("list-repositories").arg("oci:l").dir(scratch.path()).as_unprivileged().run();
    scratch.chmod("l/b", 0o755);
    run.fails(7, "l/b").stdout("oci:l/a\n");
}

#[test]
fn wrong_usage_gives_status_2() {
    for args in [
        &[][..],
        &["https://registry.example"],
        &["registry.example/app"],
        &["a b"],
        &["oci:"],
        &["oci:l:1"],
        &["registry.example", "--last", "no:tag"],
        &["oci:l", "--last", "l/a"],
        &["registry.example", "--limit", "0"],
    ] {
        list_repositories().args(args).run().status(2).stdout("");
    }
}

mod with_peers {
    use super::*;

    fn names(host: &str, args: &[&str]) -> Vec<String> {
        tool("list-repositories").arg(host).args(args).run().ok().lines()
    }

    #[test]
    fn real_registries_are_listed() {
        for registry in [Registry::start(), Registry::version_3()] {
            let host = registry.host();
            assert_eq!(names(&host, &[]), Vec::<String>::new());
            for name in ["c", "team/b", "a"] {
                registry.put_image(name, "1", &Image::small());
            }
            assert_eq!(names(&host, &[]), ["a", "c", "team/b"]);
            assert_eq!(names(&host, &["--limit", "2"]), ["a", "c"]);
            assert_eq!(names(&host, &["--last", "c"]), ["team/b"]);
            // More than the registry allows in one page.
            assert_eq!(names(&host, &["--limit", "5000"]), ["a", "c", "team/b"]);
        }
    }

    #[test]
    fn the_list_of_crane_is_the_same() {
        let server = SmallRegistry::crane();
        assert_eq!(names(&server.host(), &[]), Vec::<String>::new());
        let scratch = Scratch::new();
        write_image(&scratch.join("l"), "1", &Image::small());
        for name in ["b", "team/a"] {
            let mut crane = peer("crane");
            crane.args(["push", "--insecure"]).arg(scratch.join("l"));
            tests::peers::must(crane.arg(format!("{}/{name}:1", server.host())));
        }
        let theirs = tests::peers::must(peer("crane").args(["catalog", &server.host()]));
        let mut theirs: Vec<String> =
            String::from_utf8(theirs).unwrap().lines().map(str::to_owned).collect();
        // crane's registry lists repositories in a random order.
        theirs.sort();
        let mut ours = names(&server.host(), &[]);
        ours.sort();
        assert_eq!(ours, ["b", "team/a"]);
        assert_eq!(ours, theirs);
        assert_eq!(names(&server.host(), &["--limit", "1"]).len(), 1);
    }
}
