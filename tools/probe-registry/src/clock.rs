// SPDX-License-Identifier: Apache-2.0
//! The difference between the registry's clock and this machine's, from the Date header of a
//! response. The registry wrote the header at an unknown time between the request and the response,
//! and the header has whole seconds. Both facts widen the bounds of the difference.

use std::time::{Duration, SystemTime};

use common::error::Result;
use net::response::Response;

use crate::report::{Is, Report};

/// The resolution of a Date header.
const RESOLUTION: Duration = Duration::from_secs(1);

/// The time of an exchange by this machine's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    before: SystemTime,
    after: SystemTime,
}

/// Runs an exchange. Also returns its start and its end.
pub(crate) fn timed<T>(exchange: impl FnOnce() -> T) -> (T, Exchange) {
    let before = SystemTime::now();
    let outcome = exchange();
    (outcome, Exchange { before, after: SystemTime::now() })
}

/// Reports the difference.
///
/// # Errors
/// Local if standard output cannot be written.
pub(crate) fn probe(response: &Response, exchange: Exchange, report: &mut Report) -> Result<()> {
    let mut put = |is, why: &str| report.put("clock-difference", is, why);
    let Some(date) = response.header("date") else {
        return put(Is::Unknown, "no Date header");
    };
    // A cache repeats the date of the response that it keeps.
    if response.headers.contains_key("age") {
        return put(Is::Unknown, "the response is from a cache");
    }
    let Ok(date) = httpdate::parse_http_date(date.trim()) else {
        return put(Is::Unknown, &format!("invalid Date header: {date}"));
    };
    let (least, most) = difference(date, exchange);
    let why = if least > 0.0 {
        "the registry's clock is ahead"
    } else if most < 0.0 {
        "the registry's clock is behind"
    } else {
        "no difference found"
    };
    put(Is::Seconds(least, most), why)
}

/// The bounds of the difference, in seconds with two decimals. It is positive if the registry's
/// clock is ahead.
fn difference(date: SystemTime, exchange: Exchange) -> (f64, f64) {
    let least = seconds(date, exchange.after);
    let most = seconds(date + RESOLUTION, exchange.before);
    ((least * 100.0).floor() / 100.0, (most * 100.0).ceil() / 100.0)
}

/// The seconds from `start` to `time`.
fn seconds(time: SystemTime, start: SystemTime) -> f64 {
    match time.duration_since(start) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// The number of whole days from now to a time, in seconds since the epoch. It is negative for a
/// time in the past.
pub(crate) fn days_until(time: u64) -> i64 {
    const DAY: i64 = 24 * 60 * 60;
    let now = seconds(SystemTime::now(), SystemTime::UNIX_EPOCH) as i64;
    i64::try_from(time).unwrap_or(i64::MAX).saturating_sub(now).div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_include_the_round_trip_and_the_resolution() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let exchange = Exchange { before: at(10_500), after: at(10_904) };
        assert_eq!(difference(at(10_000), exchange), (-0.91, 0.5));
        assert_eq!(difference(at(12_000), exchange), (1.09, 2.5));
        assert_eq!(difference(at(5_000), exchange), (-5.91, -4.5));
    }
}
