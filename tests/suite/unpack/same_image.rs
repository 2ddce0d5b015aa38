// SPDX-License-Identifier: Apache-2.0
//! unpack-layer --replace leaves DIR unchanged if DIR was made from the same image, and reports
//! this. With any other image, option or tree it unpacks.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use tests::eventually;
use tests::images::{Entry, Image, file, tar, whiteout, write_image};
use tests::peers::{must, peer};
use tests::scratch::{Scratch, list};
use tests::tools::{Command, Run, shell, tool};

/// The message of a run that leaves DIR unchanged.
const SAYS: &str = "unpack-layer: root: already this image\n";

/// The note about `root`.
const NOTE: &str = ".root.image";

/// A layout with two images of three lines each, and the directory in which `root` is made.
struct Place {
    scratch: Scratch,
    /// Whether the tool runs as an ordinary user.
    unprivileged: bool,
    lines: Vec<String>,
    other: Vec<String>,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        scratch.chmod(".", 0o777);
        let first = [Entry::Dir("etc".to_owned(), 0o755), file("etc/os", "1"), file("a", "")];
        let second = [whiteout("a"), file("b", "b")];
        let image = Image::new(&[&first, &second]);
        let other = Image::new(&[&first, &[file("b", "other")]]);
        write_image(&scratch.join("layout"), "1", &image);
        write_image(&scratch.join("other"), "2", &other);
        let lines = |image: &Image| image.lines().lines().map(|l| format!("{l}\n")).collect();
        let (lines, other) = (lines(&image), lines(&other));
        Place { scratch, unprivileged: false, lines, other }
    }

    /// A command that unpacks the image of the layout.
    fn command(&self, options: &[&str]) -> Command {
        let command = tool("unpack-layer").dir(self.scratch.path()).args(["root", "--replace"]);
        let command = command.args(options);
        if self.unprivileged { command.as_unprivileged() } else { command }
    }

    fn unpack(&self, options: &[&str]) -> Command {
        self.command(options).args(["--from", "oci:layout"]).stdin(self.lines.concat())
    }

    fn unpack_other(&self) -> Command {
        self.command(&["--from", "oci:other"]).stdin(self.other.concat())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn inode(&self) -> u64 {
        fs::metadata(self.path("root")).unwrap().ino()
    }

    /// Checks that the run left the tree unchanged and reported this.
    #[track_caller]
    fn kept(&self, run: &Run, before: u64) {
        run.status(0);
        assert_eq!(run.stderr, SAYS, "{run}");
        assert_eq!(self.inode(), before, "{run}");
    }

    /// Checks that the run made a new tree of the image.
    #[track_caller]
    fn replaced(&self, run: &Run, before: u64) {
        run.ok();
        assert_ne!(self.inode(), before, "{run}");
        assert_eq!(fs::read_to_string(self.path("root/etc/os")).unwrap(), "1");
        assert_eq!(list(&self.path("root")), ["b", "etc/", "etc/os"]);
    }

    /// Checks that a change makes the next run unpack, and that the run after it does nothing.
    #[track_caller]
    fn notices(&self, options: &[&str], change: impl FnOnce(&Place)) {
        self.unpack(&[]).run().status(0);
        change(self);
        let before = if self.path("root").exists() { self.inode() } else { 0 };
        self.replaced(&self.unpack(options).run(), before);
        let before = self.inode();
        self.kept(&self.unpack(options).run(), before);
    }
}

#[test]
fn the_same_image_is_left_alone_and_its_lines_are_printed() {
    for unprivileged in [false, true] {
        let place = Place { unprivileged, ..Place::new() };
        let first = place.unpack(&[]).run();
        let lines = first.ok().lines();
        assert_eq!(lines.len(), 3);
        let before = place.inode();
        let run = place.unpack(&[]).run();
        place.kept(&run, before);
        assert_eq!(run.lines(), lines);
        place.unpack(&["-q"]).run().ok().stdout(&first.stdout);
        assert_eq!(place.inode(), before);
        assert_eq!(fs::metadata(place.path(NOTE)).unwrap().mode() & 0o7777, 0o600);
    }
}

