// SPDX-License-Identifier: Apache-2.0
//! pack-layer: the archive of a tree, its reproducible bytes, and refused trees.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::fs::FileType;
use tests::images::{noise, sha256};
use tests::layers::names;
use tests::scratch::Scratch;
use tests::tools::{Command, Run, shell, tool};
use tests::trees::{make_node, set_time, set_times, set_xattr, snapshot, xattrs};

/// A directory that holds the tree to be packed.
struct Place {
    scratch: Scratch,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("tree")).unwrap();
        Place { scratch }
    }

    fn tree(&self) -> PathBuf {
        self.scratch.join("tree")
    }

    fn pack(&self) -> Command {
        tool("pack-layer").dir(self.scratch.path()).arg("tree")
    }

    /// Packs the tree without compression and returns the archive.
    fn archive(&self, options: &[&str]) -> Vec<u8> {
        let run = self.pack().args(["--compress", "none", "-o", "-"]).args(options).run();
        run.ok();
        run.stdout
    }

    /// The names in the archive.
    fn names(&self, options: &[&str]) -> Vec<String> {
        names(&self.archive(options))
    }

    /// Packs the tree, unpacks the layer and compares the two trees.
    fn survives_round_trip(&self) -> Run {
        let run = self.pack().args(["-o", "layer"]).run();
        run.status(0);
        tool("unpack-layer").dir(self.scratch.path()).args(["back", "layer"]).run().status(0);
        assert_eq!(snapshot(&self.scratch.join("back")), snapshot(&self.tree()));
        run
    }
}

