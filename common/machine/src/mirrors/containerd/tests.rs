// SPDX-License-Identifier: Apache-2.0
//! Tests of files and the resulting places, with examples like those in containerd's documentation
//! and tests. This module is compiled for tests only, so it may panic.

use common::error::Status;

use super::super::tests::repository;
use super::*;

const NAME: &str = "r.example:5000/team/app";

fn parsed(text: &str, name: &str) -> Result<Configured> {
    let document = Document::parse("hosts.toml".to_owned(), text.as_bytes())?;
    let dir = Path::new("/certs.d/it");
    hosts(&document, dir, &repository(name)).map_err(|wrong| document.wrong(&wrong))
}

fn mirrors(text: &str) -> Vec<Place> {
    parsed(text, NAME).unwrap_or_else(|e| panic!("{text}: {e}")).mirrors
}

/// A place of the repository on a mirror.
fn at(host: &str, scheme: Scheme) -> Place {
    let namespace = Some("r.example:5000".to_owned());
    Place { scheme: Some(scheme), namespace, ..Place::at(host, "team/app", "hosts.toml") }
}

fn paths(texts: &[&str]) -> Vec<PathBuf> {
    texts.iter().map(PathBuf::from).collect()
}

const MANY: &str = r#"
server = "https://server.example"
ca = "/etc/path/default"
[header]
  x-custom-1 = "custom header"

[host."https://m1.example"]
  capabilities = ["pull"]
  ca = "certs/mirror.pem"
  skip_verify = false
  [host."https://m1.example".header]
    x-custom-2 = ["value1", "value2"]

[host."https://m2.example/us"]
  capabilities = ["Pull"]
  skip_verify = true

[host."http://m1.example"]
  capabilities = ["resolve", "push"]

[host."https://m3.example"]
  capabilities = ["pull", "resolve", "push", "referrers"]
  ca = ["/etc/certs/one.pem", "/etc/certs/two.pem"]
  client = [["/etc/certs/c.cert", "/etc/certs/c.key"], ["/etc/certs/c.pem", ""]]

[host."https://m4.example"]
  client = "c.pem"

[host."https://m5.example"]
  client = ["/c1.pem", "/c2.pem"]

[host."https://m6.example/v2/upstream"]
  override_path = true

[host."m7.example"]
  override_path = true

[host."https://m8.example/a/./b//../v2/".header]
  x-custom-1 = "no more"

[host."https://m9.example"]
  dial_timeout = "3s"
  capabilities = ["push"]

[host."https://R.EXAMPLE:5000"]
[host."https://r.example:5000"]
"#;

#[test]
fn hosts_are_mirrors_in_the_order_of_the_file() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let https = |host: &str| at(host, Scheme::Https);
    let root = |root: &str| root.to_owned();
    let pem = |text: &str| (PathBuf::from(text), None);
    let expected = [
        Place {
            serves: Serves::Digests,
            ca: paths(&["/certs.d/it/certs/mirror.pem"]),
            headers: vec![header("x-custom-2", "value1"), header("x-custom-2", "value2")],
            ..https("m1.example")
        },
        Place {
            serves: Serves::Digests,
            insecure: true,
            root: root("/us/v2/"),
            ..https("m2.example")
        },
        Place { serves: Serves::Tags, ..at("m1.example", Scheme::Http) },
        Place {
            ca: paths(&["/etc/certs/one.pem", "/etc/certs/two.pem"]),
            client: vec![
                (PathBuf::from("/etc/certs/c.cert"), Some(PathBuf::from("/etc/certs/c.key"))),
                pem("/etc/certs/c.pem"),
            ],
            ..https("m3.example")
        },
        Place { client: vec![pem("/certs.d/it/c.pem")], ..https("m4.example") },
        Place { client: vec![pem("/c1.pem"), pem("/c2.pem")], ..https("m5.example") },
        Place { root: root("/v2/upstream/"), ..https("m6.example") },
        Place { root: root("/"), ..https("m7.example") },
        Place {
            root: root("/a/v2/"),
            headers: vec![header("x-custom-1", "no more")],
            ..https("m8.example")
        },
        // m9 does not allow reading. The namespace is not sent to the registry itself.
        https("R.EXAMPLE:5000"),
        Place { namespace: None, ..https("r.example:5000") },
    ];
    let got = parsed(MANY, NAME).unwrap();
    assert_eq!(got.mirrors, expected);
    let own = Place {
        ca: paths(&["/etc/path/default"]),
        headers: vec![header("x-custom-1", "custom header")],
        ..https("server.example")
    };
    assert_eq!((got.own, got.blocked), (Some(own), None));
}

