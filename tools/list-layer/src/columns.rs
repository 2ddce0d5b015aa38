// SPDX-License-Identifier: Apache-2.0
//! Lines as `tar --numeric-owner --utc -tv` of GNU tar prints them.
//!
//! Names are escaped as GNU tar does in a UTF-8 locale. In addition, characters without width and
//! bidirectional controls are escaped, because they disguise a name on a terminal.

use std::io::Write as _;

use archive::EntryType;
use common::calendar::Moment;
use common::error::needs_escape;

use crate::line::Line;

/// The initial width of owner, group and size together, with the two characters between them, as in
/// GNU tar. Longer values widen it.
const WIDTH: usize = 19;

/// The columns, which are as wide as the widest value so far.
pub(crate) struct Columns {
    width: usize,
    time: usize,
}

impl Default for Columns {
    fn default() -> Columns {
        Columns { width: WIDTH, time: 0 }
    }
}

impl Columns {
    /// Appends a line without the newline.
    pub(crate) fn make(&mut self, line: &Line<'_>, text: &mut Vec<u8>) {
        let entry = line.entry;
        let owner = format!("{}/{}", entry.uid, entry.gid);
        let size = match line.entry_type {
            EntryType::CharacterDevice | EntryType::BlockDevice => {
                format!("{},{}", entry.device.0, entry.device.1)
            }
            EntryType::Regular => entry.size.to_string(),
            _ => "0".to_owned(),
        };
        self.width = self.width.max(owner.len() + 1 + size.len());
        let Moment { year, month, day, hour, minute, .. } =
            Moment::from_seconds(entry.mtime.seconds);
        let time = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}");
        self.time = self.time.max(time.len());
        let room = self.width - owner.len() - 1;
        let wide = self.time;
        let mode = mode(line.entry_type, entry.mode);
        // Writing to a vector does not fail.
        let _ = write!(text, "{mode} {owner} {size:>room$} {time:<wide$} ");
        escape(line.name, text);
        let arrow: &[u8] = match line.entry_type {
            EntryType::Symlink => b" -> ",
            EntryType::Hardlink => b" link to ",
            _ => return,
        };
        text.extend_from_slice(arrow);
        escape(line.link, text);
    }
}

/// The type and the permission bits as ten characters.
fn mode(entry_type: EntryType, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match entry_type {
        EntryType::Regular => '-',
        EntryType::Directory => 'd',
        EntryType::Symlink => 'l',
        EntryType::Hardlink => 'h',
        EntryType::CharacterDevice => 'c',
        EntryType::BlockDevice => 'b',
        EntryType::Fifo => 'p',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => letter.to_ascii_uppercase(),
            (true, true) => letter,
        });
    }
    text
}

/// Appends a name. A backslash and the characters that control a terminal become escape sequences,
/// and so do bytes that are not UTF-8.
fn escape(name: &[u8], text: &mut Vec<u8>) {
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.extend_from_slice(b"\\\\"),
                '\x07' => text.extend_from_slice(b"\\a"),
                '\x08' => text.extend_from_slice(b"\\b"),
                '\x0c' => text.extend_from_slice(b"\\f"),
                '\n' => text.extend_from_slice(b"\\n"),
                '\r' => text.extend_from_slice(b"\\r"),
                '\t' => text.extend_from_slice(b"\\t"),
                '\x0b' => text.extend_from_slice(b"\\v"),
                c if needs_escape(c) => octal(c.encode_utf8(&mut [0; 4]).as_bytes(), text),
                c => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        octal(chunk.invalid(), text);
    }
}

fn octal(bytes: &[u8], text: &mut Vec<u8>) {
    for byte in bytes {
        let _ = write!(text, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_the_letters_of_ls() {
        assert_eq!(mode(EntryType::Regular, 0o644), "-rw-r--r--");
        assert_eq!(mode(EntryType::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(EntryType::Regular, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode(EntryType::Fifo, 0o7000), "p--S--S--T");
    }

    #[test]
    fn names_cannot_control_a_terminal() {
        let shown = |name: &[u8]| {
            let mut text = Vec::new();
            escape(name, &mut text);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(shown("a b é".as_bytes()), "a b é");
        assert_eq!(shown(b"a\\b\n\t\x1b[31m\x7f"), "a\\\\b\\n\\t\\033[31m\\177");
        assert_eq!(shown(b"a\xff\xc3"), "a\\377\\303");
        assert_eq!(shown("a\u{202e}b\u{85}".as_bytes()), "a\\342\\200\\256b\\302\\205");
    }
}