/// A field of the single line that was printed.
fn field(run: &Run, path: &[&str]) -> String {
    let line: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let value = path.iter().fold(&line, |value, key| &value[*key]);
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn a_tree_survives_a_round_trip() {
    let place = Place::new();
    place.scratch.write("tree/usr/bin/tool", noise(300_000, 1));
    place.scratch.write("tree/usr/empty", "");
    place.scratch.write("tree/etc/secret", "x");
    place.scratch.chmod("tree/etc/secret", 0o4640);
    place.scratch.chmod("tree/etc", 0o1777);
    fs::hard_link(place.tree().join("usr/bin/tool"), place.tree().join("usr/bin/twin")).unwrap();
    fs::hard_link(place.tree().join("usr/bin/tool"), place.tree().join("a")).unwrap();
    symlink("../etc/secret", place.tree().join("usr/link")).unwrap();
    fs::hard_link(place.tree().join("usr/link"), place.tree().join("usr/link2")).unwrap();
    make_node(&place.tree().join("fifo"), FileType::Fifo, (0, 0));
    set_xattr(&place.tree().join("usr/empty"), "user.bytes", b"a\0\n=\xff");
    set_xattr(&place.tree().join("usr"), "user.empty", b"");
    if rustix::process::geteuid().is_root() {
        make_node(&place.tree().join("null"), FileType::CharacterDevice, (1, 3));
        make_node(&place.tree().join("disk"), FileType::BlockDevice, (259, 1_048_575));
        std::os::unix::fs::lchown(place.tree().join("usr/link"), Some(7), Some(3_000_000)).unwrap();
        std::os::unix::fs::chown(place.tree().join("usr/empty"), Some(4_000_000), Some(5)).unwrap();
    }
    set_times(&place.tree(), 1_000_000_000);
    set_time(&place.tree().join("usr/empty"), -5);
    set_time(&place.tree().join("usr/link"), 9_999_999_999);
    place.survives_round_trip().silent();
}

#[test]
fn an_ordinary_user_packs_readable_files() {
    let place = Place::new();
    place.scratch.write("tree/d/f", "x");
    let run = place.pack().args(["-o", "-"]).as_unprivileged().run();
    let as_root = place.pack().args(["-o", "-"]).run();
    run.ok().stdout(as_root.stdout);
    place.scratch.write("tree/d/closed", "x");
    place.scratch.chmod("tree/d/closed", 0);
    place.scratch.chmod(".", 0o777);
    let run = place.pack().args(["-o", "out"]).as_unprivileged().run();
    run.fails(7, "tree/d/closed: permission denied").stdout("");
    assert!(!place.scratch.join("out").exists());
    assert_eq!(fs::read_dir(place.scratch.path()).unwrap().count(), 1);
}

#[test]
fn names_of_all_kinds_survive_a_round_trip() {
    let place = Place::new();
    let long = "n".repeat(255);
    for name in
        [&b"new\nline"[..], b"bytes\xff\xfe", "\u{fc}ml\u{e4}ut".as_bytes(), long.as_bytes()]
    {
        let path = place.tree().join(OsStr::from_bytes(name));
        fs::write(&path, "x").unwrap();
        let link = [b"link-", &name[..name.len().min(200)]].concat();
        symlink(&path, place.tree().join(OsStr::from_bytes(&link))).unwrap();
        let twin = [b"twin-", &name[..name.len().min(200)]].concat();
        fs::hard_link(&path, place.tree().join(OsStr::from_bytes(&twin))).unwrap();
    }
    // Lengths around the limits of the name and prefix fields.
    for length in [99, 100, 101, 154, 155, 156, 200] {
        place.scratch.write(format!("tree/{}/{}", "p".repeat(length), "f".repeat(99)), "x");
        place.scratch.write(format!("tree/{}/{}", "q".repeat(length), "f".repeat(100)), "x");
        fs::create_dir(place.tree().join("p".repeat(length)).join("d".repeat(99))).unwrap();
    }
    place.survives_round_trip().silent();
}

#[test]
fn entries_are_sorted_by_their_paths() {
    let place = Place::new();
    for file in ["a/x", "a.b", "a-b", "a0", "B", "a/a.c/x", "a/a/x"] {
        place.scratch.write(format!("tree/{file}"), "");
    }
    let names = place.names(&[]);
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(names, sorted);
    assert_eq!(names[..4], ["./", "B", "a-b", "a.b"]);
    assert_eq!(place.names(&["--no-root"])[0], "B");
}

#[test]
fn every_copy_of_a_tree_gives_the_same_bytes() {
    let bytes = |names: &[&str], options: &[&str]| {
        let place = Place::new();
        for name in names {
            place.scratch.write(format!("tree/{name}"), noise(200_000, name.len() as u64));
        }
        set_times(&place.tree(), 1_000_000_000);
        let run = place.pack().args(["-o", "-"]).args(options).run();
        run.ok();
        run.stdout
    };
    let names = ["d/one", "three", "d/e/fourth", "e/sixth0"];
    let backwards: Vec<_> = names.iter().rev().copied().collect();
    for format in ["gzip", "zstd", "none"] {
        let want = bytes(&names, &["--compress", format, "-j", "1"]);
        assert!(bytes(&backwards, &["--compress", format, "-j", "3"]) == want, "{format}");
    }
}

/// The bytes of an archive must never change: diff IDs identify layers, and caches store them.
#[test]
fn the_bytes_of_an_archive_never_change() {
    let place = Place::new();
    place.scratch.write("tree/bin/tool", noise(3000, 1));
    place.scratch.chmod("tree/bin/tool", 0o755);
    place.scratch.write(format!("tree/long/{}", "n".repeat(120)), "x");
    fs::hard_link(place.tree().join("bin/tool"), place.tree().join("bin/twin")).unwrap();
    symlink("bin/tool", place.tree().join("link")).unwrap();
    set_xattr(&place.tree().join("bin/tool"), "user.k", b"v");
    for dir in ["tree", "tree/bin", "tree/long"] {
        place.scratch.chmod(dir, 0o755);
    }
    place.scratch.chmod(format!("tree/long/{}", "n".repeat(120)), 0o644);
    let archive = place.archive(&["--owner", "0:0", "--mtime", "@1000000000"]);
    assert_eq!(
        sha256(&archive),
        "sha256:c481b91f2f737037a517648fae7a5758f78cba08e8ae0feb93f879d146dbcc50"
    );
}

#[test]
fn times_and_owners_are_set_as_asked() {
    let place = Place::new();
    place.scratch.write("tree/old", "");
    place.scratch.write("tree/new", "");
    set_times(&place.tree(), 2000);
    set_time(&place.tree().join("old"), 500);
    let times = |command: Command| -> Vec<u64> {
        let run = command.args(["--compress", "none", "-o", "-"]).run();
        let mut archive = tar::Archive::new(run.ok().stdout.as_slice());
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().header().mtime().unwrap()).collect()
    };
    let epoch = |value: &str| place.pack().env("SOURCE_DATE_EPOCH", value);
    assert_eq!(times(place.pack()), [2000, 2000, 500]);
    assert_eq!(times(epoch("1000")), [1000, 1000, 500]);
    assert_eq!(times(epoch("1000").args(["--mtime", "@3000"])), [3000; 3]);
    assert_eq!(times(place.pack().args(["--mtime", "1970-01-01T01:00:00+00:30"])), [1800; 3]);
    for wrong in ["", "-1", "1.5", "now"] {
        epoch(wrong).args(["-o", "-"]).run().fails(2, "SOURCE_DATE_EPOCH").stdout("");
    }
    place.pack().args(["-o", "-", "--mtime", "5"]).run().fails(2, "@SECONDS");
    place.pack().args(["-o", "-", "--owner", "root"]).run().fails(2, "UID:GID");
    let archive = place.archive(&["--owner", "12:3000000"]);
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.header().uid().unwrap(), 12);
        assert_eq!(entry.header().username_bytes(), Some(&b""[..]));
    }
    assert!(archive.windows(15).any(|bytes| bytes == b"15 gid=3000000\n"));
}

