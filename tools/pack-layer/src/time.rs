// SPDX-License-Identifier: Apache-2.0
//! Parses the times of `--mtime` and `SOURCE_DATE_EPOCH`, in whole seconds: a ustar header has no
//! fractions of a second.

use std::str::FromStr;

use common::error::{Error, Result, printable};

/// Seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) i64);

/// The environment variable that reproducible-builds.org specifies.
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The value of `SOURCE_DATE_EPOCH`; `None` if it is not set.
///
/// # Errors
/// Usage if the value is not a decimal number of seconds, as the specification requires. An empty
/// value is an error too, because it usually means that the command which should print the number
/// has failed.
pub(crate) fn source_date_epoch() -> Result<Option<Time>> {
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let text = value.to_string_lossy();
    match seconds(&text) {
        Some(time) if !text.starts_with('-') => Ok(Some(time)),
        _ => Err(Error::usage(format_args!(
            "{VARIABLE}: invalid number of seconds: \"{}\"",
            printable(&text)
        ))),
    }
}

impl FromStr for Time {
    type Err = String;

    /// Parses `@SECONDS`, or a date and time as in RFC 3339.
    fn from_str(text: &str) -> std::result::Result<Time, String> {
        let time = match text.strip_prefix('@') {
            Some(digits) => seconds(digits),
            None => rfc3339(text),
        };
        time.ok_or_else(|| "expected @SECONDS, or a time like 2024-01-31T12:00:00Z".to_owned())
    }
}

fn seconds(text: &str) -> Option<Time> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Time)
}

/// Parses `YYYY-MM-DDTHH:MM:SS`, then `Z` or `+HH:MM`. A fraction of a second is refused, since a
/// header cannot hold it.
fn rfc3339(text: &str) -> Option<Time> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, zone) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('+') { 1 } else { -1 };
            let [hours, minutes] = numbers(zone.strip_prefix(['+', '-'])?, ':', [2, 2])?;
            (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)?
        }
    };
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    let is_valid = (1..=days).contains(&day) && hour <= 23 && minute <= 59 && second <= 60;
    is_valid.then(|| {
        Time(days_before(year, month, day) * 86_400 + (hour * 60 + minute) * 60 + second - offset)
    })
}

/// Parses `N` numbers between separators. `digits` has the exact number of digits of each.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// The days from the epoch to a day of the Gregorian calendar. The calculation lets the year begin
/// in March, so that a leap day is the last day of its year.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let at = |text: &str| text.parse::<Time>().map(|time| time.0);
        assert_eq!(at("@0"), Ok(0));
        assert_eq!(at("@-5"), Ok(-5));
        assert_eq!(at("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(at("2024-02-29T12:34:56Z"), Ok(1_709_210_096));
        assert_eq!(at("2024-02-29 14:34:56+02:00"), Ok(1_709_210_096));
        assert_eq!(at("1969-12-31T23:59:59Z"), Ok(-1));
        assert_eq!(at("2000-03-01T00:00:00-00:30"), Ok(951_870_600));
        assert_eq!(at("0000-01-01T00:00:00Z"), Ok(-62_167_219_200));
        for wrong in [
            "",
            "@",
            "@+1",
            "@1.5",
            "@x",
            "0",
            "now",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.5Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-1-1T00:00:00Z",
            "2024-01-01T00:00:00+0200",
            "2024-01-01T0é",
        ] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
