// SPDX-License-Identifier: Apache-2.0
//! Digests: `algorithm:hex`, as the descriptor page of the OCI image specification defines them.
//!
//! Two algorithms are supported: SHA-256 (which every implementation must support) and SHA-512. Any
//! other algorithm that the grammar allows is reported as "unsupported". Hexadecimal digits are
//! lower case. Upper case is refused and not converted, because otherwise one file could have two
//! names.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// A digest algorithm that regutils computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// SHA-256, the default.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms, in the order used in messages.
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    /// The name, as used in digests and in layout paths.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The number of hexadecimal digits.
    pub fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }

    /// A new hasher.
    pub fn hasher(self) -> Hasher {
        match self {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }

    /// The digest of bytes in memory.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Algorithm, DigestError> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| DigestError::Unsupported(name.to_owned()))
    }
}

/// An incremental hasher.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes hashed.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => {
                Digest { algorithm: Algorithm::Sha256, hex: to_hex(&hasher.finalize()) }
            }
            Hasher::Sha512(hasher) => {
                Digest { algorithm: Algorithm::Sha512, hex: to_hex(&hasher.finalize()) }
            }
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// A valid digest: a supported algorithm and exactly its number of lower-case hexadecimal digits.
/// The text is therefore safe as a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits, lower case.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Whether this is the digest of zero bytes.
    pub fn is_of_empty(&self) -> bool {
        *self == self.algorithm.digest(b"")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

/// The reason why text is not a valid digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestError {
    /// Text that does not match the OCI grammar `algorithm:hex`.
    Grammar(String),
    /// An unsupported algorithm.
    Unsupported(String),
    /// The wrong number of digits for the algorithm.
    Length {
        /// The algorithm.
        algorithm: Algorithm,
        /// The number of digits found.
        got: usize,
    },
    /// Upper-case digits A to F. Registered algorithms use lower case.
    UpperCase,
    /// A character that is not a hexadecimal digit.
    NotHex(char),
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DigestError::Grammar(text) => {
                write!(
                    f,
                    "\"{}\" is not a digest (expected ALGORITHM:HEX)",
                    crate::error::printable(text)
                )
            }
            DigestError::Unsupported(name) => write!(
                f,
                "unsupported algorithm \"{}\" (sha256 and sha512 are supported)",
                crate::error::printable(name)
            ),
            DigestError::Length { algorithm, got } => {
                let want = algorithm.hex_len();
                write!(f, "{algorithm} has {want} hexadecimal digits, got {got}")
            }
            DigestError::UpperCase => {
                write!(f, "the hexadecimal digits must be lower case")
            }
            DigestError::NotHex(c) => {
                write!(f, "'{}' is not a hexadecimal digit", c.escape_default())
            }
        }
    }
}

impl std::error::Error for DigestError {}

impl FromStr for Digest {
    type Err = DigestError;

    /// Checks the OCI grammar first, then the rules of the algorithm.
    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let grammar = || DigestError::Grammar(text.to_owned());
        let (name, hex) = text.split_once(':').ok_or_else(grammar)?;
        let is_component = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !name.split(['+', '.', '_', '-']).all(is_component) || hex.is_empty() {
            return Err(grammar());
        }
        let algorithm: Algorithm = name.parse()?;
        if let Some(c) = hex.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(DigestError::NotHex(c));
        }
        if hex.len() != algorithm.hex_len() {
            return Err(DigestError::Length { algorithm, got: hex.len() });
        }
        if hex.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError::UpperCase);
        }
        Ok(Digest { algorithm, hex: hex.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_answers() {
        assert_eq!(Algorithm::Sha256.digest(b"").to_string(), EMPTY);
        assert_eq!(
            Algorithm::Sha256.digest(b"{}").to_string(),
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert!(
            Algorithm::Sha512.digest(b"abc").hex().starts_with("ddaf35a193617abacc417349ae2041")
        );
    }

    #[test]
    fn a_valid_digest_reads_back_as_itself() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.to_string(), EMPTY);
        assert!(digest.is_of_empty());
    }

    #[test]
    fn wrong_texts_are_named() {
        let parse = |text: &str| text.parse::<Digest>().unwrap_err();
        assert!(matches!(parse("sha256"), DigestError::Grammar(_)));
        assert!(matches!(parse("sha256:"), DigestError::Grammar(_)));
        assert!(matches!(parse(":abc"), DigestError::Grammar(_)));
        assert!(matches!(parse("SHA256:abc"), DigestError::Grammar(_)));
        assert!(matches!(parse("sha256:../../etc/passwd"), DigestError::NotHex('.')));
        assert!(matches!(parse("sha256:abc"), DigestError::Length { got: 3, .. }));
        assert!(matches!(
            parse(&EMPTY.to_uppercase().replace("SHA", "sha")),
            DigestError::UpperCase
        ));
        let blake = format!("blake3:{}", "a".repeat(64));
        assert!(matches!(parse(&blake), DigestError::Unsupported(name) if name == "blake3"));
        let odd = format!("sha256+b64u:{}", "a".repeat(64));
        assert!(matches!(parse(&odd), DigestError::Unsupported(_)));
    }
}
