// SPDX-License-Identifier: Apache-2.0
//! Small images, made byte by byte: layers, configs, manifests, indexes, layouts.
//!
//! Everything is plain data that a test may change before use. Not here: any rule about valid
//! images, because the tests need invalid ones.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Media types, as the specifications spell them.
pub mod types {
    /// An OCI manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An uncompressed OCI layer.
    pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer, compressed with gzip.
    pub const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Docker's manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's signed manifest, schema 1.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
}

/// `sha256:…` of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// `sha512:…` of bytes.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that do not compress. They depend on the length and the seed only.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes with their media type and digest.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The media type.
    pub media_type: String,
    /// The digest.
    pub digest: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// A blob with its SHA-256 digest.
    pub fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Blob {
        let bytes = bytes.into();
        Blob { media_type: media_type.to_owned(), digest: sha256(&bytes), bytes }
    }

    /// A JSON document.
    pub fn json(media_type: &str, value: &Value) -> Blob {
        Blob::new(media_type, value.to_string())
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }

    /// Its descriptor line, including the newline.
    pub fn line(&self) -> String {
        format!("{}\n", self.descriptor())
    }
}

/// An entry of a layer.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A directory with its mode.
    Dir(String, u32),
    /// A file with its mode and contents.
    File(String, u32, Vec<u8>),
    /// A symbolic link and its target.
    Symlink(String, String),
    /// A hard link and its target.
    Hardlink(String, String),
}

/// A directory, 0755.
pub fn dir(path: &str) -> Entry {
    Entry::Dir(path.to_owned(), 0o755)
}

/// A file, 0644.
pub fn file(path: &str, contents: impl Into<Vec<u8>>) -> Entry {
    Entry::File(path.to_owned(), 0o644, contents.into())
}

/// A symbolic link.
pub fn symlink(path: &str, target: &str) -> Entry {
    Entry::Symlink(path.to_owned(), target.to_owned())
}

/// A hard link.
pub fn hardlink(path: &str, target: &str) -> Entry {
    Entry::Hardlink(path.to_owned(), target.to_owned())
}

/// A whiteout: it hides this path of the lower layers.
pub fn whiteout(path: &str) -> Entry {
    let (dir, name) = path.rsplit_once('/').map_or(("", path), |(dir, name)| (dir, name));
    let slash = if dir.is_empty() { "" } else { "/" };
    file(&format!("{dir}{slash}.wh.{name}"), "")
}

/// An archive of the entries, in order. All are owned by root and have the same modification time.
pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match entry {
            Entry::Dir(path, mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                archive.append_data(&mut header, path, std::io::empty()).unwrap();
            }
            Entry::File(path, mode, contents) => {
                header.set_mode(*mode);
                header.set_size(contents.len() as u64);
                archive.append_data(&mut header, path, contents.as_slice()).unwrap();
            }
            Entry::Symlink(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                archive.append_link(&mut header, path, target).unwrap();
            }
            Entry::Hardlink(path, target) => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_mode(0o644);
                archive.append_link(&mut header, path, target).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image: a manifest and everything that it references.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Blob,
    /// The config.
    pub config: Blob,
    /// The layers, base first.
    pub layers: Vec<Blob>,
    /// The diff IDs, base first.
    pub diff_ids: Vec<String>,
}

impl Image {
    /// An image of layers given by their entries, base first, compressed with gzip, for
    /// linux/amd64.
    pub fn new(layers: &[&[Entry]]) -> Image {
        let archives: Vec<_> = layers.iter().map(|entries| tar(entries)).collect();
        Image::of_archives(&archives, "linux", "amd64")
    }

    /// An image of layers given as archives, for a platform.
    pub fn of_archives(archives: &[Vec<u8>], os: &str, architecture: &str) -> Image {
        let layers = archives.iter().map(|tar| Blob::new(types::TAR_GZIP, gzip(tar))).collect();
        let diff_ids = archives.iter().map(|tar| sha256(tar)).collect();
        let config = json!({"architecture": architecture, "os": os});
        Image::of_parts(config, layers, diff_ids)
    }

    /// An image of layers given as archives and left uncompressed, for linux/amd64.
    pub fn of_plain(archives: &[&[u8]]) -> Image {
        let layers: Vec<_> = archives.iter().map(|tar| Blob::new(types::TAR, *tar)).collect();
        let diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
        Image::of_parts(json!({"architecture": "amd64", "os": "linux"}), layers, diff_ids)
    }

    /// A small image of two layers; the second changes files of the first.
    pub fn small() -> Image {
        Image::new(&[
            &[
                dir("etc/"),
                file("etc/motd", "hello\n"),
                file("etc/gone", "to be removed\n"),
                dir("bin/"),
                Entry::File("bin/tool".to_owned(), 0o755, noise(40_000, 1)),
                symlink("bin/link", "tool"),
                hardlink("bin/twin", "bin/tool"),
            ],
            &[whiteout("etc/gone"), file("etc/motd", "changed\n"), dir("var/")],
        ])
    }

