// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: symbolic links of the same layer, of a lower layer and of an existing directory.
//! No link ever leads out of the root.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink as make_symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use tests::cage::{Cage, PLACES, everywhere, everywhere_and_unprivileged};
use tests::layers::{Part, archive, dir, file, symlink, whiteout};
use tests::peers::{must, peer};

/// Unpacks one layer, and asserts that this file has the content "inside".
fn lands(parts: &[Part], name: &str) {
    everywhere_and_unprivileged(|cage| {
        cage.unpack(&[parts]).status(0);
        assert_eq!(cage.read(name), "inside");
    });
}

#[test]
fn a_file_through_an_absolute_link_lands_below_the_root() {
    lands(&[symlink("localetc", "/etc"), file("localetc/unbroken", "inside")], "etc/unbroken");
    everywhere(|cage| {
        let victim = cage.dir().join("victim");
        let victim = victim.to_str().unwrap();
        cage.unpack(&[&[symlink("x", victim), file("x/hello", "inside")]]).ok();
        assert_eq!(cage.read(&format!("{victim}/hello")), "inside");
    });
}

#[test]
fn a_file_through_a_relative_link_upwards_lands_below_the_root() {
    lands(&[symlink("x", "../../../../etc"), file("x/f", "inside")], "etc/f");
    lands(&[dir("a"), symlink("a/x", "../../victim"), file("a/x/f", "inside")], "victim/f");
}

#[test]
fn links_through_links_are_followed_inside() {
    lands(&[symlink("a", "/b"), symlink("b", "/c"), file("a/f", "inside")], "c/f");
    lands(&[symlink("a", "b"), symlink("b", "/c"), file("a/f", "inside")], "c/f");
    lands(&[symlink("a", "/b"), symlink("b", "c/../d"), file("a/f", "inside")], "d/f");
}

#[test]
fn links_to_the_root_in_all_notations_lead_to_the_root() {
    for target in ["/", "/../", "..", ".", "/.", "../../../../../../..", "//"] {
        lands(&[symlink("link", target), file("link/f", "inside")], "f");
    }
}

#[test]
fn a_chain_of_two_hops_does_not_lead_out() {
    let parts = [
        dir("inner"),
        symlink("inner/go_up", ".."),
        symlink("inner/go_up/escape", "../victim"),
        file("inner/go_up/escape/newfile", "inside"),
    ];
    lands(&parts, "victim/newfile");
}

#[test]
fn links_to_dot_and_dot_dot_do_not_lead_out() {
    lands(&[symlink("cur", "."), symlink("parent", "cur/.."), file("parent/x", "inside")], "x");
}

#[test]
fn the_target_of_a_dangling_link_is_created_as_a_directory() {
    everywhere(|cage| {
        cage.unpack(&[&[symlink("localetc", "/dne/a"), file("localetc/f", "inside")]]).ok();
        cage.has(&["dne/", "dne/a/", "dne/a/f", "localetc"]);
        assert_eq!(cage.mode("dne"), 0o755);
    });
}

#[test]
fn a_loop_of_links_is_refused() {
    everywhere(|cage| {
        let parts = [symlink("a", "b"), symlink("b", "a"), file("a/f", "")];
        cage.unpack(&[&parts]).fails(6, "entry \"a/f\": too many levels of symbolic links");
        cage.unpack(&[&[symlink("s", "s/s"), file("s/f", "")]]).fails(6, "too many levels");
        cage.nothing();
    });
}

#[test]
fn forty_links_are_followed_and_one_more_is_refused() {
    for (count, status) in [(40, 0), (41, 6)] {
        everywhere(|cage| {
            let chain = (1..=count).map(|i| symlink(format!("l{i}"), format!("l{}", i - 1)));
            let mut parts = vec![dir("l0")];
            parts.extend(chain);
            parts.push(file(format!("l{count}/f"), ""));
            cage.unpack(&[&parts]).status(status);
        });
    }
}

