// SPDX-License-Identifier: Apache-2.0
//! unpack-layer: failing system calls, machines that lack a feature, and runs stopped at any
//! moment. Afterwards the tree is complete or absent, and repeating the command creates it.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;

use tests::cage::{Cage, PLACES, everywhere, portrait};
use tests::images::noise;
use tests::judges::agree_on_layers;
use tests::layers::{
    Part, archive, character, dir, fifo, file, hardlink, opaque, symlink, whiteout,
};
use tests::peers::{must, peer};
use tests::tools::{Command, Run, Signal, shell, tool};

/// Two layers with most types of entries.
fn layers() -> [Vec<Part>; 2] {
    let lower = vec![
        dir("./").mtime(3),
        dir("d").mtime(5),
        file("d/f", noise(5000, 1)).mode(0o4755).owner(5, 6).xattr("user.x", "1"),
        file("large", noise(2 << 20, 2)),
        symlink("s", "d").owner(5, 6),
        hardlink("d/h", "d/f"),
        fifo("p"),
        character("c", 1, 3),
        file("hidden/by/opaque", ""),
        file("gone/f", ""),
    ];
    let upper = vec![
        whiteout("gone"),
        opaque("hidden/by"),
        file("s/new", "1"),
        file("d/f", "2"),
        hardlink("d/again", "large"),
        dir("gone2"),
    ];
    [lower, upper]
}

/// The command that unpacks these layers, under strace with these options.
fn traced(cage: &Cage, options: &[&str]) -> Command {
    let [lower, upper] = layers();
    let names = cage.write(&[&lower, &upper]);
    let unpack = tool("unpack-layer").dir(cage.dir()).arg("root").args(names);
    unpack.under(&[&["strace", "-f", "-qq", "-o", "/dev/null"], options].concat())
}

/// Runs the command and injects a fault (an error or a signal) into the nth of these system calls.
fn injected(cage: &Cage, calls: &str, what: &str, nth: u32, more: &[&str]) -> Run {
    let inject = format!("inject={calls}:{what}:when={nth}");
    traced(cage, &["-e", &inject]).args(more).run()
}

/// The tree that the layers give.
fn complete_tree(place: &str) -> Vec<String> {
    let cage = Cage::new(place);
    let [lower, upper] = layers();
    cage.unpack(&[&lower, &upper]).ok();
    portrait(&cage.root(""))
}

/// System calls, each with an error to inject.
const FAILURES: [(&str, &str); 24] = [
    ("mkdirat", "ENOSPC"),
    ("mkdirat", "EDQUOT"),
    ("openat", "EMFILE"),
    ("openat", "ENFILE"),
    ("openat", "ENOSPC"),
    ("write", "ENOSPC"),
    ("write", "EDQUOT"),
    ("write", "EIO"),
    ("read", "EIO"),
    ("fchmod", "EROFS"),
    ("fchown", "EPERM"),
    ("fchownat", "EIO"),
    ("fsetxattr", "EIO"),
    ("utimensat", "EIO"),
    ("symlinkat", "ENOSPC"),
    ("linkat", "EMLINK"),
    ("mknodat", "ENOSPC"),
    ("unlinkat", "EIO"),
    ("getdents64", "EIO"),
    ("fstat", "EIO"),
    ("flock", "ENOLCK"),
    ("syncfs", "EIO"),
    ("renameat2", "EIO"),
    ("fsync", "EIO"),
];

/// The system calls that change, or may change, anything visible from outside.
const CHANGES: &str = "mkdirat,openat,write,fchmod,fchown,fchownat,fsetxattr,utimensat,symlinkat,\
    linkat,mknodat,unlinkat,syncfs,renameat2,fsync,flock,close";

/// Kills a run at its nth such call, for increasing n, until a run ends by itself.
fn killed_everywhere(place: &str, more: &[&str], judge: impl Fn(&Cage, &Run)) {
    let mut step = 1;
    let mut nth = 1;
    loop {
        let cage = Cage::new(place);
        if more.contains(&"--onto") || more.contains(&"--replace") {
            fs::create_dir(cage.root("")).unwrap();
            fs::write(cage.root("old"), "old").unwrap();
        }
        let run = injected(&cage, CHANGES, "signal=KILL", nth, more);
        if run.code() == Some(0) {
            return;
        }
        judge(&cage, &run);
        nth += step;
        step = 1 + nth / 24;
    }
}

/// Repeats the command without faults.
fn again(cage: &Cage, more: &[&str]) -> Run {
    let [lower, upper] = layers();
    let names = cage.write(&[&lower, &upper]);
    tool("unpack-layer").dir(cage.dir()).arg("root").args(names).args(more).run()
}

/// Whether a file has the time that entries have by default. The tests check the last entry of the
/// last layer, because its time is set last.
trait HasEntryTime {
    fn has_entry_time(&self) -> bool;
}