#[test]
fn zeros_of_sparse_files_are_left_out() {
    let place = Place::new();
    let sparse = |name: &str, size: u64, data: &[(u64, &[u8])]| {
        let file = fs::File::create(place.tree().join(name)).unwrap();
        file.set_len(size).unwrap();
        for (offset, bytes) in data {
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, *offset).unwrap();
        }
    };
    sparse("holes", 50_000_000, &[(5_000_000, b"data"), (30_000_000, b"more")]);
    sparse("end", 3_000_001, &[(3_000_000, b"x")]);
    sparse("nothing", 10_000_000, &[]);
    // If a file has a hole, zeros that are stored on disk are left out as well.
    sparse("zeros", 10_000_000, &[(1_000_000, &[0; 1_000_000]), (9_000_000, b"x")]);
    place.survives_round_trip().silent();
    let archive = place.archive(&[]);
    assert!(archive.len() < 400_000, "{} bytes", archive.len());
    let back = fs::metadata(place.scratch.join("back/nothing")).unwrap();
    assert_eq!((back.len(), back.blocks()), (10_000_000, 0));
}

#[test]
fn attributes_that_belong_to_the_host_are_left_out() {
    let place = Place::new();
    let file = place.scratch.write("tree/f", "x");
    set_xattr(&file, "user.kept", b"1");
    set_xattr(&file, "user.overlay.opaque", b"y");
    let run = place.pack().args(["-o", "layer"]).run();
    run.status(0).says("warning: user.overlay.opaque: ");
    tool("unpack-layer").dir(place.scratch.path()).args(["back", "layer"]).run().ok();
    let kept = [("user.kept".to_owned(), b"1".to_vec())];
    assert_eq!(xattrs(&place.scratch.join("back/f")), kept);
    set_xattr(&file, "user.a=b", b"1");
    place.pack().args(["-o", "-"]).run().fails(6, "tree/f: extended attribute user.a=b");
}

#[test]
fn whiteout_names_are_refused_unless_an_option_keeps_them() {
    let place = Place::new();
    place.scratch.write("tree/d/.wh.gone", "");
    let run = place.pack().args(["-o", "-"]).run();
    run.fails(6, "tree/d/.wh.gone: ").says("hint: --whiteouts keep").stdout("");
    let keep = ["--whiteouts", "keep"];
    assert_eq!(place.names(&keep), ["./", "d/", "d/.wh.gone"]);
    fs::create_dir(place.tree().join(".wh.d")).unwrap();
    place.pack().args(["-o", "-"]).args(keep).run().fails(6, "tree/.wh.d: ").stdout("");
}

#[test]
fn an_overlays_whiteout_is_refused() {
    let place = Place::new();
    make_node(&place.tree().join("gone"), FileType::CharacterDevice, (0, 0));
    place.pack().args(["-o", "-"]).run().fails(6, "tree/gone: character device 0:0").stdout("");
}

#[test]
fn sockets_are_left_out_with_a_warning() {
    let place = Place::new();
    let _socket = std::os::unix::net::UnixListener::bind(place.tree().join("s")).unwrap();
    place.scratch.write("tree/t", "");
    let run = place.pack().args(["-o", "layer"]).run();
    run.status(0).says("pack-layer: warning: tree/s: a socket, left out\n");
    place.pack().args(["-q", "-o", "layer"]).run().ok();
    assert_eq!(place.names(&["-q"]), ["./", "t"]);
}