    /// An image with a single layer of `len` bytes that do not compress.
    pub fn big(len: usize, seed: u64) -> Image {
        Image::new(&[&[file("big", noise(len, seed))]])
    }

    /// An image for a platform, like `linux/arm64`, with a layer that differs between platforms.
    pub fn for_platform(os: &str, architecture: &str) -> Image {
        let archive = tar(&[file("platform", format!("{os}/{architecture}\n"))]);
        Image::of_archives(&[archive], os, architecture)
    }

    /// An image of layers, and of a config to which the diff IDs are added.
    pub fn of_parts(mut config: Value, layers: Vec<Blob>, diff_ids: Vec<String>) -> Image {
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let config = Blob::json(types::CONFIG, &config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": types::MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        Image { manifest: Blob::json(types::MANIFEST, &manifest), config, layers, diff_ids }
    }

    /// The same image with Docker's media types (schema 2).
    pub fn docker(&self) -> Image {
        let retyped = |blob: &Blob, media_type: &str| Blob {
            media_type: media_type.to_owned(),
            ..blob.clone()
        };
        let config = retyped(&self.config, types::DOCKER_CONFIG);
        let layers: Vec<_> =
            self.layers.iter().map(|layer| retyped(layer, types::DOCKER_LAYER)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": types::DOCKER_MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Blob::json(types::DOCKER_MANIFEST, &manifest);
        Image { manifest, config, layers, diff_ids: self.diff_ids.clone() }
    }

    /// The manifest as JSON, to be changed and passed to [`Image::with_manifest`].
    pub fn manifest_json(&self) -> Value {
        serde_json::from_slice(&self.manifest.bytes).unwrap()
    }

    /// The same config and layers with another manifest.
    #[must_use]
    pub fn with_manifest(mut self, manifest: &Value) -> Image {
        self.manifest = Blob::json(&self.manifest.media_type, manifest);
        self
    }

    /// The config, then the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// The descriptor lines of config and layers.
    pub fn lines(&self) -> String {
        self.blobs().map(Blob::line).collect()
    }
}

/// An index of images (or of indexes) and their platforms: `linux/arm/v7`, or empty for no
/// platform.
pub fn index(media_type: &str, children: &[(&Blob, &str)]) -> Blob {
    let manifests = children.iter().map(|(child, platform)| {
        let mut descriptor = child.descriptor();
        let mut words = platform.split('/').filter(|word| !word.is_empty());
        if let Some(os) = words.next() {
            let architecture = words.next().unwrap_or_default();
            descriptor["platform"] = json!({"architecture": architecture, "os": os});
            if let Some(variant) = words.next() {
                descriptor["platform"]["variant"] = json!(variant);
            }
        }
        descriptor
    });
    let manifests: Vec<_> = manifests.collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    Blob::json(media_type, &index)
}

/// Writes an OCI image layout, or adds to an existing one. The layout holds all the blobs, and its
/// index.json has `top` with the tag.
pub fn write_layout<'a>(
    layout: &Path,
    tag: &str,
    top: &'a Blob,
    others: impl IntoIterator<Item = &'a Blob>,
) {
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    for blob in others.into_iter().chain([top]) {
        let (algorithm, hex) = blob.digest.split_once(':').unwrap();
        fs::create_dir_all(layout.join("blobs").join(algorithm)).unwrap();
        fs::write(layout.join("blobs").join(algorithm).join(hex), &blob.bytes).unwrap();
    }
    let index = layout.join("index.json");
    let empty = json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": []});
    let mut document = fs::read(&index).map_or(empty, |bytes| {
        serde_json::from_slice::<Value>(&bytes).expect("index.json is JSON")
    });
    let mut descriptor = top.descriptor();
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    document["manifests"].as_array_mut().unwrap().push(descriptor);
    fs::write(index, document.to_string()).unwrap();
}

/// Writes a layout that holds an image with a tag.
pub fn write_image(layout: &Path, tag: &str, image: &Image) {
    write_layout(layout, tag, &image.manifest, image.blobs());
}

/// A layout's index.json.
pub fn read_index(layout: &Path) -> Value {
    let index = layout.join("index.json");
    let bytes = fs::read(&index).unwrap_or_else(|why| panic!("{}: {why}", index.display()));
    serde_json::from_slice(&bytes).expect("index.json is JSON")
}

/// The bytes of a blob of a layout; `None` if it is missing.
pub fn read_blob(layout: &Path, digest: &str) -> Option<Vec<u8>> {
    fs::read(layout.join("blobs").join(digest.replace(':', "/"))).ok()
}