#[test]
fn the_registry_keeps_its_own_host_unless_a_server_is_named() {
    let own = |text: &str, name: &str| parsed(text, name).unwrap().own;
    for silent in ["", "# nothing", "[host.'https://m.example']", "capabilities = ['push']"] {
        assert_eq!(own(silent, NAME), None, "{silent}");
    }
    let here = Place::at("r.example:5000", "team/app", "hosts.toml");
    assert_eq!(own("skip_verify = true", NAME), Some(Place { insecure: true, ..here.clone() }));
    let named = Place { scheme: Some(Scheme::Https), ..here };
    assert_eq!(own("server = 'r.example:5000'", NAME), Some(named));
    // Every host name of Docker Hub is replaced by `docker.io`.
    for host in ["docker.io", "registry-1.docker.io"] {
        let hub = Place {
            scheme: Some(Scheme::Https),
            ..Place::at("docker.io", "library/alpine", "hosts.toml")
        };
        assert_eq!(own(&format!("server = 'https://{host}'"), "alpine"), Some(hub), "{host}");
    }
    let elsewhere = own("server = 'https://m.example'", "alpine").unwrap();
    assert_eq!(elsewhere.namespace.as_deref(), Some("docker.io"));
}

#[test]
fn tables_count_in_any_toml_notation() {
    let many = [
        "host.'https://m.example'.capabilities = ['pull']",
        "host = { 'https://m.example' = { capabilities = ['pull'] } }",
        "[host]\n'https://m.example' = { Capabilities = ['pull'] }",
        "[host.'https://m.example']\ncapabilities = ['pull']\n[host.'https://m.example'.header]",
    ];
    let expected = Place { serves: Serves::Digests, ..at("m.example", Scheme::Https) };
    for text in many {
        assert_eq!(mirrors(text), std::slice::from_ref(&expected), "{text}");
    }
    // Tables are in the order of their first appearance.
    let order = "[host.'b.example'.header]\n[host.'a.example']\n[host.'b.example']\nca = 'x'";
    let hosts: Vec<String> = mirrors(order).into_iter().map(|place| place.host).collect();
    assert_eq!(hosts, ["b.example", "a.example"]);
}

#[test]
fn http_with_tls_settings_uses_tls_unless_the_port_is_80() {
    let scheme = |host: &str, words: &str| {
        let place = mirrors(&format!("[host.'{host}']\n{words}")).remove(0);
        (place.scheme, place.insecure)
    };
    let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
    for (host, words, expected) in [
        ("http://m.example:5000", "", (http, false)),
        ("http://m.example:5000", "skip_verify = false", (http, false)),
        ("http://m.example:5000", "skip_verify = true", (None, true)),
        ("http://[::1]:5000", "skip_verify = true", (None, true)),
        ("http://m.example:80", "skip_verify = true", (http, true)),
        ("http://m.example", "skip_verify = true", (http, true)),
        ("http://[::1]", "skip_verify = true", (http, true)),
        ("http://m.example:5000", "ca = 'a.pem'", (https, false)),
        ("http://m.example:80", "ca = 'a.pem'", (http, false)),
        ("https://m.example:5000", "skip_verify = true", (https, true)),
    ] {
        assert_eq!(scheme(host, words), expected, "{host} {words}");
    }
}