#[test]
fn a_root_directory_closed_to_others_causes_a_warning() {
    let place = Place::new();
    place.scratch.chmod("tree", 0o700);
    let run = place.pack().args(["-o", "layer"]).run();
    run.status(0).says("warning: tree: mode 0700 becomes the mode of the image's root (--no-root");
    place.pack().args(["-o", "layer", "--no-root"]).run().ok();
}

/// The user's own ID in a layer is often a mistake: on another machine it is another user. One
/// warning counts all entries.
#[test]
fn the_own_id_of_an_ordinary_user_causes_one_warning_with_a_count() {
    let place = Place::new();
    place.scratch.write("tree/d/f", "x");
    fs::hard_link(place.tree().join("d/f"), place.tree().join("d/g")).unwrap();
    let chown = "chown -hR \"$(id -u nobody)\" tree";
    if rustix::process::geteuid().is_root() {
        shell(chown).dir(place.scratch.path()).run().ok();
    }
    place.scratch.chmod("tree", 0o755);
    let pack =
        |options: &[&str]| place.pack().args(["-o", "-"]).args(options).as_unprivileged().run();
    let run = pack(&[]);
    run.status(0).says("pack-layer: warning: tree: owner ").says(
        " is the user who packs (--owner 0:0 makes root the owner of all entries) (4 times)\n",
    );
    assert_eq!(run.stderr.lines().count(), 1);
    let quiet = pack(&["-q"]);
    quiet.status(0);
    assert_eq!((quiet.stdout, quiet.stderr.as_str()), (run.stdout, ""));
    for owner in ["0:0", "4321:4321"] {
        let run = pack(&["--owner", owner]);
        run.status(0);
        assert_eq!(run.stderr, "");
    }
}

#[test]
fn the_own_id_in_a_difference_is_counted_for_packed_entries_only() {
    let place = Place::new();
    place.scratch.write("tree/d/f", "x");
    place.scratch.write("tree/same", "x");
    if rustix::process::geteuid().is_root() {
        let chown = "chown -hR \"$(id -u nobody)\" tree";
        shell(chown).dir(place.scratch.path()).run().ok();
    }
    shell("cp -a tree base && rm base/d/f").dir(place.scratch.path()).run().ok();
    let run = place.pack().args(["--base", "base", "-o", "-", "--no-root"]).as_unprivileged().run();
    // The directory changed too: it got the file.
    run.status(0).says("warning: tree/d: owner ").says("of all entries) (2 times)\n");
}

/// Root's ID is right in most images, and files of other users were given to them on purpose.
#[test]
fn root_gets_no_warning_of_its_own_id() {
    let place = Place::new();
    place.scratch.write("tree/d/f", "x");
    if rustix::process::geteuid().is_root() {
        place.pack().args(["-o", "-"]).run().ok();
        shell("chown 1234:1234 tree/d/f").dir(place.scratch.path()).run().ok();
        place.pack().args(["-o", "-"]).as_unprivileged().run().ok();
    }
    // The same holds for root of a user namespace.
    let script = "unshare --user --map-root-user true || exit 0; chmod 755 tree
        unshare --user --map-root-user pack-layer tree -o - >layer";
    shell(script).dir(place.scratch.path()).run().status(0);
}

/// Packs a tree to a fifo and changes the tree in the middle of a large file: the tool is blocked
/// there until the rest of the fifo is read.
fn changed_meanwhile(change: impl FnOnce(&Place)) -> Run {
    let place = Place::new();
    place.scratch.write("tree/a", noise(8 << 20, 1));
    place.scratch.write("tree/b", "x");
    make_node(&place.scratch.join("out"), FileType::Fifo, (0, 0));
    let command = place.pack().args(["--compress", "none", "-o", "out"]).start();
    let mut out = fs::File::open(place.scratch.join("out")).unwrap();
    let mut start = [0; 512];
    std::io::Read::read_exact(&mut out, &mut start).unwrap();
    change(&place);
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    command.wait()
}

