// SPDX-License-Identifier: Apache-2.0
//! probe-registry: the facts that are found by reading alone.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::commands::plain;
use tests::fake::{Reply, Request, Server};
use tests::fake_registry::{FakeRegistry, TOKEN};
use tests::images::Image;
use tests::logins::{PASSWORD, USER};
use tests::tools::{Command, Run, tool};

/// The names of all facts about a registry with plain HTTP and no login, in their order.
const NAMES: [&str; 27] = [
    "url",
    "tls",
    "registry-api",
    "version-header",
    "server",
    "clock-difference",
    "login",
    "access",
    "catalog",
    "catalog-pages",
    "catalog-page-limit",
    "tag-list",
    "tag-pages",
    "tag-page-limit",
    "rate-limit",
    "manifest-head",
    "blob-head",
    "blob-range",
    "referrers",
    "referrers-filter",
    "mount",
    "upload",
    "least-chunk",
    "chunked-upload",
    "upload-cancel",
    "untag",
    "deletes",
];

fn probe(args: &[&str]) -> Command {
    plain("probe-registry").args(["--retry-times", "1"]).args(args)
}

/// The value of a fact.
#[track_caller]
pub(crate) fn fact(run: &Run, name: &str) -> String {
    let start = format!("{name}: ");
    let lines = run.lines();
    let line = lines.iter().find_map(|line| line.strip_prefix(&start));
    assert!(line.is_some(), "no fact {name}: {run}");
    line.unwrap().to_owned()
}

/// Checks these facts.
#[track_caller]
pub(crate) fn facts(run: &Run, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        assert_eq!(fact(run, name), *value, "{name}: {run}");
    }
}

/// The methods of the requests.
fn methods(requests: &[Request]) -> Vec<String> {
    let mut methods: Vec<String> = requests.iter().map(|request| request.method.clone()).collect();
    methods.sort();
    methods.dedup();
    methods
}

#[test]
fn a_host_is_only_read_and_the_other_facts_are_unknown() {
    let registry = FakeRegistry::with_image();
    let run = probe(&[&registry.host()]).run();
    let names: Vec<String> =
        run.ok().lines().iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(names, NAMES);
    facts(
        &run,
        &[
            ("url", &format!("http://{}/v2/", registry.host())),
            ("tls", "no: plain HTTP"),
            ("registry-api", "yes"),
            ("login", "none (for the API's root)"),
            ("access", "yes (anonymous)"),
            ("catalog", "yes"),
            ("catalog-pages", "unknown: the list has one name only"),
            ("rate-limit", "unknown: needs a repository: HOST/REPO"),
            ("blob-range", "unknown: needs a repository: HOST/REPO"),
            ("mount", "unknown: needs --write REPO"),
            ("deletes", "unknown: needs --write REPO"),
        ],
    );
    assert_eq!(methods(&registry.server.requests()), ["GET"]);
}

#[test]
fn a_repository_is_only_read() {
    let registry = FakeRegistry::with_image();
    registry.add_image("app", "2", &Image::small());
    let run = probe(&[&registry.repo("app")]).run();
    facts(
        run.ok(),
        &[
            ("tag-list", "yes"),
            ("tag-pages", "yes"),
            ("tag-page-limit", "unknown: no limit found: a page had 2 names"),
            ("rate-limit", "no: no RateLimit-Remaining header"),
            ("manifest-head", "yes"),
            ("blob-head", "yes"),
            ("blob-range", "yes"),
            ("referrers", "no: 404 Not Found: 404 page not found"),
            ("referrers-filter", "unknown: there is no referrers API"),
            ("chunked-upload", "unknown: needs --write REPO"),
        ],
    );
    assert_eq!(methods(&registry.server.requests()), ["GET", "HEAD"]);
    // The tag or digest of the operand is read instead of the first tag.
    registry.server.forget();
    probe(&[&format!("{}:2", registry.repo("app"))]).run().ok();
    let asked = registry.server.asked();
    assert!(asked.contains(&"HEAD /v2/app/manifests/2".to_owned()), "{asked:?}");
    assert!(!asked.contains(&"HEAD /v2/app/manifests/1".to_owned()), "{asked:?}");
}

