// SPDX-License-Identifier: Apache-2.0
//! Certificates of every shape that openssl makes: the verdicts of the tools and of curl.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use tests::certs::Identity;
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::nginx::{Front, Nginx};
use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::{Run, tool};

/// The tools' verdict on a shape: trusted, or the reason in the error message.
type Verdict = Result<(), &'static str>;

/// Whether curl accepts a shape.
const CURL: bool = true;
const NOT_CURL: bool = false;

const NOTHING_IN_COMMON: Verdict = Err("no cipher suite, group or signature scheme in common");
const TOO_SHORT: Verdict =
    Err("its chain has a key of type RSA of 1024 bits: expected 2048 to 8192 bits");

/// Certificates and keys in a directory.
struct Files {
    dir: Scratch,
    registry: FakeRegistry,
}

impl Files {
    fn new() -> Files {
        let files = Files { dir: Scratch::new(), registry: FakeRegistry::with_image() };
        files.key("prime256v1", "good");
        files.authority("good", "-sha256");
        files.dir.write(
            "extensions",
            "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n",
        );
        files
    }

    fn openssl(&self, command: &str) {
        let mut openssl = peer("openssl");
        must(openssl.args(command.split_whitespace()).current_dir(self.dir.path()));
    }

    /// Makes a key of this kind, with this name.
    fn key(&self, kind: &str, name: &str) {
        let bits = |prefix: &str| kind.strip_prefix(prefix).map(str::to_owned);
        if let Some(bits) = bits("rsa") {
            self.openssl(&format!("genrsa -out {name}.key {bits}"));
        } else if let Some(bits) = bits("pss") {
            let bits = format!("-pkeyopt rsa_keygen_bits:{bits}");
            self.openssl(&format!("genpkey -algorithm rsa-pss {bits} -out {name}.key"));
        } else if let Some(bits) = bits("dsa") {
            self.openssl(&format!("dsaparam -out parameters {bits}"));
            self.openssl(&format!("gendsa -out {name}.key parameters"));
        } else if kind.starts_with("ed") {
            self.openssl(&format!("genpkey -algorithm {kind} -out {name}.key"));
        } else {
            self.openssl(&format!("ecparam -name {kind} -genkey -noout -out {name}.key"));
        }
    }

    /// Makes a self-signed certificate of an authority with this key.
    fn authority(&self, name: &str, options: &str) {
        self.openssl(&format!(
            "req -x509 -new -key {name}.key -out {name}.crt -days 2 -subj /CN={name} \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign {options}"
        ));
    }