impl HasEntryTime for fs::Metadata {
    fn has_entry_time(&self) -> bool {
        std::os::unix::fs::MetadataExt::mtime(self) == 1_000_000_000
    }
}

#[test]
fn a_second_run_in_the_same_directory_fails_and_the_first_continues() {
    everywhere(|cage| {
        let layer = archive(&[file("f", noise(1 << 20, 1)), file("g", noise(1 << 20, 2))]);
        let pipe = cage.scratch().join("pipe");
        must(peer("mkfifo").arg(&pipe));
        let first = tool("unpack-layer").dir(cage.dir()).arg("root").arg(&pipe).start();
        let mut writer = fs::File::options().write(true).open(&pipe).unwrap();
        writer.write_all(&layer[..3 << 19]).unwrap();
        let staging = cage.dir().join(".root.unpacking/f");
        tests::eventually("the first file of the first run", || staging.exists().then_some(()));
        let second = tool("unpack-layer").dir(cage.dir()).arg("root").stdin(layer.clone()).run();
        second.fails(7, "root: another run is unpacking there");
        writer.write_all(&layer[3 << 19..]).unwrap();
        drop(writer);
        first.wait().ok();
        cage.has(&["f", "g"]);
    });
}

#[test]
fn signals_end_a_run_and_the_next_run_removes_its_remains() {
    for signal in [Signal::INT, Signal::TERM] {
        everywhere(|cage| {
            let layer = [file("f", noise(1 << 20, 1)), file("g", noise(1 << 20, 2))];
            let pipe = cage.scratch().join("pipe");
            must(peer("mkfifo").arg(&pipe));
            let unpack = tool("unpack-layer").dir(cage.dir()).arg("root");
            let running = unpack.arg(&pipe).start();
            let mut writer = fs::File::options().write(true).open(&pipe).unwrap();
            writer.write_all(&archive(&layer)[..3 << 19]).unwrap();
            tests::eventually("a staging directory", || {
                cage.dir().join(".root.unpacking").exists().then_some(())
            });
            running.signal(signal);
            running.wait().ended_by(signal);
            cage.nothing();
            cage.unpack(&[&layer]).ok();
        });
    }
}

#[test]
fn a_closed_stdin_or_stdout_is_an_error() {
    let cage = Cage::new(PLACES[0]);
    let run = shell("unpack-layer root <&-").dir(cage.dir()).run();
    run.status(6).says("unpack-layer: standard input: closed");
    cage.nothing();
    let layer = cage.write(&[&[file("f", "")]]).remove(0);
    let run = |redirection: &str| {
        let script = format!("unpack-layer root <\"$layer\" {redirection}");
        shell(&script).dir(cage.dir()).env("layer", &layer).run()
    };
    run(">/dev/full").status(7).says("unpack-layer: standard output: ");
    fs::remove_dir_all(cage.root("")).unwrap();
    run(">&-").status(7).says("unpack-layer: standard output: closed");
}

/// A name below a directory without permissions. An ordinary user needs /proc to change it.
const LOCKED: &str = "locked/f";

#[test]
fn low_limits_of_descriptors_stack_and_file_size_are_handled() {
    let deep = format!("{}f", "d/".repeat(100));
    let parts = [file(&deep, ""), file("large", noise(1 << 20, 1)), file("e/f/g/h/i/j", "")];
    let limited = |limit: &str| {
        let cage = Cage::new(PLACES[0]);
        let layer = cage.write(&[&parts, &[whiteout("d")]]);
        let script = format!("{limit} && exec \"$0\" \"$@\"");
        let unpack = tool("unpack-layer").dir(cage.dir()).arg("root").args(layer);
        (cage.judged(unpack.under(&["dash", "-c", &script])), cage)
    };
    for limit in ["ulimit -n 64", "ulimit -s 256"] {
        limited(limit).0.ok();
    }
    for descriptors in 5..64 {
        let (run, cage) = limited(&format!("ulimit -n {descriptors}"));
        match run.code() {
            Some(0) => assert!(cage.root("large").exists()),
            // With fewer than eight descriptors, the loader or a thread may fail to start.
            Some(code) => assert!(code == 7 || descriptors < 8, "{descriptors}: {run}"),
            None => panic!("{run}"),
        }
    }
    let (run, cage) = limited("ulimit -f 64");
    run.fails(7, "entry \"large\": write the file: file too large");
    cage.nothing();
}

/// Makes the staging directory of a killed run, with more nested directories than the run has free
/// file descriptors.
fn leave_deep_staging(cage: &Cage) {
    fs::create_dir_all(cage.dir().join(".root.unpacking").join("d/".repeat(30))).unwrap();
}

/// The names beside DIR that a run may have left.
fn beside(cage: &Cage) -> Vec<String> {
    let names = fs::read_dir(cage.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with(".root"));
    names
}

