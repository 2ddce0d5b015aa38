// SPDX-License-Identifier: Apache-2.0
//! URLs that a server may send, in every form that hides their real host, and whether a client may
//! follow them.
//!
//! The URLs lead to two servers on 127.0.0.1 (the registry and an attacker), to addresses that no
//! client may be sent to, or to names that do not exist. Whatever a client does with them, nothing
//! leaves this machine except DNS queries for names that cannot exist.

use crate::attack::Attack;

/// Whether a client may follow a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The registry's own origin: followed, with everything that the registry may receive.
    Own,
    /// Another origin: followed without credentials or own headers.
    Other,
    /// The registry by another host name: followed without credentials or own headers.
    Alias,
    /// Refused by the client.
    Refused,
    /// Refused, or followed without credentials or own headers: no server exists there.
    Unresolvable,
}
use Verdict::{Alias, Other, Own, Refused, Unresolvable};

/// A URL and its verdict.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The URL.
    pub text: String,
    /// Whether a client may follow it.
    pub verdict: Verdict,
    /// Whether the URL contains a scheme and a host.
    pub is_absolute: bool,
}

/// URLs for a registry at 127.0.0.1, all with this path and query.
pub fn shapes(attack: &Attack, path: &str) -> Vec<Shape> {
    let own = attack.registry.server.port();
    let (plain, secure) = (attack.plain.port(), attack.secure.port());
    let by_tls = attack.registry.server.url().starts_with("https");
    let attacker = if by_tls { secure } else { plain };
    let mut all = Vec::new();
    let mut add = |verdict: Verdict, is_absolute: bool, text: &str| {
        let text = text
            .replace("OWN", &own.to_string())
            .replace("PLAIN", &plain.to_string())
            .replace("SECURE", &secure.to_string())
            .replace("ATTACKER", &attacker.to_string())
            .replace("SCHEME", if by_tls { "https" } else { "http" })
            .replace("PATH", path);
        all.push(Shape { text, verdict, is_absolute });
    };
    // Another scheme.
    let downgraded = if by_tls { Refused } else { Other };
    add(downgraded, true, "http://127.0.0.1:PLAINPATH");
    add(Other, true, "https://127.0.0.1:SECUREPATH");
    if by_tls {
        add(Refused, true, "http://127.0.0.1:ATTACKERPATH");
        add(Refused, true, "HTTP://127.0.0.1:PLAINPATH");
    }
    for text in ["ftp", "file", "gopher", "ws", "wss", "ldap", "unix", "httpx", "http+unix", "h"] {
        add(Refused, true, &format!("{text}://127.0.0.1:ATTACKERPATH"));
    }
    add(Refused, true, "file:///etc/passwd");
    add(Refused, true, "data:text/plain,hello");
    add(Refused, true, "javascript:alert(1)");
    // The registry in another spelling, and other ports of the same host.
    add(Own, true, "SCHEME://127.0.0.1:OWNPATH");
    add(Other, true, "SCHEME://127.0.0.1:ATTACKERPATH#127.0.0.1:OWN");
    add(Other, true, "SCHEME://localhost:ATTACKERPATH");
    add(Other, true, "SCHEME://LocalHost:ATTACKERPATH");
    add(Alias, true, "SCHEME://localhost:OWNPATH");
    add(Other, false, "//127.0.0.1:ATTACKERPATH");
    add(Other, false, "//localhost:ATTACKERPATH");
    // User information.
    for user in ["somebody:else", "somebody", ":", "", "127.0.0.1:OWN", "127.0.0.1%3AOWN", "a%40b"]
    {
        add(Refused, true, &format!("SCHEME://{user}@127.0.0.1:ATTACKERPATH"));
        add(Refused, true, &format!("SCHEME://{user}@127.0.0.1:OWNPATH"));
        add(Refused, false, &format!("//{user}@127.0.0.1:ATTACKERPATH"));
    }
    // Spellings of 127.0.0.1 that a resolver accepts and a comparison of texts misses; other
    // addresses of this machine.
    for host in [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0X7F000001",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "127.0.0.01",
        "127.00.0.1",
        "127.0.0.1..",
        "127.0.0.1.1",
        "127.0.0.256",
        "127.0.0.2",
        "127.255.255.254",
        "0.0.0.0",
        "0",
        "0x0",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[::127.0.0.1]",
        "[::1%25lo]",
        "[::1%lo]",
        "[127.0.0.1]",
        "[localhost]",
        "[::1",
        "::1",
        "attacker.localhost",
        "ATTACKER.LOCALHOST",
        "localhost.localhost",
    ] {
        add(Refused, true, &format!("SCHEME://{host}:ATTACKERPATH"));
        add(Refused, false, &format!("//{host}:ATTACKERPATH"));
    }
    // Addresses that are not public: link-local, private, shared, multicast, reserved, and their
    // IPv6 forms.
    for host in [
        "169.254.169.254",
        "169.254.0.1",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.0.1",
        "[::ffff:192.168.0.1]",
        "[fd00::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fec0::1]",
        "100.64.0.1",
        "100.127.255.254",
        "100.100.100.200",
        "224.0.0.1",
        "239.255.255.255",
        "[ff02::1]",
        "240.0.0.1",
        "255.255.255.255",
        "0.1.2.3",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2002:a9fe:a9fe::1]",
        "[2002:a00:1::1]",
        "10.0.0.1.",
        "169.254.169.254.",
        "198.18.0.1",
        "192.0.0.192",
    ] {
        add(Refused, true, &format!("SCHEME://{host}:ATTACKERPATH"));
    }
    // Hosts that end at different places for different URL parsers.
    for rest in [
        "127.0.0.1:ATTACKER\\@127.0.0.1:OWNPATH",
        "127.0.0.1:OWN\\@127.0.0.1:ATTACKERPATH",
        "127.0.0.1%3aATTACKERPATH",
        "%31%32%37.0.0.1:ATTACKERPATH",
        "127.0.0.1%00:ATTACKERPATH",
        "127.0.0.1%2f:ATTACKERPATH",
        "127.0.0.1%09:ATTACKERPATH",
        "127.0.0.1:ATTACKER:OWNPATH",
        "127.0.0.1:PATH",
        "127.0.0.1:0PATH",
        "127.0.0.1:65536PATH",
        "127.0.0.1:+ATTACKERPATH",
        "127.0.0.1:-1PATH",
        "127.0.0.1:0xATTACKERPATH",
        "127.0.0.1:99999999999999999999PATH",
        "127.0.0.1:ATTACKER;PATH",
        "127.0.0.1;:ATTACKERPATH",
        "127.0.0.1,localhost:ATTACKERPATH",
        "*:ATTACKERPATH",
        "local\thost:ATTACKERPATH",
        "local host:ATTACKERPATH",
        "\"127.0.0.1\":ATTACKERPATH",
        "<127.0.0.1>:ATTACKERPATH",
        "{127.0.0.1}:ATTACKERPATH",
        "local|host:ATTACKERPATH",
        "local^host:ATTACKERPATH",
        "$localhost:ATTACKERPATH",
        "a:ATTACKER!PATH",
        ".:ATTACKERPATH",
        "..:ATTACKERPATH",
        ".localhost:ATTACKERPATH",
        "",
        ":ATTACKERPATH",
        "[]:ATTACKERPATH",
    ] {
        add(Refused, true, &format!("SCHEME://{rest}"));
        add(Refused, false, &format!("//{rest}"));
    }
    // Malformed URLs that browsers repair.
    for text in [
        "SCHEME:\\\\127.0.0.1:ATTACKERPATH",
        "SCHEME:/127.0.0.1:ATTACKERPATH",
        "SCHEME:127.0.0.1:ATTACKERPATH",
        "SCHEME:///127.0.0.1:ATTACKERPATH",
        "SCHEME:\\/127.0.0.1:ATTACKERPATH",
        "SCHEME:/\\127.0.0.1:ATTACKERPATH",
        "SCHEME::127.0.0.1:ATTACKERPATH",
        "sch\teme://127.0.0.1:ATTACKERPATH",
        "SCHEME:",
    ] {
        add(Refused, true, text);
    }
    add(Refused, false, "///127.0.0.1:ATTACKERPATH");
    add(Refused, false, "////127.0.0.1:ATTACKERPATH");
    add(Refused, false, "//");
    add(Refused, true, &format!("SCHEME://127.0.0.1:ATTACKER/{}", "x".repeat(20_000)));
    add(Refused, true, "SCHEME://127.0.0.1:ATTACKER/a b");
    add(Refused, true, "SCHEME://127.0.0.1:ATTACKER/\u{e4}");
    // Names that do not exist.
    for host in [
        "attacker.invalid",
        "ATTACKER.INVALID.",
        "127.0.0.1.attacker.invalid",
        "xn--attacker-.invalid",
        "-",
        "127.0.0.1.",
    ] {
        add(Unresolvable, true, &format!("SCHEME://{host}:ATTACKERPATH"));
        add(Unresolvable, false, &format!("//{host}:ATTACKERPATH"));
    }
    all
}

/// Paths at the registry that look like another host.
pub fn paths(attack: &Attack) -> Vec<Shape> {
    let attacker = format!("127.0.0.1:{}", attack.plain.port());
    [
        "/\\ATTACKER/x",
        "/%2f%2fATTACKER/x",
        "/%5cATTACKER/x",
        "?x=http://ATTACKER/",
        "#http://ATTACKER/",
        ".//ATTACKER/x",
        "..//ATTACKER/x",
        "../../../../../..//ATTACKER/x",
        ";//ATTACKER/x",
        "@ATTACKER/x",
        "%2f%2fATTACKER/x",
        "/@ATTACKER/x",
        "/x/..//ATTACKER/x",
        "/http://ATTACKER/x",
        "http%3a//ATTACKER/x",
    ]
    .map(|text| Shape {
        text: text.replace("ATTACKER", &attacker),
        verdict: Own,
        is_absolute: false,
    })
    .to_vec()
}
