// SPDX-License-Identifier: Apache-2.0
//! Lists of digests and file names: the lines that `--print` writes and `--check` reads.
//!
//! `--print` writes `ALGORITHM:HEX  FILE`. `--check` also reads the formats of sha256sum and
//! sha512sum: `HEX  FILE`, `HEX *FILE`, and `SHA256 (FILE) = HEX` from their option `--tag`. In
//! file names, backslashes, newlines and carriage returns are escaped as in these programs. The
//! line then begins with a backslash.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use common::digest::{Algorithm, Digest, DigestError};
use common::error::printable;

/// A line of a list: a file and the digest it should have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The digest.
    pub digest: Digest,
    /// The file, relative to the current directory.
    pub file: OsString,
}

/// The line for a file, with its newline.
pub(crate) fn line(digest: &Digest, file: &OsStr) -> Vec<u8> {
    let name = shown(file);
    // The backslash that marks an escaped name is moved to the beginning of the line.
    let (mark, name) = match name.strip_prefix(b"\\") {
        Some(name) => ("\\", name),
        None => ("", name.as_slice()),
    };
    [format!("{mark}{digest}  ").as_bytes(), name, b"\n"].concat()
}

/// A name as it is printed: unchanged, or escaped and with a backslash at its beginning.
pub(crate) fn shown(file: &OsStr) -> Vec<u8> {
    let name = file.as_bytes();
    if !name.iter().any(|b| b"\\\n\r".contains(b)) {
        return name.to_vec();
    }
    let mut escaped = vec![b'\\'];
    for byte in name {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            other => escaped.push(*other),
        }
    }
    escaped
}

fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => bytes.push(match rest.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            }),
            other => bytes.push(*other),
        }
    }
    Some(bytes)
}

/// Parses a line without its newline; `None` for an empty line or a comment. A digest that is only
/// hexadecimal digits has the given algorithm, or else the algorithm with that number of digits.
///
/// # Errors
/// The reason why the line is invalid.
pub(crate) fn parse(line: &[u8], algorithm: Option<Algorithm>) -> Result<Option<Entry>, String> {
    // Lists from other systems may have a carriage return at the end of each line. A carriage
    // return of a name is escaped.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let (is_escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (digest, name) = match tagged(line) {
        Some((algorithm, name, hex)) => {
            (digest_of_hex(&String::from_utf8_lossy(hex), algorithm)?, name)
        }
        None => {
            let (word, name) =
                plain(line).ok_or("expected a digest, two spaces and a file name")?;
            (digest_of(word, algorithm)?, name)
        }
    };
    if let Some(wanted) = algorithm
        && wanted != digest.algorithm()
    {
        return Err(format!("got a {} digest, want {wanted}", digest.algorithm()));
    }
    let name = if is_escaped {
        unescaped(name).ok_or("invalid escape in the file name")?
    } else {
        name.to_vec()
    };
    if name.is_empty() || name.contains(&0) {
        return Err("the file name is empty or has a NUL".to_owned());
    }
    Ok(Some(Entry { digest, file: OsString::from_vec(name) }))
}

/// Splits `WORD  NAME` or `WORD *NAME`.
fn plain(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|b| *b == b' ')?;
    match line.get(end + 1)? {
        b' ' | b'*' => Some((&line[..end], &line[end + 2..])),
        _ => None,
    }
}

/// Splits `SHA256 (NAME) = HEX`.
fn tagged(line: &[u8]) -> Option<(Algorithm, &[u8], &[u8])> {
    Algorithm::ALL.into_iter().find_map(|algorithm| {
        let tag = format!("{} (", algorithm.name().to_ascii_uppercase());
        let rest = line.strip_prefix(tag.as_bytes())?;
        let hex = rest.len().checked_sub(algorithm.hex_len())?;
        let name = rest[..hex].strip_suffix(b") = ")?;
        Some((algorithm, name, &rest[hex..]))
    })
}