#[test]
fn with_few_descriptors_a_tree_of_any_depth_is_removed() {
    let parts = [file("f", "1")];
    for descriptors in 9..32 {
        let cage = Cage::new(PLACES[0]);
        leave_deep_staging(&cage);
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        let layer = cage.write(&[&parts]);
        let unpack = tool("unpack-layer").dir(cage.dir()).arg("root").args(layer);
        let run = cage.judged(unpack.under(&["dash", "-c", &script]));
        // A warning would report that the old directory remains.
        run.ok();
        assert_eq!(run.stderr, "", "{descriptors}");
        assert!(beside(&cage).is_empty(), "{descriptors}: {:?}", beside(&cage));
    }
}

mod as_root {
    use super::*;

    #[test]
    fn a_directory_that_is_gone_counts_as_removed() {
        for (call, nth) in [("unlinkat", 2), ("openat2", 1), ("getdents64", 1)] {
            let cage = Cage::new(PLACES[0]);
            fs::create_dir(cage.dir().join(".root.unpacking")).unwrap();
            // A call gets this error if another process has already removed the directory.
            let run = injected(&cage, call, "error=ENOENT", nth, &[]);
            run.ok();
            assert_eq!(run.stderr, "", "{call}");
            assert!(beside(&cage).is_empty(), "{call}: {:?}", beside(&cage));
        }
    }

    #[test]
    fn no_failing_system_call_leaves_a_partial_tree() {
        for (call, error) in FAILURES {
            let want = complete_tree(PLACES[0]);
            for nth in [1, 3, 9, 27] {
                let cage = Cage::new(PLACES[0]);
                let run = injected(&cage, call, &format!("error={error}"), nth, &[]);
                let reported = run.stderr.contains("unpack-layer: ");
                match run.code() {
                    // The failed call had no effect on the result, or belonged to the loader, or
                    // was the sync of the parent directory after DIR had appeared.
                    Some(0) => assert!(portrait(&cage.root("")) == want, "{call} {error} {nth}"),
                    Some(127) => cage.nothing(),
                    code => {
                        assert_eq!(code, Some(7), "{call} {error} {nth}: {run}");
                        assert!(reported && run.stderr.lines().count() <= 2, "{call} {nth}: {run}");
                        if call != "fsync" && call != "write" {
                            cage.nothing();
                        }
                    }
                }
                let [lower, upper] = layers();
                let again = tool("unpack-layer").dir(cage.dir()).args(["--replace", "root"]);
                cage.judged(again.args(cage.write(&[&lower, &upper]))).ok();
                assert!(portrait(&cage.root("")) == want, "{call} {error} {nth}");
            }
        }
    }

    #[test]
    fn a_run_killed_at_any_call_leaves_no_tree_and_repeating_it_succeeds() {
        for place in PLACES {
            let want = complete_tree(place);
            killed_everywhere(place, &[], |cage, _| {
                if cage.root("").exists() {
                    // The run was killed after its last step.
                    assert!(portrait(&cage.root("")) == want);
                    return;
                }
                again(cage, &[]).ok();
                assert!(portrait(&cage.root("")) == want);
                assert!(!cage.dir().join(".root.unpacking").exists());
            });
        }
    }

    #[test]
    fn a_replacement_killed_at_any_call_leaves_the_old_or_the_new_tree() {
        let want = complete_tree(PLACES[0]);
        killed_everywhere(PLACES[0], &["--replace"], |cage, run| {
            let is_old = cage.tree() == ["old"];
            assert!(is_old || portrait(&cage.root("")) == want, "{:?} {run}", cage.tree());
            again(cage, &["--replace"]).ok();
            assert!(portrait(&cage.root("")) == want);
            assert!(!cage.dir().join(".root.unpacking").exists());
        });
    }

    #[test]
    fn a_run_with_onto_killed_at_any_call_leaves_the_old_tree_a_dirty_mark_or_the_new_tree() {
        killed_everywhere(PLACES[0], &["--onto"], |cage, run| {
            let marked = cage.dir().join(".root.dirty").exists();
            let is_new = cage.root("gone2").exists() && cage.stat("gone2").has_entry_time();
            assert!(marked || is_new || cage.tree() == ["old"], "{:?} {run}", cage.tree());
            if marked {
                again(cage, &["--onto"]).fails(7, "dirty");
            }
        });
    }