#[test]
fn a_missing_repository_is_a_fact_and_not_a_failure() {
    let registry = FakeRegistry::with_image();
    let run = probe(&[&registry.repo("none")]).run();
    let list = fact(run.ok(), "tag-list");
    assert!(list.starts_with("no: tags: 404 NAME_UNKNOWN"), "{run}");
    let head = fact(&run, "manifest-head");
    assert!(head.starts_with("unknown: latest: 404"), "{run}");
    assert!(fact(&run, "blob-range").starts_with("unknown: no manifest: "), "{run}");
}

#[test]
fn json_has_the_same_facts_in_one_object() {
    let registry = FakeRegistry::with_image();
    registry.fault(|_, right| right.header("Server", "a test").header("RateLimit-Remaining", "7"));
    let target = registry.repo("app");
    let run = probe(&["--json", &target]).run();
    assert_eq!(run.ok().lines().len(), 1);
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    let names: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    let mut sorted = NAMES;
    sorted.sort_unstable();
    let mut found = names.clone();
    found.sort_unstable();
    assert_eq!(found, sorted);
    assert_eq!(document["registry-api"], json!({"value": true}));
    assert_eq!(document["server"], json!({"value": "a test"}));
    assert_eq!(document["tls"], json!({"value": false, "why": "plain HTTP"}));
    assert_eq!(document["rate-limit"], json!({"value": 7}));
    assert_eq!(document["mount"], json!({"value": null, "why": "needs --write REPO"}));
    assert_eq!(document["clock-difference"]["value"], Value::Null);
}

#[test]
fn a_host_that_is_not_a_registry_is_said_to_be_none() {
    for (reply, want) in [
        (Reply::new(404), "no: 404 Not Found"),
        (Reply::ok("<html>").header("Content-Type", "text/html"), "no: 200 with a web page"),
        (Reply::new(503), "no: 503 Service Unavailable"),
    ] {
        let server = Server::start(move |_| reply.clone());
        facts(probe(&[&server.host()]).run().status(0), &[("registry-api", want)]);
    }
}

#[test]
fn a_host_that_cannot_be_reached_gives_status_5() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let host = format!("127.0.0.1:{port}");
    let run = probe(&[&host]).run();
    run.fails(5, "connection refused")
        .stdout(format!("url: http://{host}/v2/\ntls: no: plain HTTP\n"));
    let run = probe(&["--json", &host]).run();
    run.fails(5, "connection refused");
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(document["tls"]["value"], false);
}

/// A registry whose responses have these headers.
fn with_headers(headers: &'static [(&'static str, &'static str)]) -> FakeRegistry {
    let registry = FakeRegistry::with_image();
    registry.fault(move |_, right| {
        headers.iter().fold(right, |reply, (name, value)| reply.header(name, value))
    });
    registry
}

#[test]
fn headers_are_shown() {
    let registry = with_headers(&[
        ("Docker-Distribution-Api-Version", "registry/2.0"),
        ("Server", "nginx/1.22.1"),
    ]);
    let run = probe(&[&registry.host()]).run();
    facts(run.ok(), &[("version-header", "registry/2.0"), ("server", "nginx/1.22.1")]);
    let run = probe(&[&FakeRegistry::start().host()]).run();
    let none = "no: no such header";
    facts(&run, &[("version-header", none), ("server", none)]);
}

#[test]
fn hostile_headers_are_printable_and_bounded() {
    let long: &'static str = "x".repeat(5000).leak();
    let registry = FakeRegistry::with_image();
    registry.fault(move |_, right| {
        right
            .header("Server", "a\u{202e}b\u{200b}\u{85}c".as_bytes())
            .header("Docker-Distribution-Api-Version", long)
            .header("RateLimit-Remaining", long)
            .header("Date", long)
            .header("OCI-Filters-Applied", long)
    });
    let run = probe(&[&registry.repo("app")]).run();
    assert_eq!(run.ok().lines().len(), NAMES.len(), "{run}");
    assert_eq!(fact(&run, "server"), "a\\u{202e}b\\u{200b}\\u{85}c");
    for name in ["version-header", "rate-limit"] {
        assert_eq!(fact(&run, name), format!("{}…", &long[..300]));
    }
    assert!(run.lines().iter().all(|line| line.len() < 400), "{run}");
}

