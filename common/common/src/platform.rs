// SPDX-License-Identifier: Apache-2.0
//! Platforms, and how well the platform of an index entry matches a wanted one.
//!
//! The form is `OS/ARCHITECTURE[/VARIANT][:OSVERSION]`, with the names that Go uses, as in the
//! image index page of the OCI specification. Other common names of an architecture (x86_64,
//! aarch64) are converted to Go's. The default variant is v8 for arm64, v7 for arm and v1 for
//! amd64. An entry with an older variant matches a newer processor, but an exact variant is
//! preferred. A wanted OS version also matches a longer version that begins with the same complete
//! numbers. An entry without an OS version or a variant also matches, but an entry that states the
//! wanted value is preferred.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

/// An operating system and a processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`, `windows`…
    pub os: String,
    /// `amd64`, `arm64`…
    pub architecture: String,
    /// `v7`…; empty if not given.
    pub variant: String,
    /// `10.0.17763.1234`; empty if not given.
    pub os_version: String,
}

impl Platform {
    /// The platform for which this program was built.
    pub fn local() -> Platform {
        Platform::new(std::env::consts::OS, std::env::consts::ARCH, "", "")
    }

    fn new(os: &str, architecture: &str, variant: &str, os_version: &str) -> Platform {
        let os = os.to_ascii_lowercase();
        let (architecture, variant) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), variant),
            "aarch64" => ("arm64".to_owned(), variant),
            "i386" | "i686" | "x86" => ("386".to_owned(), variant),
            "armhf" => ("arm".to_owned(), "v7"),
            "armel" => ("arm".to_owned(), "v6"),
            other => (other.to_owned(), variant),
        };
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let variant = variant.to_ascii_lowercase();
        Platform { os, architecture, variant, os_version: os_version.to_owned() }
    }

    /// The platform in a descriptor's `platform` object, or in an image config. `None` if `os` or
    /// `architecture` is missing or empty.
    pub fn from_object(object: &Map<String, Value>) -> Option<Platform> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
        Some(Platform::new(
            text("os")?,
            text("architecture")?,
            text("variant").unwrap_or_default(),
            text("os.version").unwrap_or_default(),
        ))
    }

    /// The same platform with its variant spelled `vN`, if the architecture's variants are
    /// numbered. A missing variant is replaced by the architecture's default.
    #[must_use]
    pub fn canonical(mut self) -> Platform {
        if let Some(number) = self.variant_number() {
            self.variant = format!("v{number}");
        }
        self
    }

    /// How well `offered` matches this platform. `None` if it does not match.
    pub fn rank(&self, offered: &Platform) -> Option<Rank> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let lacks_version = !self.os_version.is_empty() && offered.os_version.is_empty();
        if !self.os_version.is_empty() && !lacks_version {
            let rest = offered.os_version.strip_prefix(&self.os_version)?;
            if !(rest.is_empty() || rest.starts_with('.')) {
                return None;
            }
        }
        let older = match (self.variant_number(), offered.variant_number()) {
            (Some(wanted), Some(got)) if got <= wanted => wanted - got,
            (Some(_), Some(_)) => return None,
            // The variants of this architecture have no order. A platform without a variant matches
            // any variant.
            _ if self.variant.is_empty() || offered.variant.is_empty() => 0,
            _ if self.variant == offered.variant => 0,
            _ => return None,
        };
        let lacks_variant = !self.variant.is_empty() && offered.variant.is_empty();
        Some(Rank { lacks_version, older, lacks_variant })
    }

    /// The variant as a number, if the variants of this architecture have an order.
    fn variant_number(&self) -> Option<u32> {
        let default = match self.architecture.as_str() {
            "arm64" => 8,
            "arm" => 7,
            "amd64" => 1,
            _ => return None,
        };
        match self.variant.as_str() {
            "" => Some(default),
            variant => variant.strip_prefix('v').unwrap_or(variant).parse().ok(),
        }
    }
}

/// How well a platform matches a wanted one. A smaller rank is a better match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Whether an OS version is wanted, but not stated by the entry.
    lacks_version: bool,
    /// How much older the variant is than the wanted one.
    older: u32,
    /// Whether a variant is wanted, but not stated by the entry.
    lacks_variant: bool,
}