    #[test]
    fn the_tree_is_synced_before_it_gets_its_final_name() {
        let [lower, upper] = layers();
        for (options, want) in [(&["--replace"][..], true), (&["--replace", "--no-sync"], false)] {
            let cage = Cage::new(PLACES[1]);
            let names = cage.write(&[&lower, &upper]);
            let log = cage.scratch().join("log");
            let unpack = tool("unpack-layer").dir(cage.dir()).arg("root").args(names).args(options);
            let strace = ["strace", "-f", "-qq", "-e", "trace=syncfs,fsync,renameat2,utimensat"];
            let strace = [&strace[..], &["-o", log.to_str().unwrap()]].concat();
            unpack.under(&strace).run().ok();
            let log = fs::read_to_string(log).unwrap();
            let calls = ["utimensat", "syncfs", "renameat2", "fsync"];
            let order: Vec<&str> = log
                .lines()
                .filter_map(|line| {
                    calls.into_iter().find(|call| line.contains(&format!(" {call}(")))
                })
                .collect();
            let mut order = order;
            order.dedup();
            assert_eq!(order == calls, want, "{order:?}");
            if !want {
                assert_eq!(order, ["utimensat", "renameat2"]);
            }
        }
    }

    #[test]
    fn after_the_start_all_paths_are_relative_to_open_directories() {
        let cage = Cage::new(PLACES[0]);
        let log = cage.scratch().join("log");
        let [lower, upper] = layers();
        let names = cage.write(&[&lower, &upper]);
        let unpack = tool("unpack-layer").dir(cage.dir()).arg("root").args(&names);
        let strace = ["strace", "-f", "-qq", "-e", "trace=file", "-o", log.to_str().unwrap()];
        unpack.under(&strace).run().ok();
        let log = fs::read_to_string(log).unwrap();
        let (_, after) = log.split_once("mkdirat(").unwrap();
        let outside: Vec<&str> = after
            .lines()
            .filter(|line| line.contains("\"/") || line.contains("AT_FDCWD"))
            .filter(|line| !names.iter().any(|name| line.contains(name.to_str().unwrap())))
            .filter(|line| !line.contains("\"/proc/self/fd/"))
            // The C library reads this file when a thread frees much memory.
            .filter(|line| !line.contains("\"/proc/sys/vm/overcommit_memory\""))
            .collect();
        assert_eq!(outside, Vec::<&str>::new());
    }

    #[test]
    fn without_openat2_the_tree_is_the_same() {
        for error in ["ENOSYS", "EPERM"] {
            let want = complete_tree(PLACES[0]);
            let cage = Cage::new(PLACES[0]);
            traced(&cage, &["-e", &format!("inject=openat2:error={error}")]).run().ok();
            assert!(portrait(&cage.root("")) == want);
        }
    }

    #[test]
    fn interrupted_system_calls_are_repeated() {
        let want = complete_tree(PLACES[0]);
        for inject in ["read:error=EINTR:when=20+3", "write:error=EINTR:when=1+3"] {
            let cage = Cage::new(PLACES[0]);
            traced(&cage, &["-e", &format!("inject={inject}")]).run().ok();
            assert!(portrait(&cage.root("")) == want, "{inject}");
        }
    }

    #[test]
    fn without_proc_the_run_succeeds_or_names_proc() {
        let [lower, upper] = layers();
        for place in PLACES {
            let cage = Cage::new(place);
            let script = "umount -l /proc && exec \"$0\" \"$@\"";
            let names = cage.write(&[&lower, &upper]);
            let unpack = tool("unpack-layer").dir(cage.dir()).arg("root").args(names);
            cage.judged(unpack.under(&["unshare", "-m", "dash", "-c", script])).ok();
            assert!(portrait(&cage.root("")) == complete_tree(place));
            let mut cage = Cage::new(place);
            cage.unprivileged();
            cage.unpack(&[&[dir("locked").mode(0), file("other", "")]]).ok();
            cage.options(&["--onto"]);
            let layer = cage.write(&[&[file(LOCKED, "")]]);
            let script = "umount -l /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups \
            \"$0\" \"$@\"";
            let unpack = tool("unpack-layer").dir(cage.dir()).args(["--onto", "root"]).args(layer);
            let run = unpack.under(&["unshare", "-m", "dash", "-c", script]).run();
            run.status(7).says("hint: /proc must be mounted");
        }
    }

    #[test]
    fn umoci_unpacks_the_same_tree() {
        let cage = Cage::new(PLACES[1]);
        let [lower, upper] = layers();
        // The directories without an entry get an entry here, because programs treat directories
        // without an entry differently.
        let parents = ["hidden", "hidden/by", "gone"].map(|name| dir(name).mtime(8));
        let lower = [&parents[..], &lower].concat();
        let upper = [&upper[..], &[dir("hidden").mtime(9), dir("hidden/by").mtime(9)]].concat();
        agree_on_layers(&cage, &[&lower, &upper]);
    }

    #[test]
    fn the_same_layers_give_the_same_tree_on_every_file_system() {
        let trees: Vec<_> =
            PLACES.iter().chain(&PLACES).map(|place| complete_tree(place)).collect();
        assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:#?}");
    }
}
