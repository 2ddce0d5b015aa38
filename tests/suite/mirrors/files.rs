// SPDX-License-Identifier: Apache-2.0
//! The files that name mirrors: their locations, their precedence, and their size limits.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use rustix::process::geteuid;
use tests::fake_registry::FakeRegistry;
use tests::images::Image;
use tests::peers::{must, peer};
use tests::registry::Registry;
use tests::scratch::Scratch;
use tests::tools::{Command, tool};

/// A reference at a host that does not exist.
const NAME: &str = "registry.invalid/app:1";

/// The limits: the bytes of all files together, and the number of drop-in files in a directory.
const MAX_BYTES: usize = 512 << 10;
const MAX_DROP_INS: usize = 256;

fn fetch_manifest() -> Command {
    tool("fetch-manifest").args(["--max-wait", "0", NAME])
}

/// Several mirrors, all with the image.
fn mirrors<const N: usize>() -> [FakeRegistry; N] {
    std::array::from_fn(|_| FakeRegistry::with_image())
}

/// A table with this mirror for the registry of [`NAME`].
fn table(mirror: &FakeRegistry) -> String {
    format!(
        "[[registry]]\nlocation = \"registry.invalid\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        mirror.host()
    )
}

/// Checks that the command reads this mirror, and no other.
#[track_caller]
fn asks(command: Command, mirrors: &[FakeRegistry], which: usize) {
    command.run().ok().silent().stdout(&Image::small().manifest.bytes);
    let asked: Vec<usize> = mirrors.iter().map(|mirror| mirror.server.requests().len()).collect();
    let expected: Vec<usize> = (0..mirrors.len()).map(|at| usize::from(at == which)).collect();
    assert_eq!(asked, expected);
    mirrors.iter().for_each(|mirror| mirror.server.forget());
}

/// Runs the command with this directory as /etc.
fn with_etc(command: Command, etc: &Path) -> Command {
    let script = "mount --bind \"$etc\" /etc && exec \"$0\" \"$@\"";
    let how = if geteuid().is_root() { "-m" } else { "-rm" };
    command.env("etc", etc).under(&["unshare", how, "dash", "-c", script])
}

#[test]
fn a_named_file_precedes_the_users_file_and_that_the_systems_file() {
    let mirrors = mirrors::<5>();
    let scratch = Scratch::new();
    let in_etc = || with_etc(fetch_manifest(), &scratch.join("etc"));
    scratch.write("etc/containers/registries.conf", table(&mirrors[0]));
    asks(in_etc(), &mirrors, 0);
    let at_home = || in_etc().env("HOME", scratch.join("home"));
    scratch.write("home/.config/containers/registries.conf", table(&mirrors[1]));
    asks(at_home(), &mirrors, 1);
    let of_xdg = || at_home().env("XDG_CONFIG_HOME", scratch.join("xdg"));
    scratch.write("xdg/containers/registries.conf", table(&mirrors[2]));
    asks(of_xdg(), &mirrors, 2);
    let old = scratch.write("old.conf", table(&mirrors[3]));
    asks(of_xdg().env("REGISTRIES_CONFIG_PATH", &old), &mirrors, 3);
    let named = scratch.write("named.conf", table(&mirrors[4]));
    let both = of_xdg().env("REGISTRIES_CONFIG_PATH", old);
    asks(both.env("CONTAINERS_REGISTRIES_CONF", named), &mirrors, 4);
}

#[test]
fn drop_ins_override_earlier_files_in_name_order_with_the_users_last() {
    let mirrors = mirrors::<6>();
    let scratch = Scratch::new();
    let run = || with_etc(fetch_manifest(), &scratch.join("etc")).env("HOME", scratch.join("home"));
    let system = "etc/containers/registries.conf.d";
    let user = "home/.config/containers/registries.conf.d";
    scratch.write("etc/containers/registries.conf", table(&mirrors[0]));
    scratch.write(format!("{system}/b.conf"), table(&mirrors[1]));
    scratch.write(format!("{system}/a.conf"), table(&mirrors[0]));
    scratch.write(format!("{system}/c.conf.bak"), "no TOML");
    scratch.write(format!("{system}/d.conf/e.conf"), "no TOML");
    asks(run(), &mirrors, 1);
    scratch.write(format!("{user}/a.conf"), table(&mirrors[2]));
    asks(run(), &mirrors, 2);
    // Drop-in files are also read after a named file.
    let named = scratch.write("named.conf", table(&mirrors[3]));
    asks(run().env("CONTAINERS_REGISTRIES_CONF", &named), &mirrors, 2);
    // The file of this variable is read last.
    let last = scratch.write("last.conf", table(&mirrors[4]));
    asks(run().env("CONTAINERS_REGISTRIES_CONF_OVERRIDE", last), &mirrors, 4);
    // If the user has a registries.conf, none of the system's files is read.
    std::fs::remove_dir_all(scratch.join(user)).unwrap();
    scratch.write("home/.config/containers/registries.conf", table(&mirrors[5]));
    asks(run(), &mirrors, 5);
}

