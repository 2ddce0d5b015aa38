// SPDX-License-Identifier: Apache-2.0
//! The line of progress, as text that fits into a width. Each part has a fixed width, so that the
//! line does not jump.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::human;

/// The rate is the mean over this time.
const WINDOW: Duration = Duration::from_secs(5);

/// The narrowest bar, with its brackets.
const MIN_BAR: usize = 12;

/// The facts that a line shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) tool: &'a str,
    pub(super) position: u64,
    /// `None` if the total is not known.
    pub(super) total: Option<u64>,
    /// Bytes per second.
    pub(super) rate: u64,
}

/// The line for a terminal of this many columns. The last column stays free.
pub(super) fn line(facts: Facts<'_>, columns: usize) -> String {
    let Facts { tool, position, total, rate } = facts;
    let room = columns.saturating_sub(1);
    let position = total.map_or(position, |total| position.min(total));
    let mut line = format!("{tool}  {:>6}", human::size(position));
    if let Some(total) = total {
        line.push_str(&format!(" of {:>6}", human::size(total)));
    }
    let rate_part = format!("  {:>6}/s", human::size(rate));
    let left = total.map(|total| {
        let seconds = (total - position).checked_div(rate);
        let time = seconds.map(|seconds| human::time(Duration::from_secs(seconds)));
        format!("  {:>5}", time.unwrap_or_else(|| "-".to_owned()))
    });
    let mut after = String::new();
    for part in std::iter::once(rate_part).chain(left) {
        if line.len() + after.len() + part.len() <= room {
            after.push_str(&part);
        }
    }
    let free = room.saturating_sub(line.len() + after.len() + 2);
    if let Some(total) = total
        && free >= MIN_BAR
    {
        line.push_str("  ");
        line.push_str(&bar(position, total, free));
    }
    line.push_str(&after);
    line.truncate(room);
    line
}

/// A bar of this many columns, with its brackets.
fn bar(position: u64, total: u64, columns: usize) -> String {
    let inner = columns.saturating_sub(2);
    let share = if total == 0 { 1.0 } else { position as f64 / total as f64 };
    let full = ((share * inner as f64) as usize).min(inner);
    format!("[{}{}]", "=".repeat(full), " ".repeat(inner - full))
}

/// The rate of the last seconds.
#[derive(Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// Adds the number of bytes that were moved until now, and returns the bytes per second.
    pub(super) fn at(&mut self, now: Instant, moved: u64) -> u64 {
        self.0.push_back((now, moved));
        while self.0.len() > 2 && now.saturating_duration_since(self.0[1].0) >= WINDOW {
            self.0.pop_front();
        }
        let Some((start, before)) = self.0.front() else { return 0 };
        per_second(moved.saturating_sub(*before), now.saturating_duration_since(*start))
    }
}

/// The bytes per second if this many were moved in this time.
pub(super) fn per_second(bytes: u64, time: Duration) -> u64 {
    if time.is_zero() { 0 } else { (bytes as f64 / time.as_secs_f64()) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'_> = Facts {
        tool: "fetch-blob",
        position: 12_000_000,
        total: Some(45_000_000),
        rate: 3_200_000,
    };

    #[test]
    fn the_parts_that_fit_are_shown() {
        let bar = |n: usize| format!("[{:<n$}]", "=".repeat(12 * n / 45));
        for (columns, want) in [
            (80, format!("fetch-blob   12 MB of  45 MB  {}  3.2 MB/s   0:10", bar(30))),
            (61, format!("fetch-blob   12 MB of  45 MB  {}  3.2 MB/s   0:10", bar(11))),
            (60, format!("fetch-blob   12 MB of  45 MB  {}  3.2 MB/s   0:10", bar(10))),
            (59, "fetch-blob   12 MB of  45 MB  3.2 MB/s   0:10".to_owned()),
            (40, "fetch-blob   12 MB of  45 MB  3.2 MB/s".to_owned()),
            (38, "fetch-blob   12 MB of  45 MB   0:10".to_owned()),
            (20, "fetch-blob   12 MB ".to_owned()),
            (1, String::new()),
        ] {
            assert_eq!(line(FACTS, columns), want, "{columns}");
        }
        for columns in 1..200 {
            assert!(line(FACTS, columns).len() < columns.max(1), "{columns}");
        }
    }

    #[test]
    fn without_a_total_there_are_the_amount_and_the_rate() {
        let facts = Facts { total: None, rate: 0, ..FACTS };
        assert_eq!(line(facts, 80), "fetch-blob   12 MB     0 B/s");
    }

    #[test]
    fn a_blob_that_is_moved_again_does_not_exceed_the_total() {
        let facts = Facts { position: 90_000_000, rate: 0, ..FACTS };
        assert!(line(facts, 80).starts_with("fetch-blob   45 MB of  45 MB  [==="));
        assert!(
            line(Facts { total: Some(0), ..facts }, 80).starts_with("fetch-blob     0 B of    0 B")
        );
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let mut rate = Rate::default();
        assert_eq!(rate.at(second(0), 0), 0);
        for n in 1..=10 {
            assert_eq!(rate.at(second(n), n * 1000), 1000, "{n}");
        }
        for n in 11..=15 {
            assert_eq!(rate.at(second(n), 10_000), (15 - n) * 200, "{n}");
        }
    }
}