#[test]
fn a_link_is_replaced_by_a_file_and_not_written_through() {
    everywhere_and_unprivileged(|cage| {
        let absolute = cage.dir().join("victim/hello");
        for target in [&b"../victim/hello"[..], absolute.as_os_str().as_bytes()] {
            cage.only_options(&["--replace"]);
            cage.unpack(&[&[symlink("x", target)], &[file("x", "new").mode(0o600)]]).ok();
            assert!(cage.stat("x").is_file());
        }
    });
}

#[test]
fn a_link_is_replaced_by_a_directory_and_its_target_keeps_its_mode() {
    for name in ["x", "x/", "x/."] {
        everywhere_and_unprivileged(|cage| {
            let victim = cage.dir().join("victim");
            let parts = [symlink("x", victim.as_os_str().as_bytes()), dir(name).mode(0o700)];
            cage.unpack(&[&parts]).status(0);
            assert!(cage.stat("x").is_dir());
            assert_eq!(cage.mode("x"), 0o700);
        });
    }
}

#[test]
fn a_directory_that_becomes_a_link_is_resolved_again() {
    let parts = [
        dir("foo"),
        dir("foo/tmp"),
        file("foo/tmp/f", "1"),
        symlink("foo", "/"),
        file("foo/tmp/f", "2"),
        dir("foo"),
        file("foo/tmp/f", "3"),
    ];
    everywhere(|cage| {
        cage.unpack(&[&parts]).status(0);
        assert_eq!((cage.read("tmp/f"), cage.read("foo/tmp/f")), ("2".into(), "3".into()));
    });
}

#[test]
fn a_directory_that_was_hidden_is_not_written_to_again() {
    everywhere(|cage| {
        let lower = [dir("d"), file("d/old", "")];
        let upper =
            [file("d/a", ""), whiteout("d"), symlink("d", "/victim"), file("d/b", "inside")];
        cage.unpack(&[&lower, &upper]).status(0);
        assert_eq!(cage.read("victim/b"), "inside");
        assert!(cage.stat("d").is_symlink());
    });
}

#[test]
fn a_chain_that_grows_beyond_the_longest_path_stays_inside() {
    // Each of the sixteen links is in the directory that the link before it names. The last link
    // climbs out of all of them.
    let component = "d".repeat(247);
    let mut parts = vec![];
    let mut at = String::new();
    for step in "abcdefghijklmnop".chars() {
        parts.push(dir(format!("{at}{component}")));
        parts.push(symlink(format!("{at}{step}"), &component));
        at.push(step);
        at.push('/');
    }
    let out = format!("{at}{}", "l".repeat(254));
    parts.push(symlink(&out, "../".repeat(16)));
    parts.push(symlink("escape", format!("{out}/../victim")));
    parts.push(file("escape/hello", "inside"));
    everywhere(|cage| {
        let run = cage.unpack(&[&parts]);
        assert!(matches!(run.code(), Some(0 | 6)), "{run}");
    });
}

#[test]
fn very_long_names_are_checked_like_short_ones() {
    for length in [1100, 5000] {
        let through = format!("x/{}f", "./".repeat(length / 2));
        lands(&[symlink("x", "../victim"), file(through, "inside")], "victim/f");
        let deep = "d/".repeat(length / 2);
        let parts = [symlink("x", "/y"), file(format!("x/{deep}f"), "inside")];
        everywhere(|cage| {
            cage.unpack(&[&parts]).ok();
            assert!(cage.stat("y/d/d/d").is_dir());
        });
    }
}

#[test]
fn a_target_may_be_as_long_as_linux_allows() {
    everywhere(|cage| {
        cage.unpack(&[&[symlink("s", "t".repeat(4095))]]).ok();
        assert_eq!(cage.link("s").len(), 4095);
        cage.only_options(&["--replace"]);
        cage.unpack(&[&[symlink("s", "t".repeat(4096))]]).fails(6, "want 1 to 4095");
        cage.unpack(&[&[symlink("s", "")]]).fails(6, "symbolic link: got a target of 0 bytes");
        // Some producers write the target as data of the entry.
        let body = tests::layers::entry(b'2', "s", "x".repeat(3000));
        cage.unpack(&[&[body]]).fails(6, "3000 bytes of data, but an entry of this type has none");
    });
}

