// SPDX-License-Identifier: Apache-2.0
//! `make install`, `make uninstall` and the Debian package.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::peers::{must, peer};
use tests::scratch::Scratch;
use tests::tools::{bin, shell, tool};

fn top() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

/// The names of the files in a folder of the project, sorted.
fn names(folder: &str) -> Vec<String> {
    let files = fs::read_dir(top().join(folder)).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A directory as `make` fills it: the tools, and their completions.
fn built() -> Scratch {
    let dir = Scratch::new();
    // Builds all tools.
    shell("true").run().ok();
    for name in names("tools") {
        symlink(bin().join(&name), dir.join(&name)).unwrap();
    }
    tool("completions").arg(bin()).arg(dir.join("shells")).args(names("tools")).run().ok();
    dir
}

/// make in the project, with no settings of a make that runs this test.
fn make(built: &Path, target: &str) -> Command {
    let mut make = peer("make");
    for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        make.env_remove(name);
    }
    make.current_dir(top()).arg(format!("BUILT={}", built.display())).arg(target);
    make
}

/// The files below a directory, without directories.
fn files(top: &Path) -> Vec<String> {
    let text = must(peer("find").current_dir(top).args([".", "!", "-type", "d"]));
    let mut files: Vec<_> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// The files that are installed, below the prefix.
fn expected(zsh: &str) -> Vec<String> {
    let pages = names("man");
    let pages = pages
        .iter()
        .filter(|name| !name.ends_with(".svg"))
        .map(|page| format!("./share/man/man{}/{page}", page.rsplit_once('.').unwrap().1));
    let tools = names("tools").into_iter().flat_map(|name| {
        [
            format!("./bin/{name}"),
            format!("./share/bash-completion/completions/{name}"),
            format!("./share/zsh/{zsh}/_{name}"),
            format!("./share/fish/vendor_completions.d/{name}.fish"),
        ]
    });
    let recipes = ["./share/regutils/recipes.sh".to_owned()];
    let mut files: Vec<_> = pages.chain(tools).chain(recipes).collect();
    files.sort();
    files
}

#[test]
fn what_is_installed_is_removed_again_and_nothing_else() {
    let built = built();
    let root = Scratch::new();
    let root = root.join("with space");
    fs::create_dir_all(root.join("opt/bin")).unwrap();
    fs::write(root.join("opt/bin/other"), "").unwrap();
    let destination = format!("DESTDIR={}", root.display());

    must(make(built.path(), "install").arg(&destination).arg("PREFIX=/opt"));
    let mut want = expected("site-functions");
    want.push("./bin/other".to_owned());
    want.sort();
    assert_eq!(files(&root.join("opt")), want);
    let mode = |name: &str| {
        fs::metadata(root.join("opt").join(name)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!([mode("bin/fetch-blob"), mode("share/man/man1/fetch-blob.1")], [0o755, 0o644]);
    must(Command::new(root.join("opt/bin/fetch-blob")).arg("-V").env_clear());

    must(make(built.path(), "uninstall").arg(&destination).arg("PREFIX=/opt"));
    assert_eq!(files(&root), ["./opt/bin/other"]);
}

#[test]
fn install_builds_nothing_and_says_what_to_run() {
    let [empty, root] = [Scratch::new(), Scratch::new()];
    // If make ran cargo, this cargo would fail.
    let Output { status, stderr, .. } = make(empty.path(), "install")
        .arg(format!("DESTDIR={}", root.path().display()))
        .arg("CARGO=false")
        .output()
        .unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && stderr.contains("is not built: run \"make\" first"), "{stderr}");
    assert_eq!(root.list(), [""; 0]);
}

#[test]
fn dist_without_a_cross_compiler_builds_nothing_and_says_what_to_install() {
    let dir = Scratch::new();
    let Output { status, stderr, .. } = Command::new(top().join("packaging/dist.sh"))
        .args([dir.join("target"), dir.join("packages")])
        .env("MACHINES", "none_64")
        .env("CARGO", "false")
        .output()
        .unwrap();
    let want = "dist: none_64-linux-gnu-gcc is missing: install the package gcc-none-64-linux-gnu, \
                or name other machines in $MACHINES\n";
    assert_eq!(String::from_utf8(stderr).unwrap(), want);
    assert_eq!(status.code(), Some(1));
    assert_eq!(dir.list(), ["packages/", "target/"]);
}

mod as_root {
    use super::*;

    /// A package in `dir`, and its name.
    fn package(dir: &Scratch) -> PathBuf {
        let built = built();
        // Unoptimised programs are large: the package need not be small.
        let text = must(
            peer("sh")
                .arg(top().join("packaging/deb.sh"))
                .args([built.path(), dir.path()])
                .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
                .env("DPKG_DEB_COMPRESSOR_LEVEL", "1")
                .env_remove("MAKEFLAGS"),
        );
        PathBuf::from(String::from_utf8(text).unwrap().trim_end())
    }

    #[test]
    fn the_debian_package_is_installed_and_removed_completely() {
        let [dir, root] = [Scratch::new(), Scratch::new()];
        let package = package(&dir);
        fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
        for name in ["status", "available"] {
            root.write(format!("var/lib/dpkg/{name}"), "");
        }
        let dpkg = || {
            let mut dpkg = peer("dpkg");
            dpkg.arg("--root").arg(root.path()).arg("--force-depends").arg("--log=/dev/null");
            dpkg
        };
        must(dpkg().arg("--install").arg(&package));
        let mut want = expected("vendor-completions");
        for file in want.iter_mut().filter(|file| file.starts_with("./share/man/")) {
            file.push_str(".gz");
        }
        want.extend(
            ["copyright", "changelog.gz"].map(|name| format!("./share/doc/regutils/{name}")),
        );
        want.sort();
        assert_eq!(files(&root.join("usr")), want);
        must(dpkg().args(["--purge", "regutils"]));
        assert!(!root.join("usr").exists());

        must(
            peer("lintian")
                .args(["--allow-root", "--fail-on", "error"])
                .args(
                    // The tests may run on programs with debug information.
                    ["--suppress-tags", "unstripped-binary-or-object"],
                )
                .arg(&package),
        );
    }
}
