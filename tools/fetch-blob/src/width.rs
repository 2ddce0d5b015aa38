// SPDX-License-Identifier: Apache-2.0
//! The number of connections that download at the same time with `--early`.
//!
//! The next bytes of the first blob are needed first. If one connection uses the full speed of the
//! link, additional connections only delay these bytes. Additional connections are therefore used
//! only while they make the whole download faster. This is measured: after an interval, one more
//! connection is used. If the speed does not increase by the factor [`GAIN`], that connection is
//! given up. The attempt is repeated later, at growing intervals.

use std::time::{Duration, Instant};

/// The time over which the speed is measured.
const INTERVAL: Duration = Duration::from_millis(500);

/// An additional connection is kept if the speed with it is at least this many times the speed
/// without it.
const GAIN: f64 = 1.2;

/// The shortest and the longest time until another connection is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// The time that the download of one range should take. Shorter ranges need more requests. In
/// longer ranges, more bytes must wait until the bytes before them have arrived.
const RANGE_TIME: Duration = Duration::from_secs(1);

/// The smallest and the largest range, in bytes.
const MIN_RANGE: f64 = (4 << 20) as f64;
const MAX_RANGE: f64 = (16 << 20) as f64;

/// The measured speed, and the number of connections that follows from it.
#[derive(Debug)]
pub(crate) struct Width {
    most: usize,
    now: usize,
    /// The time and the received bytes at the start of the measurement.
    since: Instant,
    from: u64,
    /// The last measured speed, in bytes per second.
    speed: f64,
    /// The speed before another connection was added, while that connection is tried.
    before: Option<f64>,
    /// No connection is added before this time.
    pause_until: Option<Instant>,
    pause: Duration,
}

impl Width {
    pub(crate) fn new(most: usize, now: Instant) -> Width {
        Width {
            most,
            now: 1,
            since: now,
            from: 0,
            speed: 0.0,
            before: None,
            pause_until: None,
            pause: FIRST_PAUSE,
        }
    }

    /// The number of connections to use. `received` is the number of bytes received in this run.
    /// `in_use` is the number of connections that are used now. The speed is measured only while
    /// exactly the allowed number of connections is used.
    pub(crate) fn connections(&mut self, now: Instant, received: u64, in_use: usize) -> usize {
        if in_use != self.now {
            self.begin(now, received);
            return self.now;
        }
        let elapsed = now.duration_since(self.since);
        if elapsed < INTERVAL {
            return self.now;
        }
        self.speed = (received - self.from) as f64 / elapsed.as_secs_f64();
        self.begin(now, received);
        let slower = self.before.take().filter(|before| self.speed < before * GAIN);
        if slower.is_some() {
            self.now -= 1;
            self.pause_until = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LAST_PAUSE);
        } else if self.now < self.most && self.pause_until.is_none_or(|until| now >= until) {
            self.before = Some(self.speed);
            self.now += 1;
        }
        self.now
    }

    /// The size of the next range, in bytes. `None` if the rest of a blob is requested at once,
    /// because there is only one connection.
    pub(crate) fn range(&self) -> Option<u64> {
        if self.now == 1 {
            return None;
        }
        let bytes = self.speed / self.now as f64 * RANGE_TIME.as_secs_f64();
        Some(bytes.clamp(MIN_RANGE, MAX_RANGE) as u64)
    }

    fn begin(&mut self, now: Instant, received: u64) {
        (self.since, self.from) = (now, received);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a download whose speed depends on the number of connections, and returns the
    /// number of connections after each interval.
    fn simulate(most: usize, intervals: usize, speed: impl Fn(usize) -> u64) -> Vec<usize> {
        let mut time = Instant::now();
        let mut width = Width::new(most, time);
        let mut received = 0;
        let mut in_use = 0;
        let mut seen = Vec::new();
        for _ in 0..intervals {
            in_use = width.connections(time, received, in_use);
            time += INTERVAL;
            received += speed(in_use);
            in_use = width.connections(time, received, in_use);
            seen.push(in_use);
        }
        seen
    }

    #[test]
    fn a_full_link_is_left_to_one_connection() {
        let seen = simulate(4, 200, |_| 50 << 20);
        assert_eq!(seen[..6], [2, 1, 1, 1, 1, 1]);
        // A second connection is tried from time to time.
        let tries = seen.iter().filter(|n| **n == 2).count();
        assert!((3..8).contains(&tries), "{tries}");
        assert!(seen.iter().all(|n| *n <= 2));
    }

    #[test]
    fn connections_of_limited_speed_are_added_up_to_the_limit() {
        let seen = simulate(4, 20, |n| n as u64 * (5 << 20));
        assert_eq!(seen[19], 4, "{seen:?}");
        let seen = simulate(32, 400, |n| (n as u64).min(3) * (5 << 20));
        assert_eq!(seen[10], 3, "{seen:?}");
    }

    #[test]
    fn the_range_is_bounded_and_only_with_several_connections() {
        let mut width = Width::new(4, Instant::now());
        assert_eq!(width.range(), None);
        width.now = 2;
        for (speed, range) in [(0.0, 4 << 20), (20e6, 10_000_000), (1e12, 16 << 20)] {
            width.speed = speed;
            assert_eq!(width.range(), Some(range));
        }
    }
}