/// Parses `ALGORITHM:HEX`, or hexadecimal digits alone.
fn digest_of(word: &[u8], algorithm: Option<Algorithm>) -> Result<Digest, String> {
    let text = String::from_utf8_lossy(word);
    if text.contains(':') {
        return text.parse().map_err(|e: DigestError| e.to_string());
    }
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("\"{}\" is not a digest", printable(&text)));
    }
    let by_length = || Algorithm::ALL.into_iter().find(|a| a.hex_len() == text.len());
    match algorithm.or_else(by_length) {
        Some(algorithm) => digest_of_hex(&text, algorithm),
        None => {
            let lengths = Algorithm::ALL.map(|a| format!("{} ({a})", a.hex_len())).join(" or ");
            Err(format!("a digest has {lengths} hexadecimal digits, got {}", text.len()))
        }
    }
}

/// Parses hexadecimal digits, in upper or lower case: other programs write both.
fn digest_of_hex(hex: &str, algorithm: Algorithm) -> Result<Digest, String> {
    let digest = format!("{algorithm}:{}", hex.to_ascii_lowercase());
    digest.parse().map_err(|e: DigestError| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (String, OsString) {
        let entry = parse(line.as_bytes(), None).unwrap().unwrap();
        (entry.digest.to_string(), entry.file)
    }

    fn hex() -> String {
        Algorithm::Sha256.digest(b"").hex().to_owned()
    }

    #[test]
    fn every_name_reads_back_as_it_was_written() {
        let digest = Algorithm::Sha512.digest(b"");
        for name in ["a", " a b ", "*a", "\\", "\\n", "a\nb", "a\r", "-", "#a", "SHA256 (a) = b"] {
            let line = line(&digest, OsStr::new(name));
            let entry = parse(line.strip_suffix(b"\n").unwrap(), None).unwrap().unwrap();
            assert_eq!(entry, Entry { digest: digest.clone(), file: name.into() });
        }
        let odd = OsString::from_vec(vec![0xff, b'x']);
        assert!(line(&digest, &odd).ends_with(b"  \xffx\n"));
    }

    #[test]
    fn lines_of_sha256sum_are_read() {
        let hex = hex();
        let want = format!("sha256:{hex}");
        for line in [
            format!("{hex}  a b"),
            format!("{hex} *a b"),
            format!("SHA256 (a b) = {hex}"),
            format!("{hex}  a b\r"),
            format!("{}  a b", hex.to_uppercase()),
        ] {
            assert_eq!(read(&line), (want.clone(), "a b".into()), "{line}");
        }
        assert_eq!(read(&format!("\\{hex}  a\\nb")).1, "a\nb");
        let sha512 = Algorithm::Sha512.digest(b"");
        assert_eq!(read(&format!("{}  a", sha512.hex())).0, sha512.to_string());
    }

    #[test]
    fn empty_lines_and_comments_are_skipped() {
        for line in ["", "\r", "# made by hand"] {
            assert_eq!(parse(line.as_bytes(), None), Ok(None));
        }
    }

    #[test]
    fn invalid_lines_are_refused() {
        let hex = hex();
        for line in [
            hex.clone(),
            format!("{hex} a"),
            format!("{hex}  "),
            format!("{}  a", &hex[1..]),
            format!("sha256:{}  a", hex.to_uppercase()),
            format!("blake3:{hex}  a"),
            format!("\\{hex}  a\\x"),
            format!("SHA256 (a) = {}", &hex[1..]),
            format!("SHA256 () = {hex}"),
            "a  b".to_owned(),
        ] {
            assert!(parse(line.as_bytes(), None).is_err(), "{line}");
        }
    }

    #[test]
    fn a_digest_of_another_algorithm_is_refused() {
        let line = format!("{}  a", hex());
        assert!(parse(line.as_bytes(), Some(Algorithm::Sha512)).is_err());
        assert!(parse(format!("sha256:{line}").as_bytes(), Some(Algorithm::Sha512)).is_err());
        assert!(parse(line.as_bytes(), Some(Algorithm::Sha256)).is_ok());
    }
}