impl Rank {
    /// The best rank.
    pub const EXACT: Rank = Rank { lacks_version: false, older: 0, lacks_variant: false };
}

impl FromStr for Platform {
    type Err = String;

    /// Parses `OS/ARCH[/VARIANT][:OSVERSION]`, or `local`.
    fn from_str(text: &str) -> Result<Platform, String> {
        if text == "local" {
            return Ok(Platform::local());
        }
        let wrong = || {
            format!("invalid platform: {text} (expected OS/ARCH[/VARIANT][:OSVERSION], or local)")
        };
        let (stem, os_version) = match text.split_once(':') {
            Some((_, "")) => return Err(wrong()),
            Some((stem, version)) => (stem, version),
            None => (text, ""),
        };
        let is_word = |word: &&str| {
            !word.is_empty()
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let parts: Vec<&str> = stem.split('/').collect();
        if !parts.iter().all(is_word) || (!os_version.is_empty() && !is_word(&os_version)) {
            return Err(wrong());
        }
        match parts[..] {
            [os, architecture] => Ok(Platform::new(os, architecture, "", os_version)),
            [os, architecture, variant] => Ok(Platform::new(os, architecture, variant, os_version)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        if !self.os_version.is_empty() {
            write!(f, ":{}", self.os_version)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(wanted: &str, offered: &str) -> Option<u32> {
        let rank = wanted.parse::<Platform>().unwrap().rank(&offered.parse().unwrap());
        rank.map(|rank| rank.older)
    }

    #[test]
    fn an_exact_variant_is_better_than_an_older_one_and_a_newer_one_never_serves() {
        assert_eq!(rank("linux/arm/v7", "linux/arm/v7"), Some(0));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v5"), Some(2));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/amd64", "linux/amd64/v3"), None);
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), Some(2));
    }

    #[test]
    fn a_missing_variant_is_the_architectures_default() {
        assert_eq!(rank("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(rank("linux/arm64/v8", "linux/arm64"), Some(0));
        assert_eq!(rank("linux/arm", "linux/arm/v7"), Some(0));
        assert_eq!(rank("linux/ppc64le", "linux/ppc64le/power9"), Some(0));
    }

    #[test]
    fn other_spellings_are_converted_to_gos() {
        assert_eq!(rank("linux/x86_64", "linux/amd64"), Some(0));
        assert_eq!(rank("Linux/aarch64", "linux/arm64/v8"), Some(0));
    }

    #[test]
    fn an_os_version_is_a_prefix_in_whole_numbers() {
        assert_eq!(rank("windows/amd64:10.0.17763", "windows/amd64:10.0.17763.1234"), Some(0));
        assert_eq!(rank("windows/amd64:10.0.1776", "windows/amd64:10.0.17763.1234"), None);
        assert_eq!(rank("windows/amd64", "windows/amd64:10.0.17763.1234"), Some(0));
    }

    #[test]
    fn an_entry_that_does_not_state_a_part_matches_but_is_last() {
        let rank = |wanted: &str, offered: &str| {
            wanted.parse::<Platform>().unwrap().rank(&offered.parse().unwrap())
        };
        for (wanted, best, last) in [
            ("windows/amd64:10.0.17763", "windows/amd64:10.0.17763.1", "windows/amd64"),
            ("linux/arm64/v8", "linux/arm64/v8", "linux/arm64"),
            ("linux/ppc64le/power9", "linux/ppc64le/power9", "linux/ppc64le"),
        ] {
            assert_eq!(rank(wanted, best), Some(Rank::EXACT), "{wanted}");
            assert!(rank(wanted, last) > rank(wanted, best), "{wanted}");
        }
        // A stated version has precedence over a newer variant.
        let (stated, newer) = ("linux/arm/v6:5.10", "linux/arm/v7");
        assert!(rank("linux/arm/v7:5.10", stated) < rank("linux/arm/v7:5.10", newer));
    }

    #[test]
    fn an_empty_part_is_a_missing_one() {
        for text in [r#"{"os":"linux"}"#, r#"{"os":"linux","architecture":""}"#, "{}"] {
            let object = serde_json::from_str(text).unwrap();
            assert_eq!(Platform::from_object(&object), None, "{text}");
        }
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64:", "linux/a md64"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
        assert!("local".parse::<Platform>().is_ok());
    }
}
