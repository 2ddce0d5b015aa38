// SPDX-License-Identifier: Apache-2.0
//! Numbers as people read them, in a limited width. Programs get exact numbers instead.

use std::time::Duration;

/// The units of sizes, each 1000 times the one before it.
const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// A number of bytes with two or three digits and a unit, in at most 6 characters: `3.4 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    // A value that would be rounded to 1000 gets the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    // A value that would be rounded to 10.0 has no fraction.
    let decimals = if unit > 0 && value < 9.95 { 1 } else { 0 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A time, in at most 5 characters: minutes and seconds, hours and minutes, or days.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3600..360_000 => format!("{}h{:02}", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d", (seconds / 86_400).min(9999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_two_or_three_digits_and_a_unit() {
        for (bytes, want) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (3_400_000, "3.4 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), want);
            assert!(size(bytes).len() <= 6);
        }
    }

    #[test]
    fn a_time_has_at_most_5_characters() {
        for (seconds, want) in [
            (0, "0:00"),
            (3599, "59:59"),
            (3600, "1h00"),
            (359_999, "99h59"),
            (360_000, "4d"),
            (u64::MAX, "9999d"),
        ] {
            assert_eq!(time(Duration::from_secs(seconds)), want);
            assert!(want.len() <= 5);
        }
    }
}
