// SPDX-License-Identifier: Apache-2.0
//! What this process has seen of hosts and must not forget, whichever repository it was seen for:
//! that a host and port speaks TLS, after which it is not spoken to in plain http; and that it
//! asked for a client certificate in vain.
//!
//! Kept for at most [`MAX_PLACES`]; later ones are not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The most hosts and ports that are remembered.
const MAX_PLACES: usize = 4096;

/// What is known of a host and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostHistory {
    /// It has spoken TLS.
    pub(crate) tls: bool,
    /// It asked for a client certificate, and there was none to show.
    pub(crate) wants_certificate: bool,
}

/// Hosts and ports, and what is known of each.
type Places = HashMap<(String, u16), HostHistory>;

static HISTORY: Mutex<Option<Places>> = Mutex::new(None);

/// What is known of a host (as [`Url::host`](super::url::Url::host) has it) and port.
pub(crate) fn of(host: &str, port: u16) -> HostHistory {
    let history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    let known = history.as_ref().and_then(|places| places.get(&(host.to_owned(), port)));
    known.copied().unwrap_or_default()
}

/// It has spoken TLS, and perhaps wanted a certificate.
pub(crate) fn record_tls(host: &str, port: u16, wants_certificate: bool) {
    let mut history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    record(history.get_or_insert_default(), (host.to_owned(), port), wants_certificate);
}

fn record(places: &mut Places, place: (String, u16), wants_certificate: bool) {
    if places.len() < MAX_PLACES || places.contains_key(&place) {
        let known = places.entry(place).or_default();
        known.tls = true;
        known.wants_certificate |= wants_certificate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_kept_up_to_the_limit() {
        let place = |port: usize| ("a.example".to_owned(), u16::try_from(port).unwrap());
        let mut places = Places::default();
        for port in 0..=MAX_PLACES {
            record(&mut places, place(port), false);
        }
        assert_eq!(places.len(), MAX_PLACES);
        assert!(places.contains_key(&place(MAX_PLACES - 1)));
        // What is known already is still kept up to date, and nothing of it is taken back.
        record(&mut places, place(0), true);
        record(&mut places, place(0), false);
        assert_eq!(places[&place(0)], HostHistory { tls: true, wants_certificate: true });
    }

    #[test]
    fn a_host_is_known_by_its_port() {
        assert_eq!(of("first.example", 443), HostHistory::default());
        record_tls("first.example", 443, false);
        assert_eq!(of("first.example", 443), HostHistory { tls: true, wants_certificate: false });
        assert_eq!(of("first.example", 444), HostHistory::default());
    }
}
