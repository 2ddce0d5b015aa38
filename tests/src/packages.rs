// SPDX-License-Identifier: Apache-2.0
//! Real archives, to be used as layers: what Debian's packages install, crates, and what npm and Python
//! projects publish, as Debian's sources have it.
//!
//! They come from where this machine's apt has its packages, and from what cargo has fetched to build this. A name
//! that the machine's Debian does not know is left out, but each source must give the number asked
//! for, or the test fails: nothing is skipped. Deliberately absent: any version, so that the archives are those of today.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::layers::BLOCK;
use crate::peers::{must, peer};
use crate::scratch::Scratch;

/// Small packages of many kinds: programs of other users and groups, hard links, long names, fonts, words,
/// scripts, libraries, manuals, empty directories.
const BINARIES: &str = "acl adduser apache2 aspell-en at attr base-files base-passwd bash-completion bsd-mailx \
    bsdextrautils bsdgames bsdutils bzip2 ca-certificates cowsay cron dash dbus debconf debian-archive-keyring \
    diffutils doc-debian dosfstools elpa-rust-mode emacsen-common fdisk figlet fonts-noto-mono fortunes-min \
    fuse3 gettext-base groff-base gzip hello hicolor-icon-theme insserv iputils-ping less libacl1 libcap2-bin \
    libexpat1 libfile-which-perl libhtml-parser-perl libjs-jquery liblz4-1 libpopt0 librust-cfg-if-dev \
    librust-log-dev libtest-warn-perl libtext-charwidth-perl libtry-tiny-perl liburi-perl libutempter0 \
    libwww-perl libxml-parser-perl login logrotate lsof lua5.4 mailutils man2html-base moreutils mount mtools \
    ncurses-base ncurses-bin netbase netcat-traditional node-glob node-inherits node-minimatch node-qs \
    node-semver nullmailer patch php-common pmount polkitd ppp python3-certifi python3-chardet python3-idna \
    python3-pyparsing python3-requests python3-six python3-toml python3-urllib3 python3-yaml ruby-json \
    ruby-minitest ruby-rack rsync screen sl squid-common ssl-cert sudo sysvinit-utils traceroute tzdata uucp \
    x11-common xdg-utils xfonts-encodings zlib1g";

/// Sources whose archives are those of npm and Python projects, most of them with defaults for all
/// entries, as git writes them, or with times in fractions of a second, as Python does.
const SOURCES: &str = "jinja2 markupsafe node-balanced-match node-escape-string-regexp node-fs.realpath \
    node-inherits node-ini node-isarray node-ms node-nopt node-path-is-absolute node-rimraf node-strip-ansi \
    node-wrappy node-xtend node-yallist python-colorama python-mccabe python-py python-toml \
    python-webencodings";

/// The largest crate that is taken, compressed: there are some with thousands of tables.
const CRATE: u64 = 200_000;

/// What Debian's mirrors are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where a header has its type and its size.
const TYPEFLAG: usize = 156;
const SIZE: std::ops::Range<usize> = 124..135;

/// An archive that somebody published.
#[derive(Debug)]
pub struct Package {
    /// Its file's name, with the version.
    pub name: String,
    /// The archive, uncompressed.
    pub archive: Vec<u8>,
    /// The archive as it was published, where that is something that a layer may be.
    pub layer: Option<PathBuf>,
}

impl Package {
    /// A gzip archive, read where it is.
    fn of_gzip(file: PathBuf) -> Package {
        let mut archive = Vec::new();
        MultiGzDecoder::new(fs::File::open(&file).unwrap())
            .read_to_end(&mut archive)
            .unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        Package { name: name(&file), archive, layer: Some(file) }
    }