#[test]
fn targets_are_kept_byte_for_byte() {
    everywhere(|cage| {
        let targets = [&b"/abs"[..], b"../up/", b"./a/./b", b"caf\xe9", b"a//b", b".wh.x"];
        let parts: Vec<_> =
            targets.iter().enumerate().map(|(i, t)| symlink(format!("s{i}"), t)).collect();
        cage.unpack(&[&parts]).ok();
        for (i, target) in targets.iter().enumerate() {
            let path = fs::read_link(cage.root(&format!("s{i}"))).unwrap();
            assert_eq!(path.as_os_str().as_bytes(), *target);
        }
    });
}

#[test]
fn a_link_of_a_lower_layer_is_replaced_by_a_file_of_its_name() {
    let stub = "/run/systemd/resolve/stub-resolv.conf";
    everywhere(|cage| {
        cage.unpack(&[&[symlink("etc/resolv.conf", stub)], &[file("etc/resolv.conf", "new")]]).ok();
        cage.has(&["etc/", "etc/resolv.conf"]);
        assert_eq!(cage.read("etc/resolv.conf"), "new");
    });
}

/// As in most distributions, /lib is a link.
fn merged_usr() -> [Part; 3] {
    [dir("usr/lib"), file("usr/lib/old", ""), symlink("lib", "usr/lib")]
}

#[test]
fn a_file_below_a_link_is_written_to_the_target_of_the_link() {
    everywhere(|cage| {
        cage.unpack(&[&merged_usr(), &[file("lib/systemd/x", "1")]]).ok();
        assert_eq!(
            (cage.read("usr/lib/systemd/x"), cage.link("lib")),
            ("1".into(), "usr/lib".into())
        );
    });
}

#[test]
fn a_directory_entry_replaces_the_link() {
    everywhere(|cage| {
        cage.unpack(&[&merged_usr(), &[dir("lib/"), file("lib/new", "")]]).ok();
        cage.has(&["lib/", "lib/new", "usr/", "usr/lib/", "usr/lib/old"]);
    });
}

#[test]
fn keep_dirlinks_keeps_the_link_for_a_directory_entry() {
    everywhere_and_unprivileged(|cage| {
        cage.options(&["--keep-dirlinks"]);
        let upper = [dir("lib/").mode(0o700).mtime(7), file("lib/new", "")];
        cage.unpack(&[&merged_usr(), &upper]).ok();
        cage.has(&["lib", "usr/", "usr/lib/", "usr/lib/new", "usr/lib/old"]);
        assert_eq!((cage.mode("usr/lib"), cage.stat("usr/lib").mtime()), (0o700, 7));
    });
}

#[test]
fn a_kept_link_never_leads_out() {
    everywhere_and_unprivileged(|cage| {
        cage.options(&["--keep-dirlinks"]);
        for target in ["../victim", "/", "loop", "/victim/hello", "dangling"] {
            cage.only_options(&["--keep-dirlinks", "--replace"]);
            let lower = [dir("victim"), file("victim/hello", ""), symlink("loop", target)];
            cage.unpack(&[&lower, &[dir("loop").mode(0o700), file("loop/f", "")]]).ok();
            let kept = matches!(target, "../victim" | "/");
            assert_eq!(cage.stat("loop").is_symlink(), kept, "{target}");
        }
    });
}

#[test]
fn an_absolute_link_of_a_lower_layer_is_followed_inside() {
    everywhere(|cage| {
        cage.unpack(&[&[dir("var"), symlink("var/run", "/run")], &[file("var/run/a/b", "1")]]).ok();
        assert_eq!(cage.read("run/a/b"), "1");
    });
}