#[test]
fn nothing_is_read_from_the_layout() {
    let place = Place::new();
    place.unpack(&[]).run().ok();
    fs::remove_dir_all(place.path("layout")).unwrap();
    let before = place.inode();
    place.kept(&place.unpack(&[]).run(), before);
}

#[test]
fn the_config_may_come_last_and_descriptors_may_have_more_fields() {
    let place = Place::new();
    place.unpack(&[]).run().ok();
    let before = place.inode();
    let [config, first, second] = &place.lines[..] else { panic!("three lines") };
    let more = first.replacen('{', "{\"urls\":[\"https://example.com/\"],", 1);
    let input = [more.as_str(), second, config].concat();
    let run = place.command(&["--from", "oci:layout"]).stdin(input).run();
    place.kept(&run, before);
    assert!(run.lines()[0].starts_with("{\"urls\":"), "{run}");
    assert!(run.lines()[2] == config.trim_end(), "{run}");
}

#[test]
fn another_image_is_unpacked_and_then_left_alone() {
    let place = Place::new();
    place.unpack(&[]).run().ok();
    place.unpack_other().run().ok();
    assert_eq!(fs::read_to_string(place.path("root/b")).unwrap(), "other");
    let before = place.inode();
    place.kept(&place.unpack_other().run(), before);
    place.replaced(&place.unpack(&[]).run(), before);
}

#[test]
fn any_change_in_the_tree_is_noticed() {
    let changes: [fn(&Place); 12] = [
        |place| fs::write(place.path("root/etc/os"), "2").unwrap(),
        |place| fs::write(place.path("root/etc/new"), "").unwrap(),
        |place| fs::write(place.path("root/new"), "").unwrap(),
        |place| fs::remove_file(place.path("root/b")).unwrap(),
        |place| fs::rename(place.path("root/b"), place.path("root/c")).unwrap(),
        |place| {
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(place.path("root/etc/os"), mode).unwrap();
        },
        |place| fs::set_permissions(place.path("root"), fs::Permissions::from_mode(0o700)).unwrap(),
        |place| fs::hard_link(place.path("root/b"), place.path("outside")).unwrap(),
        |place| {
            // The content and the modification time are those of the image.
            let os = fs::File::options().write(true).open(place.path("root/etc/os")).unwrap();
            let time = os.metadata().unwrap().modified().unwrap();
            (&os).write_all(b"2").unwrap();
            fs::write(place.path("root/etc/os"), "1").unwrap();
            os.set_modified(time).unwrap();
        },
        |place| {
            // The same files are in another directory.
            fs::rename(place.path("root"), place.path("old")).unwrap();
            fs::create_dir(place.path("root")).unwrap();
            for name in ["etc", "b"] {
                let to = place.path("root").join(name);
                fs::rename(place.path("old").join(name), to).unwrap();
            }
        },
        |place| fs::remove_dir_all(place.path("root")).unwrap(),
        |place| {
            fs::remove_dir_all(place.path("root")).unwrap();
            fs::create_dir(place.path("root")).unwrap();
        },
    ];
    for change in changes {
        Place::new().notices(&[], change);
    }
}

#[test]
fn every_option_that_decides_about_the_tree_is_compared() {
    for options in [
        &["--whiteouts", "overlay"][..],
        &["--no-same-owner"],
        &["--uid-map", "0:0:65536"],
        &["--gid-map", "0:0:65536"],
        &["--skip-devices"],
        &["--keep-dirlinks"],
        &["--strict"],
        &["--max-size", "1G"],
        &["--max-entries", "1000"],
        &["--any-type"],
        &["--no-config"],
    ] {
        // This option is the default of an ordinary user.
        if options == ["--no-same-owner"] && !rustix::process::geteuid().is_root() {
            continue;
        }
        let place = Place::new();
        place.unpack(&[]).run().ok();
        let before = place.inode();
        // An ordinary user cannot use some of these options. The run then fails, but it does not
        // ignore the option.
        let run = place.unpack(options).run();
        run.does_not_say("already");
        assert!(run.code() != Some(0) || place.inode() != before, "{options:?}");
    }
}

