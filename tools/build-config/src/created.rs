// SPDX-License-Identifier: Apache-2.0
//! The times in image configs, as in RFC 3339. The clock is never read.
//!
//! Only times that Go's parser accepts are written: upper-case T and Z, no leap second, years of
//! four digits.

use common::calendar::Moment;
use common::error::{Error, Result, printable};

/// The environment variable that reproducible-builds.org specifies: seconds since the epoch.
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The default creation time.
pub(crate) const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The last second of the year 9999.
const LAST: i64 = 253_402_300_799;

/// The time of `SOURCE_DATE_EPOCH`; `None` if it is not set.
///
/// # Errors
/// Usage if the value is not a number of seconds. An empty value is an error too, because it
/// usually means that the command which should print the number has failed.
pub(crate) fn from_environment() -> Result<Option<String>> {
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let text = value.to_string_lossy();
    let wrong = || {
        let shown = printable(&text);
        Error::usage(format_args!("{VARIABLE}: invalid number of seconds: \"{shown}\""))
    };
    seconds(&text).map(Some).ok_or_else(wrong)
}

/// Parses the value of `--created`: a time as in RFC 3339, which is kept unchanged, or `@SECONDS`
/// since the epoch.
///
/// # Errors
/// The error message for clap.
pub(crate) fn parse(text: &str) -> std::result::Result<String, String> {
    let time = match text.strip_prefix('@') {
        Some(text) => seconds(text),
        None => normal(text).map(|_| text.to_owned()),
    };
    time.ok_or_else(|| "expected @SECONDS, or a time like 2026-01-31T23:59:59Z".to_owned())
}

/// Converts seconds since the epoch, in decimal digits, to a time as in RFC 3339.
fn seconds(text: &str) -> Option<String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = digits.then(|| text.parse::<i64>().ok()).flatten()?;
    (seconds <= LAST).then(|| Moment::from_seconds(seconds).to_string())
}

/// Spells a time as Go does: a fraction has at most nine digits and no zeros at its end, and an
/// offset of zero is Z. `None` if the text is not a valid time.
pub(crate) fn normal(text: &str) -> Option<String> {
    let (whole, rest) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        let part = whole.get(from..to)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u32>().ok()).flatten()
    };
    let mark = |at: usize, mark: u8| whole.as_bytes().get(at) == Some(&mark);
    let marks =
        mark(4, b'-') && mark(7, b'-') && mark(10, b'T') && mark(13, b':') && mark(16, b':');
    let year = number(0, 4)?;
    let month = number(5, 7)?;
    let day = number(8, 10)?;
    let hour = number(11, 13)?;
    let minute = number(14, 16)?;
    let second = number(17, 19)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !marks || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
            rest.split_at(end)
        }
    };
    let fraction = fraction.get(..9).unwrap_or(fraction).trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{whole}{point}{fraction}{}", zone_of(zone)?))
}

fn zone_of(zone: &str) -> Option<&str> {
    if zone == "Z" {
        return Some("Z");
    }
    let (hour, minute) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let below = |part: &str, limit: u32| {
        let two = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        two && part.parse::<u32>().is_ok_and(|number| number < limit)
    };
    let valid = below(hour, 24) && below(minute, 60);
    valid.then_some(if hour == "00" && minute == "00" { "Z" } else { zone })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_times_of_the_civil_calendar() {
        for (seconds, time) in [
            ("0", "1970-01-01T00:00:00Z"),
            ("951782399", "2000-02-28T23:59:59Z"),
            ("951782400", "2000-02-29T00:00:00Z"),
            ("1709164800", "2024-02-29T00:00:00Z"),
            ("4107542399", "2100-02-28T23:59:59Z"),
            ("4107542400", "2100-03-01T00:00:00Z"),
            ("253402300799", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(&format!("@{seconds}")).as_deref(), Ok(time));
        }
        for wrong in ["@", "@-1", "@1.5", "@253402300800", "@99999999999999999999", "@ 1", "now"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_kept_as_it_is_typed() {
        for time in [
            "2024-02-29T23:59:59Z",
            "2024-01-31T00:00:00.500Z",
            "2024-01-31T00:00:00+05:30",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(time).as_deref(), Ok(time));
        }
        for wrong in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00z",
            "2024-01-01t00:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+0100",
            "2024-01-01",
            "2024-01-01T00:00:0éZ",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_normal_spelling_is_gos() {
        let normal = |text| normal(text).unwrap();
        assert_eq!(normal("2015-10-31T22:22:56.015925230Z"), "2015-10-31T22:22:56.01592523Z");
        assert_eq!(normal("2015-10-31T22:22:56.000Z"), "2015-10-31T22:22:56Z");
        assert_eq!(normal("2015-10-31T22:22:56.0159252349Z"), "2015-10-31T22:22:56.015925234Z");
        assert_eq!(normal("2015-10-31T22:22:56+00:00"), "2015-10-31T22:22:56Z");
        assert_eq!(normal("2015-10-31T22:22:56-08:00"), "2015-10-31T22:22:56-08:00");
    }
}