#[test]
fn the_clock_of_the_registry_is_compared() {
    for (date, word) in
        [("Sun, 06 Nov 1994 08:49:37 GMT", "behind"), ("Thu, 01 Jan 2099 00:00:00 GMT", "ahead")]
    {
        let server = Server::start(move |_| Reply::ok("{}").header("Date", date));
        let run = probe(&[&server.host()]).run();
        let value = fact(run.status(0), "clock-difference");
        assert!(value.ends_with(&format!("s (the registry's clock is {word})")), "{run}");
        let (least, rest) = value.split_once(" s to ").unwrap();
        let most = rest.split_once(" s ").unwrap().0;
        let [least, most]: [f64; 2] = [least, most].map(|seconds| seconds.parse().unwrap());
        let is_ahead = word == "ahead";
        assert!(least < most && (least > 0.0) == is_ahead && (most > 0.0) == is_ahead, "{run}");
        // The bounds differ by the round trip and by the resolution of the Date header, one second.
        assert!(most - least >= 1.0, "{run}");
    }
    let dated = "Sun, 06 Nov 1994 08:49:37 GMT";
    let reply = |headers: &'static [(&'static str, &'static str)]| {
        let reply = move |_: &Request| {
            headers.iter().fold(Reply::ok("{}"), |reply, (name, value)| reply.header(name, value))
        };
        let server = Server::start(reply);
        fact(probe(&[&server.host()]).run().status(0), "clock-difference")
    };
    assert_eq!(reply(&[]), "unknown: no Date header");
    assert_eq!(reply(&[("Date", "yesterday")]), "unknown: invalid Date header: yesterday");
    let cached: &'static [_] = vec![("Date", dated), ("Age", "5")].leak();
    assert_eq!(reply(cached), "unknown: the response is from a cache");
}

#[test]
fn the_rate_limit_is_read_in_its_forms() {
    for (headers, want) in [
        (
            &[("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", "76;w=21600")][..],
            "76 (left of 100 in 21600 seconds)",
        ),
        (&[("X-RateLimit-Limit", "60"), ("X-RateLimit-Remaining", "0")], "0 (left of 60)"),
        (&[("RateLimit-Remaining", "5")], "5"),
        (&[("RateLimit-Remaining", "many")], "many"),
        (&[("RateLimit-Limit", "100")], "no: no RateLimit-Remaining header"),
    ] {
        let run = probe(&[&with_headers(headers).repo("app")]).run();
        facts(run.ok(), &[("rate-limit", want)]);
    }
    // The limit is also read from a response that refuses the request because of it.
    let registry = FakeRegistry::with_image();
    registry.fault(|request, right| {
        if request.is_manifest() {
            Reply::error(429, "TOOMANYREQUESTS", "slow down").header("RateLimit-Remaining", "0")
        } else {
            right
        }
    });
    let run = probe(&[&registry.repo("app")]).run();
    facts(run.status(0), &[("rate-limit", "0")]);
    assert!(fact(&run, "manifest-head").starts_with("unknown: 1: 429"), "{run}");
}

#[test]
fn a_refused_head_or_range_is_seen() {
    type Fault = fn(&Request, Reply) -> Reply;
    let cases: [(Fault, &str, &str); 9] = [
        (
            |request, right| {
                if request.is_manifest() && request.method == "HEAD" {
                    Reply::new(405)
                } else {
                    right
                }
            },
            "manifest-head",
            "no: 405 for 1, but GET finds it",
        ),
        (
            |request, right| {
                if request.is_manifest() { right.without("Docker-Content-Digest") } else { right }
            },
            "manifest-head",
            "yes (without a Docker-Content-Digest header)",
        ),
        (
            |request, right| {
                if request.is_blob() && request.method == "HEAD" { Reply::new(405) } else { right }
            },
            "blob-head",
            "no: 405 Method Not Allowed",
        ),
        (
            |request, right| match request.range() {
                Some(_) => Reply::ok("{}").header("Content-Type", "application/octet-stream"),
                None => right,
            },
            "blob-range",
            "no: the complete blob was sent",
        ),
        (
            |_, right| right.change("Content-Range", |_| "bytes 0-0/2".to_owned()),
            "blob-range",
            "no: asked for bytes from 1, got Content-Range \"bytes 0-0/2\"",
        ),
        (
            |request, right| match request.range() {
                Some(_) => Reply::new(416),
                None => right,
            },
            "blob-range",
            "no: 416",
        ),
        (
            |request, right| {
                if request.path.contains("/referrers/") {
                    Reply::json(200, &json!({}))
                } else {
                    right
                }
            },
            "referrers",
            "no: 200 without a list of manifests",
        ),
        (
            |request, right| {
                if request.path.contains("/referrers/") {
                    Reply::ok("{\"manifests\":[]}")
                        .header("Content-Type", "application/vnd.oci.image.index.v1+json")
                        .header("OCI-Filters-Applied", "artifactType")
                } else {
                    right
                }
            },
            "referrers-filter",
            "yes",
        ),
        (
            |request, right| {
                if request.path.contains("/referrers/") {
                    Reply::json(200, &json!({"manifests": []}))
                } else {
                    right
                }
            },
            "referrers",
            "yes (with the Content-Type \"application/json\")",
        ),
    ];
    for (fault, name, want) in cases {
        let registry = FakeRegistry::with_image();
        registry.fault(fault);
        facts(probe(&[&registry.repo("app")]).run().ok(), &[(name, want)]);
    }
}