    /// The archive from after its first extended header if that has defaults for all entries. Those that
    /// git writes are a comment.
    pub fn without_defaults(&self) -> &[u8] {
        if self.archive[TYPEFLAG] != b'g' {
            return &self.archive;
        }
        let size = std::str::from_utf8(&self.archive[SIZE]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        let records = &self.archive[BLOCK..BLOCK + size];
        assert!(records.split(|b| *b == b' ').nth(1).unwrap().starts_with(b"comment="));
        &self.archive[BLOCK + size.next_multiple_of(BLOCK)..]
    }

    /// Its entries' names without `./` and a last slash, and whether each is a directory.
    pub fn entries(&self) -> Vec<(String, bool)> {
        let mut archive = tar::Archive::new(self.archive.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = name.trim_start_matches("./").trim_end_matches('/').to_owned();
            (name, entry.header().entry_type().is_dir())
        });
        entries.collect()
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

/// What files of a directory have this ending, sorted.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|file| name(file).ends_with(ending))
        .collect();
    files.sort();
    files
}

fn at_least(count: usize, packages: Vec<Package>, what: &str) -> Vec<Package> {
    let names: Vec<_> = packages.iter().map(|package| &package.name).collect();
    assert!(packages.len() >= count, "only {} {what}: {names:?}", packages.len());
    packages
}

/// What so many Debian packages install, or some more: fetched by apt.
///
/// # Panics
/// When there are fewer, or Debian's mirror cannot be reached.
pub fn debian(count: usize) -> Vec<Package> {
    let scratch = Scratch::new();
    // A failure says that some names are unknown; what it printed are the others.
    let shown = peer("apt-cache")
        .args(["show", "--no-all-versions"])
        .args(BINARIES.split_whitespace())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let known: HashSet<_> = shown.lines().filter_map(|l| l.strip_prefix("Package: ")).collect();
    let names = BINARIES.split_whitespace().filter(|name| known.contains(name));
    let mut download = peer("apt-get");
    download.args(["-qq", "-o", "Acquire::Retries=3", "download"]).args(names);
    must(download.current_dir(scratch.path()));
    let packages = files(scratch.path(), ".deb").into_iter().map(|file| {
        let archive = must(peer("dpkg-deb").arg("--fsys-tarfile").arg(&file));
        Package { name: name(&file), archive, layer: None }
    });
    at_least(count, packages.collect(), "Debian packages")
}

/// What so many npm and Python projects publish, or some more: as Debian's mirror has their sources.
///
/// # Panics
/// When there are fewer, or Debian's mirror cannot be reached.
pub fn sources(scratch: &Scratch, count: usize) -> Vec<Package> {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.expect("a Debian with a code name");
    let mut targets = peer("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let mirrors = must(targets.args([&format!("Codename: {codename}"), "Component: main"]));
    let mirrors = String::from_utf8_lossy(&mirrors).into_owned();
    let mirror = mirrors.lines().next().expect("apt has a mirror: apt-get update");
    let line = format!("deb-src [signed-by={KEYRING}] {mirror} {codename} main\n");
    let list = scratch.write("sources.list", line);
    for dir in ["lists/partial", "cache/archives/partial", "fetched"] {
        fs::create_dir_all(scratch.join(dir)).unwrap();
    }
    let options = [
        "Acquire::Retries=3".to_owned(),
        // Else it would be somebody who may not read the scratch directory.
        "APT::Sandbox::User=root".to_owned(),
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", scratch.join("lists").display()),
        format!("Dir::Cache={}", scratch.join("cache").display()),
    ];
    let apt = || {
        let mut apt = peer("apt-get");
        apt.arg("-qq").args(options.iter().flat_map(|option| ["-o", option]));
        apt.current_dir(scratch.join("fetched"));
        apt
    };
    must(apt().arg("update"));
    for source in SOURCES.split_whitespace() {
        // One at a time: of several, one that is not there would be the end of all.
        let _ = apt().args(["source", "--tar-only", source]).output().unwrap();
    }
    let packages = files(&scratch.join("fetched"), ".gz").into_iter().map(Package::of_gzip);
    at_least(count, packages.collect(), "sources")
}

/// So many crates, or some more: those that cargo has fetched to build this.
///
/// # Panics
/// When there are fewer.
pub fn crates(count: usize) -> Vec<Package> {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || Path::new(&std::env::var_os("HOME").expect("a home")).join(".cargo"),
        PathBuf::from,
    );
    let registries = files(&home.join("registry/cache"), "");
    let crates = registries.iter().flat_map(|registry| files(registry, ".crate"));
    let small = crates.filter(|file| fs::metadata(file).unwrap().len() <= CRATE);
    at_least(count, small.map(Package::of_gzip).collect(), "crates")
}
