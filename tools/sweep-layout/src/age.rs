// SPDX-License-Identifier: Apache-2.0
//! The age of a file, which decides whether the file is new.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

/// Distinguishes new files from old ones.
#[derive(Clone, Copy)]
pub(crate) struct Ages {
    now: SystemTime,
    keep_newer: Duration,
}

impl Ages {
    /// Ages relative to the present time.
    pub(crate) fn now(keep_newer: Duration) -> Ages {
        Ages { now: SystemTime::now(), keep_newer }
    }

    /// Whether the file was modified less than `keep_newer` ago. A time in the future is new too,
    /// unless `keep_newer` is 0.
    pub(crate) fn is_new(&self, metadata: &Metadata) -> bool {
        let age = metadata.modified().ok().and_then(|then| self.now.duration_since(then).ok());
        age.unwrap_or_default() < self.keep_newer
    }
}

/// Parses an age: digits, then optionally `s`, `m`, `h` or `d`. The default unit is the second.
///
/// # Errors
/// The error message for clap, if the text is not an age.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((i, 's')) => (&text[..i], 1),
        Some((i, 'm')) => (&text[..i], 60),
        Some((i, 'h')) => (&text[..i], 60 * 60),
        Some((i, 'd')) => (&text[..i], 24 * 60 * 60),
        _ => (text, 1),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    seconds
        .filter(|_| is_number)
        .map(Duration::from_secs)
        .ok_or_else(|| "expected a number, then optionally s, m, h or d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        for (text, seconds) in
            [("0", 0), ("0s", 0), ("90", 90), ("5m", 300), ("1h", 3600), ("2d", 172_800)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "h",
            "-1h",
            "+1h",
            "1.5h",
            "1w",
            "1 h",
            "h1",
            "99999999999999999999",
            "999999999999999999d",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