#[test]
fn dot_dot_before_an_absolute_link_ends_at_the_root() {
    let lower = [symlink("escape", ".."), symlink("absolute", "/target")];
    everywhere(|cage| {
        cage.unpack(&[&lower, &[file("escape/absolute/file", "inside")]]).ok();
        assert_eq!(cage.read("target/file"), "inside");
    });
}

#[test]
fn hostile_links_of_an_existing_directory_do_not_lead_out() {
    everywhere_and_unprivileged(|cage| {
        let victim = cage.dir().join("victim");
        fs::create_dir(cage.root("")).unwrap();
        make_symlink(&victim, cage.root("etc")).unwrap();
        make_symlink(victim.join("hello"), cage.root("file")).unwrap();
        make_symlink("..", cage.root("up")).unwrap();
        must(peer("chown").args(["-Rh", "65534:65534"]).arg(cage.root("")));
        cage.options(&["--onto"]);
        let parts = [
            file("etc/hello", "1"),
            file("file", "1"),
            file("up/victim/hello", "1"),
            whiteout("etc/below"),
            dir("etc").mode(0o700),
        ];
        cage.unpack(&[&parts]).status(0);
        assert!(cage.stat("file").is_file() && cage.stat("etc").is_dir());
    });
}

#[test]
fn the_operand_may_be_a_link_or_a_path_through_one() {
    everywhere(|cage| {
        let scratch = cage.scratch();
        fs::create_dir_all(scratch.join("true/place")).unwrap();
        make_symlink("true", scratch.join("way")).unwrap();
        make_symlink("way/place", scratch.join("link")).unwrap();
        let unpack = |operand: &str| {
            let command = tests::tools::tool("unpack-layer").dir(scratch.path()).arg(operand);
            cage.judged(command.stdin(archive(&[file("f", "")]))).ok();
        };
        unpack("link");
        assert!(scratch.join("true/place/f").is_file() && scratch.join("link").is_symlink());
        unpack("way/other");
        assert!(scratch.join("true/other/f").is_file());
    });
}

#[test]
fn a_directory_renamed_during_the_run_is_still_used() {
    everywhere(|cage| {
        let layer = archive(&[file("a", ""), file("b", "x".repeat(2000)), file("c", "")]);
        let scratch = cage.scratch();
        let fifo = cage.scratch().join("fifo");
        must(peer("mkfifo").arg(&fifo));
        let command = tests::tools::tool("unpack-layer").dir(scratch.path());
        let running = command.args(["box/root", "fifo"]).start();
        let mut writer = fs::File::options().write(true).open(&fifo).unwrap();
        std::io::Write::write_all(&mut writer, &layer[..1024]).unwrap();
        fs::rename(scratch.join("box"), scratch.join("moved")).unwrap();
        std::io::Write::write_all(&mut writer, &layer[1024..]).unwrap();
        drop(writer);
        running.wait().ok();
        fs::rename(scratch.join("moved"), scratch.join("box")).unwrap();
        cage.has(&["a", "b", "c"]);
    });
}

#[test]
fn a_directory_swapped_for_a_link_during_the_run_does_not_lead_out() {
    for place in PLACES {
        let mut cage = Cage::new(place);
        cage.options(&["--onto"]);
        for name in ["a", "a/b", "spare"] {
            fs::create_dir(cage.root("").join(name))
                .or_else(|_| fs::create_dir_all(cage.root("").join(name)))
                .unwrap();
        }
        make_symlink("../../victim", cage.root("a/link")).unwrap();
        let parts: Vec<Part> = (0..4000)
            .flat_map(|i| [file(format!("a/b/f{i}"), "inside"), file(format!("spare/g{i}"), "")])
            .collect();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The two names are exchanged again and again: a/b is alternately a directory and
                // the link.
                let one = cage.root("a/b");
                let other = cage.root("a/link");
                while !over.load(Ordering::Relaxed) {
                    let _ = rustix::fs::renameat_with(
                        rustix::fs::CWD,
                        &one,
                        rustix::fs::CWD,
                        &other,
                        rustix::fs::RenameFlags::EXCHANGE,
                    );
                }
            });
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cage.unpack(&[&parts])));
            over.store(true, Ordering::Relaxed);
            // The run may fail. It must not write outside of the root, which the cage has checked.
            outcome.unwrap();
        });
    }
}