#[test]
fn a_run_with_onto_ends_the_comparison() {
    let place = Place::new();
    place.notices(&[], |place| {
        let onto = tool("unpack-layer").dir(place.scratch.path()).args(["root", "--onto"]);
        onto.stdin(tar(&[file("etc/os", "onto")])).run().ok();
        assert!(!place.path(NOTE).exists());
    });
    // This is the mark of a run that did not finish.
    place.notices(&[], |place| drop(place.scratch.write(".root.dirty", "")));
}

#[test]
fn only_replace_with_descriptor_lines_and_a_sync_leaves_a_note() {
    let place = Place::new();
    place.unpack(&[]).run().ok();
    let layer = tar(&[file("f", "")]);
    place.command(&[]).stdin(layer).run().ok();
    assert!(!place.path(NOTE).exists());
    place.unpack(&["--no-sync"]).run().ok();
    assert!(!place.path(NOTE).exists());
    fs::remove_dir_all(place.path("root")).unwrap();
    let plain =
        tool("unpack-layer").dir(place.scratch.path()).args(["root", "--from", "oci:layout"]);
    plain.stdin(place.lines.concat()).run().ok();
    assert!(!place.path(NOTE).exists());
}

#[test]
fn fewer_more_or_wrong_lines_are_reported_as_without_a_note() {
    let place = Place::new();
    place.unpack(&[]).run().ok();
    let before = place.inode();
    let [config, first, second] = &place.lines[..] else { panic!("three lines") };
    let size = second.replace("\"size\":", "\"size\":1");
    let media_type = second.replace("image.layer.v1.tar+gzip", "other");
    for (input, status, words, printed) in [
        (vec![config, first], 1, "got 1 of 2 layers", 1),
        (vec![first, second], 6, "no line of an image config", 1),
        (vec![config, first, second, second], 1, "don't match image configuration", 2),
        (vec![config, config], 6, "a second image config", 0),
        (vec![config, first, &size], 1, "size differs", 1),
        (vec![config, first, &media_type], 6, "--any-type", 1),
        (vec![], 6, "no input", 0),
    ] {
        let input: String = input.into_iter().map(String::as_str).collect();
        let run = place.command(&["--from", "oci:layout"]).stdin(input).run();
        run.fails(status, words).does_not_say("already");
        assert!(run.lines().len() >= printed, "{run}");
        assert_eq!(place.inode(), before);
    }
    let input = [config, first, "{}\n"].concat();
    let run = place.command(&["--from", "oci:layout"]).stdin(input).run();
    run.fails(6, "line 3");
    place.kept(&place.unpack(&[]).run(), before);
}

/// The line of the first layer differs, and the next line has not arrived yet. The first layer must
/// be unpacked without waiting for that line.
#[test]
fn unpacking_begins_at_the_first_line_that_differs() {
    let place = Place::new();
    place.unpack(&[]).run().ok();
    let script = "{ printf %s \"$CONFIG\" \"$FIRST\"; cat more; } | \
                  unpack-layer --from oci:other --replace root";
    let [config, first, second] = &place.other[..] else { panic!("three lines") };
    must(peer("mkfifo").arg(place.path("more")));
    let shell = shell(script).dir(place.scratch.path());
    let running = shell.env("CONFIG", config).env("FIRST", first).start();
    let made = place.path(".root.unpacking/etc/os");
    eventually("a file of the first layer", || made.exists().then_some(()));
    fs::File::options()
        .write(true)
        .open(place.path("more"))
        .unwrap()
        .write_all(second.as_bytes())
        .unwrap();
    running.wait().ok();
    assert_eq!(fs::read_to_string(place.path("root/b")).unwrap(), "other");
}