#[test]
fn the_users_hosts_toml_precedes_the_systems() {
    let mirrors = mirrors::<2>();
    let scratch = Scratch::new();
    let text = |mirror: &FakeRegistry| format!("[host.\"http://{}\"]", mirror.host());
    let run = || with_etc(fetch_manifest(), &scratch.join("etc")).env("HOME", scratch.join("home"));
    scratch.write("etc/containerd/certs.d/registry.invalid/hosts.toml", text(&mirrors[0]));
    asks(run(), &mirrors, 0);
    scratch.write("home/.config/containerd/certs.d/_default/hosts.toml", text(&mirrors[1]));
    asks(run(), &mirrors, 1);
}

#[test]
fn a_missing_file_is_an_error_only_if_it_was_named() {
    for variable in ["CONTAINERS_REGISTRIES_CONF", "CONTAINERS_REGISTRIES_CONF_OVERRIDE"] {
        let run = fetch_manifest().env(variable, "/proc/none/registries.conf").run();
        run.fails(7, "/proc/none/registries.conf: no such file").stdout("");
    }
    let [mirror] = mirrors();
    let run = tool("fetch-manifest").env("HOME", "/dev/null").arg(mirror.repo("app:1")).run();
    run.ok().silent();
}

#[test]
fn an_empty_file_configures_no_mirror() {
    let [mirror] = mirrors();
    let run = tool("fetch-manifest").env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
    run.arg(mirror.repo("app:1")).run().ok().silent();
}

#[test]
fn an_unreadable_file_is_named_in_the_error() {
    let scratch = Scratch::new();
    let conf = scratch.write(".config/containers/registries.conf", "");
    scratch.chmod(".config/containers/registries.conf", 0);
    let run = fetch_manifest().env("HOME", scratch.path()).as_unprivileged().run();
    run.fails(7, &format!("{}: permission denied", conf.display())).stdout("");
    std::fs::remove_file(conf).unwrap();
    for dir in [".config/containers/registries.conf.d", ".config/containerd/certs.d"] {
        std::fs::create_dir_all(scratch.join(dir)).unwrap();
        scratch.chmod(dir, 0);
        let run = fetch_manifest().env("HOME", scratch.path()).as_unprivileged().run();
        run.fails(7, &format!("{}", scratch.join(dir).display()));
        run.says("permission denied").stdout("");
        scratch.chmod(dir, 0o755);
    }
}

#[test]
fn a_file_that_is_a_pipe_is_read_once() {
    let [mirror] = mirrors();
    let scratch = Scratch::new();
    let fifo = scratch.join("fifo");
    must(peer("mkfifo").arg(&fifo));
    let text = table(&mirror);
    let writer = {
        let fifo = fifo.clone();
        std::thread::spawn(move || std::fs::write(fifo, text).unwrap())
    };
    fetch_manifest().env("CONTAINERS_REGISTRIES_CONF", fifo).run().ok().silent();
    writer.join().unwrap();
}

#[test]
fn more_drop_ins_than_the_limit_are_refused() {
    let [mirror] = mirrors();
    let scratch = Scratch::new();
    let dir = ".config/containers/registries.conf.d";
    scratch.write(".config/containers/registries.conf", "");
    for number in 1..MAX_DROP_INS {
        scratch.write(format!("{dir}/{number}.conf"), "");
    }
    scratch.write(format!("{dir}/last.conf"), table(&mirror));
    fetch_manifest().env("HOME", scratch.path()).run().ok().silent();
    scratch.write(format!("{dir}/more.conf"), "");
    let run = fetch_manifest().env("HOME", scratch.path()).run();
    run.fails(6, &format!("{dir}: more than {MAX_DROP_INS} drop-in files")).stdout("");
}