#[test]
fn errors_name_the_line() {
    let host = "[host.'https://m.example']\n";
    let cases = [
        ("server = \"https://a\n".to_owned(), 1, "invalid basic string"),
        ("\nserver = 'ftp://a.example'".to_owned(), 2, "unsupported URL scheme \"ftp\""),
        ("server = 'https://me:pw@a.example'".to_owned(), 1, "user information"),
        ("server = 'https://a.example:x'".to_owned(), 1, ""),
        ("server = 'https://a_.example'".to_owned(), 1, "invalid host"),
        ("server = 1".to_owned(), 1, "want a string"),
        (
            "server = 'a.example'\ncapabilities = ['push']".to_owned(),
            2,
            "the server needs pull or resolve",
        ),
        ("host = 'a'".to_owned(), 1, "want a table"),
        ("[host]\na = 1".to_owned(), 2, "want a table"),
        ("[[host]]".to_owned(), 1, "got a list, want a table"),
        ("[host.'']".to_owned(), 1, ""),
        ("[host.'https://2130706433']".to_owned(), 1, ""),
        (format!("{host}capabilities = 'pull'"), 2, "want a list"),
        (format!("{host}capabilities = ['pull',\n'pul']"), 2, "unknown capability \"pul\""),
        (format!("{host}skip_verify = 'no'"), 2, "want true or false"),
        (format!("{host}override_path = 1"), 2, "want true or false"),
        (format!("{host}ca = 1"), 2, "want a string"),
        (format!("{host}ca = [['a']]"), 2, "want a string"),
        (format!("{host}client = [['a']]"), 2, "want a certificate and its key"),
        (format!("{host}client = [['a', 'b', 'c']]"), 2, "want a certificate and its key"),
        (format!("{host}client = true"), 2, "want a string"),
        (format!("{host}header = 'a'"), 2, "want a table"),
        (format!("{host}header.x = 1"), 2, "want a string"),
        (format!("{host}header.'x y' = 'z'"), 2, "header x y: invalid name or value"),
        (format!("{host}header.x = \"open\\r\\nsesame\""), 2, "header x: invalid name or value"),
    ];
    for (text, line, words) in cases {
        let got = parsed(&text, NAME).unwrap_err();
        assert_eq!(got.status(), Status::Malformed);
        let got = got.to_string();
        assert!(got.starts_with(&format!("hosts.toml: line {line}: ")), "{text}\n{got}");
        assert!(got.contains(words) && !got.contains("sesame") && !got.contains("pw"), "{got}");
    }
}

#[test]
fn the_numbers_of_hosts_values_and_headers_are_limited() {
    let hosts =
        |count: usize| (0..count).map(|i| format!("[host.'m{i}.example']\n")).collect::<String>();
    assert_eq!(mirrors(&hosts(MAX_MIRRORS)).len(), MAX_MIRRORS);
    let values = |count: usize| format!("ca = [{}]", "'a',".repeat(count));
    assert!(parsed(&values(MAX_VALUES), NAME).is_ok());
    let headers = |count: usize| {
        let many = (0..count).map(|i| format!("x{i} = 'a'\n")).collect::<String>();
        format!("[header]\n{many}")
    };
    assert!(parsed(&headers(MAX_VALUES), NAME).is_ok());
    for (text, words) in [
        (hosts(MAX_MIRRORS + 1), "line 65: more than 64 hosts"),
        (values(MAX_VALUES + 1), "line 1: ca: more than 64 values"),
        (headers(MAX_VALUES + 1), "line 66: more than 64 headers"),
    ] {
        let got = parsed(&text, NAME).unwrap_err().to_string();
        assert!(got.contains(words), "{got}");
    }
}

#[test]
fn a_directory_has_the_name_of_host_and_port() {
    assert_eq!(names("r.example"), ["r.example", "_default"]);
    assert_eq!(names("r.example:5000"), ["r.example_5000_", "r.example:5000", "_default"]);
    assert_eq!(names("[::1]:5000"), ["[::1]_5000_", "[::1]:5000", "_default"]);
    assert_eq!(names("[::1]"), ["[::1]", "_default"]);
}