#[test]
fn a_note_that_is_not_a_whole_note_of_this_user_is_ignored() {
    let place = Place::new();
    let note = place.path(NOTE);
    let changes: [fn(&Place, &str); 8] = [
        |place, _| fs::remove_file(place.path(NOTE)).unwrap(),
        |place, text| fs::write(place.path(NOTE), &text[..text.len() - 1]).unwrap(),
        |place, _| fs::write(place.path(NOTE), "").unwrap(),
        |place, text| fs::write(place.path(NOTE), text.replace("note 1", "note 2")).unwrap(),
        |place, text| fs::write(place.path(NOTE), text.replace("sha256:", "sha257:")).unwrap(),
        |place, text| fs::write(place.path(NOTE), text.to_owned() + &" ".repeat(1 << 20)).unwrap(),
        |place, _| fs::hard_link(place.path(NOTE), place.path("copy")).unwrap(),
        |place, text| {
            place.scratch.write("elsewhere", text);
            fs::remove_file(place.path(NOTE)).unwrap();
            symlink("elsewhere", place.path(NOTE)).unwrap();
        },
    ];
    for change in changes {
        place.unpack(&[]).run().status(0);
        let mut text = String::new();
        fs::File::open(&note).unwrap().read_to_string(&mut text).unwrap();
        change(&place, &text);
        let before = place.inode();
        place.replaced(&place.unpack(&[]).run(), before);
        let _ = fs::remove_file(&note);
        let _ = fs::remove_file(place.path("copy"));
    }
}

/// Another file with the name of the note is neither used nor changed.
#[test]
fn another_file_with_the_name_of_the_note_is_kept() {
    let place = Place::new();
    let others: [fn(&Place); 3] = [
        |place| drop(place.scratch.write(NOTE, "a disk")),
        |place| fs::create_dir(place.path(NOTE)).unwrap(),
        |place| drop(must(peer("mkfifo").arg(place.path(NOTE)))),
    ];
    for make in others {
        make(&place);
        for options in [&[][..], &["--no-sync"]] {
            place.unpack(options).run().ok();
        }
        let kind = fs::symlink_metadata(place.path(NOTE)).unwrap().file_type();
        if kind.is_file() {
            assert_eq!(fs::read_to_string(place.path(NOTE)).unwrap(), "a disk");
        }
        if kind.is_dir() {
            fs::remove_dir(place.path(NOTE)).unwrap();
        } else {
            fs::remove_file(place.path(NOTE)).unwrap();
        }
    }
}

mod as_root {
    use super::*;

    #[test]
    fn a_note_of_another_user_is_not_used() {
        let place = Place::new();
        place.notices(&[], |place| {
            std::os::unix::fs::chown(place.path(NOTE), Some(65534), Some(65534)).unwrap();
        });
    }

    #[test]
    fn other_privileges_are_noticed() {
        let place = Place::new();
        place.unpack(&[]).run().ok();
        let before = place.inode();
        let fewer =
            place.unpack(&[]).under(&["setpriv", "--bounding-set=-mknod", "--inh-caps=-all"]);
        place.replaced(&fewer.run(), before);
    }

    /// After a kill at any system call, the next run leaves DIR unchanged only if it is complete.
    #[test]
    fn a_run_killed_at_any_call_leaves_no_false_note() {
        let calls = "openat,write,unlinkat,renameat2,fsync,syncfs,fchmod,close";
        let (mut nth, mut step, mut kept) = (1, 1, 0);
        loop {
            let place = Place::new();
            place.unpack_other().run().ok();
            let inject = format!("inject={calls}:signal=KILL:when={nth}");
            let trace = format!("trace={calls}");
            let strace = ["strace", "-f", "-qq", "-e", &trace, "-e", &inject, "-o", "/dev/null"];
            let run = place.unpack(&[]).under(&strace).run();
            let again = place.unpack(&[]).run();
            again.status(0);
            kept += u32::from(again.stderr == SAYS);
            assert_eq!(list(&place.path("root")), ["b", "etc/", "etc/os"], "{nth} {run}");
            assert_eq!(fs::read_to_string(place.path("root/b")).unwrap(), "b", "{nth} {run}");
            let before = place.inode();
            place.kept(&place.unpack(&[]).run(), before);
            if run.code() == Some(0) {
                break;
            }
            nth += step;
            step = 1 + nth / 24;
        }
        assert!(kept > 0, "the note of a complete run is used");
    }
}