#[test]
fn more_configuration_than_the_limit_is_refused() {
    let [mirror] = mirrors();
    let scratch = Scratch::new();
    let table = table(&mirror);
    let half = MAX_BYTES / 2;
    scratch.write(".config/containers/registries.conf", "#".repeat(half));
    let padded = |len: usize| format!("{table}{}", "#".repeat(len - table.len()));
    let later = ".config/containers/registries.conf.d/a.conf";
    scratch.write(later, padded(half));
    fetch_manifest().env("HOME", scratch.path()).run().ok().silent();
    scratch.write(later, padded(half + 1));
    let run = fetch_manifest().env("HOME", scratch.path()).run();
    run.fails(6, &format!("{later}: more than {MAX_BYTES} bytes of configuration")).stdout("");
    // A file that never ends is refused too.
    let run = fetch_manifest().env("CONTAINERS_REGISTRIES_CONF", "/dev/zero").run();
    run.fails(6, "/dev/zero: more than").stdout("");
    let hosts = ".config/containerd/certs.d/registry.invalid/hosts.toml";
    scratch.write(later, "");
    let text = format!("[host.\"http://{}\"]\n", mirror.host());
    scratch.write(hosts, format!("{text}{}", "#".repeat(MAX_BYTES - text.len())));
    fetch_manifest().env("HOME", scratch.path()).run().ok().silent();
    scratch.write(hosts, format!("{text}{}", "#".repeat(MAX_BYTES + 1 - text.len())));
    let run = fetch_manifest().env("HOME", scratch.path()).run();
    run.fails(6, "hosts.toml: more than").stdout("");
}

mod with_peers {
    use super::*;

    /// skopeo reads the same file. It must send the same requests to the same places in the same
    /// order.
    #[test]
    fn skopeo_reads_the_file_as_we_do() {
        let (own, image) = (Registry::start(), Image::small());
        let places = [Registry::start(), Registry::start(), Registry::start()];
        own.put_image("team/app", "1", &image);
        let [a, b, c] = &places;
        let mut conf = String::new();
        let mut add = |prefix: &str,
                       location: &str,
                       words: &str,
                       mirrors: &[(&Registry, &str, &str)]| {
            let _ = writeln!(
                conf,
                "[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\ninsecure = true\n{words}"
            );
            for (registry, path, words) in mirrors {
                let location = format!("{}{path}", registry.host());
                let _ = writeln!(
                    conf,
                    "[[registry.mirror]]\nlocation = \"{location}\"\ninsecure = true\n{words}"
                );
            }
        };
        add("one.test", &own.host(), "", &[(a, "", ""), (b, "/x", "")]);
        add("one.test/team", &own.repo("team"), "", &[(c, "/y", ""), (a, "", "")]);
        add("*.two.test", &own.host(), "mirror-by-digest-only = true", &[(a, "", ""), (b, "", "")]);
        add("*.b.two.test", &own.host(), "", &[(c, "/deep/er", "")]);
        add(
            "three.test:5000",
            &own.host(),
            "",
            &[
                (a, "", "pull-from-mirror = \"digest-only\""),
                (b, "", "pull-from-mirror = \"all\""),
                (c, "", ""),
            ],
        );
        let scratch = Scratch::new();
        let file = scratch.write("registries.conf", conf);
        let file = file.display().to_string();
        let digest = &image.manifest.digest;
        for host in ["one.test", "a.two.test", "a.b.two.test", "three.test:5000"] {
            for which in [":1".to_owned(), format!("@{digest}")] {
                let name = format!("{host}/team/app{which}");
                let marks = places.each_ref().map(Registry::mark);
                let steps = |marks: [usize; 3]| {
                    let all =
                        places.iter().zip(marks).map(|(place, mark)| place.answered_since(mark));
                    let manifests = all.map(|steps| {
                        let is_manifest = |step: &String| step.contains("/manifests/");
                        steps.into_iter().filter(is_manifest).collect::<Vec<_>>()
                    });
                    manifests.collect::<Vec<_>>()
                };
                let mut skopeo = peer("skopeo");
                skopeo.args(["--registries-conf", &file, "--insecure-policy", "inspect", "--raw"]);
                let raw = must(skopeo.arg(format!("docker://{name}")));
                let theirs = steps(marks);
                let marks = places.each_ref().map(Registry::mark);
                let run =
                    tool("fetch-manifest").env("CONTAINERS_REGISTRIES_CONF", &file).arg(&name);
                run.run().ok().silent().stdout(&raw);
                assert_eq!(steps(marks), theirs, "{name}");
            }
        }
    }
}