#[test]
fn a_file_changed_while_it_is_read_fails_the_run() {
    changed_meanwhile(|_| ()).ok();
    let run = changed_meanwhile(|place| {
        fs::File::options().write(true).open(place.tree().join("a")).unwrap().set_len(9).unwrap();
    });
    run.fails(1, "tree/a: changed while it was read").stdout("");
    let run = changed_meanwhile(|place| {
        fs::File::options()
            .append(true)
            .open(place.tree().join("a"))
            .unwrap()
            .write_all(b"x")
            .unwrap();
    });
    run.fails(1, "tree/a: changed while it was read: got 8388609 bytes, want 8388608");
    changed_meanwhile(|place| set_time(&place.tree().join("a"), 1)).fails(1, "changed");
    changed_meanwhile(|place| fs::remove_file(place.tree().join("b")).unwrap())
        .fails(1, "tree/b: vanished");
    let run = changed_meanwhile(|place| {
        fs::remove_file(place.tree().join("b")).unwrap();
        symlink("/etc/passwd", place.tree().join("b")).unwrap();
    });
    run.fails(1, "tree/b: changed");
}

#[test]
fn other_file_systems_are_entered_unless_pseudo_or_excluded() {
    let place = Place::new();
    place.scratch.write("tree/a/f", "x");
    let Some(disk) = Scratch::small_disk(64) else {
        // Only root may mount; the option is still accepted.
        place.pack().args(["-o", "-", "--one-file-system"]).run().ok();
        return;
    };
    disk.write("f", "x");
    fs::create_dir(place.tree().join("disk")).unwrap();
    fs::create_dir(place.tree().join("proc")).unwrap();
    let list = |options: &str| {
        let script = format!(
            "mount --bind \"$DISK\" tree/disk && mount --bind /proc tree/proc &&
             pack-layer tree --no-root --compress none -o out {options} >line
             status=$?
             umount tree/disk tree/proc && tar -tf out && exit $status"
        );
        let run = shell(&script).env("DISK", disk.path()).dir(place.scratch.path()).run();
        run.status(0)
            .says("pack-layer: warning: tree/proc: a pseudo file system, its content left");
        run.lines()
    };
    assert_eq!(list(""), ["a/", "a/f", "disk/", "disk/f", "proc/"]);
    assert_eq!(list("--one-file-system"), ["a/", "a/f", "disk/", "proc/"]);
}

#[test]
fn options_select_the_media_type_and_the_compression_level() {
    let place = Place::new();
    place.scratch.write("tree/f", vec![b'x'; 100_000]);
    let run = |options: &[&str]| place.pack().args(["-o", "layer"]).args(options).run();
    let docker = "application/vnd.docker.image.rootfs.diff.tar";
    let oci = "application/vnd.oci.image.layer.v1.tar";
    for (options, want) in [
        (&[][..], format!("{oci}+gzip")),
        (&["--compress", "zstd", "--level", "19"], format!("{oci}+zstd")),
        (&["--compress", "none"], oci.to_owned()),
        (&["--docker", "--level", "9"], format!("{docker}.gzip")),
        (&["--docker", "--compress", "none"], docker.to_owned()),
    ] {
        let run = run(options);
        assert_eq!(field(run.ok(), &["mediaType"]), want);
        let layer = fs::read(place.scratch.join("layer")).unwrap();
        assert_eq!(field(&run, &["digest"]), sha256(&layer));
        assert_eq!(field(&run, &["size"]), layer.len().to_string());
        let diff_id = field(&run, &["annotations", "containerd.io/uncompressed"]);
        assert_eq!(diff_id, sha256(&place.archive(&[])));
    }
    run(&["--docker", "--compress", "zstd"]).fails(2, "zstd");
    run(&["--compress", "none", "--level", "1"]).fails(2, "a level needs a compression format");
    run(&["--level", "10"]).fails(2, "gzip has levels 1 to 9");
    run(&["--compress", "zstd", "--level", "20"]).fails(2, "zstd has levels 1 to 19");
    run(&["-j", "0"]).fails(2, "0");
    assert!(fs::metadata(place.scratch.join("layer")).unwrap().permissions().mode() & 0o111 == 0);
}

mod at_length {
    use super::*;

    /// The tree has longer paths than the system accepts, and more nested directories than the
    /// limit of file descriptors.
    #[test]
    fn very_deep_trees_are_packed() {
        let place = Place::new();
        let script = "cd tree && i=0 && while [ $i -lt 1300 ]; do
        mkdir dddd && cd -P dddd && i=$((i+1)) || exit; done && echo x >f";
        shell(script).dir(place.scratch.path()).run().ok();
        let names = place.names(&[]);
        assert_eq!(names.len(), 1302);
        assert_eq!(names[1301], format!("{}f", "dddd/".repeat(1300)));
        let limited = "ulimit -n 60 && pack-layer tree -o -";
        shell(limited).dir(place.scratch.path()).run().ok();
    }
}
