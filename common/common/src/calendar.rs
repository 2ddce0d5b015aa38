// SPDX-License-Identifier: Apache-2.0
//! Seconds since the epoch as a date and a time of day, in UTC. The clock is never read.

use std::fmt;

/// A date and a time of day in UTC. The Gregorian calendar is also used for dates before 1582.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The year. 0 is the year before the year 1.
    pub year: i64,
    /// The month, from 1 to 12.
    pub month: i64,
    /// The day of the month, from 1 to 31.
    pub day: i64,
    /// The hour, from 0 to 23.
    pub hour: i64,
    /// The minute, from 0 to 59.
    pub minute: i64,
    /// The second, from 0 to 59.
    pub second: i64,
}

impl Moment {
    /// Converts seconds since the epoch. The calculation uses the calendar's cycle of 400 years. It
    /// counts each year from the first of March, so that a leap day is the last day of its year.
    pub fn from_seconds(seconds: i64) -> Moment {
        let days = seconds.div_euclid(86_400) + 719_468;
        let second = seconds.rem_euclid(86_400);
        let cycle = days.div_euclid(146_097);
        let day = days.rem_euclid(146_097);
        let year_of_cycle = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Moment {
            year: year_of_cycle + cycle * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

/// Formats the moment as in RFC 3339, which allows only the years from 0 to 9999.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moment { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_times_of_the_calendar_before_and_after_the_epoch() {
        for (seconds, time) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (-2_203_891_200, "1900-03-01T00:00:00Z"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "10000-01-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::from_seconds(seconds).to_string(), time);
        }
        assert_eq!(Moment::from_seconds(i64::MAX).year, 292_277_026_596);
        assert_eq!(Moment::from_seconds(i64::MIN).year, -292_277_022_657);
    }
}
