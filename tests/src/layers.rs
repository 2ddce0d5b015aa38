// SPDX-License-Identifier: Apache-2.0
//! Hostile and malformed layers: archives made block by block, with control of every field.
//!
//! The code is short enough to be compared by hand with POSIX's ustar and pax formats. It uses no
//! tar library, because it makes archives that a library refuses to write. The checksum is computed
//! at the end, so that only the fields that a test changes are wrong. Not here: any rule about
//! valid layers.

/// The size of a block.
pub const BLOCK: usize = 512;

/// POSIX's magic and version.
pub const USTAR: &[u8; 8] = b"ustar\x0000";
/// GNU's magic and version.
pub const GNU: &[u8; 8] = b"ustar  \0";
/// No magic: the format of Unix version 7.
pub const V7: &[u8; 8] = &[0; 8];

/// A header block with its data, and the headers before it that apply to it.
#[derive(Clone)]
pub struct Part {
    before: Vec<u8>,
    /// The records of the extended header right before it, if any.
    records: Vec<u8>,
    header: [u8; BLOCK],
    data: Vec<u8>,
    /// Blocks without a header, used unchanged.
    raw: Option<Vec<u8>>,
}

/// An entry of any type. A name longer than 100 bytes is put into an extended header.
pub fn entry(typeflag: u8, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Part {
    let (name, data) = (name.as_ref(), data.as_ref());
    let part = Part { data: padded(data), raw: None, ..nothing() };
    let part = part.at(0, &name[..name.len().min(100)]).at(156, &[typeflag]).magic(USTAR);
    let part = part.mode(0o644).owner(0, 0).size(data.len() as u64).mtime(1_000_000_000);
    let part = part.at(329, b"0000000\0").at(337, b"0000000\0");
    if name.len() > 100 { part.pax(&[("path", name)]) } else { part }
}

/// A regular file, 0644.
pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Part {
    entry(b'0', name, data)
}

/// A directory, 0755.
pub fn dir(name: impl AsRef<[u8]>) -> Part {
    entry(b'5', name, "").mode(0o755)
}

/// A symbolic link.
pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Part {
    entry(b'2', name, "").mode(0o777).link(target)
}

/// A hard link.
pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Part {
    entry(b'1', name, "").link(target)
}

/// A named pipe.
pub fn fifo(name: impl AsRef<[u8]>) -> Part {
    entry(b'6', name, "")
}

/// A character device.
pub fn character(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Part {
    entry(b'3', name, "").device(major, minor)
}

/// A block device.
pub fn block(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Part {
    entry(b'4', name, "").device(major, minor)
}

/// A whiteout: it hides this path of the lower layers.
pub fn whiteout(path: &str) -> Part {
    let at = path.rfind('/').map_or(0, |slash| slash + 1);
    file(format!("{}.wh.{}", &path[..at], &path[at..]), "")
}

/// An opaque whiteout: it hides everything that the lower layers have in this directory; `""` is
/// the root.
pub fn opaque(dir: &str) -> Part {
    file(format!("{dir}{}.wh..wh..opq", if dir.is_empty() { "" } else { "/" }), "")
}

/// An extended header as a separate part: `x` for the next entry, `g` for all that follow.
pub fn extended(typeflag: u8, records: impl AsRef<[u8]>) -> Part {
    entry(typeflag, "PaxHeaders/x", records)
}

/// GNU's long name (`L`) or long link (`K`) for the next entry. The text is used unchanged: the
/// caller adds the NUL.
pub fn long(typeflag: u8, text: impl AsRef<[u8]>) -> Part {
    entry(typeflag, "././@LongLink", text).magic(GNU)
}

/// Bytes that are not a header.
pub fn raw(bytes: impl Into<Vec<u8>>) -> Part {
    Part { raw: Some(bytes.into()), ..nothing() }
}

fn nothing() -> Part {
    Part {
        before: Vec::new(),
        records: Vec::new(),
        header: [0; BLOCK],
        data: Vec::new(),
        raw: None,
    }
}

/// Records of an extended header, each `LENGTH KEY=VALUE\n`.
pub fn records<V: AsRef<[u8]>>(pairs: &[(&str, V)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, value) in pairs {
        let rest = [b" ", key.as_bytes(), b"=", value.as_ref(), b"\n"].concat();
        // The length counts its own digits.
        let mut length = rest.len() + 1;
        while length.to_string().len() + rest.len() != length {
            length += 1;
        }
        all.extend_from_slice(length.to_string().as_bytes());
        all.extend_from_slice(&rest);
    }
    all
}

impl std::fmt::Debug for Part {
    /// The type and the name, for messages of failed tests.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        write!(f, "{} {}", self.header[156].escape_ascii(), name.escape_ascii())
    }
}

impl Part {
    /// Writes bytes at an offset of the header.
    #[must_use]
    pub fn at(mut self, offset: usize, bytes: &[u8]) -> Part {
        self.header[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Writes a whole field of the header: the bytes, then NULs.
    #[must_use]
    pub fn field(self, offset: usize, size: usize, bytes: &[u8]) -> Part {
        self.at(offset, &vec![0; size]).at(offset, bytes)
    }

    /// Sets the magic and its version.
    #[must_use]
    pub fn magic(self, magic: &[u8; 8]) -> Part {
        self.at(257, magic)
    }

    /// Sets the mode.
    #[must_use]
    pub fn mode(self, mode: u32) -> Part {
        self.field(100, 8, format!("{mode:07o}").as_bytes())
    }

    /// Sets the owner and group, in octal.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Part {
        self.field(108, 8, format!("{uid:07o}").as_bytes()).field(
            116,
            8,
            format!("{gid:07o}").as_bytes(),
        )
    }

    /// Sets the size in the header, which may differ from the size of the data.
    #[must_use]
    pub fn size(self, size: u64) -> Part {
        self.field(124, 12, format!("{size:011o}").as_bytes())
    }

    /// Sets the modification time.
    #[must_use]
    pub fn mtime(self, seconds: u64) -> Part {
        self.field(136, 12, format!("{seconds:011o}").as_bytes())
    }

    /// Sets the link target. A target longer than 100 bytes is put into an extended header.
    #[must_use]
    pub fn link(self, target: impl AsRef<[u8]>) -> Part {
        let target = target.as_ref();
        let part = self.field(157, 100, &target[..target.len().min(100)]);
        if target.len() > 100 { part.pax(&[("linkpath", target)]) } else { part }
    }

    /// Sets the device numbers.
    #[must_use]
    pub fn device(self, major: u32, minor: u32) -> Part {
        self.field(329, 8, format!("{major:07o}").as_bytes()).field(
            337,
            8,
            format!("{minor:07o}").as_bytes(),
        )
    }

    /// Adds records to the extended header before it.
    #[must_use]
    pub fn pax<V: AsRef<[u8]>>(mut self, pairs: &[(&str, V)]) -> Part {
        self.records.extend(records(pairs));
        self
    }

    /// Adds an extended attribute.
    #[must_use]
    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Part {
        self.pax(&[(&format!("SCHILY.xattr.{name}"), value)])
    }

    /// Puts another part before it.
    #[must_use]
    pub fn after(mut self, part: &Part) -> Part {
        self.before.extend(part.bytes());
        self
    }

    /// The blocks, with the right checksum.
    pub fn bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut header = self.header;
        checksum(&mut header);
        let extended = match self.records.as_slice() {
            [] => Vec::new(),
            records => extended(b'x', records).bytes(),
        };
        [self.before.as_slice(), &extended, &header, &self.data].concat()
    }
}

/// Writes the right checksum into a header.
pub fn checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The data, filled up with zeros to whole blocks.
pub fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

/// The parts in order, without the end of the archive.
pub fn blocks(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(Part::bytes).collect()
}

/// An archive: the parts in order, and the end of the archive.
pub fn archive(parts: &[Part]) -> Vec<u8> {
    [blocks(parts), vec![0; 2 * BLOCK]].concat()
}

/// The names of an archive's entries, as the tar crate reads them.
pub fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    entries.map(|entry| entry.unwrap().path_bytes().escape_ascii().to_string()).collect()
}

#[cfg(test)]
mod with_peers {
    use super::*;
    use crate::peers::must;
    use crate::scratch::Scratch;

    /// Programs that are independent of this module check the archives that it makes.
    #[test]
    fn gnu_tar_and_bsdtar_read_the_generated_entries() {
        let scratch = Scratch::new();
        let long = "n".repeat(120);
        let parts = [
            dir("d/"),
            file("d/f", "hello"),
            symlink("d/s", "f"),
            hardlink("d/h", "d/f"),
            fifo("d/p"),
            character("d/c", 1, 3),
            file(&long, "").xattr("user.a", "b"),
            whiteout("d/x"),
            opaque(""),
        ];
        let tar = scratch.write("tar", archive(&parts));
        let names = format!("d/\nd/f\nd/s\nd/h\nd/p\nd/c\n{long}\nd/.wh.x\n.wh..wh..opq\n");
        for reader in ["tar", "bsdtar"] {
            let listed = must(std::process::Command::new(reader).arg("-tf").arg(&tar));
            assert_eq!(String::from_utf8_lossy(&listed), names, "{reader}");
        }
    }
}