#[test]
fn a_blob_at_another_host_is_said_to_be_there() {
    let registry = FakeRegistry::with_image();
    let storage = FakeRegistry::with_image();
    let url = storage.server.url();
    registry.fault(move |request, right| {
        if request.is_blob() {
            Reply::redirect(307, &format!("{url}{}", request.path))
        } else {
            right
        }
    });
    let run = probe(&[&registry.repo("app")]).run();
    facts(run.ok(), &[("blob-head", &format!("yes (redirected to {})", storage.host()))]);
    facts(&run, &[("blob-range", "yes")]);
}

#[test]
fn the_pages_of_a_list_are_described() {
    let names = |count: u64| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();
    // A registry with this number of tags, the largest page that it sends or accepts, and whether
    // its pages have a link.
    let pages = |total: u64, largest: u64, refuses: bool, linked: bool| {
        let server = Server::start(move |request| {
            if request.path != "/v2/app/tags/list" {
                return Reply::new(404);
            }
            let asked: u64 = request.param("n").unwrap().parse().unwrap();
            if refuses && asked > largest {
                return Reply::error(400, "PAGINATION_NUMBER_INVALID", "too many");
            }
            let count = asked.min(largest).min(total);
            let reply = Reply::json(200, &json!({"tags": names(count)}));
            if linked && count < total {
                reply.header("Link", "</v2/app/tags/list?n=1&last=x>; rel=\"next\"")
            } else {
                reply
            }
        });
        let run = probe(&[&format!("{}/app", server.host())]).run();
        run.status(0);
        (fact(&run, "tag-pages"), fact(&run, "tag-page-limit"))
    };
    for ((total, largest, refuses, linked), want, limit) in [
        ((0, 100, false, true), "unknown: the list is empty", "no limit found: a page had 0 names"),
        (
            (1, 100, false, true),
            "unknown: the list has one name only",
            "no limit found: a page had 1",
        ),
        ((300, 100, false, true), "yes", "100"),
        ((300, 1000, true, true), "yes", "unknown: at least 1000, less than 10000"),
        ((300, 50, true, true), "yes", "unknown: less than 100"),
        ((300, 0, true, true), "no: n=1 is refused", "unknown: less than 100"),
        (
            (300, 1_000_000, false, false),
            "no: n=1 is respected, but no link to the next page follows",
            "unknown: no limit found: a page had 300 names",
        ),
    ] {
        let (paged, limited) = pages(total, largest, refuses, linked);
        assert_eq!(paged, want);
        assert!(limited.contains(limit), "{limited}: wanted {limit}");
    }
}

#[test]
fn wrong_usage_gives_status_2() {
    for args in [
        &[][..],
        &["oci:dir"],
        &["https://registry.example"],
        &["registry.example/A"],
        &["registry.example", "--write", "other.example/app"],
        &["registry.example", "--write", "oci:dir"],
        &["registry.example", "--write", "registry.example/app:1"],
        &["registry.example", "extra"],
    ] {
        probe(args).run().status(2).stdout("");
    }
}

