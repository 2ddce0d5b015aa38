// SPDX-License-Identifier: Apache-2.0
//! Real archives, used as layers: the files that Debian packages install, crates, and the published
//! archives of npm and Python projects, as found in Debian's source packages.
//!
//! The archives are from this machine's apt mirror, and from cargo's cache of the crates that this
//! project is built of. A package that the machine's Debian does not have is left out. Each source
//! must still give the requested number of archives. Otherwise the test fails: nothing is skipped.
//! Not here: version numbers. The tests use the current versions.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::layers::BLOCK;
use crate::peers::{must, peer};
use crate::scratch::Scratch;

/// Small packages of many kinds: files of several owners and groups, hard links, long names, fonts,
/// word lists, scripts, libraries, manuals, empty directories.
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

/// Debian source packages that contain the published archives of npm and Python projects. Most
/// archives have defaults for all entries, as git writes them, or times in fractions of a second,
/// as Python writes them.
const SOURCES: &str = "jinja2 markupsafe node-balanced-match node-escape-string-regexp node-fs.realpath \
    node-inherits node-ini node-isarray node-ms node-nopt node-path-is-absolute node-rimraf node-strip-ansi \
    node-wrappy node-xtend node-yallist python-colorama python-mccabe python-py python-toml \
    python-webencodings";

/// The size limit of a compressed crate. Larger crates are left out; some have thousands of tables.
const CRATE: u64 = 200_000;

/// The key that Debian's mirrors are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The offset of the type in a header, and the range of the size.
const TYPEFLAG: usize = 156;
const SIZE: std::ops::Range<usize> = 124..135;

/// A published archive.
#[derive(Debug)]
pub struct Package {
    /// The file name, with the version.
    pub name: String,
    /// The archive, uncompressed.
    pub archive: Vec<u8>,
    /// The archive as it was published, if its format is allowed for a layer.
    pub layer: Option<PathBuf>,
}

impl Package {
    /// Makes a package from a gzip archive on disk.
    fn of_gzip(file: PathBuf) -> Package {
        let mut archive = Vec::new();
        MultiGzDecoder::new(fs::File::open(&file).unwrap())
            .read_to_end(&mut archive)
            .unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        Package { name: name(&file), archive, layer: Some(file) }
    }

    /// The archive without the defaults for all entries (a `g` header) at its start, if it has
    /// them. git writes such a header with only a comment.
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

    /// The entries' names, without `./` and a final slash, and whether each is a directory.
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

/// The files of a directory with this ending, sorted.
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

/// The file systems of at least `count` Debian packages, fetched by apt.
///
/// # Panics
/// When there are fewer packages, or the apt mirror cannot be reached.
pub fn debian(count: usize) -> Vec<Package> {
    let scratch = Scratch::new();
    // apt-cache fails if some names are unknown, but it prints the known packages.
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

/// At least `count` published archives of npm and Python projects, from the sources on the apt
/// mirror.
///
/// # Panics
/// When there are fewer archives, or the apt mirror cannot be reached.
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
        // Otherwise apt switches to a user who cannot read the scratch directory.
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
        // The sources are fetched one at a time: with several names, apt gives up if one is
        // missing.
        let _ = apt().args(["source", "--tar-only", source]).output().unwrap();
    }
    let packages = files(&scratch.join("fetched"), ".gz").into_iter().map(Package::of_gzip);
    at_least(count, packages.collect(), "sources")
}

/// At least `count` of the crates that cargo has fetched to build this project.
///
/// # Panics
/// When there are fewer crates.
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