mod as_root {
    use super::*;

    #[test]
    fn links_of_procfs_are_not_followed() {
        for place in PLACES {
            let mut cage = Cage::new(place);
            cage.options(&["--onto"]);
            fs::create_dir_all(cage.root("proc")).unwrap();
            must(peer("mount").args(["-t", "proc", "proc"]).arg(cage.root("proc")));
            let cwd = format!("proc/{}/cwd/pwned", std::process::id());
            let runs = ["proc/self/root/pwned", &cwd]
                .map(|name| cage.command().stdin(archive(&[file(name, "")])).run());
            must(peer("umount").arg(cage.root("proc")));
            for run in runs {
                assert!(matches!(run.code(), Some(6 | 7)), "{run}");
            }
            assert!(!fs::exists("/pwned").unwrap() && !fs::exists("pwned").unwrap());
        }
    }

    #[test]
    fn mount_points_are_entered_unless_an_option_forbids_it() {
        for place in PLACES {
            let mut cage = Cage::new(place);
            for name in ["root/mnt", "root/same", "elsewhere"] {
                fs::create_dir_all(cage.dir().join(name)).unwrap();
            }
            fs::rename(cage.dir().join("elsewhere"), cage.scratch().join("elsewhere")).unwrap();
            must(peer("mount").args(["-t", "tmpfs", "none"]).arg(cage.root("mnt")));
            // The same file system is mounted elsewhere, so the device number does not reveal the
            // mount.
            let elsewhere = cage.scratch().join("elsewhere");
            must(peer("mount").arg("--bind").arg(&elsewhere).arg(cage.root("same")));
            cage.options(&["--onto"]);
            let entered = cage.unpack(&[&[file("mnt/f", ""), file("same/f", "")]]);
            let found = [cage.root("mnt/f").exists(), elsewhere.join("f").exists()];
            cage.options(&["--one-file-system"]);
            let refused: Vec<_> = ["mnt/g", "same/g"]
                .into_iter()
                .map(|name| {
                    let run = cage.unpack(&[&[file(name, "")]]);
                    fs::remove_file(cage.dir().join(".root.dirty")).unwrap();
                    run
                })
                .collect();
            for mounted in ["mnt", "same"] {
                must(peer("umount").arg(cage.root(mounted)));
            }
            entered.ok();
            assert_eq!(found, [true, true]);
            for run in refused {
                run.fails(7, "cross-device").says("hint: a mount point");
            }
            assert!(!elsewhere.join("g").exists());
        }
    }

    #[test]
    fn hiding_a_mount_point_is_refused_and_removes_nothing_mounted() {
        for place in PLACES {
            let mut cage = Cage::new(place);
            fs::create_dir_all(cage.root("d/mnt")).unwrap();
            let elsewhere = cage.scratch().join("elsewhere");
            fs::create_dir(&elsewhere).unwrap();
            fs::write(elsewhere.join("kept"), "").unwrap();
            must(peer("mount").arg("--bind").arg(&elsewhere).arg(cage.root("d/mnt")));
            cage.options(&["--onto"]);
            let hidden = ["d/mnt", "d"].map(|name| {
                let run = cage.unpack(&[&[whiteout(name)]]);
                fs::remove_file(cage.dir().join(".root.dirty")).unwrap();
                run
            });
            must(peer("umount").arg(cage.root("d/mnt")));
            for run in hidden {
                run.fails(7, "busy").says("hint: a file system is mounted there");
            }
            assert!(elsewhere.join("kept").exists());
            assert!(fs::metadata(cage.root("")).unwrap().mode() & 0o170_000 == 0o040_000);
        }
    }
}