#[test]
fn the_login_and_the_token_server_are_named() {
    let registry = tests::logins::registry_with_login();
    let run = probe(&[&registry.host()]).run();
    facts(run.ok(), &[("login", "Basic")]);
    assert!(fact(&run, "access").starts_with("no: 401: login needed"), "{run}");
    let run =
        probe(&[&registry.host(), "--username", USER]).env("REGISTRY_PASSWORD", PASSWORD).run();
    let whose = "yes (with the credentials from --username and $REGISTRY_PASSWORD)";
    facts(run.ok(), &[("access", whose)]);
    let registry = FakeRegistry::with_tokens();
    registry.add_image("app", "1", &Image::small());
    let host = registry.host();
    let run = probe(&[&registry.repo("app")]).run();
    facts(
        run.ok(),
        &[
            ("login", "Bearer"),
            ("token-server", &format!("http://{host}/token")),
            ("token-service", &host),
            ("access", "yes (anonymous)"),
            ("blob-range", "yes"),
        ],
    );
    assert!(!String::from_utf8_lossy(&run.stdout).contains(TOKEN), "{run}");
}

#[test]
fn a_challenge_is_shown_without_secrets_and_its_url_is_checked() {
    for (challenge, login, server) in [
        ("Bearer realm=\"http://HOST/t?sig=hush\",service=\"s\"", "Bearer", "http://HOST/t"),
        ("Bearer service=\"s\"", "Bearer", "no: the challenge has no realm"),
        ("Bearer realm=\"http://10.0.0.1/t\"", "Bearer", "no: refused: "),
        ("Bearer realm=\"http://user:hush@HOST/t\"", "Bearer", "no: refused: URL contains user"),
        (
            "Negotiate, Basic realm=x, Bearer realm=\"/t\"",
            "negotiate, Basic, Bearer",
            "no: refused",
        ),
    ] {
        let registry = Server::start(move |request| {
            let host = request.header("host").unwrap();
            Reply::new(401).header("WWW-Authenticate", challenge.replace("HOST", host))
        });
        let run = probe(&[&registry.host()]).run();
        facts(run.status(0), &[("login", login)]);
        let shown = fact(&run, "token-server");
        assert!(shown.starts_with(&server.replace("HOST", &registry.host())), "{run}");
        assert!(!String::from_utf8_lossy(&run.stdout).contains("hush"), "{run}");
    }
    let server = Server::start(|_| Reply::new(401));
    let run = probe(&[&server.host()]).run();
    facts(run.status(0), &[("login", "unknown: 401 without a challenge")]);
}

#[test]
fn secrets_that_a_registry_repeats_are_hidden() {
    let registry = FakeRegistry::with_image();
    registry.fault(|request, right| {
        let sent = request.header("authorization").unwrap_or_default().to_owned();
        let decoded = if sent.is_empty() { "" } else { PASSWORD };
        let reply = if sent.is_empty() {
            Reply::new(401).header("WWW-Authenticate", "Basic realm=\"a test\"")
        } else {
            right
        };
        reply.header("Server", decoded).header("RateLimit-Remaining", format!("{sent} {decoded}"))
    });
    let run = probe(&[&registry.repo("app"), "--username", USER])
        .env("REGISTRY_PASSWORD", PASSWORD)
        .run();
    let limit = fact(run.ok(), "rate-limit");
    assert!(limit.contains("[secret]"), "{run}");
    let shown = format!("{}{}", String::from_utf8_lossy(&run.stdout), run.stderr);
    let sent = tests::logins::basic(USER, PASSWORD);
    for secret in [PASSWORD, sent.strip_prefix("Basic ").unwrap()] {
        assert!(!shown.contains(secret), "{run}");
    }
}

mod with_peers {
    use super::*;
    use tests::certs::Authority;
    use tests::peers::{must, peer};
    use tests::registry::Registry;
    use tests::scratch::Scratch;
    use tests::small_registries::SmallRegistry;

    const NAMES: &str = "IP:127.0.0.1";
    const FROM: &str = "20200101000000Z";
    const TO: &str = "20991231000000Z";

    fn secure(host: &str) -> Command {
        tool("probe-registry").args(["--retry-times", "1", host])
    }

    #[test]
    fn tls_facts_are_those_of_the_certificate() {
        let authority = Authority::called("a test,OU=here");
        let registry =
            FakeRegistry::with_image_and_tls(authority.issue(NAMES, FROM, TO).server_config());
        let run = secure(&registry.host()).arg("--ca-file").arg(authority.certificate()).run();
        facts(run.ok(), &[("tls", "TLS 1.3"), ("tls-issuer", "CN=a test\\,OU=here")]);
    }