    /// Makes a server's certificate for a key, signed by an authority.
    fn signed(&self, name: &str, authority: &str, options: &str) {
        self.openssl(&format!("req -new -key {name}.key -subj /CN=localhost -out request"));
        self.openssl(&format!(
            "x509 -req -in request -CA {authority}.crt -CAkey {authority}.key -CAcreateserial \
             -days 2 -out {name}.crt {options}"
        ));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn identity(&self, name: &str) -> Identity {
        let [certificate, key] = ["crt", "key"].map(|kind| self.file(&format!("{name}.{kind}")));
        Identity { certificate, key }
    }

    fn front(&self, name: &str, directives: &str) -> Nginx {
        Front::of(&self.registry.host())
            .tls(&self.identity(name))
            .with("ssl_ciphers 'ALL:@SECLEVEL=0';")
            .with(directives)
            .start()
    }

    fn fetch(&self, front: &Nginx, authority: &str, options: &[&str]) -> Run {
        let port = front.host().replace("127.0.0.1:", "");
        tool("fetch-manifest")
            .args(["--retry-times", "1", "--max-wait", "0", "--ca-file"])
            .arg(self.file(&format!("{authority}.crt")))
            .args(options)
            .arg(format!("localhost:{port}/app:1"))
            .dir(self.dir.path())
            .run()
    }

    fn curl(&self, front: &Nginx, authority: &str, options: &[&str]) -> bool {
        let port = front.host().replace("127.0.0.1:", "");
        let mut curl = peer("curl");
        curl.args(["-sS", "-f", "-o", "/dev/null", "--cacert"]);
        curl.arg(self.file(&format!("{authority}.crt"))).args(options);
        curl.arg(format!("https://localhost:{port}/v2/"));
        curl.current_dir(self.dir.path()).output().unwrap().status.success()
    }

    /// Compares the verdicts on a server with this certificate, for a client that trusts this
    /// authority.
    #[track_caller]
    fn judge(&self, shape: &str, server: &str, trusted: &str, curl: bool, verdict: Verdict) {
        for (version, front) in [
            ("TLS 1.3", self.front(server, "ssl_protocols TLSv1.3;")),
            ("TLS 1.2", self.front(server, "ssl_protocols TLSv1.2;")),
        ] {
            let run = self.fetch(&front, trusted, &[]);
            judge(&format!("{shape}, {version}"), &run, verdict);
            assert_eq!(self.curl(&front, trusted, &[]), curl, "curl: {shape}, {version}");
        }
    }
}

#[track_caller]
fn judge(shape: &str, run: &Run, verdict: Verdict) {
    let (status, words) = match verdict {
        Ok(()) => (0, ""),
        Err(words) => (6, words),
    };
    assert_eq!(run.code(), Some(status), "{shape}: {run}");
    if verdict.is_ok() {
        run.stdout(&Image::small().manifest.bytes);
    } else {
        run.fails(status, words).stdout("");
    }
    // No identifier of the TLS library is shown.
    for structure in ["BadSignature", "Context", "UsedAs", "Unsupported", "{", "["] {
        assert!(!run.stderr.contains(structure), "{shape}: {run}");
    }
}

/// The kinds of key, with curl's verdict and ours on an authority and on a server with such a key.
const KEYS: [(&str, bool, Verdict, bool, Verdict); 13] = [
    ("rsa1024", NOT_CURL, TOO_SHORT, NOT_CURL, TOO_SHORT),
    ("rsa2048", CURL, Ok(()), CURL, Ok(())),
    ("rsa3072", CURL, Ok(()), CURL, Ok(())),
    ("rsa4096", CURL, Ok(()), CURL, Ok(())),
    ("prime256v1", CURL, Ok(()), CURL, Ok(())),
    ("secp384r1", CURL, Ok(()), CURL, Ok(())),
    ("secp521r1", CURL, Ok(()), CURL, Ok(())),
    ("ed25519", CURL, Ok(()), CURL, Ok(())),
    (
        "secp256k1",
        CURL,
        Err("unsupported signature: ECDSA with SHA-256, by a key of type ECDSA by secp256k1"),
        NOT_CURL,
        NOTHING_IN_COMMON,
    ),
    (
        "secp224r1",
        CURL,
        Err("unsupported signature: ECDSA with SHA-256, by a key of type ECDSA by P-224"),
        NOT_CURL,
        NOTHING_IN_COMMON,
    ),
    ("ed448", CURL, Err("unsupported signature: Ed448"), CURL, NOTHING_IN_COMMON),
    ("pss2048", CURL, Err("unsupported signature: RSASSA-PSS"), CURL, NOTHING_IN_COMMON),
    ("dsa2048", CURL, Err("unsupported signature: DSA with SHA-256"), NOT_CURL, NOTHING_IN_COMMON),
];

#[test]
fn every_kind_of_key_has_its_verdict_beside_curls() {
    let files = Files::new();
    files.key("prime256v1", "leaf");
    for (kind, curl_authority, authority, curl_server, server) in KEYS {
        let hash = if kind.starts_with("ed") { "" } else { "-sha256" };
        files.key(kind, kind);
        files.authority(kind, hash);
        files.signed("leaf", kind, &format!("{hash} -extfile extensions"));
        files.judge(&format!("authority {kind}"), "leaf", kind, curl_authority, authority);
        files.signed(kind, "good", "-sha256 -extfile extensions");
        files.judge(&format!("server {kind}"), kind, "good", curl_server, server);
    }
}

#[test]
fn every_hash_has_its_verdict_beside_curls() {
    let files = Files::new();
    files.key("prime256v1", "leaf");
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1";
    for (kind, name) in [
        ("rsa2048", "RSA"),
        ("prime256v1", "ECDSA"),
        ("secp384r1", "ECDSA"),
        ("secp521r1", "ECDSA"),
    ] {
        files.key(kind, kind);
        files.authority(kind, "-sha256");
        let unsupported = |hash: &str| format!("unsupported signature: {name} with {hash}");
        let [md5, sha1, sha224] = ["MD5", "SHA-1", "SHA-224"].map(unsupported).map(String::leak);
        let mut hashes = vec![
            ("-sha1", NOT_CURL, Err(&*sha1)),
            ("-sha224", CURL, Err(&*sha224)),
            ("-sha256", CURL, Ok(())),
            ("-sha384", CURL, Ok(())),
            ("-sha512", CURL, Ok(())),
        ];
        if kind == "rsa2048" {
            hashes.push(("-md5", NOT_CURL, Err(&*md5)));
        }
        for (hash, curl, verdict) in hashes {
            files.signed("leaf", kind, &format!("{hash} -extfile extensions"));
            files.judge(&format!("{kind} {hash}"), "leaf", kind, curl, verdict);
        }
    }
    for (hash, curl, verdict) in [
        ("-sha1", NOT_CURL, Err("unsupported signature: RSASSA-PSS")),
        ("-sha256", CURL, Ok(())),
        ("-sha384", CURL, Ok(())),
        ("-sha512", CURL, Ok(())),
    ] {
        files.signed("leaf", "rsa2048", &format!("{hash} -extfile extensions {pss}"));
        files.judge(&format!("RSASSA-PSS {hash}"), "leaf", "rsa2048", curl, verdict);
    }
}

#[test]
fn other_shapes_have_their_verdict_beside_curls() {
    let files = Files::new();
    files.key("prime256v1", "leaf");
    // Without extensions, openssl makes a certificate of version 1.
    files.signed("leaf", "good", "-sha256");
    files.judge("version 1", "leaf", "good", CURL, Err("its version is not 3"));
    files.dir.write("bare", "basicConstraints=CA:FALSE\n");
    files.signed("leaf", "good", "-sha256 -extfile bare");
    files.judge("common name only", "leaf", "good", CURL, Err("no subject alternative name"));
    files.dir.write("client", "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth\n");
    files.signed("leaf", "good", "-sha256 -extfile client");
    let purpose = "its extended key usage does not allow server authentication";
    files.judge("for clients", "leaf", "good", NOT_CURL, Err(purpose));
    files.dir.write("critical", "subjectAltName=DNS:localhost\n1.2.3.4=critical,ASN1:NULL\n");
    files.signed("leaf", "good", "-sha256 -extfile critical");
    files.judge("critical", "leaf", "good", NOT_CURL, Err("unsupported critical extension"));
    // The trusted authority has the same name as the one that signed, but another key.
    let other = Files::new();
    files.signed("leaf", "good", "-sha256 -extfile extensions");
    std::fs::copy(other.file("good.crt"), files.file("other.crt")).unwrap();
    files.judge("another key", "leaf", "other", NOT_CURL, Err("certificate not trusted: "));
    files.key("rsa1024", "short");
    files.openssl(
        "req -x509 -new -key short.key -out short.crt -days 2 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost",
    );
    files.judge("self-signed, 1024 bits", "short", "short", NOT_CURL, TOO_SHORT);
}

/// The server supports only one group for the key exchange.
#[test]
fn a_server_that_requires_a_group_is_reached() {
    let files = Files::new();
    files.key("prime256v1", "leaf");
    files.signed("leaf", "good", "-sha256 -extfile extensions");
    for group in ["X25519", "prime256v1", "secp384r1", "secp521r1"] {
        for version in ["TLSv1.2", "TLSv1.3"] {
            let directives = format!("ssl_ecdh_curve {group}; ssl_protocols {version};");
            let front = files.front("leaf", &directives);
            judge(&format!("{group} {version}"), &files.fetch(&front, "good", &[]), Ok(()));
        }
    }
}

#[test]
fn every_kind_of_client_key_has_its_verdict_beside_curls() {
    let files = Files::new();
    files.key("prime256v1", "server");
    files.signed("server", "good", "-sha256 -extfile extensions");
    for (kind, curl, verdict) in [
        ("rsa1024", NOT_CURL, Err("unsupported key of type RSA of 1024 bits")),
        ("rsa2048", CURL, Ok(())),
        ("rsa4096", CURL, Ok(())),
        ("prime256v1", CURL, Ok(())),
        ("secp384r1", CURL, Ok(())),
        ("secp521r1", CURL, Err("unsupported key of type ECDSA by P-521")),
        ("secp256k1", NOT_CURL, Err("unsupported key of type ECDSA by secp256k1")),
        ("ed25519", CURL, Ok(())),
        ("ed448", CURL, Err("unsupported key of type Ed448")),
        ("pss2048", CURL, Err("unsupported key of type RSA")),
        ("dsa2048", CURL, Err("unsupported key of type DSA")),
    ] {
        files.key(kind, kind);
        files.signed(kind, "good", "-sha256 -extfile extensions");
        let clients = format!(
            "ssl_verify_client on; ssl_client_certificate {};",
            files.file("good.crt").display()
        );
        let front = files.front("server", &clients);
        let (certificate, key) = (format!("{kind}.crt"), format!("{kind}.key"));
        let options = ["--cert-file", &certificate, "--key-file", &key];
        judge(&format!("client {kind}"), &files.fetch(&front, "good", &options), verdict);
        let options = ["--cert", certificate.as_str(), "--key", &key];
        assert_eq!(files.curl(&front, "good", &options), curl, "curl: client {kind}");
    }
}

mod at_length {
    use super::*;

    /// Making such a key takes up to a minute.
    #[test]
    fn rsa_of_8192_bits_is_trusted() {
        let files = Files::new();
        files.key("prime256v1", "leaf");
        files.key("rsa8192", "long");
        files.authority("long", "-sha256");
        files.signed("leaf", "long", "-sha256 -extfile extensions");
        files.judge("authority of 8192 bits", "leaf", "long", CURL, Ok(()));
        files.signed("long", "good", "-sha256 -extfile extensions");
        files.judge("server of 8192 bits", "long", "good", CURL, Ok(()));
    }
}
