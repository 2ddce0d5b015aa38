// SPDX-License-Identifier: Apache-2.0
//! What this process has seen of hosts and must not forget, whichever repository it was seen for: that a host and port
//! speaks TLS, after which it is not spoken to in plain http; and that it asked for a client certificate in vain.
//!
//! Kept for at most [`MAX_PLACES`]; later ones are not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The most hosts and ports that are remembered.
const MAX_PLACES: usize = 4096;

/// What is known of a host and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// It has spoken TLS.
    pub(super) tls: bool,
    /// It asked for a client certificate, and there was none to show.
    pub(super) wants_certificate: bool,
}

static SEEN: Mutex<Option<HashMap<(String, u16), Seen>>> = Mutex::new(None);

/// What is known of a host (as [`Url::host`](super::url::Url::host) has it) and port.
pub(super) fn of(host: &str, port: u16) -> Seen {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = seen.as_ref().and_then(|seen| seen.get(&(host.to_owned(), port)));
    known.copied().unwrap_or_default()
}

/// It has spoken TLS, and perhaps wanted a certificate.
pub(super) fn note_tls(host: &str, port: u16, wants_certificate: bool) {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_default();
    let place = (host.to_owned(), port);
    if seen.len() < MAX_PLACES || seen.contains_key(&place) {
        let known = seen.entry(place).or_default();
        known.tls = true;
        known.wants_certificate |= wants_certificate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_kept_up_to_the_limit() {
        assert_eq!(of("first.example", 443), Seen::default());
        note_tls("first.example", 443, false);
        for port in 0..MAX_PLACES {
            note_tls("many.example", u16::try_from(port).unwrap(), false);
        }
        note_tls("first.example", 443, true);
        assert_eq!(of("first.example", 443), Seen { tls: true, wants_certificate: true });
        assert_eq!(of("first.example", 444), Seen::default());
        note_tls("late.example", 443, true);
        assert_eq!(of("late.example", 443), Seen::default());
        // The last but one of the many still found room.
        assert!(of("many.example", u16::try_from(MAX_PLACES - 2).unwrap()).tls);
        assert!(!of("many.example", u16::try_from(MAX_PLACES - 1).unwrap()).tls);
    }
}