    #[test]
    fn a_certificate_that_is_refused_is_shown() {
        let authority = Authority::new();
        let expired = authority.issue(NAMES, FROM, "20210101000000Z");
        let registry = FakeRegistry::with_image_and_tls(expired.server_config());
        let issuer = ("tls-issuer", "CN=a test's authority");
        let note = "TLS 1.3 (the handshake failed)";
        // The certificate has expired.
        let run = secure(&registry.host()).arg("--ca-file").arg(authority.certificate()).run();
        run.fails(6, "certificate");
        facts(&run, &[issuer, ("tls", note)]);
        let expires = fact(&run, "tls-expires");
        assert!(expires.starts_with("Fri, 01 Jan 2021 00:00:00 GMT (expired "), "{run}");
        // The authority of the certificate is unknown.
        let run = secure(&registry.host()).run();
        run.fails(6, "certificate");
        facts(&run, &[issuer, ("tls", note)]);
        assert_eq!(registry.server.asked(), Vec::<String>::new());
        // The certificate is not checked.
        let run = secure(&registry.host()).arg("--insecure").run();
        facts(run.status(0), &[issuer, ("tls", "TLS 1.3 (the certificate is not checked)")]);
        let run = secure(&registry.host()).args(["--insecure", "--json"]).run();
        let document: Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(document["tls-expires"]["value"], "Fri, 01 Jan 2021 00:00:00 GMT");
    }

    #[test]
    fn the_version_of_tls_is_shown() {
        let authority = Authority::new();
        let identity = authority.issue(NAMES, FROM, TO);
        let clients = Authority::new();
        let config = identity.server_config_tls12_for(&clients);
        let registry = FakeRegistry::with_image_and_tls(config);
        let run = secure(&registry.host()).arg("--ca-file").arg(authority.certificate()).run();
        // The server requires a client certificate.
        run.fails(4, "certificate");
        facts(&run, &[("tls", "TLS 1.2 (the handshake failed)")]);
    }

    #[test]
    fn real_registries_are_described() {
        for (registry, paged) in
            [(Registry::start(), "no: n=1 is ignored"), (Registry::version_3(), "yes")]
        {
            for tag in ["1", "2"] {
                registry.put_image("app", tag, &Image::small());
            }
            let run = tool("probe-registry").arg(registry.repo("app")).run();
            facts(
                run.ok(),
                &[
                    ("registry-api", "yes"),
                    ("version-header", "registry/2.0"),
                    ("login", "none (for the API's root)"),
                    ("catalog", "yes"),
                    ("catalog-page-limit", "unknown: at least 1000, less than 10000"),
                    ("tag-pages", paged),
                    ("manifest-head", "yes"),
                    ("blob-head", "yes"),
                    ("blob-range", "yes"),
                    ("mount", "unknown: needs --write REPO"),
                ],
            );
            assert!(fact(&run, "referrers").starts_with("no: 404"), "{run}");
            // The registry and the tool use the same clock.
            let clock = fact(&run, "clock-difference");
            assert!(clock.ends_with("(no difference found)"), "{run}");
        }
    }

    #[test]
    fn a_real_registry_with_tls_and_one_with_login_are_described() {
        let registry = Registry::with_tls();
        let run =
            secure(&registry.host()).arg("--ca-file").arg(registry.authority().certificate()).run();
        facts(run.ok(), &[("tls", "TLS 1.3"), ("tls-issuer", "CN=a test's authority")]);
        let registry = Registry::with_login();
        let run = tool("probe-registry").arg(registry.host()).run();
        facts(run.ok(), &[("login", "Basic")]);
        assert!(fact(&run, "catalog").starts_with("no: "), "{run}");
    }

    #[test]
    fn the_registry_of_crane_is_described() {
        let server = SmallRegistry::crane();
        let scratch = Scratch::new();
        tests::images::write_image(&scratch.join("l"), "1", &Image::small());
        let app = format!("{}/app", server.host());
        for tag in ["1", "2"] {
            let mut crane = peer("crane");
            must(
                crane
                    .args(["push", "--insecure"])
                    .arg(scratch.join("l"))
                    .arg(format!("{app}:{tag}")),
            );
        }
        let run = tool("probe-registry").args([&app, "--write", &app]).run();
        facts(
            run.ok(),
            &[
                ("tag-pages", "no: n=1 is respected, but no link to the next page follows"),
                ("manifest-head", "yes"),
                ("blob-range", "yes"),
                ("upload", "yes"),
                ("chunked-upload", "yes"),
            ],
        );
        assert!(fact(&run, "upload-cancel").starts_with("no: 400"), "{run}");
    }
}
