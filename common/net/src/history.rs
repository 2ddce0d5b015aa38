// SPDX-License-Identifier: Apache-2.0
//! Facts about a host and port that are remembered until the process ends, across repositories:
//!
//! - that the host has answered: if it becomes unreachable, a longer wait may help;
//! - that the host has used TLS: plain HTTP to it is then refused;
//! - that the host requested a client certificate, but none was configured.
//!
//! At most [`MAX_PLACES`] hosts and ports are remembered. Further hosts and ports are not recorded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The maximum number of hosts and ports that are remembered.
const MAX_PLACES: usize = 4096;

/// The facts about a host and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostHistory {
    /// The host has accepted a connection and sent a response, or is known to use TLS.
    pub(crate) answered: bool,
    /// The host has used TLS.
    pub(crate) tls: bool,
    /// The host requested a client certificate, but none was configured.
    pub(crate) wants_certificate: bool,
}

/// The facts by host and port.
type Places = HashMap<(String, u16), HostHistory>;

static HISTORY: Mutex<Option<Places>> = Mutex::new(None);

/// The facts about a host and port. The host is in the form of
/// [`Url::host`](crate::url::Url::host).
pub(crate) fn of(host: &str, port: u16) -> HostHistory {
    let history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    let known = history.as_ref().and_then(|places| places.get(&(host.to_owned(), port)));
    known.copied().unwrap_or_default()
}

/// Records that a host and port has answered.
pub(crate) fn record_answer(host: &str, port: u16) {
    let mut history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    record(history.get_or_insert_default(), (host.to_owned(), port), |known| known.answered = true);
}

/// Records that a host and port has used TLS, and whether it requested a certificate that was
/// missing.
pub(crate) fn record_tls(host: &str, port: u16, wants_certificate: bool) {
    let mut history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    record(history.get_or_insert_default(), (host.to_owned(), port), |known| {
        known.answered = true;
        known.tls = true;
        known.wants_certificate |= wants_certificate;
    });
}

fn record(places: &mut Places, place: (String, u16), fact: impl FnOnce(&mut HostHistory)) {
    if places.len() < MAX_PLACES || places.contains_key(&place) {
        fact(places.entry(place).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_remembered_up_to_the_limit() {
        let place = |port: usize| ("a.example".to_owned(), u16::try_from(port).unwrap());
        let mut places = Places::default();
        for port in 0..=MAX_PLACES {
            record(&mut places, place(port), |known| known.tls = true);
        }
        assert_eq!(places.len(), MAX_PLACES);
        assert!(places.contains_key(&place(MAX_PLACES - 1)));
        // At the limit, known entries are still updated; a recorded fact is never removed.
        record(&mut places, place(0), |known| known.wants_certificate |= true);
        record(&mut places, place(0), |known| known.wants_certificate |= false);
        let known = HostHistory { tls: true, wants_certificate: true, answered: false };
        assert_eq!(places[&place(0)], known);
    }

    #[test]
    fn ports_of_a_host_are_recorded_separately() {
        assert_eq!(of("first.example", 443), HostHistory::default());
        record_tls("first.example", 443, false);
        let known = HostHistory { tls: true, wants_certificate: false, answered: true };
        assert_eq!(of("first.example", 443), known);
        assert_eq!(of("first.example", 444), HostHistory::default());
    }
}
